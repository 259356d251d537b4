//! Measuring the recall of searches, and the least ef for a recall.

use std::time::Instant;

use rayon::prelude::*;

use crate::error::{Error, Result};

/// The recall of searches with one ef. Recall is the share of the true k best that a search finds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recall {
    /// The ef in question.
    pub ef_search: usize,
    /// The mean over the queries.
    pub mean: f64,
    /// The 5th percentile over the queries: 19 in 20 have at least this recall (the nearest rank).
    pub percentile_5: f64,
    /// What a query took, in seconds: the time of all of them at once, divided by their number, taken once. `None`
    /// where it was read from a database, which does not keep it.
    pub seconds: Option<f64>,
}

/// What searches with a growing ef find, and the least ef that finds enough.
///
/// A database keeps it in a text form: k, the number of queries, and the ef that finds enough. For each point follow
/// the ef, the mean and the 5th percentile:
///
/// ```
/// use secateur_index::search::RecallCurve;
/// let text = "10 200 20 10:0.91:0.7 20:0.955:0.8";
/// let curve: RecallCurve = text.parse().unwrap();
/// assert_eq!((curve.k, curve.points[1].mean), (10, 0.955));
/// assert_eq!(curve.to_string(), text);
/// assert!("10 200 20 10:0.91".parse::<RecallCurve>().is_err());
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct RecallCurve {
    /// Hits asked for.
    pub k: usize,
    /// Queries asked.
    pub num_queries: usize,
    /// By ascending ef.
    pub points: Vec<Recall>,
    /// The least ef measured whose mean recall is at least the target.
    pub ef_search: usize,
}

impl std::fmt::Display for RecallCurve {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.k, self.num_queries, self.ef_search)?;
        self.points.iter().try_for_each(|Recall { ef_search, mean, percentile_5, .. }| {
            write!(f, " {ef_search}:{mean}:{percentile_5}")
        })
    }
}

/// A text that is no [`RecallCurve`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a recall curve")]
pub struct InvalidCurve;

impl std::str::FromStr for RecallCurve {
    type Err = InvalidCurve;

    fn from_str(text: &str) -> Result<RecallCurve, InvalidCurve> {
        fn number<T: std::str::FromStr>(text: Option<&str>) -> Result<T, InvalidCurve> {
            text.and_then(|text| text.parse().ok()).ok_or(InvalidCurve)
        }
        let mut words = text.split(' ');
        let [k, num_queries, ef_search] =
            [number(words.next())?, number(words.next())?, number(words.next())?];
        let point = |word: &str| {
            let mut parts = word.splitn(3, ':');
            let ef_search = number(parts.next())?;
            let (mean, percentile_5) = (number(parts.next())?, number(parts.next())?);
            Ok(Recall { ef_search, mean, percentile_5, seconds: None })
        };
        Ok(RecallCurve { k, num_queries, points: words.map(point).collect::<Result<_, _>>()?, ef_search })
    }
}

fn check_target(target: f64) -> Result<()> {
    if !(0.0..=1.0).contains(&target) {
        return Err(Error::InvalidParameter { name: "target", got: target, allowed: "0 to 1" });
    }
    Ok(())
}

/// Checks that there is something to measure.
pub(super) fn check(num_queries: usize, k: usize) -> Result<()> {
    for (name, got) in [("k", k), ("queries", num_queries)] {
        if got == 0 {
            return Err(Error::InvalidParameter { name, got: 0.0, allowed: "at least 1" });
        }
    }
    Ok(())
}

/// [`VectorSearch::tune`](super::VectorSearch::tune) of any search. `search` gives the scores of each query's hits with
/// an ef, best first. `truth` has those of the true `k` best. No ef is above twice `num_rows`.
///
/// ```
/// use secateur_index::Error;
/// use secateur_index::search::tune_scores;
///
/// // With an ef of 4 or more both true hits are found.
/// let search = |ef| Ok::<_, Error>(vec![vec![0.9, if ef < 4 { 0.1 } else { 0.8 }]]);
/// let curve = tune_scores(search, &[vec![0.9, 0.8]], 2, 1.0, 100)?;
/// assert_eq!((curve.ef_search, curve.points[0].mean), (4, 0.5));
/// # Ok::<(), Error>(())
/// ```
///
/// # Errors
/// Those of `search`. [`Error::InvalidParameter`] without queries, with k 0, or for a target outside 0 to 1.
pub fn tune_scores<E: From<Error>>(
    search: impl Fn(usize) -> Result<Vec<Vec<f32>>, E>,
    truth: &[Vec<f32>],
    k: usize,
    target: f64,
    num_rows: usize,
) -> Result<RecallCurve, E> {
    check_target(target)?;
    check(truth.len(), k)?;
    // The first search brings the index into the caches, which is not the cost of an ef.
    search(k)?;
    let mut points = Vec::new();
    let mut is_enough = |ef| -> Result<bool, E> {
        let point = measure(ef, || search(ef), truth)?;
        points.push(point);
        Ok(point.mean >= target)
    };
    let (mut low, mut high) = (0, k);
    // An ef of all rows compares all rows, so the recall is 1.
    while !is_enough(high)? && high < num_rows {
        (low, high) = (high, high.saturating_mul(2));
    }
    while low > 0 && high - low > (high / 8).max(1) {
        let middle = low.midpoint(high);
        if is_enough(middle)? {
            high = middle;
        } else {
            low = middle;
        }
    }
    points.sort_by_key(|point| point.ef_search);
    Ok(RecallCurve { k, num_queries: truth.len(), points, ef_search: high })
}

/// The recall of what searches with an ef found.
pub(super) fn measure<E>(
    ef_search: usize,
    search: impl FnOnce() -> Result<Vec<Vec<f32>>, E>,
    truth: &[Vec<f32>],
) -> Result<Recall, E> {
    let start = Instant::now();
    let found = search()?;
    let seconds = Some(start.elapsed().as_secs_f64() / truth.len() as f64);
    let mut shares: Vec<f64> = found
        .par_iter()
        .zip(truth)
        .map(|(found, truth)| {
            // A row as good as the last true one is as good an answer: only the row ids decide which of the two is
            // true.
            let last = truth.last().copied().unwrap_or(f32::INFINITY);
            let good = found.iter().filter(|score| **score >= last).count();
            if truth.is_empty() { 1.0 } else { good as f64 / truth.len() as f64 }
        })
        .collect();
    shares.sort_by(f64::total_cmp);
    let rank = shares.len().div_ceil(20) - 1;
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    Ok(Recall { ef_search, mean, percentile_5: shares[rank], seconds })
}
