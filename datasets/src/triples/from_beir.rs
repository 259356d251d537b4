//! A split of a BEIR folder as training examples.

use std::collections::{BTreeMap, HashMap};

use secateur_random::SplitMix64;

use super::example::TrainingExample;
use super::shuffle::shuffled;
use crate::beir::BeirFolder;
use crate::document::{Qrels, Query};
use crate::error::{Error, Result};
use crate::fault::Fault;

/// Which judgments become examples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BeirOptions {
    /// What stands between a document's title and its text.
    pub separator: String,
    /// The least relevance of a positive.
    pub min_relevance: i32,
    /// The most positives of a query. The most relevant ones are taken; the seed decides among equals.
    pub max_positives: Option<usize>,
    /// Whether documents judged 0 or lower are negatives.
    pub judged_negatives: bool,
    /// Decides which of many equally relevant positives are kept.
    pub seed: u64,
}

impl Default for BeirOptions {
    /// BEIR's separator, all that is relevant, all that is judged irrelevant, seed 42.
    fn default() -> BeirOptions {
        BeirOptions {
            separator: " ".to_owned(),
            min_relevance: 1,
            max_positives: None,
            judged_negatives: true,
            seed: 42,
        }
    }
}

/// The examples of a split, one for each judged query that has a positive, in the order of the queries file.
///
/// An example keeps the ids of its query and passages. `known_positive_ids` has the relevant documents that are no
/// positive of the example, so that none of them is mined as a negative. Documents without text are left out, and so
/// are queries without text or without a positive. Memory: the judgments, the judged queries and the judged passages.
///
/// ```
/// use secateur_datasets::beir::BeirFolder;
/// use secateur_datasets::triples::{BeirExamples, BeirOptions};
///
/// # fn main() -> secateur_datasets::Result<()> {
/// # let mini = concat!(env!("CARGO_MANIFEST_DIR"), "/mini");
/// let folder = BeirFolder::open(mini)?;
/// let mut examples = BeirExamples::read(&folder, "test", &BeirOptions::default(), |_| {})?;
/// let first = examples.next().unwrap();
/// assert_eq!(first.positive_ids.unwrap().len(), first.positives.len());
/// assert_eq!(1 + examples.len(), 12);
/// # Ok(())
/// # }
/// ```
pub struct BeirExamples {
    examples: std::vec::IntoIter<(Query, Judged)>,
    passages: HashMap<String, String>,
    left_out: u64,
    unknown: u64,
}

/// The ids of a query's documents.
struct Judged {
    positives: Vec<String>,
    negatives: Vec<String>,
    known: Vec<String>,
}

impl BeirExamples {
    /// Reads the judgments of a split, their queries, and the judged passages. `progress` is called with the number
    /// of documents of the corpus that were read so far.
    ///
    /// # Errors
    /// The errors of [`BeirFolder::qrels`], of [`BeirFolder::judged_queries`] and of the corpus. [`Error::File`] if
    /// most judgments are of documents that are not in the corpus.
    pub fn read(
        folder: &BeirFolder,
        split: &str,
        options: &BeirOptions,
        mut progress: impl FnMut(usize),
    ) -> Result<BeirExamples> {
        let qrels = folder.qrels(split)?;
        let queries = folder.judged_queries(&qrels)?;
        let mut passages: HashMap<String, Option<String>> =
            qrels.values().flat_map(BTreeMap::keys).map(|doc_id| (doc_id.clone(), None)).collect();
        for (read, document) in folder.corpus()?.enumerate() {
            let document = document?;
            if let Some(passage) = passages.get_mut(&document.id) {
                *passage = Some(document.passage(&options.separator));
            }
            progress(read + 1);
        }
        let (judgments, missing) = missing(&qrels, &passages);
        // Some data sets judge a few, such as BEIR's ArguAna. If most are such, the corpus is another one's.
        if let Some(doc_id) = missing.first().filter(|_| 2 * missing.len() > judgments) {
            return Err(Error::File {
                path: folder.qrels_file(split)?,
                fault: Fault::UnknownDocument { doc_id: (*doc_id).to_owned() },
            });
        }
        let unknown = missing.len() as u64;
        let passages: HashMap<String, String> = passages
            .into_iter()
            .filter_map(|(id, passage)| Some((id, passage.filter(|passage| !passage.is_empty())?)))
            .collect();
        let num_queries = queries.len();
        let examples: Vec<(Query, Judged)> = queries
            .into_iter()
            .filter(|query| !query.text.trim().is_empty())
            .enumerate()
            .filter_map(|(number, query)| {
                let seed = SplitMix64::keyed(&[options.seed, number as u64]).bits();
                let judged = Judged::choose(&qrels[&query.id], &passages, options, seed);
                (!judged.positives.is_empty()).then_some((query, judged))
            })
            .collect();
        let left_out = (num_queries - examples.len()) as u64;
        Ok(BeirExamples { examples: examples.into_iter(), passages, left_out, unknown })
    }

    /// Judged queries that give no example: they have no text, or no positive with text.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Judgments of documents that the corpus does not hold. They give no passage.
    pub fn unknown(&self) -> u64 {
        self.unknown
    }
}

/// How many judgments there are, and the documents of those whose document was not found.
fn missing<'q>(qrels: &'q Qrels, passages: &HashMap<String, Option<String>>) -> (usize, Vec<&'q str>) {
    let ids = || qrels.values().flat_map(BTreeMap::keys);
    let missing = ids().filter(|doc_id| passages[*doc_id].is_none()).map(String::as_str);
    (ids().count(), missing.collect())
}

impl Judged {
    fn choose(
        judgments: &BTreeMap<String, i32>,
        passages: &HashMap<String, String>,
        options: &BeirOptions,
        seed: u64,
    ) -> Judged {
        let with_text = |(doc_id, _): &(&String, &i32)| passages.contains_key(*doc_id);
        let mut positives: Vec<(&String, i32)> = judgments
            .iter()
            .filter(with_text)
            .map(|(doc_id, relevance)| (doc_id, *relevance))
            .filter(|(_, relevance)| *relevance >= options.min_relevance)
            .collect();
        if let Some(max) = options.max_positives.filter(|max| *max < positives.len()) {
            let count = positives.len();
            positives = shuffled(positives, count, seed).collect();
            // Stable: equals stay in the order that was drawn.
            positives.sort_by_key(|(_, relevance)| std::cmp::Reverse(*relevance));
            positives.truncate(max);
        }
        let positives: Vec<String> = positives.into_iter().map(|(doc_id, _)| doc_id.clone()).collect();
        let is_relevant = |relevance: i32| relevance > 0 || relevance >= options.min_relevance;
        let known = judgments
            .iter()
            .filter(|(doc_id, relevance)| is_relevant(**relevance) && !positives.contains(doc_id))
            .map(|(doc_id, _)| doc_id.clone())
            .collect();
        let negatives = judgments
            .iter()
            .filter(with_text)
            .filter(|(_, relevance)| options.judged_negatives && !is_relevant(**relevance))
            .map(|(doc_id, _)| doc_id.clone())
            .collect();
        Judged { positives, negatives, known }
    }
}

impl Iterator for BeirExamples {
    type Item = TrainingExample;

    fn next(&mut self) -> Option<TrainingExample> {
        let (query, Judged { positives, negatives, known }) = self.examples.next()?;
        let texts = |ids: &[String]| ids.iter().map(|id| self.passages[id].clone()).collect();
        let some = |ids: Vec<String>| (!ids.is_empty()).then_some(ids);
        Some(TrainingExample {
            query: query.text,
            positives: texts(&positives),
            negatives: texts(&negatives),
            query_id: Some(query.id),
            positive_ids: Some(positives),
            negative_ids: some(negatives),
            known_positive_ids: some(known),
            ..TrainingExample::default()
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.examples.size_hint()
    }
}

impl ExactSizeIterator for BeirExamples {}
