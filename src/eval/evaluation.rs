//! The evaluation of a run.

use std::collections::BTreeMap;

use secateur_datasets::{Qrels, Run};

use super::check::check_lists;
use super::ranking::JudgedRanking;
use super::{Error, Measure, MissingQueries, Rules};

/// The measures of a run: per query, and their means.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The rules that were followed.
    pub rules: Rules,
    /// The measures, in the order in which they were asked for and in which all values are given.
    pub measures: Vec<Measure>,
    /// The arithmetic mean of each measure over [`per_query`](Self::per_query).
    pub means: Vec<f64>,
    /// `query_id -> the value of each measure`, for the queries that count.
    pub per_query: BTreeMap<String, Vec<f64>>,
    /// How many queries there were, and how many counted.
    pub counts: QueryCounts,
}

impl Evaluation {
    /// The mean of `measure`; `None` if it was not asked for.
    pub fn mean(&self, measure: Measure) -> Option<f64> {
        Some(self.means[self.position(measure)?])
    }

    /// The value of `measure` for a query; `None` if it was not asked for, or if the query does not count.
    pub fn value(&self, query_id: &str, measure: Measure) -> Option<f64> {
        Some(self.per_query.get(query_id)?[self.position(measure)?])
    }

    fn position(&self, measure: Measure) -> Option<usize> {
        self.measures.iter().position(|asked| *asked == measure)
    }
}

/// Numbers of queries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueryCounts {
    /// Queries with at least one judgment.
    pub judged: usize,
    /// Queries that the means are taken over.
    pub evaluated: usize,
    /// Judged queries that the run lacks.
    pub missing: usize,
    /// Queries of the run without a judgment; they are ignored.
    pub unjudged: usize,
}

impl QueryCounts {
    /// Judged queries that were left out of the means: the missing ones, under rules that skip them.
    pub fn skipped(&self) -> usize {
        self.judged - self.evaluated
    }
}

/// Evaluates `run` against `qrels`. The order of the lists in `run` has no meaning: documents are ranked by score.
///
/// A query counts if it has a judgment. If all its judgments are 0 or negative, it counts with 0 for every measure.
///
/// # Errors
///
/// - [`Error::NonFiniteScore`], [`Error::DuplicateDocument`]: a list of the run cannot be ranked.
/// - [`Error::NoJudgments`], [`Error::NoCommonQueries`]: there is nothing to average over.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use secateur::eval::{Error, Measure, RuleSet, evaluate};
/// use secateur_datasets::{Qrels, Run, ScoredDocument};
///
/// let judgments = BTreeMap::from([("d1".to_owned(), 2), ("d2".to_owned(), 1)]);
/// let qrels: Qrels = BTreeMap::from([("q1".to_owned(), judgments.clone()), ("q2".to_owned(), judgments)]);
/// let hit = |score: f64| ScoredDocument { doc_id: "d1".to_owned(), score };
/// let run: Run = BTreeMap::from([("q1".to_owned(), vec![hit(1.0)])]);
///
/// // q2 is missing from the run: trec_eval -c counts it as 0, BEIR skips it.
/// let recall: Measure = "Recall@10".parse()?;
/// let mean = |rule_set: RuleSet| evaluate(&qrels, &run, &[recall], &rule_set.rules(false))?.mean(recall).ok_or(Error::NoJudgments);
/// assert_eq!(mean(RuleSet::TrecEval)?, 0.25);
/// assert_eq!(mean(RuleSet::Beir)?, 0.5);
///
/// let run: Run = BTreeMap::from([("q1".to_owned(), vec![hit(f64::NAN)])]);
/// let error = evaluate(&qrels, &run, &Measure::DEFAULT, &RuleSet::TrecEval.rules(false)).unwrap_err();
/// assert!(matches!(error, Error::NonFiniteScore { .. }));
/// # Ok::<(), Error>(())
/// ```
pub fn evaluate(qrels: &Qrels, run: &Run, measures: &[Measure], rules: &Rules) -> Result<Evaluation, Error> {
    check_lists(run)?;
    let judged = || qrels.iter().filter(|(_, judgments)| !judgments.is_empty());
    let Some((first_judged, _)) = judged().next() else {
        return Err(Error::NoJudgments);
    };
    let num_judged = judged().count();
    let num_common = judged().filter(|(query_id, _)| run.contains_key(*query_id)).count();
    if num_common == 0 {
        return Err(Error::NoCommonQueries {
            judged: num_judged,
            first_judged: first_judged.clone(),
            in_run: run.len(),
            first_in_run: run.keys().next().cloned(),
        });
    }

    let mut per_query = BTreeMap::new();
    for (query_id, judgments) in judged() {
        let list = match (run.get(query_id), rules.missing_queries) {
            (Some(list), _) => list.as_slice(),
            (None, MissingQueries::CountAsZero) => &[],
            (None, MissingQueries::Skip) => continue,
        };
        let ranking = JudgedRanking::new(query_id, list, judgments, rules);
        let values: Vec<f64> = measures.iter().map(|measure| measure.value(&ranking)).collect();
        per_query.insert(query_id.clone(), values);
    }
    let means = (0..measures.len())
        .map(|m| per_query.values().map(|values: &Vec<f64>| values[m]).sum::<f64>() / per_query.len() as f64)
        .collect();
    let counts = QueryCounts {
        judged: num_judged,
        evaluated: per_query.len(),
        missing: num_judged - num_common,
        unjudged: run.len() - num_common,
    };
    Ok(Evaluation { rules: *rules, measures: measures.to_vec(), means, per_query, counts })
}
