//! `secateur search`: one query, its hits.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use secateur::Filter;
use secateur::fusion::Fusion;
use secateur::index::bm25::Bm25Params;
use secateur::{Database, SearchMode, SearchParams};
use serde_json::json;

use super::encoder::{EncoderArguments, open_database};
use super::failure::Result;

const EXAMPLES: &str = "\
Examples:
  secateur search my.db \"when are roses pruned\"
  secateur search my.db \"roses\" --mode hybrid -k 20 --filter 'year >= 2015' --json";

#[derive(Args)]
#[command(mut_arg("encoder", |encoder| encoder.help("Where the database's encoder is, if not where it was when the vectors were made")), after_help = EXAMPLES)]
pub struct Arguments {
    /// The database.
    database: PathBuf,
    /// What to look for: one argument, in quotes if it has several words.
    query: String,
    /// The most hits to print.
    #[arg(short, long, default_value = "10")]
    k: NonZeroUsize,
    /// Print JSON, with the whole documents.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    mode: ModeArguments,
    #[command(flatten)]
    encoder: EncoderArguments,
}

/// Which index answers, and its parameters.
#[derive(Args, Clone)]
#[command(next_help_heading = "How to search")]
pub struct ModeArguments {
    /// Which index answers [default: dense, or bm25 if the database has no vectors].
    #[arg(long)]
    mode: Option<SearchMode>,
    /// BM25: how slowly repeated words saturate.
    #[arg(long, default_value_t = Bm25Params::default().k1)]
    k1: f32,
    /// BM25: how strongly long documents are discounted.
    #[arg(long, default_value_t = Bm25Params::default().b)]
    b: f32,
    /// dense, hybrid: ef of the HNSW search, or candidates of a faiss index [default: 100, or what `tune` set].
    ///
    /// A higher number finds more of the true hits and takes longer.
    #[arg(long, value_name = "EF")]
    ef: Option<NonZeroUsize>,
    /// Find only documents whose metadata match, such as 'year >= 2015 and not source in ["web", "mail"]'.
    ///
    /// There are ==, !=, <, <=, >, >=, in, and, or, not, parentheses. A boolean field may stand without ==.
    #[arg(long, value_name = "FILTER")]
    filter: Option<Filter>,
    /// The generation whose vectors are read [default: the one in use].
    #[arg(long, value_name = "NAME")]
    generation: Option<String>,
    /// hybrid: hits of each index that are fused.
    #[arg(long, value_name = "N", default_value_t = SearchParams::default().num_candidates)]
    candidates: usize,
    /// hybrid: how both rankings are fused.
    #[arg(long, default_value_t)]
    fusion: Fusion,
    /// hybrid: how much the ranking by vectors counts; that by words counts 1.
    ///
    /// Choose it with `tune-fusion`, on a split that no results are reported on.
    #[arg(long, value_name = "WEIGHT", default_value_t = 1.0, value_parser = weight)]
    dense_weight: f64,
}

fn weight(text: &str) -> std::result::Result<f64, String> {
    let weight = text.parse().ok().filter(|weight: &f64| weight.is_finite() && *weight >= 0.0);
    weight.ok_or_else(|| "expected a finite number, 0 or more".to_owned())
}

impl ModeArguments {
    /// The generation that is named.
    pub fn generation(&self) -> Option<&str> {
        self.generation.as_deref()
    }

    /// Whether an encoder has to be loaded, in a database that has vectors.
    pub fn needs_encoder(&self) -> bool {
        self.mode != Some(SearchMode::Bm25)
    }

    /// How to search for `k` hits.
    pub fn params(&self, database: &Database, k: usize) -> SearchParams {
        let default = if database.encoder_record().is_some() { SearchMode::Dense } else { SearchMode::Bm25 };
        SearchParams {
            k,
            bm25: Bm25Params { k1: self.k1, b: self.b },
            ef_search: self.ef.map(NonZeroUsize::get),
            filter: self.filter.clone(),
            num_candidates: self.candidates,
            fusion: self.fusion,
            dense_weight: self.dense_weight,
            ..SearchParams::new(self.mode.unwrap_or(default))
        }
    }
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let database =
            open_database(&self.database, self.mode.generation(), &self.encoder, self.mode.needs_encoder())?;
        let params = self.mode.params(&database, self.k.get());
        if self.json {
            json_answer(&database, &self.query, &params)
        } else {
            answer(&database, &self.query, &params)
        }
    }
}

/// The hits of a query as text: rank, score, id, and the title or the beginning of the text.
pub fn answer(database: &Database, query: &str, params: &SearchParams) -> Result<String> {
    let mut text = String::new();
    for (rank, (hit, document)) in database.search_documents(query, params)?.into_iter().enumerate() {
        let label = if document.title.trim().is_empty() { document.text } else { document.title };
        let label = shorten(&label, 90);
        let doc_id = hit.doc_id.replace(['\n', '\r'], " ");
        text.push_str(&format!("{:>3}  {:<8.4}  {doc_id}  {label}\n", rank + 1, hit.score));
    }
    if text.is_empty() {
        text.push_str("no document matches\n");
    }
    Ok(text)
}

fn json_answer(database: &Database, query: &str, params: &SearchParams) -> Result<String> {
    let mut hits = Vec::new();
    for (hit, document) in database.search_documents(query, params)? {
        // Metadata was checked to be a JSON object when the corpus was read; as a string it would be quoted again.
        let metadata = document.metadata.and_then(|raw| serde_json::from_str::<serde_json::Value>(&raw).ok());
        hits.push(json!({
            "doc_id": hit.doc_id,
            "score": hit.score,
            "title": document.title,
            "text": document.text,
            "metadata": metadata,
        }));
    }
    Ok(format!("{:#}\n", json!({ "query": query, "mode": database.mode(params).to_string(), "hits": hits })))
}

/// The beginning of a text in one line.
fn shorten(text: &str, max_chars: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(max_chars) {
        None => line,
        Some((end, _)) => format!("{}...", &line[..end]),
    }
}

#[cfg(test)]
mod tests {
    use super::shorten;

    #[test]
    fn labels_are_one_line_of_whole_characters() {
        assert_eq!(shorten("a\n b", 5), "a b");
        assert_eq!(shorten("éééé", 3), "ééé...");
    }
}
