//! Texts that come in, in the shapes that clients send.

use std::sync::Arc;

use crate::apart::apart;
use crate::app::{App, Text};
use crate::body::turn;
use crate::budget::{LARGE, Share};
use crate::fault::Fault;
use crate::model::{Embedder, Kind};

/// Bytes of a text. Models read some thousand tokens of it, and tokenizing takes 80 times its bytes.
const MAX_TEXT: usize = 1 << 20;

/// Bytes of a query: a search looks for each of its words.
const MAX_QUERY: usize = 64 << 10;

/// Bytes of a number as JSON, about.
const BYTES_OF_NUMBER: usize = 12;

/// One text or many, as texts or as token ids.
pub enum Input {
    /// One text.
    Text(String),
    /// Many texts.
    Texts(Vec<String>),
    /// The tokens of one text.
    Tokens(Vec<u32>),
    /// The tokens of many texts.
    TokenLists(Vec<Vec<u32>>),
}

/// How texts are made vectors.
#[derive(Clone, Copy)]
pub struct How {
    /// What they are.
    pub kind: Kind,
    /// Whether a text that is too long is cut; otherwise it is refused.
    pub truncate: bool,
    /// The length of the vectors, if not the encoder's.
    pub dimensions: Option<usize>,
    /// Whether vectors are to have length 1; `None` as the encoder has it.
    pub normalize: Option<bool>,
}

/// The vectors of a request.
pub struct Embedded {
    pub vectors: Vec<Vec<f32>>,
    /// Tokens of all texts.
    pub tokens: usize,
    /// What the encoder is called.
    pub model: String,
}

impl Embedded {
    /// Bytes of the vectors as JSON, about.
    pub fn size(&self) -> usize {
        self.vectors.len() * self.vectors.first().map_or(0, Vec::len) * BYTES_OF_NUMBER
    }
}

impl Input {
    fn len(&self) -> usize {
        match self {
            Input::Text(_) | Input::Tokens(_) => 1,
            Input::Texts(texts) => texts.len(),
            Input::TokenLists(lists) => lists.len(),
        }
    }

    /// Its texts; none where it is of tokens.
    fn texts(&self) -> &[String] {
        match self {
            Input::Text(text) => std::slice::from_ref(text),
            Input::Texts(texts) => texts,
            Input::Tokens(_) | Input::TokenLists(_) => &[],
        }
    }
}

/// The vectors of what came in as this field.
pub async fn embed(
    app: &App,
    field: &'static str,
    input: Input,
    how: How,
    share: Share,
) -> Result<Embedded, Fault> {
    let embedder = app.embedder()?;
    let facts = embedder.facts();
    let (dim, model) = (facts.dim, facts.name.clone());
    let wrong = |name: &str, problem: &str| Err(Fault::invalid_field(name, problem));
    if let Some(asked) = how.dimensions.filter(|asked| !(1..=dim).contains(asked)) {
        return wrong(
            "dimensions",
            &format!("{asked} is not in 1 to {dim}, the length of {model}'s vectors"),
        );
    }
    if how.normalize == Some(false) && facts.normalizes {
        return wrong("normalize", &format!("{model} makes vectors of length 1: leave it out, or say true"));
    }
    let is_unit = how.normalize.unwrap_or(facts.normalizes);
    let count = input.len();
    if count == 0 || matches!(&input, Input::Tokens(tokens) if tokens.is_empty()) {
        return wrong(field, "it is empty: send at least one text");
    }
    check_count(field, count, app.limits.items)?;
    check_texts(field, input.texts())?;
    let room = app.embedding.admit(count)?.with(share);
    let size: usize = input.texts().iter().map(String::len).sum();
    let turn = if size > LARGE { Some(turn(app).await?) } else { None };
    let of = Arc::clone(&embedder);
    // Room and turn go along: they are taken until the tokens are there, even if the client goes away.
    let tokenized = apart(move || {
        let _turn = turn;
        (tokens_of(&*of, field, input, how), room)
    });
    let (tokens, room) = tokenized.await?;
    let tokens = tokens?;
    let num_tokens = tokens.iter().map(Vec::len).sum();
    let texts = tokens
        .into_iter()
        .map(|tokens| Text { embedder: Arc::clone(&embedder), kind: how.kind, tokens })
        .collect();
    let mut vectors = app.embedding.compute(room, texts, app.limits.timeout).await?;
    for vector in &mut vectors {
        vector.truncate(how.dimensions.unwrap_or(dim));
        // What is whole has its length from the encoder.
        if is_unit && (vector.len() < dim || !embedder.facts().normalizes) {
            normalize(vector);
        }
    }
    Ok(Embedded { vectors, tokens: num_tokens, model })
}

/// Refuses requests with too many things.
pub fn check_count(field: &'static str, count: usize, most: usize) -> Result<(), Fault> {
    match count <= most {
        true => Ok(()),
        false => Err(Fault::invalid_field(
            field,
            format!("{count} are too many, {most} are allowed: send them in parts"),
        )),
    }
}

/// Refuses texts that are longer than any model reads.
pub fn check_texts(field: &'static str, texts: &[String]) -> Result<(), Fault> {
    let Some(number) = texts.iter().position(|text| text.len() > MAX_TEXT) else { return Ok(()) };
    let problem =
        format!("text {number} has {} bytes, {MAX_TEXT} are allowed: shorten it", texts[number].len());
    Err(Fault::invalid_field(field, problem))
}

/// Refuses a query that is too long.
pub fn check_query(query: &str) -> Result<(), Fault> {
    match query.len() {
        length if length > MAX_QUERY => {
            let problem = format!("it has {length} bytes, {MAX_QUERY} are allowed: shorten it");
            Err(Fault::invalid_field("query", problem))
        }
        _ => Ok(()),
    }
}

fn tokens_of(embedder: &dyn Embedder, field: &str, input: Input, how: How) -> Result<Vec<Vec<u32>>, Fault> {
    let lists = match input {
        Input::Text(text) => return tokens_of_texts(embedder, field, &[text], how),
        Input::Texts(texts) => return tokens_of_texts(embedder, field, &texts, how),
        Input::Tokens(tokens) => vec![tokens],
        Input::TokenLists(lists) => lists,
    };
    let facts = embedder.facts();
    for (number, list) in lists.iter().enumerate() {
        let wrong = |problem: String| Err(Fault::invalid_field(field, format!("text {number} {problem}")));
        if list.is_empty() {
            return wrong("has no token".to_owned());
        }
        if list.len() > facts.max_tokens {
            return wrong(format!("has {} tokens, {} reads {}", list.len(), facts.name, facts.max_tokens));
        }
        if let Some(id) = list.iter().find(|id| **id as usize >= facts.vocabulary) {
            return wrong(format!(
                "has the token {id}, and {} has {} tokens: send texts, or the ids of its own tokenizer",
                facts.name, facts.vocabulary
            ));
        }
    }
    Ok(lists)
}

fn tokens_of_texts(
    embedder: &dyn Embedder,
    field: &str,
    texts: &[String],
    how: How,
) -> Result<Vec<Vec<u32>>, Fault> {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let tokens = embedder.tokenize(&texts, how.kind)?;
    for (number, (text, tokens)) in texts.iter().zip(&tokens).enumerate() {
        let wrong = |problem: String| Err(Fault::invalid_field(field, format!("text {number} {problem}")));
        if tokens.is_empty() {
            return wrong("is empty".to_owned());
        }
        if !how.truncate && embedder.is_cut(text, how.kind, tokens)? {
            let max = embedder.facts().max_tokens;
            return wrong(format!(
                "is longer than the {max} tokens that are read: shorten it, or say truncate: true"
            ));
        }
    }
    Ok(tokens)
}

fn normalize(vector: &mut [f32]) {
    let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
    }
}
