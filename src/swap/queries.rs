//! The queries that both generations answer.

use secateur_datasets::beir::BeirFolder;
use secateur_datasets::{Qrels, Query};

use super::SwapOptions;
use crate::bench::has_relevant;
use crate::database::Database;
use crate::error::{Error, Result};

pub(super) struct Queries {
    /// Ids and texts.
    pub queries: Vec<(String, String)>,
    /// The split and its judgments; `None` where there are none at all.
    pub judged: Option<(String, Qrels)>,
}

impl Queries {
    pub fn read(options: &SwapOptions, dataset: &BeirFolder, database: &Database) -> Result<Queries> {
        let split = match &options.split {
            Some(split) => Some(split.clone()),
            None if dataset.splits()?.is_empty() => None,
            None => Some(dataset.default_split()?),
        };
        let judged = match split {
            Some(split) => Some((split.clone(), dataset.qrels(&split)?)),
            None => None,
        };
        let queries = match &judged {
            Some((_, qrels)) => dataset.judged_queries(qrels)?,
            None => dataset.queries()?.collect::<std::result::Result<Vec<Query>, _>>()?,
        };
        let unusable = |problem: String| {
            let name = dataset.path().display().to_string();
            Err(Error::BenchDataset { name, problem })
        };
        if queries.is_empty() {
            return unusable("it has no queries, so there is nothing to compare by".to_owned());
        }
        if let Some((split, qrels)) = &judged {
            let (mut count, mut unknown) = (0usize, 0usize);
            for doc_id in qrels.values().flat_map(|judgments| judgments.keys()) {
                count += 1;
                unknown += usize::from(!database.contains(doc_id)?);
            }
            // Where nothing can be found, nothing can get worse.
            if 2 * unknown > count {
                return unusable(format!(
                    "{unknown} of the {count} judgments of split {split} are of documents that {} does not hold: name the data \
                     set of these documents",
                    database.path().display()
                ));
            }
            if !has_relevant(qrels) {
                return unusable(format!(
                    "no document of split {split} is judged above 0, so every encoder is equally good: correct the judgments"
                ));
            }
        }
        let queries = queries.into_iter().map(|query| (query.id, query.text)).collect();
        Ok(Queries { queries, judged })
    }

    pub fn qrels(&self) -> Option<&Qrels> {
        self.judged.as_ref().map(|(_, qrels)| qrels)
    }
}
