//! What a bench is asked for.

use std::path::PathBuf;

use secateur_encoders::LoadOptions;

use super::environment::Program;
use super::index_spec::IndexSpec;
use crate::database::EncoderSource;
use crate::error::{Error, Result};
use crate::eval::RuleSet;
use crate::options::above_zero;
use crate::search::SearchMode;

/// The most clients: each is a thread.
const MAX_CLIENTS: usize = 1024;

/// The most times that a query is answered under each load.
const MAX_REPETITIONS: usize = 1000;

/// A data set of a bench.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BenchDataset {
    /// A BEIR folder. Without judgments its queries are those of an application.
    pub path: PathBuf,
    /// What it is called; the folder's name unless given.
    pub name: Option<String>,
    /// The data set that it is a part of, whose score is the mean of its parts' scores.
    pub part_of: Option<String>,
}

impl From<PathBuf> for BenchDataset {
    fn from(path: PathBuf) -> BenchDataset {
        BenchDataset { path, name: None, part_of: None }
    }
}

/// An encoder of a bench.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BenchEncoder {
    /// What it is called; no two encoders of a bench share a name.
    pub name: String,
    /// Where it is.
    pub source: EncoderSource,
}

/// A cross-encoder that ranks the best documents anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BenchReranker {
    /// Its directory.
    pub model: PathBuf,
    /// How it is loaded.
    pub options: LoadOptions,
    /// How many documents of each query it reads.
    pub top: usize,
}

/// What a bench is asked for: every data set with every encoder, index and mode.
#[derive(Clone, Debug, PartialEq)]
pub struct BenchOptions {
    /// The data sets, done one after the other.
    pub datasets: Vec<BenchDataset>,
    /// The split of the judgments; unless given, the one that results are reported on.
    pub split: Option<String>,
    /// The encoders. The others are compared with the first.
    pub encoders: Vec<BenchEncoder>,
    /// How vectors are indexed.
    pub indexes: Vec<IndexSpec>,
    /// Which index answers.
    pub modes: Vec<SearchMode>,
    /// What ranks the best documents anew, if anything does.
    pub reranker: Option<BenchReranker>,
    /// The rules of the evaluation.
    pub rules: RuleSet,
    /// The most queries of a data set that are answered; all unless given.
    pub max_queries: Option<usize>,
    /// Documents asked for in timed searches. Measures look at 100 in any case.
    pub k: usize,
    /// The most queries of a data set that are timed.
    pub timed_queries: usize,
    /// Queries that are answered before any is timed.
    pub warm_up: usize,
    /// How often each timed query is answered under each load.
    pub repetitions: usize,
    /// Clients of the second closed loop; as many as there are threads, and at least two, unless given.
    pub concurrency: Option<usize>,
    /// Queries a second of the open loop; half of what the second closed loop answers unless given.
    pub rate: Option<f64>,
    /// Decides which queries are timed, and the order of queries and cells.
    pub seed: u64,
    /// The latency that a recommendation keeps at the 95th percentile, in milliseconds.
    pub within: f64,
    /// Whether the databases of a data set are removed when it is done.
    pub discard: bool,
    /// What was asked for in words, for the report.
    pub command: String,
    /// The program that measures, for the report.
    pub program: Program,
}

impl Default for BenchOptions {
    fn default() -> BenchOptions {
        BenchOptions {
            datasets: Vec::new(),
            split: None,
            encoders: Vec::new(),
            indexes: Vec::new(),
            modes: SearchMode::ALL.to_vec(),
            reranker: None,
            rules: RuleSet::Mteb,
            max_queries: None,
            k: 10,
            timed_queries: 200,
            warm_up: 20,
            repetitions: 3,
            concurrency: None,
            rate: None,
            seed: 0,
            within: 100.0,
            discard: false,
            command: String::new(),
            program: Program::default(),
        }
    }
}

impl BenchOptions {
    /// Clients of the second closed loop.
    pub(super) fn clients(&self) -> usize {
        self.concurrency.unwrap_or_else(|| rayon::current_num_threads().max(2))
    }

    /// Documents that the reranker reads.
    pub(super) fn reranker_top(&self) -> usize {
        self.reranker.as_ref().map_or(0, |reranker| reranker.top)
    }

    /// Whether vectors are searched at all.
    pub(super) fn has_vectors(&self) -> bool {
        self.modes.iter().any(|mode| *mode != SearchMode::Bm25)
    }

    /// What contradicts itself is found before anything is done.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`], which names the option.
    pub fn check(&self) -> Result<()> {
        let wrong = |option: &'static str, problem: &str| Err(Error::option(option, problem));
        if self.datasets.is_empty() {
            let problem = "there is none: name at least one".to_owned();
            return Err(Error::BenchDataset { name: "data sets".to_owned(), problem });
        }
        if self.modes.is_empty() {
            return wrong("modes", "name at least one of dense, bm25 and hybrid");
        }
        if self.has_vectors() && self.encoders.is_empty() {
            return wrong("encoders", "dense and hybrid searches need one, or say --modes bm25");
        }
        if self.has_vectors() && self.indexes.is_empty() {
            return wrong("indexes", "dense and hybrid searches need one, such as flat");
        }
        if !self.has_vectors() && !self.encoders.is_empty() {
            return wrong("encoders", "bm25 has no use for them: leave them out, or name another mode");
        }
        for (number, encoder) in self.encoders.iter().enumerate() {
            if self.encoders[..number].iter().any(|other| other.name == encoder.name) {
                let problem = format!("two are called {:?}: name one as NAME=MODEL", encoder.name);
                return wrong("encoders", &problem);
            }
        }
        for (number, index) in self.indexes.iter().enumerate() {
            if let Some(other) = self.indexes[..number].iter().find(|other| other.is_same(index)) {
                return wrong("indexes", &format!("{other} and {index} are one index: name it once"));
            }
        }
        for (number, mode) in self.modes.iter().enumerate() {
            if self.modes[..number].contains(mode) {
                return wrong("modes", &format!("{mode} is named twice"));
            }
        }
        for (option, number) in [
            ("k", self.k),
            ("timed-queries", self.timed_queries),
            ("repetitions", self.repetitions),
            ("concurrency", self.clients()),
            ("max-queries", self.max_queries.unwrap_or(1)),
            ("rerank-top", self.reranker.as_ref().map_or(1, |reranker| reranker.top)),
        ] {
            if number == 0 {
                return wrong(option, "expected at least 1");
            }
        }
        for (option, number, most) in [
            ("k", self.k, 100),
            ("concurrency", self.clients(), MAX_CLIENTS),
            ("repetitions", self.repetitions, MAX_REPETITIONS),
        ] {
            if number > most {
                return wrong(option, &format!("expected at most {most}"));
            }
        }
        above_zero("rate", self.rate.unwrap_or(1.0))?;
        above_zero("within", self.within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contradictions_are_named() {
        let encoder = |name: &str| BenchEncoder {
            name: name.to_owned(),
            source: EncoderSource { model: "m".to_owned(), options: LoadOptions::default() },
        };
        let sound = BenchOptions {
            datasets: vec![PathBuf::from("d").into()],
            encoders: vec![encoder("a"), encoder("b")],
            indexes: vec!["flat".parse().unwrap()],
            ..BenchOptions::default()
        };
        sound.check().unwrap();
        let with = |change: &dyn Fn(&mut BenchOptions)| {
            let mut options = sound.clone();
            change(&mut options);
            options.check().unwrap_err().to_string()
        };
        for (change, parts) in [
            (&(|o: &mut BenchOptions| o.datasets.clear()) as &dyn Fn(&mut BenchOptions), "data sets: "),
            (&|o| o.encoders.clear(), "encoders: dense and hybrid searches need one"),
            (&|o| o.indexes.clear(), "indexes: "),
            (&|o| o.modes = vec![SearchMode::Bm25], "bm25 has no use"),
            (&|o| o.encoders.push(encoder("a")), "two are called \"a\""),
            (&|o| o.indexes.push("flat-f32".parse().unwrap()), "flat and flat-f32 are one index"),
            (&|o| o.modes.push(SearchMode::Dense), "modes: dense is named twice"),
            (&|o| o.repetitions = usize::MAX, "repetitions: expected at most 1000"),
            (&|o| o.concurrency = Some(100_000), "concurrency: expected at most 1024"),
            (&|o| o.repetitions = 0, "repetitions: expected at least 1"),
            (&|o| o.k = 101, "k: expected at most 100"),
            (&|o| o.rate = Some(0.0), "rate: expected a number above 0"),
            (&|o| o.within = f64::NAN, "within: "),
        ] {
            let message = with(change);
            assert!(message.contains(parts), "{message}");
        }
    }
}
