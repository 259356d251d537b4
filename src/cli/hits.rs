//! How hits are printed: as text, or as JSON.

use std::io::IsTerminal;

use secateur::index::bm25::Analyzer;
use secateur::index::metadata;
use secateur::search::{Place, Sides, snippet};
use secateur::shards::MissingShard;
use secateur::shards::remote::moved_again;
use secateur::{Document, Error, Hit, SearchMode, SearchParams};
use serde_json::{Value, json};

use super::failure::Result;
use super::searched::Searched;

/// A hit with what is shown of it.
pub struct Found {
    hit: Hit,
    /// Where it stands on either side.
    sides: Sides,
    document: Document,
    /// The passage that is nearest to the query, where documents are split and vectors are compared.
    passage: Option<String>,
}

/// Hits, and where they stand on either side.
pub type Hits = Vec<(Hit, Sides)>;

/// The hits of a query with their documents.
pub fn found(database: &dyn Searched, query: &str, params: &SearchParams) -> Result<Vec<Found>> {
    let search = || -> secateur::Result<Hits> {
        Ok(database.search_sides(&[query], params)?.pop().unwrap_or_default())
    };
    let hits = (search()?, database.reopened());
    with_documents(database, query, params, hits, search)
}

/// Reads the documents of the hits of a query, which is empty if a vector was asked with. With the hits comes how often
/// the database had been opened anew when they were found. If that is another state now, `search` finds the hits again,
/// once.
pub fn with_documents(
    database: &dyn Searched,
    query: &str,
    params: &SearchParams,
    (hits, reopened): (Hits, usize),
    search: impl FnOnce() -> secateur::Result<Hits>,
) -> Result<Vec<Found>> {
    if reopened == database.reopened() {
        match read(database, query, params, hits) {
            Err(Error::Shards(error)) if error.is_moved() => {}
            found => return Ok(found?),
        }
    }
    Ok(read(database, query, params, search()?).map_err(moved_again)?)
}

/// Reads the documents of hits from the state in which they were found.
fn read(
    database: &dyn Searched,
    query: &str,
    params: &SearchParams,
    hits: Hits,
) -> secateur::Result<Vec<Found>> {
    let ids: Vec<&str> = hits.iter().map(|(hit, _)| hit.doc_id.as_str()).collect();
    let passages = match query.is_empty() || database.mode(params) == SearchMode::Bm25 {
        true => vec![None; ids.len()],
        false => database.best_passages(query, &ids)?,
    };
    let documents = database.hits_with(&ids)?;
    let with_document = |(((hit, sides), passage), document): (_, Option<Document>)| {
        // Hits and documents are of one state, so each hit has its document, unless its shard is missing since.
        Found { hit, sides, document: document.unwrap_or_default(), passage }
    };
    Ok(hits.into_iter().zip(passages).zip(documents).map(with_document).collect())
}

/// The shards that an answer lacks, a line each.
pub fn missing_text(database: &dyn Searched) -> String {
    let line = |MissingShard { shard, place, problem }: MissingShard| {
        format!("shard {shard} ({place}) is missing: {problem}\n")
    };
    database.missing().unwrap_or_default().into_iter().map(line).collect()
}

fn missing_json(missing: Vec<MissingShard>) -> Value {
    let shard = |MissingShard { shard, place, problem }: MissingShard| json!({ "shard": shard, "place": place, "problem": problem });
    missing.into_iter().map(shard).collect()
}

/// How hits are printed.
pub struct Look {
    /// Columns of the screen.
    width: usize,
    /// Whether matching words are marked.
    marks: bool,
    /// Whether each hit's places are told, and in which mode.
    explain: Option<SearchMode>,
    /// What makes words of texts.
    analyzer: Analyzer,
}

impl Look {
    /// On a terminal lines are as wide as it is, and matching words are bold.
    pub fn of_stdout(database: &dyn Searched) -> Look {
        let is_terminal = std::io::stdout().is_terminal();
        let width = terminal_size::terminal_size().filter(|_| is_terminal).map(|(width, _)| width.0.into());
        Look { width: width.unwrap_or(100), marks: is_terminal, explain: None, analyzer: database.analyzer() }
    }

    /// The same, and each hit's places are told.
    pub fn explaining(self, mode: SearchMode) -> Look {
        Look { explain: Some(mode), ..self }
    }
}

/// The hits of a query as text: rank, score, id and title, and the part of the text with the query's words.
pub fn as_text(found: &[Found], query: &str, look: &Look) -> String {
    let mut text = String::new();
    for (rank, Found { hit, sides, document, passage }) in found.iter().enumerate() {
        let doc_id = printable(&hit.doc_id);
        let head = format!("{:>3}  {:<8.4}  {doc_id}", rank + 1, hit.score);
        text.push_str(&head);
        let room = |used: usize| look.width.saturating_sub(used + 6).max(20);
        let used = head.chars().count() + 2;
        let passage =
            passage.as_deref().map(|passage| passage.strip_prefix(&document.title).unwrap_or(passage));
        let text_of_hit = passage.unwrap_or(&document.text);
        if document.title.trim().is_empty() {
            text.push_str(&format!("  {}\n", marked(text_of_hit, query, room(used), look)));
        } else {
            text.push_str(&format!("  {}\n", marked(&document.title, query, room(used), look)));
            if !document.text.trim().is_empty() {
                text.push_str(&format!("     {}\n", marked(text_of_hit, query, room(5), look)));
            }
        }
        if let Some(mode) = look.explain {
            text.push_str(&format!("     {}\n", explained(mode, sides)));
        }
    }
    if text.is_empty() {
        text.push_str("no document matches\n");
    }
    text
}

/// The part of a text with the query's words, those in bold.
fn marked(text: &str, query: &str, max_chars: usize, look: &Look) -> String {
    let snippet = snippet(&printable(text), query, look.analyzer, max_chars);
    if !look.marks {
        return snippet.text;
    }
    let mut shown = String::new();
    let mut at = 0;
    for mark in snippet.marks {
        shown.push_str(&snippet.text[at..mark.start]);
        shown.push_str(&format!("\x1b[1m{}\x1b[0m", &snippet.text[mark.clone()]));
        at = mark.end;
    }
    shown + &snippet.text[at..]
}

/// A text without control characters: those of a document could clear a terminal, or name its window.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn explained(mode: SearchMode, sides: &Sides) -> String {
    let side = |name: &str, place: Option<Place>| match place {
        Some(Place { rank: Some(rank), score }) => format!("{name}: rank {rank}, score {score:.4}"),
        Some(Place { rank: None, score }) => format!("{name}: not among its hits, score {score:.4}"),
        None => format!("{name}: no score"),
    };
    match mode {
        SearchMode::Dense => side("vectors", sides.dense),
        SearchMode::Bm25 => side("words", sides.bm25),
        SearchMode::Hybrid => format!("{}; {}", side("vectors", sides.dense), side("words", sides.bm25)),
    }
}

/// How the rankings of a hybrid search became one.
pub fn fused(database: &dyn Searched, params: &SearchParams) -> Option<String> {
    let (fusion, weight) = (database.mode(params) == SearchMode::Hybrid).then(|| database.fusing(params))?;
    Some(format!("fused by {fusion}; vectors count {weight}, words 1"))
}

/// An answer as JSON, with the whole documents.
pub fn as_json(
    database: &dyn Searched,
    query: &str,
    params: &SearchParams,
    found: &[Found],
) -> secateur::Result<Value> {
    let mode = database.mode(params);
    let place =
        |place: Option<Place>| place.map(|Place { rank, score }| json!({ "rank": rank, "score": score }));
    let hit = |Found { hit, sides, document, passage }: &Found| -> secateur::Result<Value> {
        // As a string it would be quoted again.
        let metadata = metadata::read(&hit.doc_id, document.metadata.as_deref())?;
        let mut json = json!({
            "doc_id": hit.doc_id,
            "score": hit.score,
            "title": document.title,
            "text": document.text,
            "metadata": metadata,
        });
        if let Some(passage) = passage {
            json["passage"] = passage.as_str().into();
        }
        if mode == SearchMode::Hybrid {
            json["dense"] = place(sides.dense).into();
            json["bm25"] = place(sides.bm25).into();
        }
        Ok(json)
    };
    let hits = found.iter().map(hit).collect::<secateur::Result<Vec<Value>>>()?;
    let mut json = json!({ "query": query, "mode": mode.to_string() });
    if mode == SearchMode::Hybrid {
        let (fusion, dense_weight) = database.fusing(params);
        json["fusion"] = fusion.to_string().into();
        json["dense_weight"] = dense_weight.into();
    }
    json["hits"] = hits.into();
    if let Some(missing) = database.missing() {
        json["missing_shards"] = missing_json(missing);
    }
    Ok(json)
}
