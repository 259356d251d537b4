//! A query and documents, followed through the layers of a model (EffiR, Fig. 6 and 7).

use std::path::Path;

use secateur_encoders::prune::{TracePoint, trace};
use secateur_encoders::{Encoder, TextKind};
use serde::{Deserialize, Serialize};

use super::ReadingOptions;
use crate::error::{Error, Result};

/// What is followed. The options of `secateur prune trace` are these.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceOptions {
    /// The query.
    #[arg(long, value_name = "TEXT")]
    pub query: String,
    /// Documents that answer it; the option can be given again.
    #[arg(long, value_name = "TEXT", required = true)]
    pub positive: Vec<String>,
    /// Documents that do not; the option can be given again.
    #[arg(long, value_name = "TEXT", required = true)]
    pub negative: Vec<String>,
    /// How the model's files are read.
    #[command(flatten)]
    pub reading: ReadingOptions,
}

/// How similar a query and documents are after each layer of a model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// What the model is called.
    pub model: String,
    /// Which encoder that is.
    pub fingerprint: String,
    /// How token vectors become one, at every place.
    pub pooling: String,
    /// The most tokens of a text that the model reads.
    pub max_length: usize,
    /// Texts that are longer, the query among them. What is behind has no part in the cosines.
    pub num_cut_texts: usize,
    /// The query.
    pub query: String,
    /// The documents, those first that answer it.
    pub documents: Vec<TracedDocument>,
    /// The places in the order of the forward.
    pub points: Vec<TracePoint>,
}

/// A document that is compared with the query.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracedDocument {
    /// Its text.
    pub text: String,
    /// Whether it answers the query.
    pub is_relevant: bool,
}

impl TraceOptions {
    /// Follows the texts through the model of a directory.
    ///
    /// # Errors
    ///
    /// There is no document of a kind. The model does not load, or refuses a text.
    pub fn run(&self, model: impl AsRef<Path>) -> Result<Trace> {
        for (option, documents) in [("positive", &self.positive), ("negative", &self.negative)] {
            if documents.is_empty() {
                return Err(Error::option(option, "give at least one document of each kind"));
            }
        }
        let encoder = Encoder::load(model, &self.reading.load_options())?;
        let kinds = [(&self.positive, true), (&self.negative, false)];
        let documents: Vec<TracedDocument> = kinds
            .into_iter()
            .flat_map(|(texts, is_relevant)| {
                texts.iter().map(move |text| TracedDocument { text: text.clone(), is_relevant })
            })
            .collect();
        let texts: Vec<&str> = documents.iter().map(|document| document.text.as_str()).collect();
        let cut_before = encoder.num_cut_texts();
        encoder.tokenize(&[&self.query], TextKind::Query)?;
        encoder.tokenize(&texts, TextKind::Passage)?;
        let num_cut_texts = encoder.num_cut_texts() - cut_before;
        Ok(Trace {
            max_length: encoder.max_length(),
            num_cut_texts,
            model: encoder.name().to_owned(),
            fingerprint: encoder.fingerprint().to_string(),
            pooling: encoder.settings().pooling.to_string(),
            query: self.query.clone(),
            points: trace(&encoder, &self.query, &texts)?,
            documents,
        })
    }
}
