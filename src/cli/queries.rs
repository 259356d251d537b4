//! Many queries, answered one after the other while the encoder stays loaded.

use std::collections::HashMap;
use std::io::{BufReader, Write};
use std::path::Path;
use std::time::Instant;

use secateur::datasets::{Error as DatasetError, Lines, Run, ScoredDocument, trec};
use secateur::report::{counted, three_digits};
use secateur::search::Sides;
use secateur::{Filter, SearchMode, SearchParams};
use serde::Deserialize;
use serde_json::{Value, json};

use super::failure::{Code, Failure, Result, warn};
use super::hits::{Hits, as_json, missing_text, with_documents};
use super::searched::Searched;

/// What is said of a line without words.
const EMPTY_QUERY: &str = "the query is empty";

/// Queries of a file that are encoded together.
const BATCH: usize = 64;

/// What a line asks for.
struct Question {
    id: String,
    text: String,
    vector: Option<Vec<f32>>,
    params: SearchParams,
}

/// A line of JSON. Its values are read by functions that name the field.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "_id", alias = "id", alias = "query_id", alias = "qid")]
    id: Option<Value>,
    #[serde(alias = "text")]
    query: Option<Value>,
    vector: Option<Value>,
    k: Option<Value>,
    filter: Option<Value>,
    mode: Option<Value>,
}

/// Answers the queries of a file, or of standard input (`-`) as they come: a line of JSON each, or a run file.
pub fn answer(
    database: &dyn Searched,
    path: &Path,
    params: &SearchParams,
    run: Option<&Path>,
    out: &mut impl Write,
) -> Result<String> {
    let start = Instant::now();
    let is_stdin = path == Path::new("-");
    let mut lines = match is_stdin {
        true => Lines::of(path, Box::new(BufReader::new(std::io::stdin()))),
        false => Lines::open(path)?,
    };
    let answers = run.map(|_| Run::new());
    let mut answering = Answering { database, out, answers, batch: Vec::new(), count: 0 };
    // A run file has one ranking for an id.
    let mut lines_of_ids: HashMap<String, u64> = HashMap::new();
    // A program that keeps the command open gets each answer at once, and a bad line does not end it.
    let size = if is_stdin { 1 } else { BATCH };
    // A program that keeps the command open gets an answer to each of its lines.
    let is_kept_open = is_stdin && run.is_none();
    let mut number = 0;
    while let Some(line) = lines.next_line() {
        number += 1;
        let asked = match line {
            Ok((_, line)) if line.trim().is_empty() && !is_kept_open => continue,
            Ok((_, line)) => question(database, line.trim_end(), number, params),
            Err(DatasetError::Line { fault, .. }) => Err(Failure::new(Code::Input, fault.to_string())),
            Err(error) => return Err(error.into()),
        };
        let answered = asked.and_then(|question| {
            if run.is_some()
                && let first = *lines_of_ids.entry(question.id.clone()).or_insert(number)
                && first != number
            {
                let message = format!("the query id {:?} comes twice, first on line {first}", question.id);
                return Err(Failure::new(Code::Input, message));
            }
            answering.batch.push(question);
            if answering.batch.len() < size { Ok(true) } else { answering.answer() }
        });
        let goes_on = match answered {
            Err(failure) if is_kept_open => {
                answering.batch.clear();
                answering.print(&json!({ "line": number, "error": failure.message }))?
            }
            Err(failure) => {
                return Err(failure.told(|why| format!("{}:{number}: {why}", path.display())));
            }
            Ok(goes_on) => goes_on,
        };
        if !goes_on {
            return Ok(String::new());
        }
    }
    answering.answer()?;
    let Answering { answers, count, .. } = answering;
    let (Some(run), Some(answers)) = (run, answers) else { return Ok(String::new()) };
    let mode = database.mode(params);
    trec::write_run(run, &answers, &format!("secateur-{mode}"))?;
    let seconds = three_digits(start.elapsed().as_secs_f64());
    Ok(format!("{}: {}, {mode}, in {seconds} s\n", run.display(), counted(count, "query")))
}

/// Queries being answered.
struct Answering<'a, W: Write> {
    database: &'a dyn Searched,
    out: &'a mut W,
    /// The answers that a run file is to hold, if one is to be written.
    answers: Option<Run>,
    batch: Vec<Question>,
    /// Queries answered so far.
    count: usize,
}

impl<W: Write> Answering<'_, W> {
    /// Answers the queries of the batch; false if nobody reads the answers any more.
    fn answer(&mut self) -> Result<bool> {
        let batch = std::mem::take(&mut self.batch);
        self.count += batch.len();
        self.database.renew();
        let hits = hits_of(self.database, &batch)?;
        if self.answers.is_some() {
            // A run file has no place for it.
            let missing = missing_text(self.database);
            missing.lines().for_each(warn);
        }
        for (question, (hits, reopened)) in batch.iter().zip(hits) {
            if let Some(answers) = &mut self.answers {
                let scored =
                    hits.into_iter().map(|(hit, _)| ScoredDocument { doc_id: hit.doc_id, score: hit.score });
                answers.insert(question.id.clone(), scored.collect());
                continue;
            }
            let Question { text, params, .. } = question;
            let again = || -> secateur::Result<Hits> {
                let hits = hits_of(self.database, std::slice::from_ref(question))?.pop();
                Ok(hits.map(|(hits, _)| hits).unwrap_or_default())
            };
            let found = with_documents(self.database, text, params, (hits, reopened), again)?;
            let mut json = as_json(self.database, text, params, &found)?;
            json["query_id"] = question.id.as_str().into();
            if !self.print(&json)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Prints a line at once; false if nobody reads it.
    fn print(&mut self, json: &Value) -> Result<bool> {
        match writeln!(self.out, "{json}").and_then(|()| self.out.flush()) {
            Ok(()) => Ok(true),
            Err(error) => super::stopped(error).map(|_| false),
        }
    }
}

/// Reads a line: JSON, an id and a text with a tab between, or a text, whose id is then its number.
fn question(database: &dyn Searched, line: &str, number: u64, params: &SearchParams) -> Result<Question> {
    let input = |message: String| Failure::new(Code::Input, message);
    if !line.trim_start().starts_with('{') {
        let (id, text) = match line.split_once('\t') {
            Some((id, text)) => (id.to_owned(), text.to_owned()),
            None => (number.to_string(), line.to_owned()),
        };
        if text.trim().is_empty() {
            return Err(input(EMPTY_QUERY.to_owned()));
        }
        return Ok(Question { id, text, vector: None, params: params.clone() });
    }
    let line: Line = serde_json::from_str(line).map_err(|error| {
        // The parser's own line number is always 1.
        let place = format!(" at line {} column {}", error.line(), error.column());
        let message = error.to_string();
        let message = message.strip_suffix(&place).unwrap_or(&message);
        input(format!("bad JSON at column {}: {message}", error.column()))
    })?;
    let id = match line.id {
        None => number.to_string(),
        Some(Value::String(id)) => id,
        Some(Value::Number(id)) => id.to_string(),
        Some(other) => return Err(input(format!("the id is {other}, expected a string or a number"))),
    };
    let mut params = params.clone();
    if let Some(k) = line.k {
        let count = k.as_u64().and_then(|k| usize::try_from(k).ok()).filter(|k| *k > 0);
        params.k = count
            .ok_or_else(|| input(format!("the field k is {k}, expected a whole number of at least 1")))?;
    }
    if let Some(filter) = string("filter", line.filter)? {
        let filter: Filter = filter.parse()?;
        database.check_filter(&filter)?;
        params.filter = Some(filter);
    }
    let mode = string("mode", line.mode)?.map(|mode| mode.parse::<SearchMode>()).transpose();
    let mode = mode.map_err(|error| input(error.to_string()))?;
    params.mode = mode.or(params.mode);
    let vector = line.vector.map(serde_json::from_value::<Vec<f32>>).transpose();
    let vector = vector.map_err(|error| {
        input(format!("the field vector: {error}; expected a list of numbers, such as [0.1, -2]"))
    })?;
    let query = string("query", line.query)?;
    if vector.is_some() {
        if query.is_some() {
            return Err(input("there are a query and a vector: expected one of them".to_owned()));
        }
        if let Some(mode @ (SearchMode::Bm25 | SearchMode::Hybrid)) = mode {
            return Err(secateur::Error::NoWords { mode }.into());
        }
        params.mode = Some(SearchMode::Dense);
    }
    match (query, &vector) {
        (None, None) => Err(input("there is no query: expected the field query, text or vector".to_owned())),
        (Some(text), None) if text.trim().is_empty() => Err(input(EMPTY_QUERY.to_owned())),
        (text, _) => Ok(Question { id, text: text.unwrap_or_default(), vector, params }),
    }
}

/// The string that a field has.
fn string(field: &str, value: Option<Value>) -> Result<Option<String>> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => {
            Err(Failure::new(Code::Input, format!("the field {field} is {other}, expected a string")))
        }
    }
}

/// The hits of each query, and how often the database had been opened anew when they were found. Queries that ask in
/// the same way are encoded together.
fn hits_of(database: &dyn Searched, batch: &[Question]) -> secateur::Result<Vec<(Hits, usize)>> {
    let mut answers = Vec::with_capacity(batch.len());
    let mut rest = batch;
    while let Some(first) = rest.first() {
        if let Some(vector) = &first.vector {
            let hits = database.search_vector(vector, &first.params)?;
            let hits = hits.into_iter().map(|hit| (hit, Sides::default())).collect();
            answers.push((hits, database.reopened()));
            rest = &rest[1..];
            continue;
        }
        let len = rest.iter().take_while(|next| next.vector.is_none() && next.params == first.params).count();
        let (same, others) = rest.split_at(len);
        let texts: Vec<&str> = same.iter().map(|question| question.text.as_str()).collect();
        let found = database.search_sides(&texts, &first.params)?;
        answers.extend(found.into_iter().map(|hits| (hits, database.reopened())));
        rest = others;
    }
    Ok(answers)
}
