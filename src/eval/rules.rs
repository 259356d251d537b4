//! What evaluation tools disagree about.

use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};

use strum::{Display, EnumString};

use super::Error;

/// The rules of a known evaluation tool, by name.
///
/// | name | scores ranked as | judged queries missing from the run | document whose id is the query's | depth |
/// |---|---|---|---|---|
/// | `trec_eval` | f64 | count 0 | kept | all |
/// | `trec_eval-9` | f32 | count 0 | kept | all |
/// | `beir` | f32 | skipped | dropped | all |
/// | `mteb` | f32 | skipped | dropped for some data sets | 1,000 |
///
/// - `trec_eval` is version 10 as `trec_eval -c`. Without `-c` trec_eval skips missing queries, which makes a system
///   that finds nothing look better than one that finds little.
/// - `trec_eval-9` is version 9 as `trec_eval -c`. Versions up to 9, and pytrec_eval, hold scores as C floats. Scores
///   that differ by less than a float can hold become ties, and document ids break them.
/// - `beir` is `EvaluateRetrieval.evaluate` of BEIR, on pytrec_eval.
/// - `mteb` is `RetrievalEvaluator.evaluate` of MTEB 2. It gives pytrec_eval the first 1,000 documents. BEIR's and
///   MTEB's own MRR leave ties in the order of retrieval; here every measure breaks ties in the same way.
///
/// ```
/// use secateur::eval::{MissingQueries, RuleSet};
///
/// let rule_set: RuleSet = "beir".parse()?;
/// let rules = rule_set.rules(false);
/// assert!(rules.drop_identical_ids);
/// assert_eq!(rules.missing_queries, MissingQueries::Skip);
/// # Ok::<(), secateur::eval::Error>(())
/// ```
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Display, EnumString, clap::ValueEnum,
)]
#[strum(serialize_all = "kebab-case", parse_err_ty = Error, parse_err_fn = unknown)]
pub enum RuleSet {
    /// Version 10 of trec_eval with `-c`.
    #[default]
    #[strum(serialize = "trec_eval")]
    #[value(name = "trec_eval")]
    TrecEval,
    /// Version 9 of trec_eval with `-c`.
    #[strum(serialize = "trec_eval-9")]
    #[value(name = "trec_eval-9")]
    TrecEval9,
    /// BEIR's evaluation, on pytrec_eval.
    Beir,
    /// MTEB's evaluation, on pytrec_eval.
    Mteb,
}

fn unknown(text: &str) -> Error {
    Error::UnknownRuleSet { text: text.to_owned() }
}

impl RuleSet {
    /// All rule sets, the default first.
    pub const ALL: [RuleSet; 4] = [RuleSet::TrecEval, RuleSet::TrecEval9, RuleSet::Beir, RuleSet::Mteb];

    /// The rules of this set for one data set.
    ///
    /// `drop_identical_ids` says whether MTEB's task for the data set drops the document whose id is the query's.
    /// MTEB calls it `ignore_identical_ids`; ArguAna, Quora, FEVER, FiQA, MS MARCO and others have it. Only
    /// [`RuleSet::Mteb`] reads it: BEIR always drops such a document, trec_eval never.
    pub fn rules(self, drop_identical_ids: bool) -> Rules {
        let trec_eval = Rules {
            rule_set: self,
            score_precision: ScorePrecision::F64,
            missing_queries: MissingQueries::CountAsZero,
            drop_identical_ids: false,
            depth: None,
            relevance_level: NonZeroU32::MIN,
        };
        let pytrec_eval = Rules {
            score_precision: ScorePrecision::F32,
            missing_queries: MissingQueries::Skip,
            ..trec_eval
        };
        match self {
            RuleSet::TrecEval => trec_eval,
            RuleSet::TrecEval9 => Rules { score_precision: ScorePrecision::F32, ..trec_eval },
            RuleSet::Beir => Rules { drop_identical_ids: true, ..pytrec_eval },
            RuleSet::Mteb => Rules { drop_identical_ids, depth: NonZeroUsize::new(1000), ..pytrec_eval },
        }
    }
}

impl RuleSet {
    /// The rules of this set for a data set by its name, as the list of published data sets has it.
    pub fn rules_for(self, dataset: &str) -> Rules {
        let published = secateur_datasets::known_datasets::find(dataset);
        self.rules(published.is_some_and(|dataset| dataset.mteb_drops_identical_ids))
    }
}

/// The rules of one evaluation: a [`RuleSet`]'s, or a variation of them.
///
/// Printed, they name the rule set and say what it does.
///
/// ```
/// use secateur::eval::{RuleSet, Rules};
/// use std::num::NonZeroU32;
///
/// // The TREC Deep Learning passage track counts relevance 2 and above as relevant (trec_eval -l 2).
/// let rules = Rules { relevance_level: NonZeroU32::new(2).unwrap(), ..RuleSet::TrecEval.rules(false) };
/// assert_eq!(
///     rules.to_string(),
///     "trec_eval (f64 scores; missing queries count 0; identical ids kept; relevant from 2)"
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rules {
    /// The set that the rules were taken from.
    pub rule_set: RuleSet,
    /// How exactly scores are compared.
    pub score_precision: ScorePrecision,
    /// What becomes of judged queries that the run lacks.
    pub missing_queries: MissingQueries,
    /// Whether a document whose id equals the query's is taken out of the ranking. Some data sets use documents of
    /// the corpus as queries.
    pub drop_identical_ids: bool,
    /// How many documents of a ranking are looked at, before identical ids are dropped; all if `None`.
    pub depth: Option<NonZeroUsize>,
    /// The lowest relevance that counts as relevant (trec_eval's `-l`). nDCG gains by relevance whatever this is.
    pub relevance_level: NonZeroU32,
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing = match self.missing_queries {
            MissingQueries::CountAsZero => "count 0",
            MissingQueries::Skip => "skipped",
        };
        let identical = if self.drop_identical_ids { "dropped" } else { "kept" };
        write!(
            f,
            "{} ({} scores; missing queries {missing}; identical ids {identical}",
            self.rule_set, self.score_precision
        )?;
        if let Some(depth) = self.depth {
            write!(f, "; first {depth} documents")?;
        }
        if self.relevance_level > NonZeroU32::MIN {
            write!(f, "; relevant from {}", self.relevance_level)?;
        }
        f.write_str(")")
    }
}

/// How exactly scores are compared when documents are ranked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScorePrecision {
    /// Scores are rounded to f32 first, so that some become equal: trec_eval 9, pytrec_eval.
    F32,
    /// Scores are compared as they are: trec_eval 10.
    F64,
}

impl fmt::Display for ScorePrecision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            ScorePrecision::F32 => "f32",
            ScorePrecision::F64 => "f64",
        })
    }
}

/// What becomes of judged queries that the run lacks. A query that the run holds with an empty list is not missing:
/// it counts 0 in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MissingQueries {
    /// Every measure of theirs is 0.
    CountAsZero,
    /// The means leave them out.
    Skip,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_a_round_trip() {
        for rule_set in RuleSet::ALL {
            assert_eq!(rule_set.to_string().parse(), Ok(rule_set));
        }
        let error = "TREC".parse::<RuleSet>().unwrap_err();
        for rule_set in RuleSet::ALL {
            assert!(error.to_string().contains(&rule_set.to_string()), "{error}");
        }
    }

    #[test]
    fn only_mteb_asks_about_the_data_set() {
        for rule_set in RuleSet::ALL {
            let differs = rule_set.rules(false) != rule_set.rules(true);
            assert_eq!(differs, rule_set == RuleSet::Mteb, "{rule_set}");
        }
    }

    #[test]
    fn rules_say_what_they_do() {
        assert_eq!(
            RuleSet::Mteb.rules(true).to_string(),
            "mteb (f32 scores; missing queries skipped; identical ids dropped; first 1000 documents)"
        );
    }
}
