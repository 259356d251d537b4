//! Searches, from what a request says to what it is answered.

use secateur::fusion::Fusion;
use secateur::index::bm25::{Analyzer, Bm25Params};
use secateur::index::metadata;
use secateur::search::{Place, Sides, Snippet, snippet};
use secateur::{Database, Filter, Hit, SearchMode, SearchParams};
use secateur_serve::{Fault, FoundHit, HitPlace, SearchRequest, Span};

use super::fault;

/// Characters of a snippet, if the request does not say.
const SNIPPET: usize = 200;

/// Hits of a search that does not say how many.
const HITS: usize = 10;

/// How to search. A field that could do nothing is refused, and so is a filter on a field that no document has.
pub fn params(request: &SearchRequest, database: &Database) -> Result<SearchParams, Fault> {
    let mode = match request.mode.as_deref() {
        Some(mode) => mode.parse::<SearchMode>().map_err(|error| field("mode", &error))?,
        None if request.vector.is_some() => SearchMode::Dense,
        None => database.mode(&SearchParams::default()),
    };
    if request.vector.is_some() && mode != SearchMode::Dense {
        let problem =
            format!("a vector has no words to search for in mode {mode}: leave it out, or say dense");
        return Err(Fault::invalid_field("mode", problem));
    }
    check(request, database, mode)?;
    let filter = request.filter.as_deref().map(|filter| checked_filter(database, filter)).transpose()?;
    let bm25 = Bm25Params::default();
    let fusion = request.fusion.as_deref().map(str::parse::<Fusion>).transpose();
    let fusion = fusion.map_err(|error| field("fusion", &error))?;
    Ok(SearchParams {
        k: request.k.unwrap_or(HITS),
        bm25: Bm25Params { k1: request.k1.unwrap_or(bm25.k1), b: request.b.unwrap_or(bm25.b) },
        ef_search: request.ef,
        filter,
        num_candidates: request.candidates,
        fusion,
        dense_weight: request.dense_weight,
        ..SearchParams::new(mode)
    })
}

/// A filter that could match documents of this database.
pub fn checked_filter(database: &Database, text: &str) -> Result<Filter, Fault> {
    let filter = text.parse::<Filter>().map_err(fault::of_index)?;
    database.check_filter(&filter).map_err(|error| fault::of(&error))?;
    Ok(filter)
}

fn field(name: &str, error: &dyn std::error::Error) -> Fault {
    Fault::invalid_field(name, error.to_string())
}

fn check(request: &SearchRequest, database: &Database, mode: SearchMode) -> Result<(), Fault> {
    let dense_only = mode == SearchMode::Dense;
    let idle = [
        ("k1", request.k1.is_some() && dense_only),
        ("b", request.b.is_some() && dense_only),
        ("ef", request.ef.is_some() && mode == SearchMode::Bm25),
        ("candidates", request.candidates.is_some() && mode != SearchMode::Hybrid),
        ("fusion", request.fusion.is_some() && mode != SearchMode::Hybrid),
        ("dense_weight", request.dense_weight.is_some() && mode != SearchMode::Hybrid),
    ];
    if let Some((name, _)) = idle.into_iter().find(|(_, does_nothing)| *does_nothing) {
        return Err(Fault::invalid_field(name, format!("it does nothing in mode {mode}: leave it out")));
    }
    if request.ef.is_some()
        && let Some(index) = database.vector_index().filter(|index| index.ef_search().is_none())
    {
        let problem =
            format!("it does nothing here: the index is {}, which compares every vector", index.name());
        return Err(Fault::invalid_field("ef", problem));
    }
    if request.dense_weight.is_some_and(|weight| !weight.is_finite() || weight < 0.0) {
        return Err(Fault::invalid_field("dense_weight", "expected a number, 0 or more"));
    }
    Ok(())
}

/// The hits of a request with their documents, as they are answered.
pub fn found(
    database: &Database,
    request: &SearchRequest,
    params: &SearchParams,
    hits: Vec<(Hit, Sides)>,
) -> secateur::Result<Vec<FoundHit>> {
    let query = request.query.as_deref().unwrap_or_default();
    let ids: Vec<&str> = hits.iter().map(|(hit, _)| hit.doc_id.as_str()).collect();
    let passages = match query.is_empty() || database.mode(params) == SearchMode::Bm25 {
        true => vec![None; ids.len()],
        false => database.best_passages(query, &ids)?,
    };
    let most = request.snippet.unwrap_or(SNIPPET);
    let analyzer = database.analyzer();
    let with_document = |((hit, sides), passage): ((Hit, Sides), Option<String>)| {
        // Hits and documents are read from one snapshot, so each hit has its document.
        let document = database.document(&hit.doc_id)?.unwrap_or_default();
        let shown = passage.as_deref().unwrap_or(&document.text);
        let shown = match shown.strip_prefix(&document.title) {
            Some(rest) if passage.is_some() && !document.title.is_empty() => {
                rest.strip_prefix(database.separator()).unwrap_or(rest)
            }
            rest => rest.unwrap_or(shown),
        };
        let metadata = metadata::read(&document.id, document.metadata.as_deref())?;
        Ok(FoundHit {
            score: hit.score,
            title_spans: spans(&document.title, query, analyzer, usize::MAX),
            snippet: spans(shown, query, analyzer, most),
            read: passage.clone().unwrap_or_else(|| document.passage(database.separator())),
            metadata,
            passage,
            dense: sides.dense.map(place),
            bm25: sides.bm25.map(place),
            doc_id: hit.doc_id,
            title: document.title,
            text: document.text,
        })
    };
    hits.into_iter().zip(passages).map(with_document).collect()
}

fn place(Place { rank, score }: Place) -> HitPlace {
    HitPlace { rank, score }
}

/// A part of a text, divided into words that match and what is between them.
fn spans(text: &str, query: &str, analyzer: Analyzer, most: usize) -> Vec<Span> {
    let Snippet { text, marks } = snippet(text, query, analyzer, most);
    let mut spans = Vec::new();
    let mut push = |range: std::ops::Range<usize>, marked| {
        if !range.is_empty() {
            spans.push(Span { text: text[range].to_owned(), marked });
        }
    };
    let mut at = 0;
    for mark in marks {
        push(at..mark.start, false);
        push(mark.clone(), true);
        at = mark.end;
    }
    push(at..text.len(), false);
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_divided_where_words_match() {
        let of = |text: &str, query: &str| {
            let spans = spans(text, query, Analyzer::English, 100);
            spans.into_iter().map(|span| (span.text, span.marked)).collect::<Vec<_>>()
        };
        let span = |text: &str, marked| (text.to_owned(), marked);
        assert_eq!(
            of("Prune roses late.", "rose pruning"),
            [span("Prune", true), span(" ", false), span("roses", true), span(" late.", false)]
        );
        assert_eq!(of("Bees", "rose"), [span("Bees", false)]);
        assert_eq!(of("", "rose"), []);
    }
}
