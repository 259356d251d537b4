//! Scores of a teacher for the passages of training examples.

use std::path::Path;

use super::rewrite::rewrite;
use super::teacher::Teacher;
use crate::error::Result;

/// Writes the examples of a file with the teacher's score of each positive and negative, for distillation. Scores
/// that the examples had are replaced. `progress` is called with the number of examples done. Returns the number of
/// examples.
///
/// Scores are kept in the file OUTPUT.journal. After an interruption the same call continues from there.
///
/// ```no_run
/// use secateur::LoadOptions;
/// use secateur::train::{Teacher, teach};
///
/// let teacher = Teacher::load("models/bge-reranker-base", &LoadOptions::default())?;
/// teach("train.jsonl", "scored.jsonl", &teacher, |_| {})?;
/// # Ok::<(), secateur::Error>(())
/// ```
///
/// # Errors
///
/// The input has a bad line, or is the output. The errors of the teacher and of the disk. The output appears whole or
/// not at all.
pub fn teach(
    input: impl AsRef<Path>,
    output: impl AsRef<Path>,
    teacher: &Teacher,
    progress: impl FnMut(u64),
) -> Result<u64> {
    let input = input.as_ref();
    let output = output.as_ref();
    let key = format!("teach 1 {}", teacher.fingerprint());
    rewrite(
        input,
        output,
        &key,
        |_, chunk| {
            let pairs: Vec<(&str, &str)> = chunk
                .iter()
                .flat_map(|example| {
                    let passages = example.positives.iter().chain(&example.negatives);
                    passages.map(|passage| (example.query.as_str(), passage.as_str()))
                })
                .collect();
            let mut scores = teacher.score(&pairs)?.into_iter().map(f32::to_bits);
            let scores_of = |passages: usize| scores.by_ref().take(passages).collect::<Vec<u32>>();
            let lengths = chunk.iter().map(|example| example.positives.len() + example.negatives.len());
            Ok(lengths.map(scores_of).collect())
        },
        |example, scores: Vec<u32>| {
            let mut scores = scores.into_iter().map(f32::from_bits);
            example.positive_scores = Some(scores.by_ref().take(example.positives.len()).collect());
            example.negative_scores = Some(scores.collect());
            Ok(())
        },
        progress,
    )
}
