//! The records of a test collection.

use std::collections::BTreeMap;

/// One text of a corpus.
///
/// ```
/// use secateur_datasets::Document;
///
/// let document = Document::new("d1", "Cut in late winter.")
///     .title("Pruning apple trees")
///     .metadata(r#"{"topic":"gardening"}"#);
/// assert_eq!(document.passage(" "), "Pruning apple trees Cut in late winter.");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Document {
    /// The document's id, unique in its corpus and never empty.
    pub id: String,
    /// The title; empty where there is none.
    pub title: String,
    /// The text.
    pub text: String,
    /// A JSON object, as it was written in the corpus, but with `null` for Python's `NaN` and `Infinity`.
    pub metadata: Option<String>,
}

impl Document {
    /// A document without a title and without metadata.
    pub fn new(id: impl Into<String>, text: impl Into<String>) -> Document {
        Document { id: id.into(), text: text.into(), ..Document::default() }
    }

    /// The same document with this title.
    #[must_use]
    pub fn title(self, title: impl Into<String>) -> Document {
        Document { title: title.into(), ..self }
    }

    /// The same document with this JSON object as its metadata, which filters look at.
    #[must_use]
    pub fn metadata(self, object: impl Into<String>) -> Document {
        Document { metadata: Some(object.into()), ..self }
    }

    /// Whether there is nothing in it to find: neither title nor text.
    pub fn is_empty(&self) -> bool {
        self.title.trim().is_empty() && self.text.trim().is_empty()
    }

    /// The text to index and encode: title, separator and text, trimmed; the text alone where there is no title.
    ///
    /// With `" "` this is the rule of BEIR, MTEB and Tevatron; txtai's separator is `". "`.
    pub fn passage(&self, separator: &str) -> String {
        joined(&self.title, &self.text, separator)
    }
}

/// A text without an id, such as a calibration text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Passage {
    /// The title; empty where there is none.
    pub title: String,
    /// The text.
    pub text: String,
}

impl Passage {
    /// Title, separator and text, as [`Document::passage`] joins them.
    pub fn joined(&self, separator: &str) -> String {
        joined(&self.title, &self.text, separator)
    }
}

/// Title, separator and text, trimmed; the text alone where there is no title.
pub(crate) fn joined(title: &str, text: &str, separator: &str) -> String {
    if title.is_empty() {
        return text.trim().to_owned();
    }
    let mut passage = String::with_capacity(title.len() + separator.len() + text.len());
    passage.push_str(title);
    passage.push_str(separator);
    passage.push_str(text);
    let trimmed = passage.trim();
    if trimmed.len() == passage.len() { passage } else { trimmed.to_owned() }
}

/// An information need.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// The query's id, unique in its file and never empty.
    pub id: String,
    /// The query as a user would type it.
    pub text: String,
}

/// Judged relevance: `query_id -> doc_id -> relevance`, where 0 and below mean not relevant.
pub type Qrels = BTreeMap<String, BTreeMap<String, i32>>;

/// One line of a run: a document and its score, higher is better.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ScoredDocument {
    /// The document retrieved.
    pub doc_id: String,
    /// Its score; finite, and only comparable within one query.
    pub score: f64,
}

impl ScoredDocument {
    /// The order of every ranking: score descending, then document id descending in byte order, as trec_eval breaks
    /// ties (`form_res_rels.c`). Scores must be finite; -0.0 equals 0.0.
    pub fn ranking_order(&self, other: &Self) -> std::cmp::Ordering {
        // Adding 0.0 turns -0.0 into 0.0, which total_cmp would tell apart.
        (other.score + 0.0).total_cmp(&(self.score + 0.0)).then_with(|| other.doc_id.cmp(&self.doc_id))
    }
}

/// System output: `query_id -> documents, best first`.
pub type Run = BTreeMap<String, Vec<ScoredDocument>>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passages_join_title_and_text() {
        let cases = [
            ("Title", "Text.", " ", "Title Text."),
            ("Title", "Text.", ". ", "Title. Text."),
            ("", "Text.", ". ", "Text."),
            ("Title", "", " ", "Title"),
            ("", "", " ", ""),
            ("  Title", "Text.\n", " ", "Title Text."),
        ];
        for (title, text, separator, expected) in cases {
            let document = Document {
                id: "d".to_owned(),
                title: title.to_owned(),
                text: text.to_owned(),
                metadata: None,
            };
            assert_eq!(document.passage(separator), expected, "{title:?} {text:?} {separator:?}");
        }
    }

    #[test]
    fn ties_are_ordered_by_document_id_descending() {
        let scored = |doc_id: &str, score: f64| ScoredDocument { doc_id: doc_id.to_owned(), score };
        let mut run =
            [scored("a", 0.0), scored("c", -0.0), scored("b", 0.0), scored("d", -1.0), scored("e", 2.0)];
        run.sort_by(ScoredDocument::ranking_order);
        let order: Vec<&str> = run.iter().map(|hit| hit.doc_id.as_str()).collect();
        assert_eq!(order, ["e", "c", "b", "a", "d"]);
    }
}
