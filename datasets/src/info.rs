//! What a data set holds, in numbers.

use serde::Serialize;

use crate::beir::BeirFolder;
use crate::document::Document;
use crate::error::{Error, Result};

/// The counts of a data set, from [`BeirFolder::info`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Info {
    /// The name of the data set.
    pub name: String,
    /// Documents in the corpus.
    pub documents: u64,
    /// Documents with neither title nor text.
    pub empty_documents: u64,
    /// The mean length of a passage (title, a space and text) in characters; 0 if there is no document.
    pub mean_document_chars: f64,
    /// Queries of all splits, judged or not.
    pub queries: u64,
    /// The mean length of a query in characters; 0 if there is no query.
    pub mean_query_chars: f64,
    /// The splits that have judgments, by name.
    pub splits: Vec<SplitInfo>,
    /// The split that results are reported on, if there is any.
    pub default_split: Option<String>,
}

/// The counts of a split.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SplitInfo {
    /// The name of the split.
    pub name: String,
    /// Queries with at least one judgment.
    pub queries: u64,
    /// Judgments of any relevance.
    pub judgments: u64,
    /// Judgments with a relevance above 0.
    pub positive_judgments: u64,
    /// The lowest and the highest relevance that occur; `None` if there is no judgment.
    pub relevance_range: Option<(i32, i32)>,
}

impl BeirFolder {
    /// Counts documents, queries and judgments; reads every file once and keeps no text.
    ///
    /// ```
    /// use secateur_datasets::beir::BeirFolder;
    ///
    /// # fn main() -> secateur_datasets::Result<()> {
    /// # let mini = concat!(env!("CARGO_MANIFEST_DIR"), "/mini");
    /// let info = BeirFolder::open(mini)?.info()?;
    /// assert_eq!((info.name.as_str(), info.queries), ("mini", 12));
    /// assert_eq!(info.default_split.as_deref(), Some("test"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// The error of the first file or line that cannot be read.
    pub fn info(&self) -> Result<Info> {
        let mut documents = Lengths::default();
        let mut empty_documents = 0;
        for document in self.corpus()? {
            let chars = document.map(|document: Document| document.passage(" ").chars().count() as u64)?;
            documents.add(chars);
            empty_documents += u64::from(chars == 0);
        }
        let mut queries = Lengths::default();
        let all = match self.queries() {
            // A corpus alone is a data set, too.
            Err(Error::MissingFile { .. }) => None,
            queries => Some(queries?),
        };
        for query in all.into_iter().flatten() {
            queries.add(query?.text.chars().count() as u64);
        }
        let splits =
            self.splits()?.into_iter().map(|name| self.split_info(name)).collect::<Result<Vec<_>>>()?;
        let default_split = if splits.is_empty() { None } else { Some(self.default_split()?) };
        Ok(Info {
            name: self.name().to_owned(),
            documents: documents.count,
            empty_documents,
            mean_document_chars: documents.mean(),
            queries: queries.count,
            mean_query_chars: queries.mean(),
            splits,
            default_split,
        })
    }

    fn split_info(&self, name: String) -> Result<SplitInfo> {
        let qrels = self.qrels(&name)?;
        let relevances = || qrels.values().flat_map(|judged| judged.values().copied());
        Ok(SplitInfo {
            queries: qrels.len() as u64,
            judgments: relevances().count() as u64,
            positive_judgments: relevances().filter(|relevance| *relevance > 0).count() as u64,
            relevance_range: relevances().min().zip(relevances().max()),
            name,
        })
    }
}

#[derive(Default)]
struct Lengths {
    count: u64,
    total: u64,
}

impl Lengths {
    fn add(&mut self, length: u64) {
        self.count += 1;
        self.total += length;
    }

    fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.total as f64 / self.count as f64 }
    }
}
