//! The least ef of a set for a recall.

use secateur_index::search::{RecallCurve, tune_scores};

use super::finish::SetReport;
use super::plan::ShardPlan;
use super::set::ShardSet;
use super::shard::in_shard;
use crate::database::{Database, encode};
use crate::error::{Error, Result};
use crate::search::{Asked, Hit, Ranking, SearchMode, SearchParams, SearchTimes};
use crate::shard_error::ShardError;

impl ShardSet {
    /// Measures the recall of the set at `k` on queries against its exact search, with a growing ef of all shards.
    /// Finds the least ef whose mean recall is `target`, as [`Database::tune`] does. Changes nothing: see
    /// [`ShardPlan::set_recall_curve`].
    ///
    /// # Errors
    ///
    /// As [`Database::tune`] and [`ShardSet::search_batch`]; [`ShardError::NotHnsw`] and [`ShardError::NoGraph`].
    pub fn tune(&self, queries: &[&str], k: usize, target: f64) -> Result<RecallCurve> {
        let encoder = self.query_encoder()?;
        self.check_graphs()?;
        let vectors = encode(encoder, queries, &mut SearchTimes::default())?;
        let truth = self.search_exactly(&vectors, queries.len(), k)?;
        let search = |ef: usize| {
            let params = SearchParams { k, ef_search: Some(ef), ..SearchParams::new(SearchMode::Dense) };
            let asked = Asked { vectors: Some(&vectors), words: None, k, completes: false, params: &params };
            let rankings = self.asked(&asked, queries.len(), &mut SearchTimes::default())?;
            Ok::<_, Error>(rankings.into_iter().map(scores).collect())
        };
        tune_scores(search, &truth, k, target, usize::try_from(self.num_vectors).unwrap_or(usize::MAX))
    }

    /// Refuses a set of exact searches: a recall would be theirs.
    fn check_graphs(&self) -> Result<()> {
        let Some(index) = self.vector_index() else {
            return Err(Error::NoVectors { path: self.path().to_owned() });
        };
        let path = self.path().to_owned();
        if index.ef_search().is_none() {
            return Err(ShardError::NotHnsw { path, index: index.name() }.into());
        }
        let graphs = self.each(|shard| shard.has_approximate_index())?;
        if !graphs.iter().any(|(_, has_graph)| *has_graph) {
            let (num_vectors, num_shards) = (self.num_vectors, self.num_shards());
            let fewest = index.fewest_rows().unwrap_or_default();
            return Err(ShardError::NoGraph { path, num_vectors, num_shards, fewest }.into());
        }
        Ok(())
    }

    /// The scores of the true hits of vectors (Q, D).
    fn search_exactly(&self, vectors: &[f32], num_queries: usize, k: usize) -> Result<Vec<Vec<f32>>> {
        let found = self.each_of("query", num_queries, |shard| shard.search_exactly(vectors, k))?;
        let mut answers: Vec<_> = found.into_iter().map(|(_, hits)| hits.into_iter()).collect();
        let merged = |_| {
            let of_shard = |dense: Vec<Hit>| Ranking { dense: Some(dense), bm25: None };
            let rankings = answers.iter_mut().filter_map(Iterator::next).map(of_shard).collect();
            scores(Ranking::merged(rankings, k, false))
        };
        Ok((0..num_queries).map(merged).collect())
    }
}

/// Of hits by vectors, which are of f32.
fn scores(ranking: Ranking) -> Vec<f32> {
    ranking.dense.unwrap_or_default().iter().map(|hit| hit.score as f32).collect()
}

impl ShardPlan {
    /// Stores the recall curve that [`ShardSet::tune`] measured in all shards, and makes the curve's ef their default.
    /// It does so in the named generation, or in the one in use. Then the set is finished again. If it was interrupted,
    /// finish the set and call it again.
    ///
    /// # Errors
    ///
    /// As [`Database::set_recall_curve`] and [`ShardPlan::finish`].
    pub fn set_recall_curve(&self, generation: Option<&str>, curve: &RecallCurve) -> Result<SetReport> {
        let set = |number: usize| {
            let path = self.shard_path(number);
            let set = || {
                let mut database = Database::open(&path)?;
                if let Some(name) = generation {
                    database = database.generation(name)?;
                }
                database.set_recall_curve(curve)
            };
            set().map_err(|error| in_shard(number, path.display(), error))
        };
        (0..self.num_shards()).try_for_each(set)?;
        self.finish()
    }
}
