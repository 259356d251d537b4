//! Times training steps for `benches/peers/train.py`.
//!
//! `train_bench --model DIR --pairs FILE.jsonl --threads N --steps R --batch B [--full] [--recompute]
//! [--gradient-cache] [--bf16-weights] [--precision bf16]` prints one JSON line a step, `{"loss": .., "ms": ..}`. At
//! the end it prints `{"peak_mib": ..}`, the most memory that the process had. FILE.jsonl has one
//! `{"query": .., "passage": ..}` a line; every step takes the next B of them.

use std::error::Error as StdError;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use clap::Parser;
use secateur_encoders::Precision;
use secateur_encoders::train::{AdamW, Decay, Example, Lora, Schedule, TrainSettings, Trained, Trainer};

/// Errors cross threads.
type Error = Box<dyn StdError + Send + Sync>;

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    model: PathBuf,
    #[arg(long)]
    pairs: PathBuf,
    #[arg(long)]
    threads: usize,
    #[arg(long, default_value_t = 5)]
    steps: usize,
    #[arg(long, default_value_t = 16)]
    batch: usize,
    #[arg(long, default_value_t = 128)]
    max_length: usize,
    /// Queries are cut to this many tokens, where it is fewer.
    #[arg(long)]
    query_length: Option<usize>,
    #[arg(long)]
    full: bool,
    #[arg(long)]
    recompute: bool,
    #[arg(long)]
    gradient_cache: bool,
    #[arg(long)]
    bf16_weights: bool,
    #[arg(long, default_value_t)]
    precision: Precision,
    #[arg(long)]
    batch_tokens: Option<usize>,
}

fn main() -> Result<(), Error> {
    let arguments = Arguments::parse();
    let mut pairs = Vec::new();
    for line in std::fs::read_to_string(&arguments.pairs)?.lines() {
        let line: serde_json::Value = serde_json::from_str(line)?;
        let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
        pairs.push(Example { query: text("query"), passages: vec![text("passage")], scores: None });
    }
    let trained =
        if arguments.full { Trained::Full } else { Trained::Lora(Lora { dropout: 0.0, ..Lora::default() }) };
    let settings = TrainSettings {
        optimizer: AdamW { learning_rate: 1e-5, ..AdamW::default() },
        schedule: Schedule { warmup_steps: 0, num_steps: arguments.steps, decay: Decay::Constant },
        query_max_length: arguments.query_length.or(Some(arguments.max_length)),
        passage_max_length: Some(arguments.max_length),
        recompute: arguments.recompute,
        gradient_cache: arguments.gradient_cache,
        bf16_weights: arguments.bf16_weights,
        precision: arguments.precision,
        batch_tokens: arguments.batch_tokens,
        ..TrainSettings::new(trained, arguments.steps)
    };
    let mut trainer = Trainer::load(&arguments.model, settings)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(arguments.threads).build()?;
    let mut stdout = std::io::stdout();
    for step in 0..arguments.steps {
        let batch: Vec<Example> =
            (0..arguments.batch).map(|i| pairs[(step * arguments.batch + i) % pairs.len()].clone()).collect();
        let start = Instant::now();
        let report = pool.install(|| trainer.step(&[&batch]))?;
        let ms = start.elapsed().as_secs_f64() * 1000.0;
        writeln!(stdout, "{{\"loss\": {}, \"ms\": {ms}}}", report.loss)?;
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    let peak: f64 = peak.and_then(|peak| peak.trim().parse().ok()).unwrap_or(f64::NAN);
    writeln!(stdout, "{{\"peak_mib\": {}}}", peak / 1024.0)?;
    Ok(())
}
