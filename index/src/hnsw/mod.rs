//! Approximate search: a hierarchical navigable small world graph.
//!
//! Yu. A. Malkov and D. A. Yashunin, "Efficient and robust approximate nearest neighbor search using hierarchical
//! navigable small world graphs", 2018 (arXiv:1603.09320). The paper's symbols and ours:
//!
//! | paper | here |
//! |---|---|
//! | M, M_max | `m`: neighbors chosen, and the most kept, on levels above 0 |
//! | M_max0 | `2 * m`: the same on level 0, where new rows choose as many, too |
//! | efConstruction, ef | `ef_construction`, `ef_search` |
//! | mL = 1 / ln(M) | the levels of `links::level` |
//! | ep | `entry_point` |
//! | algorithm 1, INSERT | `build`, a batch of rows at a time |
//! | algorithm 2, SEARCH-LAYER | `traversal::GraphView::search_level` |
//! | algorithm 4, SELECT-NEIGHBORS-HEURISTIC | `select::Selection::choose` |
//! | algorithm 5, K-NN-SEARCH | `traversal::GraphView::search`, [`VectorSearch::search`](crate::search::VectorSearch::search) |
//!
//! A graph search compares [codes](crate::quantization) of the rows. The vectors of the nearest rows found are then
//! compared, so a hit has the score that the exact index gives it.
//!
//! Rows of equal codes are one node of the graph: see `copies`.
//!
//! With a filter, `plan` chooses the fastest way for the number of matches. Few matches are all compared, by their
//! vectors or their codes. If more match, the graph is searched through matching nodes only. If most match, the whole
//! graph is searched with a larger ef.

mod build;
mod copies;
mod file;
mod format;
mod graph;
mod links;
mod params;
mod plan;
mod pool;
mod repair;
mod select;
mod traversal;
mod visited;

pub use graph::Graph;
pub use params::HnswParams;

#[cfg(test)]
pub(crate) mod tests;
