//! Fine-tune an encoder on pairs of your own: `cargo run --example train`.
//!
//! Titles are queries here and their texts the answers. Twenty steps take seconds; a real run has thousands of pairs.
#![allow(clippy::print_stdout, reason = "a program prints its answer")]

use secateur::datasets::beir::BeirFolder;
use secateur::encode::write_default_encoder;
use secateur::measure::measure;
use secateur::progress::Progress;
use secateur::train::{StepOptions, TrainOptions, TrainingExample, WhatOptions, write_examples};
use secateur::{Encoder, LoadOptions};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let mini = BeirFolder::open(concat!(env!("CARGO_MANIFEST_DIR"), "/datasets/mini"))?;

    let pairs =
        mini.corpus()?.filter(|document| !document.as_ref().is_ok_and(|document| document.title.is_empty()));
    let data = folder.path().join("pairs.jsonl");
    write_examples(
        &data,
        pairs.map(|document| {
            let document = document?;
            let (query, positives) = (document.title, vec![document.text]);
            Ok::<_, secateur::Error>(TrainingExample { query, positives, ..TrainingExample::default() })
        }),
    )?;

    // `full` trains every weight. Without it a low-rank adapter is trained, of models that have linear layers.
    let model = folder.path().join("default");
    write_default_encoder(&model)?;
    let options = TrainOptions {
        data: vec![data],
        what: WhatOptions { full: true, ..WhatOptions::default() },
        steps: StepOptions {
            steps: Some(20),
            batch_size: 16.try_into()?,
            learning_rate: Some(1e-3),
            ..StepOptions::default()
        },
        ..TrainOptions::default()
    };
    // Stopped at any moment, the same call goes on from its last checkpoint.
    let mut losses = Vec::new();
    let report = options.run(&model, folder.path().join("run"), &mut |progress| {
        if let Progress::Step(step) = progress {
            losses.push(step.loss);
        }
    })?;
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let (first, last) = (mean(&losses[..5]), mean(&losses[15..]));
    println!("{} trained numbers, loss {first:.3} at first and {last:.3} at last", report.num_trained);
    assert!(losses.len() == 20 && last < first);

    for directory in [&model, &report.model] {
        let encoder = Encoder::load(directory, &LoadOptions::default())?;
        let measured = measure(&encoder, &mini, None, &mut |_| {})?;
        println!("{:<8} nDCG@10 {:.4}", encoder.name(), measured.ndcg_at_10);
    }
    Ok(())
}
