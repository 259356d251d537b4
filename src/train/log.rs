//! The record of a run: a JSON object a line.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;

use secateur_encoders::train::StepReport;
use secateur_files::disk::DiskFile;
use secateur_files::{AtPath, Durable};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::report::{Curve, curves, svg::Svg};

/// A line of log.jsonl.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum LogLine {
    /// A step of training.
    Step {
        /// Counted from 1.
        step: usize,
        /// What was minimized.
        loss: f64,
        /// InfoNCE.
        contrastive: f64,
        /// The distance to the teacher, where there was one.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        distillation: Option<f64>,
        /// How far the vectors are from the teacher's, where that was asked for.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        alignment: Option<f64>,
        /// The length of the gradient before it was clipped.
        gradient_norm: f64,
        /// The learning rate of this step.
        learning_rate: f64,
        /// Tokens that were computed.
        tokens: usize,
        /// What the step took.
        seconds: f64,
    },
    /// A measurement on a dev split.
    Dev {
        /// The steps that were taken.
        step: usize,
        /// The data set.
        dataset: String,
        /// nDCG@10 by MTEB's rules.
        ndcg_at_10: f64,
    },
}

impl LogLine {
    pub(super) fn of_step(report: &StepReport, seconds: f64) -> LogLine {
        let StepReport {
            step,
            loss,
            contrastive,
            distillation,
            alignment,
            gradient_norm,
            learning_rate,
            num_tokens,
        } = *report;
        LogLine::Step {
            step,
            loss,
            contrastive,
            distillation,
            alignment,
            gradient_norm,
            learning_rate,
            tokens: num_tokens,
            seconds,
        }
    }

    /// The steps that were taken.
    pub fn step(&self) -> usize {
        match self {
            LogLine::Step { step, .. } | LogLine::Dev { step, .. } => *step,
        }
    }
}

/// Reads a log. A last line that was cut off is left out.
///
/// # Errors
///
/// The file cannot be read.
pub fn read_log(path: impl AsRef<Path>) -> Result<Vec<LogLine>> {
    let path = path.as_ref();
    let mut lines = Vec::new();
    for line in BufReader::new(File::open(path).at("read", path)?).lines() {
        match serde_json::from_str(&line.at("read", path)?) {
            Ok(line) => lines.push(line),
            Err(_) => break,
        }
    }
    Ok(lines)
}

/// A log that is written to.
pub(super) struct Log {
    file: DiskFile,
    pub(super) lines: Vec<LogLine>,
}

impl Log {
    /// The log of a run that has taken `steps`. Later lines are removed, because their steps will be taken again.
    pub(super) fn open(path: &Path, steps: usize) -> Result<Log> {
        let mut lines = if path.exists() { read_log(path)? } else { Vec::new() };
        lines.retain(|line| line.step() <= steps);
        let text: String = lines.iter().map(|line| text_of(line) + "\n").collect();
        Durable::write(path, |out| out.write_all(text.as_bytes()))?;
        Ok(Log { file: DiskFile::append(path)?, lines })
    }

    pub(super) fn add(&mut self, line: LogLine) -> Result<()> {
        let text = text_of(&line) + "\n";
        self.file.write_all(text.as_bytes()).at("write", self.file.path())?;
        self.lines.push(line);
        Ok(())
    }

    /// The loss, smoothed over a fiftieth of the run, and the measures, over the steps.
    pub(super) fn drawing(&self, title: &str) -> Svg {
        let losses: Vec<(f64, f64)> = self
            .lines
            .iter()
            .filter_map(|line| match line {
                LogLine::Step { step, loss, .. } => Some((*step as f64, *loss)),
                LogLine::Dev { .. } => None,
            })
            .collect();
        let span = (losses.len() / 50).max(1);
        let smoothed = losses.chunks(span).map(|chunk| {
            let mean = chunk.iter().map(|(_, loss)| loss).sum::<f64>() / chunk.len() as f64;
            (chunk[chunk.len() - 1].0, mean)
        });
        let mut all = vec![Curve { name: "loss".to_owned(), points: smoothed.collect() }];
        for line in &self.lines {
            let LogLine::Dev { step, dataset, ndcg_at_10 } = line else { continue };
            let name = format!("nDCG@10, {dataset}");
            let point = (*step as f64, *ndcg_at_10);
            match all.iter_mut().find(|curve| curve.name == name) {
                Some(curve) => curve.points.push(point),
                None => all.push(Curve { name, points: vec![point] }),
            }
        }
        curves(title, &all)
    }
}

fn text_of(line: &LogLine) -> String {
    serde_json::to_string(line).expect("a line can be written as JSON")
}
