//! The texts of a step: what is compared with what.

use std::collections::HashMap;

use rayon::prelude::*;

use super::teaching::Teaching;
use crate::contrastive::engine::TokenLists;
use crate::contrastive::loss::Target;
use crate::error::Result;
use crate::text_kind::TextKind;
use crate::tokenize::Tokenizer;

/// A query and the passages that it is compared with, apart from those of the other queries of its batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The query.
    pub query: String,
    /// The passage that answers it, then passages that do not.
    pub passages: Vec<String>,
    /// A teacher's score of each passage; higher is better.
    pub scores: Option<Vec<f32>>,
}

/// Texts of a step, in the order in which the loss sees their vectors.
pub(crate) struct Texts {
    /// The token ids of the queries, then of the passages.
    pub(crate) tokens: Vec<Vec<u32>>,
    pub(crate) num_queries: usize,
    pub(crate) targets: Vec<Target>,
    /// The teacher's vectors, where they are asked for.
    pub(crate) teacher: Option<Vec<f32>>,
}

impl Texts {
    /// The tokens of queries and of passages.
    pub(super) fn kinds(&self) -> TokenLists<'_> {
        self.tokens.split_at(self.num_queries).into()
    }
}

/// What turns examples into tokens and into what the loss wants of them.
pub(super) struct Reader {
    /// The tokenizers of queries and of passages, which may be cut to different lengths.
    pub(super) tokenizers: [Tokenizer; 2],
    /// What is put before every query and every passage.
    pub(super) prompts: [String; 2],
    pub(super) teacher: Option<Teaching>,
    /// Whether the loss wants the teacher's vectors.
    pub(super) aligns: bool,
}

impl Reader {
    /// The tokens of each text, in order.
    pub(super) fn tokenize(&self, texts: &[(&str, TextKind)]) -> Result<Vec<Vec<u32>>> {
        let one = |(text, kind): &(&str, TextKind)| {
            let kind = *kind as usize;
            self.tokenizers[kind].encode(&format!("{}{text}", self.prompts[kind]))
        };
        texts.par_iter().map(one).collect()
    }

    /// The texts of a batch and what the loss wants of them.
    pub(super) fn texts(&self, examples: &[Example]) -> Result<Texts> {
        let mut all: Vec<(&str, TextKind)> =
            examples.iter().map(|example| (&example.query[..], TextKind::Query)).collect();
        let mut targets = Vec::with_capacity(examples.len());
        // Passages by text, to know one again.
        let mut indexes: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut num_passages = 0;
        for example in examples {
            assert!(!example.passages.is_empty(), "an example has a passage that answers it");
            let scores = example.scores.as_ref();
            assert!(scores.is_none_or(|s| s.len() == example.passages.len()), "every passage has a score");
            // A single passage has no ranking to learn.
            let scored = scores.filter(|scores| scores.len() > 1).into_iter().flatten().enumerate();
            let teacher = scored.map(|(j, score)| (num_passages + j, f64::from(*score))).collect();
            targets.push(Target { positive: num_passages, ignored: Vec::new(), teacher });
            for passage in &example.passages {
                all.push((passage, TextKind::Passage));
                indexes.entry(passage).or_default().push(num_passages);
                num_passages += 1;
            }
        }
        // A passage with the positive's text answers the query, too. So does a positive of the same query elsewhere
        // in the batch.
        for (example, i) in examples.iter().zip(0..) {
            let same =
                examples.iter().enumerate().filter(|(j, other)| *j != i && other.query == example.query);
            let positives: Vec<&str> =
                same.map(|(_, other)| &other.passages[0][..]).chain([&example.passages[0][..]]).collect();
            let own = targets[i].positive;
            let mut ignored: Vec<usize> =
                positives.iter().flat_map(|text| &indexes[text]).copied().filter(|j| *j != own).collect();
            ignored.sort_unstable();
            ignored.dedup();
            targets[i].ignored = ignored;
        }
        let teacher = match &self.teacher {
            Some(teacher) => {
                let vectors = teacher.teach(&all, examples.len(), &mut targets)?;
                self.aligns.then_some(vectors)
            }
            None => None,
        };
        let tokens = self.tokenize(&all)?;
        Ok(Texts { tokens, num_queries: examples.len(), targets, teacher })
    }
}
