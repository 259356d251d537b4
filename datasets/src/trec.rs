//! Judgments and runs in the formats of NIST's trec_eval, separated by white space:
//!
//! ```text
//! qrels   query-id  iteration  document-id  relevance
//! run     query-id  Q0  document-id  rank  score  tag
//! ```
//!
//! The iteration, `Q0` and the rank are ignored when read. A run's line may go on behind the tag. Blank lines and
//! lines that begin with `#` are skipped, as trec_eval 10 does. Files whose names end in `.gz` or `.zst` are
//! compressed.

use std::collections::HashSet;
use std::path::Path;

use crate::beir::insert_judgment;
use crate::document::{Qrels, Run, ScoredDocument};
use crate::error::Result;
use crate::fault::Fault;
use crate::reader::Lines;
use crate::writer::write_records;

/// Reads judgments.
///
/// # Errors
/// [`Error::Line`](crate::Error::Line) for a line without exactly 4 fields, for a relevance that is not an integer, and
/// for a repeated pair of query and document. Such a pair is refused by trec_eval, too.
pub fn read_qrels(path: impl AsRef<Path>) -> Result<Qrels> {
    let path = path.as_ref();
    let mut qrels = Qrels::new();
    each_line(path, |line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().take(5).collect();
        let [query_id, _iteration, doc_id, relevance] = fields[..] else {
            let expected = "4 fields (query-id, iteration, document-id, relevance)";
            return Err(Fault::FieldCount {
                expected: expected.into(),
                got: line.split_ascii_whitespace().count(),
            });
        };
        let relevance = relevance.parse().map_err(|_| Fault::BadRelevance { got: relevance.to_owned() })?;
        match insert_judgment(&mut qrels, query_id, doc_id, relevance) {
            None => Ok(()),
            Some(_) => Err(Fault::DuplicateJudgment {
                query_id: query_id.to_owned(),
                doc_id: doc_id.to_owned(),
                first: qrels[query_id][doc_id],
                second: relevance,
            }),
        }
    })?;
    Ok(qrels)
}

/// Writes judgments, sorted by query and document, with iteration 0. The file appears whole or not at all.
///
/// # Errors
/// [`Error::Unwritable`](crate::Error::Unwritable) if an id is not one word, [`Error::Io`](crate::Error::Io) if the
/// disk refuses.
pub fn write_qrels(path: impl AsRef<Path>, qrels: &Qrels) -> Result<()> {
    let path = path.as_ref();
    write_records(path, |file| {
        for (query_id, judged) in qrels {
            first_word("query id", query_id)?;
            for (doc_id, relevance) in judged {
                one_word("document id", doc_id)?;
                writeln!(file, "{query_id} 0 {doc_id} {relevance}")?;
            }
        }
        Ok(())
    })
}

/// Reads a run. Each query's documents come in [`ScoredDocument::ranking_order`], whatever ranks the file states.
///
/// # Errors
/// [`Error::Line`](crate::Error::Line) for a line of fewer than 6 fields, for a score that is not finite, and for a
/// document that the query retrieved before. Such a document is refused by trec_eval, too.
pub fn read_run(path: impl AsRef<Path>) -> Result<Run> {
    let path = path.as_ref();
    let mut run = Run::new();
    let mut seen: HashSet<(String, String)> = HashSet::new();
    each_line(path, |line| {
        let fields: Vec<&str> = line.split_ascii_whitespace().take(6).collect();
        let [query_id, _q0, doc_id, _rank, score, _tag] = fields[..] else {
            let expected = "6 fields (query-id, Q0, document-id, rank, score, tag)";
            return Err(Fault::FieldCount { expected: expected.into(), got: fields.len() });
        };
        let value: f64 = score.parse().map_err(|_| Fault::BadScore { got: score.to_owned() })?;
        if !value.is_finite() {
            return Err(Fault::NonFiniteScore { doc_id: doc_id.to_owned(), got: score.to_owned() });
        }
        if !seen.insert((query_id.to_owned(), doc_id.to_owned())) {
            return Err(Fault::DuplicateResult { query_id: query_id.to_owned(), doc_id: doc_id.to_owned() });
        }
        let scored = ScoredDocument { doc_id: doc_id.to_owned(), score: value };
        match run.get_mut(query_id) {
            Some(documents) => documents.push(scored),
            None => drop(run.insert(query_id.to_owned(), vec![scored])),
        }
        Ok(())
    })?;
    for documents in run.values_mut() {
        documents.sort_unstable_by(ScoredDocument::ranking_order);
    }
    Ok(run)
}

/// Writes a run under `tag`, each query's documents in [`ScoredDocument::ranking_order`] with ranks from 1. Scores are
/// written so that reading gives the same `f64`. The file appears whole or not at all.
///
/// A query without documents has no line, so the file loses it. Evaluate such a run with all judged queries counted.
///
/// # Errors
/// [`Error::Unwritable`](crate::Error::Unwritable) if the tag or an id is not one word, if a score is not finite, or
/// if a query has a document twice. [`Error::Io`](crate::Error::Io) if the disk refuses.
pub fn write_run(path: impl AsRef<Path>, run: &Run, tag: &str) -> Result<()> {
    let path = path.as_ref();
    write_records(path, |file| {
        one_word("run tag", tag)?;
        for (query_id, documents) in run {
            first_word("query id", query_id)?;
            let mut ranked: Vec<&ScoredDocument> = documents.iter().collect();
            ranked.sort_unstable_by(|a, b| a.ranking_order(b));
            let mut seen = HashSet::with_capacity(ranked.len());
            for (position, scored) in ranked.into_iter().enumerate() {
                let ScoredDocument { doc_id, score } = scored;
                one_word("document id", doc_id)?;
                if !score.is_finite() {
                    return Err(
                        Fault::NonFiniteScore { doc_id: doc_id.clone(), got: score.to_string() }.into()
                    );
                }
                if !seen.insert(doc_id) {
                    let (query_id, doc_id) = (query_id.clone(), doc_id.clone());
                    return Err(Fault::DuplicateResult { query_id, doc_id }.into());
                }
                writeln!(file, "{query_id} Q0 {doc_id} {} {score} {tag}", position + 1)?;
            }
        }
        Ok(())
    })
}

/// Calls `parse` with each line that is no comment.
fn each_line(path: &Path, mut parse: impl FnMut(&str) -> std::result::Result<(), Fault>) -> Result<()> {
    let mut lines = Lines::open(path)?;
    loop {
        let parsed = match lines.next() {
            None => return Ok(()),
            Some(line) => {
                let (_, line) = line?;
                if line.trim_ascii_start().starts_with('#') { Ok(()) } else { parse(line) }
            }
        };
        parsed.map_err(|fault| lines.error(fault))?;
    }
}

fn one_word(field: &'static str, value: &str) -> std::result::Result<(), Fault> {
    if value.is_empty() || value.contains(|c: char| c.is_ascii_whitespace()) {
        return Err(Fault::NotOneWord { field, value: value.to_owned() });
    }
    Ok(())
}

/// A word that neither turns its line into a comment nor looks like a byte order mark.
fn first_word(field: &'static str, value: &str) -> std::result::Result<(), Fault> {
    if value.starts_with(['#', '\u{feff}']) {
        return Err(Fault::NotOneWord { field, value: value.to_owned() });
    }
    one_word(field, value)
}
