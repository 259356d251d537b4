//! Several runs of the same queries compared: whether they differ, by how much, and on which queries.

mod agreement;
mod moved;
mod text;

use std::collections::HashMap;

use secateur_datasets::beir::BeirFolder;
use secateur_datasets::{Qrels, Run};
use serde::{Serialize, Serializer};

pub(crate) use agreement::RunAgreement;
pub(crate) use moved::Telling;
pub use moved::{Answer, MovedQuery, describe};

use crate::error::{Error, Result};
use crate::eval::{Evaluation, Measure, Rules, evaluate};
use crate::statistics::{Randomization, TTest, holm, paired_t_test};

/// How runs are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompareOptions {
    /// Fisher's randomization test.
    pub randomization: Randomization,
    /// How many queries are shown, those first that moved most by the first measure.
    pub moved: usize,
    /// How many documents of either answer are shown for each.
    pub answers: usize,
}

impl Default for CompareOptions {
    /// 100,000 permutations, five queries with five documents each.
    fn default() -> CompareOptions {
        CompareOptions { randomization: Randomization::default(), moved: 5, answers: 5 }
    }
}

/// Runs compared with the first of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// How many queries all runs have a value for. Means are over these.
    pub num_queries: usize,
    /// What is measured, in the order of all values.
    #[serde(serialize_with = "names")]
    pub measures: Vec<Measure>,
    /// The runs, in the order in which they were given.
    pub runs: Vec<ComparedRun>,
    /// Each of the other runs against the first.
    pub against_first: Vec<Against>,
}

/// A run's means.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedRun {
    /// What the run is called.
    pub name: String,
    /// The mean of each measure.
    pub means: Vec<f64>,
}

/// A run against the first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Against {
    /// What the run is called.
    pub name: String,
    /// By each measure.
    pub by_measure: Vec<Difference>,
    /// Where the two differ most by the first measure, most first.
    pub moved: Vec<MovedQuery>,
}

/// How a run differs from the first by a measure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The measure.
    #[serde(serialize_with = "name")]
    pub measure: Measure,
    /// Its mean less that of the first run: above 0 the run is better.
    pub mean: f64,
    /// Queries on which the run is better.
    pub wins: usize,
    /// Queries on which both are equal.
    pub ties: usize,
    /// Queries on which the first run is better.
    pub losses: usize,
    /// Student's t-test of pairs. There is none of one query, or if all are ties.
    pub t_test: Option<TTest>,
    /// The probability of Fisher's randomization test, two-sided.
    pub randomization: f64,
    /// The probability of the t-test, adjusted for as many tests of the measure as there are runs beside the first.
    pub t_test_holm: Option<f64>,
    /// That of the randomization test, adjusted in the same way.
    pub randomization_holm: f64,
}

fn name<S: Serializer>(measure: &Measure, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(measure)
}

fn names<S: Serializer>(measures: &[Measure], serializer: S) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_seq(measures.iter().map(Measure::to_string))
}

impl CompareOptions {
    /// Compares runs with the first of them, by judgments.
    ///
    /// ```
    /// use secateur::compare::CompareOptions;
    /// use secateur::datasets::{Qrels, Run, ScoredDocument};
    /// use secateur::eval::{Measure, RuleSet};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let run = |scores: [f64; 2]| -> Run {
    ///     let hits = |first: &f64| [("a", *first), ("b", 0.5)].map(|(id, score)| ScoredDocument { doc_id: id.into(), score });
    ///     (1..).zip(&scores).map(|(query, first)| (format!("q{query}"), hits(first).into())).collect()
    /// };
    /// let judgments = [("a".to_owned(), 1)].into();
    /// let qrels = Qrels::from([("q1".into(), judgments), ("q2".into(), [("b".to_owned(), 1)].into())]);
    /// let runs = [("before", run([0.1, 0.1])), ("after", run([0.9, 0.1]))];
    /// let measures = ["MRR@10".parse::<Measure>()?];
    ///
    /// let runs: Vec<(&str, &Run)> = runs.iter().map(|(name, run)| (*name, run)).collect();
    /// let compared = CompareOptions::default().compare(&runs, &qrels, &measures, &RuleSet::TrecEval.rules(false))?;
    /// let difference = &compared.against_first[0].by_measure[0];
    /// assert_eq!((difference.mean, difference.wins, difference.ties, difference.losses), (0.25, 1, 1, 0));
    /// assert_eq!(compared.against_first[0].moved[0].query_id, "q1");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// There are fewer than two runs, or no measure; a run cannot be evaluated; the rules leave no query that all runs
    /// have.
    pub fn compare(
        &self,
        runs: &[(&str, &Run)],
        qrels: &Qrels,
        measures: &[Measure],
        rules: &Rules,
    ) -> Result<Comparison> {
        if runs.len() < 2 || measures.is_empty() {
            return Err(Error::option("runs", "a comparison takes two runs or more, and a measure"));
        }
        let evaluations = runs
            .iter()
            .map(|(_, run)| evaluate(qrels, run, measures, rules))
            .collect::<Result<Vec<_>, _>>()?;
        let common = common_queries(&evaluations);
        if common.is_empty() {
            let problem = format!("{} and the others have no judged query in common", runs[0].0);
            return Err(Error::option("runs", problem));
        }
        let values = |evaluation: &Evaluation, measure: usize| -> Vec<f64> {
            common.iter().map(|query_id| evaluation.per_query[*query_id][measure]).collect()
        };
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let mut against: Vec<Against> = Vec::new();
        for (run, evaluation) in runs.iter().zip(&evaluations).skip(1) {
            let by_measure = (0..measures.len()).map(|at| {
                let (first, second) = (values(&evaluations[0], at), values(evaluation, at));
                self.difference(measures[at], &first, &second)
            });
            against.push(Against {
                name: run.0.to_owned(),
                by_measure: by_measure.collect(),
                moved: self.moved([&runs[0], run].map(|run| run.1), [&evaluations[0], evaluation], qrels),
            });
        }
        adjust(&mut against);
        let runs = runs.iter().zip(&evaluations).map(|((name, _), evaluation)| ComparedRun {
            name: (*name).to_owned(),
            means: (0..measures.len()).map(|at| mean(&values(evaluation, at))).collect(),
        });
        Ok(Comparison {
            num_queries: common.len(),
            measures: measures.to_vec(),
            runs: runs.collect(),
            against_first: against,
        })
    }

    /// The queries that differ most by the first measure.
    fn moved(&self, runs: [&Run; 2], [first, second]: [&Evaluation; 2], qrels: &Qrels) -> Vec<MovedQuery> {
        let telling = Telling {
            queries: self.moved,
            answers: self.answers,
            qrels: Some(qrels),
            drop_identical_ids: first.rules.drop_identical_ids,
        };
        let values = first.per_query.iter().filter_map(|(query_id, values)| {
            Some((query_id, [values[0], second.per_query.get(query_id)?[0]]))
        });
        telling.moved(runs, values)
    }

    fn difference(&self, measure: Measure, first: &[f64], second: &[f64]) -> Difference {
        let differences: Vec<f64> = second.iter().zip(first).map(|(second, first)| second - first).collect();
        let count = |is: fn(&f64) -> bool| differences.iter().filter(|difference| is(difference)).count();
        let t_test = paired_t_test(&differences);
        let randomization = self.randomization.p(&differences).unwrap_or(1.0);
        Difference {
            measure,
            mean: differences.iter().sum::<f64>() / differences.len() as f64,
            wins: count(|difference| *difference > 0.0),
            ties: count(|difference| *difference == 0.0),
            losses: count(|difference| *difference < 0.0),
            t_test,
            randomization,
            t_test_holm: t_test.map(|test| test.p),
            randomization_holm: randomization,
        }
    }
}

impl Comparison {
    /// The queries that are told of, to be [described](describe).
    pub fn moved_mut(&mut self) -> impl Iterator<Item = &mut MovedQuery> {
        self.against_first.iter_mut().flat_map(|against| &mut against.moved)
    }

    /// Gives the queries that are told of, and the documents of their answers, the texts of a data set.
    ///
    /// # Errors
    ///
    /// The data set's queries or its corpus cannot be read.
    pub fn add_texts(&mut self, dataset: &BeirFolder) -> Result<()> {
        let mut queries: HashMap<String, String> = HashMap::new();
        for query in dataset.queries()? {
            let query = query?;
            queries.insert(query.id, query.text);
        }
        let documents = |ids: &[&str]| Ok(dataset.documents_by_id(ids.iter().copied())?);
        describe(self.moved_mut(), documents, |id| queries.get(id).cloned())
    }
}

/// The queries that each evaluation has, in order.
fn common_queries(evaluations: &[Evaluation]) -> Vec<&String> {
    let (first, others) = evaluations.split_first().expect("there are two runs or more");
    first.per_query.keys().filter(|id| others.iter().all(|other| other.per_query.contains_key(*id))).collect()
}

/// Adjusts the probabilities of each measure for the number of runs. A test that there is not counts as one of p = 1.
fn adjust(against: &mut [Against]) {
    for at in 0..against.first().map_or(0, |one| one.by_measure.len()) {
        let of = |p: fn(&Difference) -> f64| -> Vec<f64> {
            holm(&against.iter().map(|one| p(&one.by_measure[at])).collect::<Vec<f64>>())
        };
        let t_tests = of(|difference| difference.t_test.map_or(1.0, |test| test.p));
        let randomizations = of(|difference| difference.randomization);
        for ((one, t_test), randomization) in against.iter_mut().zip(t_tests).zip(randomizations) {
            let difference = &mut one.by_measure[at];
            difference.t_test_holm = difference.t_test.map(|_| t_test);
            difference.randomization_holm = randomization;
        }
    }
}
