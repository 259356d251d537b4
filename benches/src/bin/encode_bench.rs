//! Times encoding, tokenization included, for `benches/peers/encode.py`.
//!
//! `encode_bench --model DIR --texts FILE.jsonl --threads N --mode docs|query --rounds R [--precision bf16]
//! [--batch-tokens N] [--vectors FILE.npy]` prints one JSON line a round: `{"docs_per_s": ..}` or
//! `{"p50_ms": .., "p95_ms": ..}`. FILE.jsonl has one `{"text": ..}` a line.

use std::error::Error as StdError;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use secateur_encoders::{Encoder, LoadOptions, Precision, TextKind};

/// Errors cross threads.
type Error = Box<dyn StdError + Send + Sync>;

#[derive(Parser)]
struct Arguments {
    #[arg(long)]
    model: PathBuf,
    #[arg(long)]
    texts: PathBuf,
    #[arg(long)]
    threads: usize,
    #[arg(long)]
    mode: Mode,
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    #[arg(long, default_value_t = 256)]
    max_length: usize,
    /// Tokens that each thread computes together.
    #[arg(long)]
    batch_tokens: Option<usize>,
    #[arg(long, default_value_t)]
    precision: Precision,
    /// Write the vectors here, to be compared with the peers'.
    #[arg(long)]
    vectors: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    Docs,
    Query,
}

fn main() -> Result<(), Error> {
    let arguments = Arguments::parse();
    let texts = std::fs::read_to_string(&arguments.texts)?
        .lines()
        .map(serde_json::from_str::<serde_json::Value>)
        .collect::<Result<Vec<_>, _>>()?;
    let texts: Vec<&str> = texts.iter().map(|line| line["text"].as_str().unwrap_or_default()).collect();
    let options = LoadOptions {
        max_length: Some(arguments.max_length),
        precision: Some(arguments.precision),
        batch_tokens: arguments.batch_tokens,
        ..LoadOptions::default()
    };
    let encoder = Encoder::load(&arguments.model, &options)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(arguments.threads).build()?;
    let mut stdout = std::io::stdout();
    pool.install(|| -> Result<(), Error> {
        // Not counted: the first touch of weights and working memory.
        encoder.encode(&texts[..texts.len().min(8)], TextKind::Passage)?;
        for round in 0..arguments.rounds {
            let vectors = match arguments.mode {
                Mode::Docs => {
                    let start = Instant::now();
                    let vectors = encoder.encode(&texts, TextKind::Passage)?;
                    let seconds = start.elapsed().as_secs_f64();
                    writeln!(stdout, "{{\"docs_per_s\": {}}}", texts.len() as f64 / seconds)?;
                    vectors
                }
                Mode::Query => {
                    let mut vectors = Vec::new();
                    let mut milliseconds = Vec::with_capacity(texts.len());
                    for text in &texts {
                        let start = Instant::now();
                        vectors.extend(encoder.encode(&[text], TextKind::Query)?);
                        milliseconds.push(start.elapsed().as_secs_f64() * 1000.0);
                    }
                    milliseconds.sort_by(f64::total_cmp);
                    let at = |share: f64| milliseconds[((milliseconds.len() - 1) as f64 * share) as usize];
                    writeln!(stdout, "{{\"p50_ms\": {}, \"p95_ms\": {}}}", at(0.5), at(0.95))?;
                    vectors
                }
            };
            stdout.flush()?;
            if let (0, Some(path)) = (round, &arguments.vectors) {
                write_npy(path, &vectors, encoder.dim())?;
            }
        }
        Ok(())
    })
}

fn write_npy(path: &PathBuf, vectors: &[f32], dim: usize) -> std::io::Result<()> {
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {dim}), }}", vectors.len() / dim);
    while !(10 + header.len() + 1).is_multiple_of(64) {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(vectors.iter().flat_map(|x| x.to_le_bytes()));
    std::fs::write(path, bytes)
}
