use secateur_encoders::architecture::Architecture;
use secateur_encoders::{Encoder, LoadOptions, TextKind};
use serde_json::json;
use tempfile::TempDir;

use crate::process::{alone, status};
use crate::support::{splitmix64, write_json, write_random_weights, write_tokenizer};

/// 2,000 texts of 1 to 8,192 tokens, 8.2 million together, need the activations of one text a thread. The work is
/// divided by tokens, whatever the number of texts.
#[test]
#[ignore = "a minute of work"]
fn activations_are_those_of_a_text_a_thread() {
    alone("long_texts::activations_are_those_of_a_text_a_thread", measure);
}

fn measure() {
    const HIDDEN: usize = 128;
    const WIDTH: usize = 256;
    const LONGEST: usize = 8192;
    let directory = TempDir::new().unwrap();
    let config = json!({
        "model_type": "mistral", "vocab_size": 1000, "hidden_size": HIDDEN, "num_hidden_layers": 1,
        "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": WIDTH, "hidden_act": "silu",
        "max_position_embeddings": LONGEST, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "sliding_window": 128,
    });
    write_json(directory.path(), "config.json", &config);
    write_random_weights(
        directory.path(),
        &Architecture::read(directory.path().join("config.json")).unwrap(),
    );
    write_tokenizer(directory.path(), &["the", "quick", "brown", "fox"], None);
    let encoder = Encoder::load(directory.path(), &LoadOptions::default()).unwrap();

    let mut state = 1;
    let mut length = || 1 + (splitmix64(&mut state) % LONGEST as u64) as usize;
    let texts: Vec<String> = (0..2000).map(|_| "fox ".repeat(length())).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let num_tokens: usize = texts.iter().map(|text| text.len() / 4).sum();
    let threads = rayon::current_num_threads();

    let before = status("VmRSS:");
    let vectors = encoder.encode(&texts, TextKind::Passage).unwrap();
    let growth = (status("VmHWM:") - before) * 1024;
    assert_eq!(vectors.len(), 2000 * HIDDEN);

    // Numbers of a token at most: the residual, its norm, queries, keys and values, the context, the width of the
    // MLP, a sum.
    let activations = 4 * LONGEST * (4 * HIDDEN + 2 * HIDDEN + WIDTH);
    // Cosines and sines, packed keys and values of a head, and what the allocator keeps: as much again.
    let of_threads = 2 * threads * activations;
    // An id is 4 bytes; while a text is tokenized the tokenizer keeps some hundred bytes a token.
    let of_tokens = 4 * num_tokens + threads * LONGEST * 1024;
    let limit = of_threads + of_tokens;
    let all_at_once = num_tokens * activations / LONGEST;
    assert!(growth < limit, "{} MiB, more than {}", growth >> 20, limit >> 20);
    assert!(limit < all_at_once / 50, "the limit would show nothing");
}
