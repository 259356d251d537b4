//! `secateur search`: one query and its hits, or many.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use secateur::fusion::Fusion;
use secateur::index::bm25::Bm25Params;
use secateur::report::three_digits;
use secateur::search::{SearchTimes, Sides};
use secateur::{Database, Filter, SearchMode, SearchParams};
use serde_json::Value;

use super::encoder::EncoderArguments;
use super::failure::{Code, Failure, Result};
use super::hits::{Hits, Look, as_json, as_text, found, fused, missing_text, with_documents};
use super::queries;
use super::searched::{Opening, Searched, open_searched};
use crate::cli::index::check_file_out;

const EXAMPLES: &str = "\
With --queries the encoder is loaded once, and each query is answered by a line of JSON. From standard input a query is answered \
as soon as its line is there, so another program can keep the command open. A line is a text, an id and a text with a tab \
between, or a JSON object with query (or text), and perhaps _id, k, filter, mode or vector.

Examples:
  secateur search my.db \"when are roses pruned\"
  secateur search my.db \"roses\" --mode hybrid -k 20 --filter 'year >= 2015' --json
  secateur search my.db --queries queries.jsonl --run my.run
  echo '{\"query\": \"roses\", \"k\": 3}' | secateur search my.db --queries -";

#[derive(Args)]
#[command(mut_arg("encoder", |encoder| encoder.help("Where the database's encoder is, if not where it was when the vectors were made")), after_help = EXAMPLES)]
pub struct Arguments {
    /// The database, a set of shards, or a .json file that names the servers of a set.
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
    /// Where servers answer: leave out shards that give no answer, and say which they are.
    #[arg(long)]
    partial: bool,
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
    /// Which index answers [default: hybrid, or bm25 if no encoder makes vectors].
    #[arg(long)]
    mode: Option<SearchMode>,
    /// bm25, hybrid: how slowly repeated words saturate [default: 0.9].
    #[arg(long, allow_negative_numbers = true)]
    k1: Option<f32>,
    /// bm25, hybrid: how strongly long documents are discounted [default: 0.4].
    #[arg(long, allow_negative_numbers = true)]
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
    /// hybrid: how both rankings are fused [default: sum if the encoder says how much its vectors count, else rrf].
    #[arg(long)]
    fusion: Option<Fusion>,
    /// hybrid: how much the ranking by vectors counts; that by words counts 1 [default: what the encoder says, or 1].
    ///
    /// Choose it with `tune-fusion`, on a split that no results are reported on.
    #[arg(long, value_name = "WEIGHT", value_parser = weight, allow_negative_numbers = true)]
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
    pub fn params(&self, database: &dyn Searched, k: usize) -> Result<SearchParams> {
        let mode = self.mode.unwrap_or_else(|| database.mode(&SearchParams::default()));
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
            fusion: self.fusion,
            dense_weight: self.dense_weight,
            ..SearchParams::new(mode)
        })
    }

    fn check(&self, database: &dyn Searched, mode: SearchMode) -> Result<()> {
        let usage = |message: String| Err(Failure::new(Code::Usage, message));
        let given = [
            ("--k1", self.k1.is_some(), SearchMode::Dense),
            ("--b", self.b.is_some(), SearchMode::Dense),
            ("--ef", self.ef.is_some(), SearchMode::Bm25),
            ("--generation", self.generation.is_some(), SearchMode::Bm25),
        ];
        for (option, is_given, without) in given {
            if is_given && mode == without {
                return usage(format!(
                    "{option} does nothing in mode {mode}: leave it out, or choose another --mode"
                ));
            }
        }
        let of_fusion = [
            ("--candidates", self.candidates.is_some()),
            ("--fusion", self.fusion.is_some()),
            ("--dense-weight", self.dense_weight.is_some()),
        ];
        for (option, is_given) in of_fusion {
            if is_given && mode != SearchMode::Hybrid {
                return usage(format!(
                    "{option} does nothing in mode {mode}: leave it out, or say --mode hybrid"
                ));
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
    /// What is searched.
    pub fn path(&self) -> &Path {
        &self.database
    }

    pub fn run(self, out: &mut impl Write) -> Result<String> {
        let start = Instant::now();
        let is_stdin = self.query.len() == 1 && self.query[0] == "-";
        let queries = self.queries.clone().or_else(|| is_stdin.then(|| PathBuf::from("-")));
        let query = self.query.join(" ");
        if queries.is_none() && self.vector.is_none() && query.trim().is_empty() {
            return Err(Failure::new(Code::Usage, "the query is empty: say what to look for"));
        }
        if self.run.is_some() && queries.is_none() {
            let message = "--run needs --queries: a run file holds the answers of a file of queries";
            return Err(Failure::new(Code::Usage, message));
        }
        if let (Some(run), Some(queries)) = (&self.run, &queries) {
            check_file_out(run, std::slice::from_ref(queries))?;
        }
        let needs_encoder = self.mode.needs_encoder() && self.vector.is_none();
        let opening = Opening { generation: self.mode.generation(), needs_encoder, partial: self.partial };
        let mut database = open_searched(&self.database, opening, &self.encoder)
            .map_err(|failure| self.with_advice(failure))?;
        let loading = start.elapsed();
        let k = self.k.get();
        if let Some(vector) = &self.vector {
            return self.answer_vector(&*database, vector);
        }
        let params = self.mode.params(&*database, k)?;
        if let Some(path) = queries {
            database.search_on(self.encoder.device)?;
            return queries::answer(&*database, &path, &params, self.run.as_deref(), out);
        }
        if !self.explain {
            let found = found(&*database, &query, &params)?;
            return Ok(match self.json {
                true => format!("{:#}\n", as_json(&*database, &query, &params, &found)?),
                false => as_text(&found, &query, &Look::of_stdout(&*database)) + &missing_text(&*database),
            });
        }
        let explanation = database.explain(&query, &params)?;
        let hits = (explanation.hits, database.reopened());
        let start = Instant::now();
        let again = || -> secateur::Result<Hits> { Ok(database.explain(&query, &params)?.hits) };
        let found = with_documents(&*database, &query, &params, hits, again)?;
        let times = Times { load: loading, search: explanation.times, documents: start.elapsed() };
        if self.json {
            let mut json = as_json(&*database, &query, &params, &found)?;
            json["times_ms"] = times.as_json();
            return Ok(format!("{json:#}\n"));
        }
        let mode = database.mode(&params);
        let mut text = as_text(&found, &query, &Look::of_stdout(&*database).explaining(mode));
        let fused = fused(&*database, &params).map(|fused| fused + "\n").unwrap_or_default();
        text.push_str(&format!("\n{fused}{}{}", times.as_text(), missing_text(&*database)));
        Ok(text)
    }

    /// A database that is named in the place of the query is most likely in the wrong place.
    fn with_advice(&self, failure: Failure) -> Failure {
        let is_database = |word: &&String| Database::open(word).is_ok();
        match self.query.iter().find(is_database).filter(|_| !self.database.exists()) {
            Some(word) => {
                let message =
                    format!("{}; {word} is one: the database comes first, then the query", failure.message);
                Failure { message, ..failure }
            }
            None => failure,
        }
    }

    fn answer_vector(&self, database: &dyn Searched, vector: &str) -> Result<String> {
        let vector: Vec<f32> = serde_json::from_str(vector).map_err(|error| {
            Failure::new(Code::Usage, format!("--vector: {error}; expected a list such as [0.1, -2]"))
        })?;
        let mode =
            ModeArguments { mode: Some(self.mode.mode.unwrap_or(SearchMode::Dense)), ..self.mode.clone() };
        let params = mode.params(database, self.k.get())?;
        let search = || -> secateur::Result<Hits> {
            let hits = database.search_vector(&vector, &params)?;
            Ok(hits.into_iter().map(|hit| (hit, Sides::default())).collect())
        };
        let hits = (search()?, database.reopened());
        let found = with_documents(database, "", &params, hits, search)?;
        Ok(match self.json {
            true => format!("{:#}\n", as_json(database, "", &params, &found)?),
            false => as_text(&found, "", &Look::of_stdout(database)) + &missing_text(database),
        })
    }
}

/// Where the time went.
struct Times {
    load: std::time::Duration,
    search: SearchTimes,
    documents: std::time::Duration,
}

impl Times {
    fn parts(&self) -> [(&'static str, f64); 8] {
        let SearchTimes { filter, tokenize, encode, dense, bm25, fuse } = self.search;
        [
            ("open and load", self.load),
            ("filter", filter),
            ("tokenize", tokenize),
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
            parts.map(|(name, milliseconds)| format!("{name} {}", three_digits(milliseconds))).collect();
        format!("milliseconds, taken once: {}\n", parts.join(", "))
    }

    fn as_json(&self) -> Value {
        self.parts().into_iter().map(|(name, time)| (name.replace(' ', "_"), Value::from(time))).collect()
    }
}
