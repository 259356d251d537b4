//! Evaluation: a run and the judgments go in, the field's measures come out.
//!
//! Values are trec_eval's. Documents are ranked by score descending; equal scores are ordered by document id,
//! descending in byte order (`form_res_rels.c`). A document is relevant from relevance 1 on. Unjudged documents and
//! negative judgments are not relevant and gain nothing. What else evaluation tools disagree about is a [`RuleSet`].
//!
//! Everything here is pure: the same input gives the same output, and arguments are unchanged.
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use secateur::eval::{Measure, RuleSet, evaluate};
//! use secateur_datasets::{Qrels, Run, ScoredDocument};
//!
//! let hit = |doc_id: &str, score: f64| ScoredDocument { doc_id: doc_id.to_owned(), score };
//! let qrels: Qrels = BTreeMap::from([("q1".to_owned(), BTreeMap::from([("d1".to_owned(), 1), ("d2".to_owned(), 0)]))]);
//! let run: Run = BTreeMap::from([("q1".to_owned(), vec![hit("d2", 0.9), hit("d1", 0.7)])]);
//!
//! let measures: Vec<Measure> = vec!["nDCG@10".parse()?, "MRR@10".parse()?];
//! let evaluation = evaluate(&qrels, &run, &measures, &RuleSet::TrecEval.rules(false))?;
//!
//! // The one relevant document is at rank 2: its gain 1 is discounted by log2(3), and its reciprocal rank is 1/2.
//! assert_eq!(evaluation.mean(measures[0]), Some(1.0 / 3.0_f64.log2()));
//! assert_eq!(evaluation.mean(measures[1]), Some(0.5));
//! # Ok::<(), secateur::eval::Error>(())
//! ```

mod average_precision;
mod check;
mod error;
mod evaluation;
mod measure;
mod ndcg;
mod precision;
mod ranking;
mod recall;
mod reciprocal_rank;
mod rules;

pub use check::check_ids;
pub use error::Error;
pub use evaluation::{Evaluation, QueryCounts, evaluate};
pub use measure::Measure;
pub use rules::{MissingQueries, RuleSet, Rules, ScorePrecision};
