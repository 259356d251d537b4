//! Hard negatives: passages that a retriever takes for answers and that are none.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::path::Path;

use secateur_datasets::triples::{TrainingExample, shuffled};
use secateur_files::Journal;
use serde::{Deserialize, Serialize};

use super::rewrite::rewrite;
use super::teacher::Teacher;
use crate::database::Database;
use crate::error::Result;
use crate::search::{Hit, SearchMode, SearchParams};
use crate::training_error::TrainingError;

/// Which documents become negatives.
#[derive(Clone, Debug, PartialEq)]
pub struct MineOptions {
    /// How the database is searched for a query; `k` is not looked at.
    pub search: SearchParams,
    /// The ranks, counted from 1, from which negatives are drawn. Documents at earlier ranks probably answer the
    /// query, although nobody judged them.
    pub depth: RangeInclusive<usize>,
    /// How many negatives each example gets, besides those it has.
    pub negatives: usize,
    /// With a teacher: a document is taken only if its score is at most the score of the example's lowest positive
    /// minus this margin. NV-Retriever (Moreira et al. 2024) calls this rule `TopK-MarginPos`. The unit is that of the
    /// teacher's scores: logits or cosines.
    pub margin: f32,
    /// Decides which of the documents in the range are drawn.
    pub seed: u64,
}

impl MineOptions {
    /// Seven negatives from ranks 10 to 100, at or below the positives, seed 42.
    pub fn new(mode: SearchMode) -> MineOptions {
        MineOptions { search: SearchParams::new(mode), depth: 10..=100, negatives: 7, margin: 0.0, seed: 42 }
    }
}

/// What was mined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MineReport {
    /// Examples of the file.
    pub examples: u64,
    /// Negatives they got.
    pub negatives: u64,
    /// Examples that got fewer than were asked for, because the range held no more.
    pub incomplete: u64,
    /// Documents that the teacher found too good for negatives.
    pub rejected: u64,
}

/// What was found for an example.
#[derive(Serialize, Deserialize)]
struct Mined {
    /// The negatives, best rank first.
    doc_ids: Vec<String>,
    /// The teacher's scores of the example's positives, of its negatives, and of those mined, as the bits of f32.
    scores: Option<Vec<u32>>,
    rejected: u64,
}

/// Writes the examples of a file with hard negatives from a database: documents in a range of ranks, drawn at random.
///
/// Some documents are never taken. These are positives by their ids (`positive_ids`, `known_positive_ids`) or by their
/// text, and texts equal to the query or to another negative. A document that the teacher finds too good is not taken
/// either (see [`MineOptions::margin`]). With a teacher, the examples get its score of every passage, too, as
/// [`teach`](super::teach()) writes them. `progress` is called with the number of examples done.
///
/// Results are kept in the file OUTPUT.journal, and the same call continues from there. The database must not change
/// meanwhile.
///
/// ```
/// use secateur::train::{Examples, MineOptions, TrainingExample, mine, write_examples};
/// use secateur::{Database, Document, SearchMode};
/// # let folder = tempfile::tempdir()?;
/// # let (input, output) = (folder.path().join("train.jsonl"), folder.path().join("mined.jsonl"));
///
/// let mut database = Database::builder(folder.path().join("db")).create()?;
/// for (id, text) in [("1", "Prune roses in late winter."), ("2", "Roses were sold."), ("3", "Bread rises.")] {
///     database.add(&[Document::new(id, text)])?;
/// }
/// database.commit()?;
/// let example = TrainingExample {
///     query: "pruning roses".to_owned(),
///     positives: vec!["Prune roses in late winter.".to_owned()],
///     ..TrainingExample::default()
/// };
/// write_examples(&input, [Ok::<_, secateur::Error>(example)])?;
///
/// let options = MineOptions { depth: 1..=10, ..MineOptions::new(SearchMode::Bm25) };
/// let report = mine(&input, &output, &database, None, &options, |_| {})?;
/// assert_eq!((report.examples, report.negatives), (1, 1));
/// let mined = Examples::open(&output, None)?.next().unwrap()?;
/// assert_eq!(mined.negatives, ["Roses were sold."]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// The input has a bad line, or is the output. It has scores, but there is no teacher to score mined documents. The
/// range begins at 0 or is empty. The errors of the search, the teacher and the disk. The output appears whole or not
/// at all.
pub fn mine(
    input: &Path,
    output: &Path,
    database: &Database,
    teacher: Option<&Teacher>,
    options: &MineOptions,
    progress: impl FnMut(u64),
) -> Result<MineReport> {
    if *options.depth.start() == 0 || options.depth.is_empty() {
        return Err(
            TrainingError::InvalidDepth { start: *options.depth.start(), end: *options.depth.end() }.into()
        );
    }
    let teacher_key = teacher.map(|teacher| teacher.fingerprint().to_string());
    let key = format!("mine 1 {} {options:?} {teacher_key:?}", database.state());
    let mut report = MineReport::default();
    let examples = rewrite(
        input,
        output,
        &key,
        |first, chunk| {
            let scored =
                chunk.iter().position(|e| e.positive_scores.is_some() || e.negative_scores.is_some());
            if let Some(place) = scored.filter(|_| teacher.is_none()) {
                return Err(TrainingError::Scored {
                    path: input.to_owned(),
                    example: first + place as u64 + 1,
                }
                .into());
            }
            Miner { database, options }.mine(first, chunk, teacher)
        },
        |example, mined| {
            report.negatives += mined.doc_ids.len() as u64;
            report.incomplete += u64::from(mined.doc_ids.len() < options.negatives);
            report.rejected += mined.rejected;
            add(example, mined, database, output)
        },
        progress,
    )?;
    Ok(MineReport { examples, ..report })
}

struct Miner<'a> {
    database: &'a Database,
    options: &'a MineOptions,
}

/// The search for one example's negatives.
struct Search {
    /// The documents in the range with their ranks, in the order in which they are tried.
    untried: std::vec::IntoIter<(usize, Hit)>,
    excluded_ids: HashSet<String>,
    /// Trimmed.
    excluded_texts: HashSet<String>,
    taken: Vec<Candidate>,
    /// The teacher's scores of the example's own passages.
    own_scores: Vec<f32>,
    /// The best score of a negative.
    limit: f32,
    rejected: u64,
}

struct Candidate {
    rank: usize,
    doc_id: String,
    passage: String,
    score: f32,
}

impl Miner<'_> {
    fn mine(&self, first: u64, chunk: &[TrainingExample], teacher: Option<&Teacher>) -> Result<Vec<Mined>> {
        let queries: Vec<&str> = chunk.iter().map(|example| example.query.as_str()).collect();
        let params = SearchParams { k: *self.options.depth.end(), ..self.options.search.clone() };
        let hits = self.database.search_batch(&queries, &params)?;
        let mut searches: Vec<Search> = chunk
            .iter()
            .zip(hits)
            .zip(first..)
            .map(|((example, hits), number)| Search::new(example, hits, number, self.options))
            .collect();
        match teacher {
            None => {
                for search in &mut searches {
                    search.taken = self.next_of(search)?;
                }
            }
            Some(teacher) => self.take_by_score(chunk, &mut searches, teacher)?,
        }
        Ok(searches.into_iter().map(|search| search.mined(teacher.is_some())).collect())
    }

    /// Takes what the teacher lets pass. Only as many documents are scored as are missing, until nothing is missing
    /// or left.
    fn take_by_score(
        &self,
        chunk: &[TrainingExample],
        searches: &mut [Search],
        teacher: &Teacher,
    ) -> Result<()> {
        let own = |example: &'_ TrainingExample| example.positives.len() + example.negatives.len();
        let pairs: Vec<(&str, &str)> = chunk
            .iter()
            .flat_map(|example| {
                let passages = example.positives.iter().chain(&example.negatives);
                passages.map(|passage| (example.query.as_str(), passage.as_str()))
            })
            .collect();
        let mut scores = teacher.score(&pairs)?.into_iter();
        for (example, search) in chunk.iter().zip(&mut *searches) {
            search.own_scores = scores.by_ref().take(own(example)).collect();
            let lowest =
                search.own_scores[..example.positives.len()].iter().copied().fold(f32::INFINITY, f32::min);
            search.limit = lowest - self.options.margin;
        }
        loop {
            let tried = searches.iter_mut().map(|search| self.next_of(search)).collect::<Result<Vec<_>>>()?;
            let pairs: Vec<(&str, &str)> = chunk
                .iter()
                .zip(&tried)
                .flat_map(|(example, tried)| {
                    tried.iter().map(|candidate| (example.query.as_str(), candidate.passage.as_str()))
                })
                .collect();
            if pairs.is_empty() {
                return Ok(());
            }
            let mut scores = teacher.score(&pairs)?.into_iter();
            for (search, tried) in searches.iter_mut().zip(tried) {
                for (candidate, score) in tried.into_iter().zip(scores.by_ref()) {
                    if score <= search.limit {
                        search.taken.push(Candidate { score, ..candidate });
                    } else {
                        search.rejected += 1;
                    }
                }
            }
        }
    }

    /// As many of the untried documents as are missing, except those that cannot be negatives.
    fn next_of(&self, search: &mut Search) -> Result<Vec<Candidate>> {
        let missing = self.options.negatives - search.taken.len();
        let mut next = Vec::new();
        while next.len() < missing {
            let Some((rank, hit)) = search.untried.next() else { break };
            if search.excluded_ids.contains(&hit.doc_id) {
                continue;
            }
            let Some(passage) = self.database.passage(&hit.doc_id)? else { continue };
            if !passage.is_empty() && search.excluded_texts.insert(passage.clone()) {
                next.push(Candidate { rank, doc_id: hit.doc_id, passage, score: 0.0 });
            }
        }
        Ok(next)
    }
}

impl Search {
    fn new(example: &TrainingExample, hits: Vec<Hit>, number: u64, options: &MineOptions) -> Search {
        let ids = [&example.positive_ids, &example.known_positive_ids, &example.negative_ids];
        let texts = example.positives.iter().chain(&example.negatives).chain([&example.query]);
        let in_range: Vec<(usize, Hit)> = (1..).zip(hits).skip(options.depth.start() - 1).collect();
        // An order of its own for each example, whatever chunk it is in.
        let seed = options.seed.wrapping_add(number << 32);
        let window = in_range.len();
        Search {
            untried: shuffled(in_range, window, seed).collect::<Vec<_>>().into_iter(),
            excluded_ids: ids.into_iter().flatten().flatten().cloned().collect(),
            excluded_texts: texts.map(|text| text.trim().to_owned()).collect(),
            taken: Vec::new(),
            own_scores: Vec::new(),
            limit: f32::INFINITY,
            rejected: 0,
        }
    }

    fn mined(mut self, scored: bool) -> Mined {
        self.taken.sort_by_key(|candidate| candidate.rank);
        let scores = self.own_scores.iter().chain(self.taken.iter().map(|candidate| &candidate.score));
        Mined {
            scores: scored.then(|| scores.map(|score| score.to_bits()).collect()),
            doc_ids: self.taken.into_iter().map(|candidate| candidate.doc_id).collect(),
            rejected: self.rejected,
        }
    }
}

/// Adds what was mined to an example.
fn add(example: &mut TrainingExample, mined: Mined, database: &Database, output: &Path) -> Result<()> {
    let has_ids = example.negatives.is_empty() || example.negative_ids.is_some();
    for doc_id in &mined.doc_ids {
        let passage = database.passage(doc_id)?.ok_or_else(|| TrainingError::MinedDocument {
            doc_id: doc_id.clone(),
            journal: Journal::beside(output),
        })?;
        example.negatives.push(passage);
    }
    // Some negatives with ids and some without is what no format can say.
    if has_ids {
        example.negative_ids.get_or_insert_default().extend(mined.doc_ids);
    }
    if let Some(scores) = mined.scores {
        let mut scores = scores.into_iter().map(f32::from_bits);
        example.positive_scores = Some(scores.by_ref().take(example.positives.len()).collect());
        example.negative_scores = Some(scores.collect());
    }
    Ok(())
}
