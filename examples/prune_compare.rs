//! What an encoder loses with its least important layers: `cargo run --example prune_compare [MODEL_DIRECTORY]`.
//!
//! Without a model it takes one of four layers that has learned nothing, so that it needs no download.
#![allow(clippy::print_stdout, reason = "a program prints its answer")]

use std::path::PathBuf;

use secateur::datasets::beir::BeirFolder;
use secateur::encoders::{NewModelOptions, create_model};
use secateur::measure::measure;
use secateur::prune::{DropOptions, MeasureOptions, ScoreOptions};
use secateur::{Encoder, LoadOptions};

const CONFIG: &str = r#"{"model_type": "qwen3", "vocab_size": 400, "hidden_size": 32, "intermediate_size": 64,
    "num_hidden_layers": 4, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16,
    "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": true}"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let mini = BeirFolder::open(concat!(env!("CARGO_MANIFEST_DIR"), "/datasets/mini"))?;
    let model = match std::env::args().nth(1) {
        Some(directory) => PathBuf::from(directory),
        None => {
            std::fs::write(at("config.json"), CONFIG)?;
            let texts = mini.corpus()?.collect::<Result<Vec<_>, _>>()?;
            let mut texts = texts.into_iter().map(|document| Ok(document.text));
            create_model(&at("config.json"), Some(&mut texts), &NewModelOptions::default(), &at("model"))?;
            at("model")
        }
    };

    // The importance of each layer's attention and MLP, on texts of the kind that will be encoded.
    let calibration = mini.path().to_owned();
    let few = MeasureOptions { calibration_blocks: 16.try_into()?, ..MeasureOptions::default() };
    let score = ScoreOptions { calibration, measure: few, ..ScoreOptions::default() };
    score.run(&model, at("scores.json"), &mut |_| {})?;

    let options =
        DropOptions { mlp: Some(2.try_into()?), scores: Some(at("scores.json")), ..DropOptions::default() };
    let dropped = options.run(&model, at("pruned"), &mut |_| {})?;
    let [before, after] = dropped.parameters;
    println!("{after} parameters of {before} are left");
    assert!(after < before);

    for directory in [model, at("pruned")] {
        let encoder = Encoder::load(&directory, &LoadOptions::default())?;
        let measured = measure(&encoder, &mini, None, &mut |_| {})?;
        let (ndcg, rate) = (measured.ndcg_at_10, measured.documents_per_second);
        println!("{:<8} nDCG@10 {ndcg:.4}, {rate:.0} documents/s", encoder.name());
        assert_eq!(measured.num_documents, 63);
    }
    Ok(())
}
