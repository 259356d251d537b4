//! Fusion: several ranked lists for one query go in, one comes out.
//!
//! [`reciprocal_rank_fusion`] looks at ranks alone, so scores need not be comparable. [`weighted_sum`] looks at
//! scores. Both functions are pure, and the order of the lists does not matter. The result is a total order: fused
//! score descending, then key descending. For document ids this is trec_eval's rule (byte order).
//!
//! ```
//! use secateur::fusion::{DEFAULT_RRF_K, RankedList, reciprocal_rank_fusion};
//!
//! let dense = [("d1", 0.83), ("d2", 0.79)];
//! let sparse = [("d2", 17.1), ("d3", 9.4)];
//! let lists = [RankedList::new(&dense), RankedList::new(&sparse)];
//! let fused = reciprocal_rank_fusion(&lists, DEFAULT_RRF_K)?;
//!
//! // d2 is in both lists; d1 is first in one and d3 second in the other.
//! assert_eq!(fused[0], ("d2", 1.0 / 62.0 + 1.0 / 61.0));
//! assert_eq!(fused[1], ("d1", 1.0 / 61.0));
//! assert_eq!(fused[2], ("d3", 1.0 / 62.0));
//! # Ok::<(), secateur::fusion::Error>(())
//! ```

mod tuning;

use std::collections::HashMap;
use std::hash::Hash;

use secateur_files::UnknownName;
use strum::{Display, EnumString, VariantNames};

pub use tuning::{FusionPoint, RankedRuns, fusion_curve};

/// The `k` of Cormack, Clarke and Büttcher, which they fixed in a pilot study.
pub const DEFAULT_RRF_K: f64 = 60.0;

/// How ranked lists become one.
///
/// ```
/// use secateur::fusion::{Fusion, RankedList};
///
/// let (dense, sparse) = ([("a", 0.9), ("b", 0.8), ("d", 0.1)], [("b", 12.0), ("c", 4.0)]);
/// let lists = [RankedList { weight: 0.25, ..RankedList::new(&dense) }, RankedList::new(&sparse)];
/// for fusion in Fusion::ALL {
///     assert_eq!(fusion.fuse(&lists)?[0].0, "b", "{fusion}");
/// }
/// assert_eq!("rrf".parse(), Ok(Fusion::default()));
/// # Ok::<(), secateur::fusion::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Display, EnumString, VariantNames, clap::ValueEnum)]
#[strum(parse_err_ty = UnknownName, parse_err_fn = unknown)]
pub enum Fusion {
    /// By ranks (Cormack et al. 2009).
    ///
    /// [`reciprocal_rank_fusion`] with [`DEFAULT_RRF_K`].
    #[default]
    #[strum(serialize = "rrf")]
    #[value(name = "rrf")]
    ReciprocalRank,
    /// By scores, as shares of each ranking's best.
    ///
    /// [`weighted_sum`]
    #[strum(serialize = "sum")]
    #[value(name = "sum")]
    WeightedSum,
}

fn unknown(found: &str) -> UnknownName {
    UnknownName::of::<Fusion>("a fusion", found)
}

impl Fusion {
    /// All of them.
    pub const ALL: [Fusion; 2] = [Fusion::ReciprocalRank, Fusion::WeightedSum];

    /// Fuses lists.
    ///
    /// # Errors
    ///
    /// As the function that the variant stands for.
    pub fn fuse<K: Ord + Hash + Clone>(self, lists: &[RankedList<'_, K>]) -> Result<Vec<(K, f64)>, Error> {
        match self {
            Fusion::ReciprocalRank => reciprocal_rank_fusion(lists, DEFAULT_RRF_K),
            Fusion::WeightedSum => weighted_sum(lists),
        }
    }
}

/// One retriever's answer to a query, and how much it counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RankedList<'a, K> {
    /// Keys (document ids, for instance) with their scores, best first; each key at most once.
    pub hits: &'a [(K, f64)],
    /// How much the list counts: finite, 0 or more. A list of weight 0 is left out.
    pub weight: f64,
}

impl<'a, K> RankedList<'a, K> {
    /// A list of weight 1.
    pub fn new(hits: &'a [(K, f64)]) -> Self {
        RankedList { hits, weight: 1.0 }
    }
}

/// Why lists could not be fused. Lists and ranks are counted from 1.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The evaluation that a fusion is chosen by.
    #[error(transparent)]
    Eval(#[from] crate::eval::Error),

    /// The constant of reciprocal rank fusion is negative or not a number.
    #[error(
        "reciprocal rank fusion with k = {k}: expected a finite number, 0 or more, such as {DEFAULT_RRF_K}"
    )]
    InvalidK {
        /// What was given.
        k: f64,
    },

    /// A weight is negative or not a number.
    #[error("list {list} has the weight {weight}: expected a finite number, 0 or more")]
    InvalidWeight {
        /// Which list.
        list: usize,
        /// What was given.
        weight: f64,
    },

    /// A score that cannot be added up.
    #[error("list {list} has the score {score} at rank {rank}: expected a finite number")]
    NonFiniteScore {
        /// Which list.
        list: usize,
        /// The rank in it.
        rank: usize,
        /// NaN or an infinity.
        score: f64,
    },

    /// A list holds a key twice, which would count it twice.
    #[error(
        "list {list} repeats at rank {rank} a document that it has at a better rank; keep the first only"
    )]
    RepeatedKey {
        /// Which list.
        list: usize,
        /// The rank of the repetition.
        rank: usize,
    },
}

/// Reciprocal rank fusion: the score of a key is Σ weight / (`k` + rank) over the lists that hold it, with ranks from
/// 1.
///
/// Scores are not looked at. The larger `k` is, the less the first ranks stand out; [`DEFAULT_RRF_K`] is usual.
///
/// Cormack, Clarke and Büttcher: Reciprocal rank fusion outperforms Condorcet and individual rank learning methods.
/// SIGIR 2009; the weights are a common addition, all 1 in the paper.
///
/// # Errors
///
/// [`Error::InvalidK`], [`Error::InvalidWeight`], [`Error::RepeatedKey`].
///
/// ```
/// use secateur::fusion::{RankedList, reciprocal_rank_fusion};
///
/// let first = [("a", 2.0), ("b", 1.0)];
/// let second = [("b", 2.0), ("a", 1.0)];
/// let lists = [RankedList::new(&first), RankedList { weight: 3.0, ..RankedList::new(&second) }];
/// let fused = reciprocal_rank_fusion(&lists, 0.0)?;
/// assert_eq!(fused, [("b", 3.0 + 0.5), ("a", 1.0 + 1.5)]);
/// # Ok::<(), secateur::fusion::Error>(())
/// ```
pub fn reciprocal_rank_fusion<K: Ord + Hash + Clone>(
    lists: &[RankedList<'_, K>],
    k: f64,
) -> Result<Vec<(K, f64)>, Error> {
    if !(k.is_finite() && k >= 0.0) {
        return Err(Error::InvalidK { k });
    }
    fuse(lists, |list| (0..list.hits.len()).map(|i| 1.0 / (k + i as f64 + 1.0)).collect())
}

/// Weighted sum of scores. The score of a key is Σ weight · (score - least) / (greatest - least) over the lists.
///
/// Normalization makes cosines and BM25 scores comparable. `least` is 0, or the list's least score if that is negative.
/// BM25 scores and the cosines that matter are not: so what is at the end of a list does not count as nothing. If all
/// scores of a list are 0, or equal and negative, each becomes 1.
///
/// A list adds 0 to a key that it lacks. That is right of a list of words, where the key has none of them. Cosines are
/// better of all keys: [`Database`](crate::Database) computes those that a list of the best lacks.
///
/// Fox and Shaw: Combination of multiple searches (CombSUM). TREC-2, 1994. Bruch, Gai and Ingber: An analysis of fusion
/// functions for hybrid retrieval. TOIS 2023: normalization from the least score that there can be.
///
/// # Errors
///
/// [`Error::InvalidWeight`], [`Error::NonFiniteScore`], [`Error::RepeatedKey`].
///
/// ```
/// use secateur::fusion::{RankedList, weighted_sum};
///
/// let dense = [("a", 0.9), ("b", 0.8), ("c", 0.5)];
/// let sparse = [("c", 12.0), ("a", 4.0)];
/// let dense = RankedList { weight: 0.75, ..RankedList::new(&dense) };
/// let lists = [dense, RankedList { weight: 0.25, ..RankedList::new(&sparse) }];
/// let fused = weighted_sum(&lists)?;
/// assert_eq!(fused[0], ("a", 0.25 * (4.0 / 12.0) + 0.75));
/// assert_eq!(fused[1], ("c", 0.25 + 0.75 * (0.5 / 0.9)));
/// assert_eq!(fused[2], ("b", 0.75 * (0.8 / 0.9)));
/// # Ok::<(), secateur::fusion::Error>(())
/// ```
pub fn weighted_sum<K: Ord + Hash + Clone>(lists: &[RankedList<'_, K>]) -> Result<Vec<(K, f64)>, Error> {
    for (l, list) in lists.iter().enumerate() {
        if let Some(i) = list.hits.iter().position(|(_, score)| !score.is_finite()) {
            return Err(Error::NonFiniteScore { list: l + 1, rank: i + 1, score: list.hits[i].1 });
        }
    }
    fuse(lists, |list| {
        let scores = || list.hits.iter().map(|(_, score)| *score);
        let least = scores().fold(0.0, f64::min);
        let greatest = scores().fold(f64::NEG_INFINITY, f64::max);
        // Halves, because the difference may exceed the largest f64.
        let range = greatest / 2.0 - least / 2.0;
        let normalized = |score: f64| if range > 0.0 { (score / 2.0 - least / 2.0) / range } else { 1.0 };
        scores().map(normalized).collect()
    })
}

/// Adds up each list's `contributions` to its hits, times the list's weight, and ranks the keys of all lists.
fn fuse<K: Ord + Hash + Clone>(
    lists: &[RankedList<'_, K>],
    contributions: impl Fn(&RankedList<'_, K>) -> Vec<f64>,
) -> Result<Vec<(K, f64)>, Error> {
    for (l, list) in lists.iter().enumerate() {
        if !(list.weight.is_finite() && list.weight >= 0.0) {
            return Err(Error::InvalidWeight { list: l + 1, weight: list.weight });
        }
    }
    let mut places: HashMap<&K, usize> =
        HashMap::with_capacity(lists.iter().map(|list| list.hits.len()).sum());
    let mut named: Vec<Named<'_, K>> = Vec::new();
    // What each list adds to each key of `named`.
    let mut terms: Vec<f64> = Vec::new();
    for (l, list) in lists.iter().enumerate() {
        for (i, ((key, _), added)) in list.hits.iter().zip(contributions(list)).enumerate() {
            let place = *places.entry(key).or_insert(named.len());
            if place == named.len() {
                named.push(Named { key, last: None, counts: false });
                terms.resize(terms.len() + lists.len(), 0.0);
            }
            let entry = &mut named[place];
            if entry.last.replace(l) == Some(l) {
                return Err(Error::RepeatedKey { list: l + 1, rank: i + 1 });
            }
            entry.counts |= list.weight > 0.0;
            terms[place * lists.len() + l] = list.weight * added;
        }
    }
    let mut fused = Vec::with_capacity(named.len());
    for (place, entry) in named.iter().enumerate().filter(|(_, entry)| entry.counts) {
        let terms = &mut terms[place * lists.len()..][..lists.len()];
        // Rounding depends on the order of a sum; sorted terms make it independent of the order of the lists.
        terms.sort_unstable_by(f64::total_cmp);
        fused.push((entry.key.clone(), terms.iter().fold(0.0, |sum, term| sum + term)));
    }
    fused.sort_unstable_by(|(key_a, score_a), (key_b, score_b)| {
        score_b.total_cmp(score_a).then_with(|| key_b.cmp(key_a))
    });
    Ok(fused)
}

/// A key that lists name.
struct Named<'a, K> {
    key: &'a K,
    /// The list that named it last.
    last: Option<usize>,
    /// Whether a list with a weight names it.
    counts: bool,
}

#[cfg(test)]
mod tests;
