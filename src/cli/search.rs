//! `secateur search`: one query and its hits, or many.

use std::io::{IsTerminal, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use secateur::fusion::Fusion;
use secateur::index::bm25::Bm25Params;
use secateur::search::{Place, SearchTimes, Sides, snippet};
use secateur::{Database, Document, Filter, Hit, SearchMode, SearchParams};
use serde_json::{Value, json};

use super::encoder::{EncoderArguments, open_database};
use super::failure::{Code, Failure, Result};
use super::queries;

const EXAMPLES: &str = "\
With --queries the encoder is loaded once, and each query is answered by a line of JSON. From standard input a query is answered
as soon as its line is there, so another program can keep the command open. A line is a text, an id and a text with a tab
between, or a JSON object with query (or text), and perhaps _id, k, filter, mode or vector.

Examples:
  secateur search my.db \"when are roses pruned\"
  secateur search my.db \"roses\" --mode hybrid -k 20 --filter 'year >= 2015' --json
  secateur search my.db --queries queries.jsonl --run my.run
  echo '{\"query\": \"roses\", \"k\": 3}' | secateur search my.db --queries -";

#[derive(Args)]
#[command(mut_arg("encoder", |encoder| encoder.help("Where the database's encoder is, if not where it was when the vectors were made")), after_help = EXAMPLES)]
pub struct Arguments {
    /// The database.
    database: PathBuf,
    /// What to look for.
    #[arg(value_name = "QUERY", required_unless_present_any = ["queries", "vector"])]
    query: Vec<String>,
    /// The most hits of a query.
    #[arg(short, long, default_value = "10", value_parser = super::positive)]
    k: NonZeroUsize,
    /// Print JSON, with the whole documents.
    #[arg(long)]
    json: bool,
    /// Say of each hit where it stands in the ranking by vectors and by words, and where the time went.
    #[arg(long)]
    explain: bool,
    /// A file of queries; - for standard input.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["query", "explain"], help_heading = "Many queries")]
    queries: Option<PathBuf>,
    /// Write the hits as a TREC run file, which `eval-run` measures, instead of printing them.
    #[arg(long, value_name = "FILE", requires = "queries", help_heading = "Many queries")]
    run: Option<PathBuf>,
    /// A vector of your own instead of a query: a JSON list of numbers.
    #[arg(long, value_name = "JSON", conflicts_with_all = ["query", "queries", "explain"], allow_hyphen_values = true)]
    vector: Option<String>,
    #[command(flatten)]
    mode: ModeArguments,
    #[command(flatten)]
    encoder: EncoderArguments,
}

/// Which index answers, and its parameters.
#[derive(Args, Clone)]
#[command(next_help_heading = "How to search")]
pub struct ModeArguments {
    /// Which index answers [default: dense, or bm25 if no encoder makes vectors].
    #[arg(long)]
    mode: Option<SearchMode>,
    /// bm25, hybrid: how slowly repeated words saturate [default: 0.9].
    #[arg(long)]
    k1: Option<f32>,
    /// bm25, hybrid: how strongly long documents are discounted [default: 0.4].
    #[arg(long)]
    b: Option<f32>,
    /// dense, hybrid: ef of the HNSW search, or candidates of a faiss index [default: 100, or what `tune` set].
    ///
    /// A higher number finds more of the true hits and takes longer.
    #[arg(long, value_name = "EF", value_parser = super::positive)]
    ef: Option<NonZeroUsize>,
    /// Find only documents whose metadata match, such as 'year >= 2015 and not source in ["web", "mail"]'.
    ///
    /// There are ==, !=, <, <=, >, >=, in, all, contains, starts with, is missing, and, or, not, parentheses. A boolean
    /// field may stand without ==. `secateur info` lists the fields.
    #[arg(long, value_name = "FILTER")]
    filter: Option<Filter>,
    /// The generation whose vectors are read [default: the one in use].
    #[arg(long, value_name = "NAME")]
    generation: Option<String>,
    /// hybrid: hits of each index that are fused [default: 100, or -k if that is more].
    #[arg(long, value_name = "N", value_parser = super::positive)]
    candidates: Option<NonZeroUsize>,
    /// hybrid: how both rankings are fused [default: rrf].
    #[arg(long)]
    fusion: Option<Fusion>,
    /// hybrid: how much the ranking by vectors counts; that by words counts 1 [default: 1].
    ///
    /// Choose it with `tune-fusion`, on a split that no results are reported on.
    #[arg(long, value_name = "WEIGHT", value_parser = weight)]
    dense_weight: Option<f64>,
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

    /// How to search for `k` hits. An option that could do nothing is refused, and so is a filter on a field that no
    /// document has.
    pub fn params(&self, database: &Database, k: usize) -> Result<SearchParams> {
        let default = if database.encoder_record().is_some() { SearchMode::Dense } else { SearchMode::Bm25 };
        let mode = self.mode.unwrap_or(default);
        self.check(database, mode)?;
        if let Some(filter) = &self.filter {
            database.check_filter(filter)?;
        }
        let bm25 = Bm25Params::default();
        Ok(SearchParams {
            k,
            bm25: Bm25Params { k1: self.k1.unwrap_or(bm25.k1), b: self.b.unwrap_or(bm25.b) },
            ef_search: self.ef.map(NonZeroUsize::get),
            filter: self.filter.clone(),
            num_candidates: self.candidates.map(NonZeroUsize::get),
            fusion: self.fusion.unwrap_or_default(),
            dense_weight: self.dense_weight.unwrap_or(1.0),
            ..SearchParams::new(mode)
        })
    }

    fn check(&self, database: &Database, mode: SearchMode) -> Result<()> {
        let usage = |message: String| Err(Failure::new(Code::Usage, message));
        let given = [
            ("--k1", self.k1.is_some(), SearchMode::Dense),
            ("--b", self.b.is_some(), SearchMode::Dense),
            ("--ef", self.ef.is_some(), SearchMode::Bm25),
        ];
        for (option, is_given, without) in given {
            if is_given && mode == without {
                return usage(format!("{option} does nothing in mode {mode}: leave it out, or choose another --mode"));
            }
        }
        let of_fusion = [
            ("--candidates", self.candidates.is_some()),
            ("--fusion", self.fusion.is_some()),
            ("--dense-weight", self.dense_weight.is_some()),
        ];
        for (option, is_given) in of_fusion {
            if is_given && mode != SearchMode::Hybrid {
                return usage(format!("{option} does nothing in mode {mode}: leave it out, or say --mode hybrid"));
            }
        }
        let index = database.vector_index();
        if self.ef.is_some()
            && let Some(index) = index.filter(|index| index.ef_search().is_none())
        {
            return usage(format!(
                "--ef does nothing here: the index is {}, which compares every vector",
                index.name()
            ));
        }
        Ok(())
    }
}

impl Arguments {
    pub fn run(self, out: &mut impl Write) -> Result<String> {
        let start = Instant::now();
        let is_stdin = self.query.len() == 1 && self.query[0] == "-";
        let queries = self.queries.clone().or_else(|| is_stdin.then(|| PathBuf::from("-")));
        let query = self.query.join(" ");
        if queries.is_none() && self.vector.is_none() && query.trim().is_empty() {
            return Err(Failure::new(Code::Usage, "the query is empty: say what to look for"));
        }
        let needs_encoder = self.mode.needs_encoder() && self.vector.is_none();
        let database =
            open_database(&self.database, self.mode.generation(), &self.encoder, needs_encoder)?;
        let loading = start.elapsed();
        let k = self.k.get();
        if let Some(vector) = &self.vector {
            return self.answer_vector(&database, vector);
        }
        let params = self.mode.params(&database, k)?;
        if let Some(path) = queries {
            return queries::answer(&database, &path, &params, self.run.as_deref(), out);
        }
        if !self.explain {
            let found = found(&database, &query, &params)?;
            return Ok(match self.json {
                true => format!("{:#}\n", as_json(&database, &query, &params, &found)),
                false => as_text(&found, &query, &Look::of_stdout()),
            });
        }
        let explanation = database.explain(&query, &params)?;
        let start = Instant::now();
        let found = with_documents(&database, explanation.hits)?;
        let times = Times { load: loading, search: explanation.times, documents: start.elapsed() };
        if self.json {
            let mut json = as_json(&database, &query, &params, &found);
            json["times_ms"] = times.as_json();
            return Ok(format!("{json:#}\n"));
        }
        let mode = database.mode(&params);
        let mut text = as_text(&found, &query, &Look { explain: Some(mode), ..Look::of_stdout() });
        text.push_str(&format!("\n{}", times.as_text()));
        Ok(text)
    }

    fn answer_vector(&self, database: &Database, vector: &str) -> Result<String> {
        let vector: Vec<f32> = serde_json::from_str(vector).map_err(|error| {
            Failure::new(Code::Usage, format!("--vector: {error}; expected a list such as [0.1, -2]"))
        })?;
        let mode = ModeArguments { mode: Some(self.mode.mode.unwrap_or(SearchMode::Dense)), ..self.mode.clone() };
        let params = mode.params(database, self.k.get())?;
        let hits = database.search_vector(&vector, &params)?;
        let found = with_documents(database, hits.into_iter().map(|hit| (hit, Sides::default())).collect())?;
        Ok(match self.json {
            true => format!("{:#}\n", as_json(database, "", &params, &found)),
            false => as_text(&found, "", &Look::of_stdout()),
        })
    }
}

/// A hit, where it stands on either side, and its document.
pub type Found = (Hit, Sides, Document);

/// The hits of a query with their documents.
pub fn found(database: &Database, query: &str, params: &SearchParams) -> Result<Vec<Found>> {
    with_documents(database, database.search_sides(&[query], params)?.pop().unwrap_or_default())
}

/// Reads the documents of hits.
pub fn with_documents(database: &Database, hits: Vec<(Hit, Sides)>) -> Result<Vec<Found>> {
    let with_document = |(hit, sides): (Hit, Sides)| {
        // Hits and documents are read from one snapshot, so each hit has its document.
        let document = database.document(&hit.doc_id)?.unwrap_or_default();
        Ok((hit, sides, document))
    };
    hits.into_iter().map(with_document).collect()
}

/// How hits are printed.
pub struct Look {
    /// Columns of the screen.
    width: usize,
    /// Whether matching words are marked.
    marks: bool,
    /// Whether each hit's places are told, and in which mode.
    explain: Option<SearchMode>,
}

impl Look {
    /// On a terminal lines are as wide as it is, and matching words are bold.
    pub fn of_stdout() -> Look {
        let is_terminal = std::io::stdout().is_terminal();
        let width = terminal_size::terminal_size().filter(|_| is_terminal).map(|(width, _)| width.0.into());
        Look { width: width.unwrap_or(100), marks: is_terminal, explain: None }
    }
}

/// The hits of a query as text: rank, score, id and title, and the part of the text with the query's words.
pub fn as_text(found: &[Found], query: &str, look: &Look) -> String {
    let mut text = String::new();
    for (rank, (hit, sides, document)) in found.iter().enumerate() {
        let head = format!("{:>3}  {:<8.4}  {}", rank + 1, hit.score, hit.doc_id);
        text.push_str(&head);
        let room = |used: usize| look.width.saturating_sub(used + 6).max(20);
        let used = head.chars().count() + 2;
        if document.title.trim().is_empty() {
            text.push_str(&format!("  {}\n", marked(&document.text, query, room(used), look)));
        } else {
            text.push_str(&format!("  {}\n", marked(&document.title, query, room(used), look)));
            if !document.text.trim().is_empty() {
                text.push_str(&format!("     {}\n", marked(&document.text, query, room(5), look)));
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
    let snippet = snippet(text, query, max_chars);
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

fn explained(mode: SearchMode, sides: &Sides) -> String {
    let side = |name: &str, place: Option<Place>| match place {
        Some(Place { rank, score }) => format!("{name}: rank {rank}, score {score:.4}"),
        None => format!("{name}: not among those fused"),
    };
    match mode {
        SearchMode::Dense => side("vectors", sides.dense),
        SearchMode::Bm25 => side("words", sides.bm25),
        SearchMode::Hybrid => format!("{}; {}", side("vectors", sides.dense), side("words", sides.bm25)),
    }
}

/// Where the time went.
struct Times {
    load: std::time::Duration,
    search: SearchTimes,
    documents: std::time::Duration,
}

impl Times {
    fn parts(&self) -> [(&'static str, f64); 7] {
        let SearchTimes { filter, encode, dense, bm25, fuse } = self.search;
        [
            ("open and load", self.load),
            ("filter", filter),
            ("encode", encode),
            ("vectors", dense),
            ("words", bm25),
            ("fuse", fuse),
            ("documents", self.documents),
        ]
        .map(|(name, time)| (name, time.as_secs_f64() * 1000.0))
    }

    fn as_text(&self) -> String {
        let parts = self.parts().into_iter().filter(|(_, milliseconds)| *milliseconds > 0.0);
        let parts: Vec<String> =
            parts.map(|(name, milliseconds)| format!("{name} {milliseconds:.2}")).collect();
        format!("milliseconds, taken once: {}\n", parts.join(", "))
    }

    fn as_json(&self) -> Value {
        self.parts().into_iter().map(|(name, time)| (name.replace(' ', "_"), Value::from(time))).collect()
    }
}

/// An answer as JSON, with the whole documents.
pub fn as_json(database: &Database, query: &str, params: &SearchParams, found: &[Found]) -> Value {
    let mode = database.mode(params);
    let place = |place: Option<Place>| place.map(|Place { rank, score }| json!({ "rank": rank, "score": score }));
    let hit = |(hit, sides, document): &Found| {
        // Metadata was checked to be a JSON object when the corpus was read; as a string it would be quoted again.
        let metadata = document.metadata.as_ref().and_then(|raw| serde_json::from_str::<Value>(raw).ok());
        let mut json = json!({
            "doc_id": hit.doc_id,
            "score": hit.score,
            "title": document.title,
            "text": document.text,
            "metadata": metadata,
        });
        if mode == SearchMode::Hybrid {
            json["dense"] = place(sides.dense).into();
            json["bm25"] = place(sides.bm25).into();
        }
        json
    };
    json!({ "query": query, "mode": mode.to_string(), "hits": found.iter().map(hit).collect::<Vec<_>>() })
}
