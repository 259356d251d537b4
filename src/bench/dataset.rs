//! A data set of a bench: its queries, its judgments if it has any, and what it holds in numbers.

use std::collections::{BTreeMap, BTreeSet};

use secateur_datasets::beir::BeirFolder;
use secateur_datasets::{Qrels, Query};
use secateur_random::SplitMix64;

use super::clients::shuffle;
use super::options::{BenchDataset, BenchOptions};
use super::result::DatasetFacts;
use crate::error::{Error, Result};
use crate::eval::Rules;

pub(super) struct Dataset {
    pub folder: BeirFolder,
    pub facts: DatasetFacts,
    /// Ids and texts.
    pub queries: Vec<(String, String)>,
    /// Judgments of these queries; `None` where there are none at all.
    pub qrels: Option<Qrels>,
    pub rules: Rules,
}

impl Dataset {
    /// Reads everything once: what is wrong is found before anything is encoded.
    pub fn open(dataset: &BenchDataset, options: &BenchOptions) -> Result<Dataset> {
        let folder = BeirFolder::open(&dataset.path)?;
        let name = dataset.name.clone().unwrap_or_else(|| folder.name().to_owned());
        let split = match &options.split {
            Some(split) => Some(split.clone()),
            None if folder.splits()?.is_empty() => None,
            None => Some(folder.default_split()?),
        };
        let mut qrels = split.as_deref().map(|split| folder.qrels(split)).transpose()?;
        let mut queries = match &qrels {
            Some(qrels) => folder.judged_queries(qrels)?,
            None => folder.queries()?.collect::<std::result::Result<Vec<Query>, _>>()?,
        };
        let num_queries_in_all = queries.len();
        if let Some(most) = options.max_queries.filter(|most| *most < queries.len()) {
            shuffle(&mut queries, &mut SplitMix64::keyed(&[options.seed, 2]));
            queries.truncate(most);
        }
        let kept: BTreeSet<&str> = queries.iter().map(|query| query.id.as_str()).collect();
        let wrong = |problem: &str| Err(unusable(&folder, problem));
        if queries.is_empty() {
            return wrong("it has no queries, so there is nothing to measure");
        }
        if kept.len() < queries.len() {
            return wrong("two queries have one id; `secateur dataset verify` names them");
        }
        if let Some(qrels) = &mut qrels {
            qrels.retain(|id, _| kept.contains(id.as_str()));
        }
        if qrels.as_ref().is_some_and(|qrels| !has_relevant(qrels)) {
            return wrong(
                "no document is judged above 0, so all answers are equally good: correct the judgments, or take the folder \
                 qrels away to measure all but quality",
            );
        }
        let (num_documents, mean_document_chars, hash) = read_corpus(&folder)?;
        let chars: usize = queries.iter().map(|query| query.text.chars().count()).sum();
        let mut hasher = blake3::Hasher::new();
        hasher.update(hash.as_bytes());
        for Query { id, text } in &queries {
            hash_part(&mut hasher, id);
            hash_part(&mut hasher, text);
        }
        for (query_id, judgments) in qrels.iter().flatten() {
            hash_part(&mut hasher, query_id);
            for (doc_id, relevance) in judgments {
                hash_part(&mut hasher, doc_id);
                hasher.update(&relevance.to_le_bytes());
            }
        }
        let facts = DatasetFacts {
            name,
            part_of: dataset.part_of.clone(),
            split,
            num_documents,
            num_queries: queries.len(),
            num_queries_in_all,
            num_judgments: qrels.iter().flat_map(BTreeMap::values).map(BTreeMap::len).sum(),
            mean_document_chars,
            mean_query_chars: chars as f64 / queries.len() as f64,
            fingerprint: hasher.finalize().to_hex()[..16].to_owned(),
        };
        // What the data set is called here need not be its published name.
        let rules = options.rules.rules_for(folder.name());
        let queries = queries.into_iter().map(|query| (query.id, query.text)).collect();
        Ok(Dataset { folder, facts, queries, qrels, rules })
    }
}

/// Whether any document is relevant to any query.
pub(crate) fn has_relevant(qrels: &Qrels) -> bool {
    qrels.values().flat_map(BTreeMap::values).any(|relevance| *relevance > 0)
}

fn read_corpus(folder: &BeirFolder) -> Result<(usize, f64, blake3::Hash)> {
    let (mut count, mut chars, mut hasher) = (0, 0, blake3::Hasher::new());
    for document in folder.corpus()? {
        let document = document?;
        count += 1;
        chars += document.passage(" ").chars().count();
        for part in [&document.id, &document.title, &document.text] {
            hash_part(&mut hasher, part);
        }
    }
    if count == 0 {
        return Err(unusable(folder, "its corpus is empty"));
    }
    Ok((count, chars as f64 / count as f64, hasher.finalize()))
}

fn unusable(folder: &BeirFolder, problem: &str) -> Error {
    Error::BenchDataset { name: folder.path().display().to_string(), problem: problem.to_owned() }
}

fn hash_part(hasher: &mut blake3::Hasher, text: &str) {
    hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
}
