//! From nothing to an encoder: `dataset cloze`, `model create`, `train`.

use secateur::encoders::TextKind;
use secateur::{Encoder, LoadOptions};
use serde_json::{Value, json};

use crate::support::Sandbox;
use crate::support::dataset::write;

const TEXTS: &str = "Roses are pruned in late winter. Cut above an outward bud. Old canes go first.\n\
    Rye is a grass, and roses are not. Bread of rye is dense and keeps for a week.\n";

pub fn with_config(change: impl FnOnce(&mut Value)) -> Sandbox {
    let sandbox = Sandbox::new();
    let mut config = json!({
        "model_type": "qwen3", "vocab_size": 280, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 64,
        "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true,
    });
    change(&mut config);
    write(&sandbox.path(""), "config.json", config.to_string());
    write(&sandbox.path(""), "texts.txt", TEXTS);
    sandbox
}

#[test]
fn texts_become_a_model_that_can_be_trained_and_aligned() {
    let sandbox = with_config(|_| ());
    let create = ["model", "create", "config.json", "--vocabulary", "texts.txt", "--out", "new"];
    sandbox.run(create).ok();
    let said = sandbox.run(["model", "inspect", "new", "--json"]).json();
    assert_eq!(said["settings"]["pooling"], "last-token", "{said}");
    assert_eq!(said["special_tokens"]["after"], json!(["<eos>"]), "{said}");
    let cloze =
        sandbox.run(["dataset", "cloze", "texts.txt", "--passage-words", "10", "--out", "pairs.jsonl"]);
    assert_eq!(cloze.ok(), "pairs.jsonl: 2 queries, each with a passage\n");
    // A model aligned with itself has nothing to learn; another has.
    sandbox.run([&create[..6], &["other", "--seed", "7"]].concat()).ok();
    for (teacher, least, most) in [("new", 0.0, 1e-6), ("other", 0.1, 2.0)] {
        let out = format!("run-{teacher}");
        let train = ["train", "new", "--full", "--data", "pairs.jsonl", "--steps", "1", "--batch-size", "2"];
        let loss = ["--contrastive-weight", "0", "--distillation-weight", "0", "--alignment-weight", "1"];
        sandbox.run([&train[..], &loss, &["--teacher", teacher, "--out", &out]].concat()).ok();
        let log = std::fs::read_to_string(sandbox.path(out).join("log.jsonl")).unwrap();
        let line: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
        let alignment = line["alignment"].as_f64().unwrap();
        assert!((least - 1e-6..=most).contains(&alignment), "{teacher}: {line}");
        assert_eq!(line["loss"], line["alignment"], "{line}");
    }
}

#[test]
fn the_seed_decides_the_weights_and_nothing_else() {
    let sandbox = with_config(|_| ());
    for (seed, out) in [("1", "a"), ("1", "b"), ("2", "c")] {
        sandbox
            .run([
                "model",
                "create",
                "config.json",
                "--vocabulary",
                "texts.txt",
                "--seed",
                seed,
                "--out",
                out,
            ])
            .ok();
    }
    let read = |model: &str, file: &str| std::fs::read(sandbox.path(model).join(file)).unwrap();
    assert_eq!(read("a", "model.safetensors"), read("b", "model.safetensors"));
    assert_ne!(read("a", "model.safetensors"), read("c", "model.safetensors"));
    assert_eq!(read("a", "tokenizer.json"), read("c", "tokenizer.json"));
    // With its tokenizer beside it, a configuration is enough.
    sandbox.run(["model", "create", "a/config.json", "--seed", "2", "--out", "d"]).ok();
    assert_eq!(read("c", "model.safetensors"), read("d", "model.safetensors"));
    assert_eq!(read("c", "tokenizer.json"), read("d", "tokenizer.json"));
}

/// A grown model has the vectors of the model that it grew from, although it has new layers.
#[test]
fn a_model_grows_from_a_smaller_one() {
    let sandbox = with_config(|config| config["num_hidden_layers"] = json!(3));
    sandbox.run(["model", "create", "config.json", "--vocabulary", "texts.txt", "--out", "whole"]).ok();
    sandbox.run(["prune", "drop", "whole", "--layers", "attention:1-2,mlp:0-2", "--out", "small"]).ok();
    sandbox.run(["model", "create", "config.json", "--grow", "small", "--seed", "9", "--out", "grown"]).ok();
    let inspected = sandbox.run(["model", "inspect", "grown", "--json"]).json();
    assert_eq!(inspected["layers"].as_array().unwrap().len(), 3, "{inspected}");
    sandbox.run(["model", "check", "small", "--golden", "golden.jsonl", "--write"]).ok();
    sandbox.run(["model", "check", "grown", "--golden", "golden.jsonl", "--min-cosine", "0.999999"]).ok();
    sandbox
        .run(["model", "check", "whole", "--golden", "golden.jsonl", "--min-cosine", "0.999999"])
        .fails(3, [""]);
    // Rounding to 11 bits turns a vector by less than 2^-11, so cosines stay above 1 - 2^-23, and f32 sums below.
    sandbox.run(["model", "create", "config.json", "--grow", "small", "--half", "--out", "half"]).ok();
    sandbox.run(["model", "check", "half", "--golden", "golden.jsonl", "--min-cosine", "0.999999"]).ok();
    let inspected = sandbox.run(["model", "inspect", "half", "--json"]).json();
    assert_eq!(inspected["weights"]["dtypes"].as_object().unwrap().keys().collect::<Vec<_>>(), ["F16"]);
    let wide = with_config(|config| config["hidden_size"] = json!(32));
    let small = sandbox.path("small");
    wide.run(["model", "create", "config.json", "--grow", small.to_str().unwrap(), "--out", "grown"])
        .fails(3, ["small/model.safetensors", "shape"]);
    crate::support::model::tiny(&sandbox.path("bert"));
    sandbox
        .run(["model", "create", "config.json", "--grow", "bert", "--out", "x"])
        .fails(3, ["bert", "embed_tokens.weight"]);
}

/// Embeddings whose mean is the vector become a decoder whose last token's state is that mean.
#[test]
fn a_decoder_that_pools_the_last_token_grows_from_a_mean_of_embeddings() {
    let sandbox = with_config(|config| {
        config["model_type"] = json!("llama");
        config["num_key_value_heads"] = json!(2);
    });
    let from = ["model", "create", "config.json"];
    sandbox
        .run([&from[..], &["--vocabulary", "texts.txt", "--pooling", "mean", "--out", "whole"]].concat())
        .ok();
    sandbox.run(["prune", "drop", "whole", "--layers", "attention:0-1,mlp:0-1", "--out", "embeddings"]).ok();
    sandbox.run([&from[..], &["--grow", "embeddings", "--out", "decoder"]].concat()).ok();
    let inspected = sandbox.run(["model", "inspect", "decoder", "--json"]).json();
    assert_eq!(inspected["settings"]["pooling"], "last-token", "{inspected}");
    assert_eq!(inspected["layers"].as_array().unwrap().len(), 2, "{inspected}");
    // Golden texts have at most 512 tokens. Normed random embeddings have length 1 (root mean square), and their mean
    // has at least 1 / sqrt(512); it is added four times. The last token's own embedding, of 0.02, turns the mean by
    // up to 0.02 sqrt(512) / 4 = 0.12, whose cosine is 0.993.
    sandbox.run(["model", "check", "embeddings", "--golden", "golden.jsonl", "--write"]).ok();
    sandbox.run(["model", "check", "decoder", "--golden", "golden.jsonl", "--min-cosine", "0.993"]).ok();
    sandbox.run([&from[..], &["--vocabulary", "texts.txt", "--out", "random"]].concat()).ok();
    sandbox
        .run(["model", "check", "random", "--golden", "golden.jsonl", "--min-cosine", "0.993"])
        .fails(3, [""]);

    let grouped = with_config(|config| config["model_type"] = json!("llama"));
    let embeddings = sandbox.path("embeddings");
    let grow = ["--grow", embeddings.to_str().unwrap(), "--out", "new"];
    grouped.run([&from[..], &grow].concat()).fails(3, ["config.json", "num_key_value_heads", "average"]);
    grouped.run([&from[..], &grow, &["--pooling", "mean"]].concat()).ok();
}

/// A transformer that looks to both sides begins with the vectors of its embeddings, and learns what order means.
#[test]
fn a_bidirectional_model_grows_from_a_mean_of_embeddings() {
    let sandbox = with_config(|config| {
        config["model_type"] = json!("llama");
        config["is_causal"] = json!(false);
        config["head_dim"] = json!(4);
        // With this the norms leave short vectors short, so that a mean can weigh words.
        config["rms_norm_eps"] = json!(1.0);
        // They leave numbers of 0.02 as short as they are, and then attention sees no difference between two words.
        config["initializer_range"] = json!(0.5);
    });
    let from = ["model", "create", "config.json"];
    sandbox.run([&from[..], &["--vocabulary", "texts.txt", "--out", "whole"]].concat()).ok();
    sandbox.run(["prune", "drop", "whole", "--layers", "attention:0-1,mlp:0-1", "--out", "embeddings"]).ok();
    sandbox.run([&from[..], &["--grow", "embeddings", "--out", "grown"]].concat()).ok();
    let inspected = sandbox.run(["model", "inspect", "grown", "--json"]).json();
    assert_eq!(inspected["settings"]["pooling"], "mean", "{inspected}");
    assert_eq!(inspected["layers"].as_array().unwrap().len(), 2, "{inspected}");
    sandbox.run(["model", "check", "embeddings", "--golden", "golden.jsonl", "--write"]).ok();
    sandbox.run(["model", "check", "grown", "--golden", "golden.jsonl", "--min-cosine", "0.999999"]).ok();

    sandbox.run(["dataset", "cloze", "texts.txt", "--passage-words", "10", "--out", "pairs.jsonl"]).ok();
    let train = ["train", "grown", "--full", "--data", "pairs.jsonl", "--steps", "20", "--batch-size", "2"];
    let fast = ["--warmup", "0", "--learning-rate", "1e-2", "--out", "run"];
    sandbox.run([&train[..], &fast].concat()).ok();
    for (model, depends) in [("grown", false), ("run/model", true)] {
        let encoder = Encoder::load(sandbox.path(model), &LoadOptions::default()).unwrap();
        let [one, other] = ["roses are pruned", "pruned are roses"]
            .map(|text| encoder.encode(&[text], TextKind::Passage).unwrap());
        let distance = one.iter().zip(&other).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert_eq!(distance > 1e-4, depends, "{model}: {distance}");
    }
}

/// A prompt that is computed once gives the vectors that it gives before each text.
#[test]
fn a_prompt_of_a_decoder_changes_no_bit_by_being_computed_once() {
    let sandbox = with_config(|_| ());
    sandbox.run(["model", "create", "config.json", "--vocabulary", "texts.txt", "--out", "decoder"]).ok();
    let load = |query_prompt: Option<&str>| {
        let options = LoadOptions { query_prompt: query_prompt.map(str::to_owned), ..LoadOptions::default() };
        Encoder::load(sandbox.path("decoder"), &options).unwrap()
    };
    let plain = load(Some(""));
    // The second ends in the middle of a word, where a text may change the prompt's last tokens.
    for prompt in
        ["Find the passages that answer this question: ", "Find the passages that answer this quest"]
    {
        let texts = ["how do bees dance", "ion", "", "when are roses pruned, and when is bread baked"];
        let whole: Vec<String> = texts.iter().map(|text| format!("{prompt}{text}")).collect();
        let whole: Vec<&str> = whole.iter().map(String::as_str).collect();
        let want = plain.encode(&whole, TextKind::Query).unwrap();
        assert!(plain.tokenize(&[prompt], TextKind::Query).unwrap()[0].len() > 10);
        let prompted = load(Some(prompt));
        assert_eq!(prompted.encode(&texts, TextKind::Query).unwrap(), want);
        // One text in each call, and the prompt of another call before it.
        for (text, want) in texts.iter().zip(want.chunks_exact(plain.dim())) {
            assert_eq!(plain.encode_with_prompt(&[text], prompt).unwrap(), want, "{prompt}{text}");
        }
    }
}

#[test]
fn what_makes_no_model_is_refused() {
    let sandbox = with_config(|_| ());
    let create = ["model", "create", "config.json", "--out", "new"];
    sandbox.run(create).fails(3, ["tokenizer.json", "name texts to learn a vocabulary from"]);
    write(&sandbox.path(""), "empty.txt", "\n");
    let with = |more: &[&'static str]| [&create[..], more].concat();
    sandbox.run(with(&["--vocabulary", "empty.txt"])).fails(3, ["no text to learn a vocabulary from"]);
    sandbox
        .run(with(&["--vocabulary", "texts.txt", "--max-length", "65"]))
        .fails(2, ["max_length", "65", "max_position_embeddings"]);
    sandbox.run(with(&["--vocabulary", "texts.txt"])).ok();
    sandbox.run(with(&["--vocabulary", "texts.txt"])).fails(2, ["new exists: choose another output"]);
    let small = with_config(|config| config["vocab_size"] = json!(200));
    small.run(with(&["--vocabulary", "texts.txt"])).fails(3, ["vocab_size", "200", "more than 256"]);

    sandbox.run(["dataset", "cloze", "empty.txt", "--out", "x.jsonl"]).fails(3, ["x.jsonl is empty"]);
    let train =
        ["train", "new", "--full", "--data", "pairs.jsonl", "--alignment-weight", "1", "--out", "run"];
    sandbox.run(["dataset", "cloze", "texts.txt", "--out", "pairs.jsonl"]).ok();
    sandbox.run(train).fails(2, ["--alignment-weight", "--teacher"]);
    let wide = with_config(|config| config["hidden_size"] = json!(32));
    wide.run(with(&["--vocabulary", "texts.txt"])).ok();
    let teacher = wide.path("new");
    let teacher = ["--teacher", teacher.to_str().unwrap()];
    sandbox
        .run([&train[..], &teacher].concat())
        .fails(3, ["vectors of 16 numbers", "of 32", "leave its weight at 0"]);
}
