//! Another encoder for a live database, if it is good enough.
//!
//! [`SwapOptions::swap`] adds a generation of the new encoder, and answers the queries of a data set with it and with
//! the one that serves. If the gate holds, the new one serves from then on. The old one stays, for
//! [`Database::restore_generation`](crate::Database::restore_generation). Whatever interrupts it, one of both
//! generations serves, and the same call goes on.
//!
//! ```
//! use std::sync::Arc;
//!
//! use secateur::datasets::beir::BeirFolder;
//! use secateur::encode::default_encoder;
//! use secateur::swap::SwapOptions;
//! use secateur::{Database, LoadOptions};
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("db");
//!
//! let mini = BeirFolder::open(concat!(env!("CARGO_MANIFEST_DIR"), "/datasets/mini"))?;
//! let whole = default_encoder(&LoadOptions::default())?;
//! let mut database = Database::builder(&path).encoder(whole).build_from(mini.corpus()?, |_| {})?;
//!
//! let short = default_encoder(&LoadOptions { max_length: Some(24), ..LoadOptions::default() })?;
//! let options = SwapOptions { name: Some("short".to_owned()), max_ndcg_drop: Some(0.1), ..SwapOptions::default() };
//! let report = options.swap(&mut database, &Arc::new(short), &mini, &mut |_| {})?;
//! assert!(report.is_switched, "{report}");
//! assert_eq!(Database::open(&path)?.generation_in_use(), Some("short"));
//! assert_eq!(database.restore_generation()?, "original");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod latency;
mod queries;
mod run;
mod text;

use std::path::PathBuf;

use serde::Serialize;

use crate::bench::Percentiles;
use crate::compare::{Comparison, MovedQuery};
use crate::database::EncoderSource;
use crate::error::{Error, Result};
use crate::eval::RuleSet;
use crate::number::three_digits;
use crate::options::gate_limits;
use crate::search::SearchMode;
use crate::statistics::Randomization;

/// How an encoder takes the place of another.
#[derive(Clone, Debug, PartialEq)]
pub struct SwapOptions {
    /// What the new generation is called. One of this name and encoder is used as it is. Unless given, one of this
    /// encoder is used, or a new one is made whose name is the encoder's.
    pub name: Option<String>,
    /// Where the new encoder can be loaded again; where it was loaded from, unless given.
    pub source: Option<EncoderSource>,
    /// How queries are answered: as searches are that do not say, unless given.
    pub mode: Option<SearchMode>,
    /// The split of the judgments; unless given, the one that results are reported on.
    pub split: Option<String>,
    /// The rules of the evaluation.
    pub rules: RuleSet,
    /// The most that the mean nDCG@10 may fall. It needs judgments.
    pub max_ndcg_drop: Option<f64>,
    /// The least mean share of the first ten documents that both generations find.
    pub min_overlap: Option<f64>,
    /// The most that the median latency of a query may be, as a multiple of that of the generation that serves.
    pub max_latency_ratio: Option<f64>,
    /// The most queries that are timed.
    pub timed_queries: usize,
    /// How often each of them is timed with either generation, in turns.
    pub repetitions: usize,
    /// Decides which queries are timed, and in which order.
    pub seed: u64,
    /// Fisher's test of the difference.
    pub randomization: Randomization,
}

impl Default for SwapOptions {
    /// MTEB's rules, 100 queries timed three times, and no gate yet: one must be given.
    fn default() -> SwapOptions {
        SwapOptions {
            name: None,
            source: None,
            mode: None,
            split: None,
            rules: RuleSet::Mteb,
            max_ndcg_drop: None,
            min_overlap: None,
            max_latency_ratio: None,
            timed_queries: 100,
            repetitions: 3,
            seed: 0,
            randomization: Randomization::default(),
        }
    }
}

/// What a swap found and did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SwapReport {
    /// The database.
    pub database: PathBuf,
    /// The data set whose queries were answered.
    pub dataset: String,
    /// The split of its judgments; `None` without judgments.
    pub split: Option<String>,
    /// How queries were answered: `dense` or `hybrid`.
    pub mode: String,
    /// The rules of the evaluation; `None` without judgments.
    pub rules: Option<String>,
    /// Queries that were answered.
    pub num_queries: usize,
    /// The generation that served, and the new one.
    pub generations: [SwapSide; 2],
    /// Whether the new generation was there already, and nothing had to be encoded.
    pub was_there: bool,
    /// How the quality differs; `None` without judgments.
    pub comparison: Option<Comparison>,
    /// The mean share of the first ten documents that both find.
    pub overlap_at_10: f64,
    /// The mean of Kendall's tau-b over the first ten of either.
    pub rank_correlation: f64,
    /// Without judgments: the queries whose answers changed most, by the share of the first ten that both find.
    pub changed: Vec<MovedQuery>,
    /// The new median latency over that of the generation that served.
    pub latency_ratio: f64,
    /// What is worse than allowed, a sentence each.
    pub breaches: Vec<String>,
    /// Whether the new generation is in use now.
    pub is_switched: bool,
}

/// One side of a swap.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SwapSide {
    /// The generation.
    pub generation: String,
    /// Its encoder.
    pub encoder: String,
    /// What makes it the encoder it is, in hexadecimal digits.
    pub fingerprint: String,
    /// The encoder's parameters, without any head.
    pub parameters: usize,
    /// The length of a vector.
    pub dim: usize,
    /// From a query's text to its documents with one client, in milliseconds.
    pub latency: Percentiles,
}

impl SwapOptions {
    /// What contradicts itself is found before anything is encoded.
    fn check(&self, is_judged: bool) -> Result<()> {
        let wrong = |option: &'static str, problem: &str| Err(Error::option(option, problem));
        if self.mode == Some(SearchMode::Bm25) {
            return wrong("mode", "words do not depend on the encoder: choose dense or hybrid");
        }
        match (is_judged, self.max_ndcg_drop, self.min_overlap) {
            (false, Some(_), _) => {
                let problem = "the data set has no judgments, so there is no nDCG: give --min-overlap in its place, the share \
                               of the first ten documents that must stay the same, such as 0.8";
                return wrong("max-ndcg-drop", problem);
            }
            (false, None, None) => {
                let problem = "the data set has no judgments: say which share of the first ten documents must stay the same, \
                               such as 0.8";
                return wrong("min-overlap", problem);
            }
            (true, None, None) => {
                return wrong("max-ndcg-drop", "say how much nDCG@10 may fall, such as 0.01");
            }
            _ => {}
        }
        if !is_judged && self.rules != SwapOptions::default().rules {
            return wrong(
                "rules",
                "the data set has no judgments, so nothing is measured by them: leave it out",
            );
        }
        gate_limits(self.max_ndcg_drop, self.max_latency_ratio)?;
        if self.min_overlap.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            return wrong("min-overlap", "expected a share, from 0 to 1");
        }
        for (option, number) in [("timed-queries", self.timed_queries), ("repetitions", self.repetitions)] {
            if number == 0 {
                return wrong(option, "expected at least 1");
            }
        }
        Ok(())
    }

    /// What is worse than allowed.
    fn breaches(&self, ndcg: Option<[f64; 2]>, overlap: f64, medians: [f64; 2]) -> Vec<String> {
        let mut breaches = Vec::new();
        if let (Some(most), Some([old, new])) = (self.max_ndcg_drop, ndcg)
            && old - new > most
        {
            breaches.push(format!("nDCG@10 falls from {old:.4} to {new:.4}, by more than {most}"));
        }
        if let Some(least) = self.min_overlap.filter(|least| overlap < *least) {
            breaches
                .push(format!("{overlap:.4} of the first ten documents stay the same, less than {least}"));
        }
        let [old, new] = medians;
        if let Some(most) = self.max_latency_ratio.filter(|most| new > old * most) {
            breaches.push(format!(
                "a median query takes {} ms, more than {most} times the {} ms of now",
                three_digits(new),
                three_digits(old)
            ));
        }
        breaches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_that_contradict_themselves_are_named() {
        let judged = SwapOptions { max_ndcg_drop: Some(0.01), ..SwapOptions::default() };
        judged.check(true).unwrap();
        let refused = |options: SwapOptions, is_judged| options.check(is_judged).unwrap_err().to_string();
        assert!(refused(SwapOptions::default(), true).starts_with("max-ndcg-drop: say how much"));
        assert!(refused(SwapOptions::default(), false).starts_with("min-overlap: the data set has no"));
        assert!(refused(judged.clone(), false).starts_with("max-ndcg-drop: the data set has no judgments"));
        for (options, part) in [
            (SwapOptions { max_ndcg_drop: Some(f64::NAN), ..judged.clone() }, "max-ndcg-drop: expected"),
            (SwapOptions { min_overlap: Some(1.5), ..judged.clone() }, "min-overlap: expected"),
            (SwapOptions { max_latency_ratio: Some(0.0), ..judged.clone() }, "max-latency-ratio: expected"),
            (SwapOptions { repetitions: 0, ..judged.clone() }, "repetitions: expected"),
            (SwapOptions { mode: Some(SearchMode::Bm25), ..judged.clone() }, "mode: words"),
        ] {
            assert!(refused(options, true).starts_with(part), "{part}");
        }
    }

    #[test]
    fn a_gate_holds_at_its_limit_and_not_beyond() {
        let options = SwapOptions {
            max_ndcg_drop: Some(0.25),
            min_overlap: Some(0.5),
            max_latency_ratio: Some(2.0),
            ..SwapOptions::default()
        };
        assert_eq!(options.breaches(Some([0.75, 0.5]), 0.5, [1.0, 2.0]), [""; 0]);
        assert_eq!(options.breaches(None, 0.5, [1.0, 2.0]), [""; 0]);
        assert_eq!(options.breaches(Some([0.75, 0.4]), 0.4, [1.0, 2.5]).len(), 3);
        // A drop below 0 asks for a gain.
        let gain = SwapOptions { max_ndcg_drop: Some(-0.1), ..SwapOptions::default() };
        assert_eq!(gain.breaches(Some([0.5, 0.55]), 0.0, [1.0, 9.0]).len(), 1);
    }
}
