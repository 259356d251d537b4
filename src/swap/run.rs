//! A swap from beginning to end.

use std::collections::HashMap;
use std::sync::Arc;

use secateur_datasets::Run;
use secateur_datasets::beir::BeirFolder;
use secateur_encoders::Encoder;
use secateur_index::storage::Generation;

use super::queries::Queries;
use super::{SwapOptions, SwapReport, SwapSide};
use crate::bench::{MEASURES, Percentiles, Pipeline};
use crate::compare::{CompareOptions, Comparison, MovedQuery, RunAgreement, Telling, describe};
use crate::database::{Database, VectorOptions};
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::search::SearchParams;

/// Documents that measures look at.
const DEPTH: usize = 100;

/// Documents that a timed search asks for, and that are compared without judgments.
const FIRST: usize = 10;

impl SwapOptions {
    /// Encodes the documents of a database with another encoder, unless a generation has these vectors. Both
    /// generations answer the queries of a data set. If the gate holds, the new one is in use from then on; otherwise
    /// it stays, unused.
    ///
    /// The new generation has the index, the passages and the separator of the one in use. The database can be searched
    /// meanwhile, but not changed while documents are encoded. The value `database` keeps reading the old generation.
    ///
    /// # Errors
    ///
    /// An option is wrong, or no gate is given. The database has no vectors, or no encoder made them, or it is not
    /// loaded. The data set has a fault, or is of other documents. Somebody else switched generations meanwhile.
    /// Otherwise as [`Database::add_generation`].
    pub fn swap(
        &self,
        database: &mut Database,
        encoder: &Arc<Encoder>,
        dataset: &BeirFolder,
        on: &mut dyn FnMut(Progress<'_>),
    ) -> Result<SwapReport> {
        let serving_encoder = Arc::clone(database.serving_encoder()?);
        let serving = database.generation_name().unwrap_or_default().to_owned();
        let queries = Queries::read(self, dataset, database)?;
        self.check(queries.judged.is_some())?;
        let (name, was_there) = self.target(database, encoder)?;
        if was_there {
            database.remove_generation_journal(&name);
        } else {
            let num_documents = database.len() as u64;
            on(Progress::Begins { what: "encoding", unit: "document", total: &|| Some(num_documents) });
            let options = VectorOptions { source: self.source.clone(), ..database.vector_options() };
            database.add_generation(&name, encoder, &options, |done| on(Progress::Done(done)))?;
        }
        let old = database.reader();
        let new = database.generation(&name)?.with_encoder(Arc::clone(encoder))?;

        let found = self.compared([&old, &new], dataset, &queries, on)?;
        let params = SearchParams { mode: self.mode, k: FIRST, ..SearchParams::default() };
        let pipeline = |database| Pipeline { database, params: &params, reranker: None, k: FIRST };
        let texts: Vec<&str> = queries.queries.iter().map(|(_, text)| text.as_str()).collect();
        let latencies = self.latencies([&old, &new].map(pipeline), &texts, on)?;

        let ndcg =
            found.comparison.as_ref().map(|comparison| [0, 1].map(|run| comparison.runs[run].means[0]));
        let breaches = self.breaches(ndcg, found.overlap, latencies.map(|latency| latency.p50));
        if breaches.is_empty() {
            database.replace_generation(&serving, &name)?;
        }
        let side = |generation: &str, encoder: &Encoder, latency: Percentiles| SwapSide {
            generation: generation.to_owned(),
            encoder: encoder.name().to_owned(),
            fingerprint: encoder.fingerprint().to_string(),
            parameters: encoder.architecture().parameters().total(),
            dim: encoder.dim(),
            latency,
        };
        Ok(SwapReport {
            database: database.path().to_owned(),
            dataset: dataset.name().to_owned(),
            split: queries.judged.as_ref().map(|(split, _)| split.clone()),
            mode: new.mode(&params).to_string(),
            rules: queries.judged.as_ref().map(|_| self.rules.rules_for(dataset.name()).to_string()),
            num_queries: queries.queries.len(),
            generations: [side(&serving, &serving_encoder, latencies[0]), side(&name, encoder, latencies[1])],
            was_there,
            comparison: found.comparison,
            overlap_at_10: found.overlap,
            rank_correlation: found.rank_correlation,
            changed: found.changed,
            latency_ratio: latencies[1].p50 / latencies[0].p50,
            is_switched: breaches.is_empty(),
            breaches,
        })
    }

    /// The name of the new generation, and whether it is there.
    fn target(&self, database: &Database, encoder: &Encoder) -> Result<(String, bool)> {
        let serving = database.generation_name();
        let mut others =
            database.generations().iter().filter(|generation| Some(generation.name.as_str()) != serving);
        let is_of_encoder = |generation: &&Generation| {
            let identity = generation.encoder.as_ref();
            identity.is_some_and(|identity| identity.fingerprint == *encoder.fingerprint().as_bytes())
        };
        if let Some(name) = &self.name {
            let is_there = others.any(|generation| generation.name == *name && is_of_encoder(&generation));
            return Ok((name.clone(), is_there));
        }
        if let Some(generation) = others.find(is_of_encoder) {
            return Ok((generation.name.clone(), true));
        }
        if database.generations().iter().any(|generation| is_of_encoder(&generation)) {
            let problem = format!(
                "{} made the vectors of generation {}, which is in use: give --name for another generation of it",
                encoder.name(),
                serving.unwrap_or_default()
            );
            return Err(Error::option("encoder", problem));
        }
        Ok((free_name(database, encoder), false))
    }

    /// Both generations' answers, side by side.
    fn compared(
        &self,
        databases: [&Database; 2],
        dataset: &BeirFolder,
        queries: &Queries,
        on: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Found> {
        let rules = self.rules.rules_for(dataset.name());
        // Where the rules take a document out of the ranking, one more is needed.
        let k = DEPTH + usize::from(rules.drop_identical_ids);
        let params = SearchParams { mode: self.mode, k, ..SearchParams::default() };
        let num_queries = queries.queries.len();
        on(Progress::Begins { what: "answering", unit: "query", total: &|| Some(2 * num_queries as u64) });
        let mut runs: [Run; 2] = Default::default();
        for (side, run) in runs.iter_mut().enumerate() {
            let pipeline = Pipeline { database: databases[side], params: &params, reranker: None, k };
            *run = pipeline.run(&queries.queries, |done| on(Progress::Done(side * num_queries + done)))?;
        }
        let runs = [&runs[0], &runs[1]];
        let agreement = RunAgreement::of(runs, queries.queries.iter().map(|(id, _)| id), FIRST);
        let compare =
            CompareOptions { randomization: self.randomization, answers: 3, ..CompareOptions::default() };
        let mut found = Found {
            comparison: None,
            changed: Vec::new(),
            overlap: agreement.overlap,
            rank_correlation: agreement.rank_correlation,
        };
        match queries.qrels() {
            Some(qrels) => {
                let [old, new] = databases.map(|database| database.generation_name().unwrap_or_default());
                let named = [(old, runs[0]), (new, runs[1])];
                found.comparison = Some(compare.compare(&named, qrels, &MEASURES, &rules)?);
            }
            None => {
                let telling = Telling {
                    queries: compare.moved,
                    answers: compare.answers,
                    qrels: None,
                    drop_identical_ids: rules.drop_identical_ids,
                };
                let overlaps = agreement.overlaps.iter().map(|(id, overlap)| (*id, [1.0, *overlap]));
                found.changed = telling.moved(runs, overlaps);
            }
        }
        let texts: HashMap<&str, &String> =
            queries.queries.iter().map(|(id, text)| (id.as_str(), text)).collect();
        let moved = found.comparison.iter_mut().flat_map(Comparison::moved_mut).chain(&mut found.changed);
        let documents = |ids: &[&str]| {
            let documents = ids.iter().filter_map(|id| databases[0].document(id).transpose());
            documents.map(|document| document.map(|document| (document.id.clone(), document))).collect()
        };
        describe(moved, documents, |id| texts.get(id).map(|text| (*text).clone()))?;
        Ok(found)
    }
}

/// What the answers say.
struct Found {
    comparison: Option<Comparison>,
    changed: Vec<MovedQuery>,
    overlap: f64,
    rank_correlation: f64,
}

/// The name of an encoder as that of a generation; with digits of its fingerprint if another generation has it.
fn free_name(database: &Database, encoder: &Encoder) -> String {
    let last = encoder.name().rsplit(['/', '\\']).find(|part| !part.is_empty()).unwrap_or("encoder");
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let plain: String = last.chars().map(|c| if is_plain(c) { c } else { '-' }).take(48).collect();
    if database.generations().iter().any(|generation| generation.name == plain) {
        return format!("{plain}-{:.8}", encoder.fingerprint().to_string());
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::default_encoder;
    use secateur_encoders::LoadOptions;

    #[test]
    fn names_are_those_of_encoders() {
        let folder = tempfile::tempdir().unwrap();
        let named = |name: &str| {
            let options = LoadOptions { name: Some(name.to_owned()), ..LoadOptions::default() };
            Arc::new(default_encoder(&options).unwrap())
        };
        let database = Database::builder(folder.path().join("db")).encoder(named("x")).create().unwrap();
        assert_eq!(free_name(&database, &named("owner/a model/")), "a-model");
        let taken = free_name(&database, &named("owner/original"));
        assert!(taken.starts_with("original-") && taken.len() == 17, "{taken}");
    }
}
