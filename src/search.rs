//! What a search is asked for, and what it answers.

mod asked;
mod explanation;
mod ranking;
mod snippet;

use secateur_encoders::Encoder;
use secateur_files::UnknownName;
use secateur_index::bm25::Bm25Params;
use secateur_index::filter::Filter;
use strum::{Display, EnumString, VariantNames};

use crate::fusion::Fusion;

pub use asked::{Asked, Words};
pub use explanation::{Explanation, Place, SearchTimes, Sides};
pub use ranking::Ranking;
pub(crate) use ranking::{Lists, run_of};
pub use snippet::{Snippet, snippet};

/// Which index answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumString, VariantNames, clap::ValueEnum)]
#[strum(serialize_all = "kebab-case", parse_err_ty = UnknownName, parse_err_fn = unknown)]
pub enum SearchMode {
    /// The vectors: the query is encoded and compared with every document's vector.
    Dense,
    /// The words: BM25.
    Bm25,
    /// Both, their rankings fused.
    Hybrid,
}

impl SearchMode {
    /// All of them.
    pub const ALL: [SearchMode; 3] = [SearchMode::Dense, SearchMode::Bm25, SearchMode::Hybrid];
}

fn unknown(found: &str) -> UnknownName {
    UnknownName::of::<SearchMode>("a search mode", found)
}

/// How to search.
///
/// ```
/// use secateur::{SearchMode, SearchParams};
/// let filter = "year >= 2015 and not retracted".parse()?;
/// let params = SearchParams { k: 3, filter: Some(filter), ..SearchParams::new(SearchMode::Hybrid) };
/// assert_eq!((params.k, params.num_candidates), (3, None));
/// # Ok::<(), secateur::index::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SearchParams {
    /// Which index answers. `None` is the best one: hybrid if an encoder makes the vectors, else words.
    pub mode: Option<SearchMode>,
    /// The most hits wanted.
    pub k: usize,
    /// BM25's parameters.
    pub bm25: Bm25Params,
    /// In a database with an approximate index: how many candidates a search keeps (ef). A larger ef finds more of
    /// the true hits and takes longer. `None` is the database's default.
    pub ef_search: Option<usize>,
    /// The documents that may be found: those whose metadata match. `None` for all.
    pub filter: Option<Filter>,
    /// For a hybrid search: how many hits of each index are fused. `None` for 100, or `k` if that is more. With fewer
    /// than `k` there can be fewer than `k` hits. For a weighted sum each index scores the hits of the other one, too.
    pub num_candidates: Option<usize>,
    /// For a hybrid search: how the rankings are fused. `None` is the weighted sum where the encoder's files say how
    /// much its ranking counts, else reciprocal rank fusion.
    pub fusion: Option<Fusion>,
    /// For a hybrid search: how much the ranking by vectors counts, if the ranking by words counts 1. `None` is what
    /// the encoder's files say for a weighted sum, else 1.
    pub dense_weight: Option<f64>,
}

impl SearchParams {
    /// Hits of each index that a hybrid search fuses.
    pub fn depth(&self) -> usize {
        self.num_candidates.unwrap_or_else(|| self.k.max(100))
    }

    /// Hits that each index is asked for in this mode.
    pub(crate) fn depth_in(&self, mode: SearchMode) -> usize {
        if mode == SearchMode::Hybrid { self.depth() } else { self.k }
    }

    /// How a hybrid search fuses, and how much its ranking by vectors counts: what is asked for, or what the encoder's
    /// files say.
    pub(crate) fn fusing(&self, encoder: Option<&Encoder>) -> (Fusion, f64) {
        let of_encoder = encoder.and_then(|encoder| encoder.settings().dense_weight);
        let by_default = if of_encoder.is_some() { Fusion::WeightedSum } else { Fusion::default() };
        let fusion = self.fusion.unwrap_or(by_default);
        let of_encoder = of_encoder.filter(|_| fusion == Fusion::WeightedSum);
        (fusion, self.dense_weight.or(of_encoder).unwrap_or(1.0))
    }

    /// Whether each index scores the hits of the other one, too, in this mode: for sums of scores.
    pub(crate) fn completes(&self, mode: SearchMode, encoder: Option<&Encoder>) -> bool {
        mode == SearchMode::Hybrid && self.fusing(encoder).0 == Fusion::WeightedSum
    }

    /// The default parameters in this mode.
    pub fn new(mode: SearchMode) -> SearchParams {
        SearchParams { mode: Some(mode), ..SearchParams::default() }
    }
}

impl Default for SearchParams {
    /// Ten hits by the best index there is. BM25 is Anserini's. Of each index the first hundred hits are fused, as the
    /// encoder says.
    fn default() -> SearchParams {
        SearchParams {
            mode: None,
            k: 10,
            bm25: Bm25Params::default(),
            ef_search: None,
            filter: None,
            num_candidates: None,
            fusion: None,
            dense_weight: None,
        }
    }
}

/// One ranked answer. Hits are sorted by score, descending; equal scores by document id, descending. This is
/// trec_eval's order.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The document.
    pub doc_id: String,
    /// Higher is better; what it means depends on the search mode and the metric.
    pub score: f64,
}
