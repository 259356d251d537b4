//! What the server asks of models.

use crate::fault::Fault;

/// Whether a text asks or answers: models may put different prompts before the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A query.
    Query,
    /// A document, or a part of one.
    Passage,
}

/// What is told of an encoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbedderFacts {
    /// What it is called.
    pub name: String,
    /// The fingerprint of all that decides its vectors.
    pub fingerprint: String,
    /// The length of a vector.
    pub dim: usize,
    /// The most tokens of a text that count.
    pub max_tokens: usize,
    /// How many different tokens there are.
    pub vocabulary: usize,
    /// Whether vectors have length 1.
    pub normalizes: bool,
    /// How token vectors become one.
    pub pooling: String,
    /// How precisely it computes.
    pub precision: String,
}

/// What turns texts into vectors.
pub trait Embedder: Send + Sync {
    /// What is told of it.
    fn facts(&self) -> &EmbedderFacts;

    /// The token ids of each text, prompt and special tokens included, cut to the most that count.
    ///
    /// # Errors
    ///
    /// The tokenizer refuses a text.
    fn tokenize(&self, texts: &[&str], kind: Kind) -> Result<Vec<Vec<u32>>, Fault>;

    /// Whether a text of which these are the token ids was cut.
    ///
    /// # Errors
    ///
    /// The tokenizer refuses the text.
    fn is_cut(&self, text: &str, kind: Kind, tokens: &[u32]) -> Result<bool, Fault>;

    /// The vector of each text of this kind: (B) -> (B, D), row-major.
    ///
    /// # Errors
    ///
    /// A vector is not finite.
    fn embed(&self, tokens: &[Vec<u32>], kind: Kind) -> Result<Vec<f32>, Fault>;
}

/// What says how well a passage answers a query.
pub trait Scorer: Send + Sync {
    /// What it is called.
    fn name(&self) -> &str;

    /// The most tokens of a pair that count.
    fn max_tokens(&self) -> usize;

    /// The logit of each (query, passage): (B) -> (B), higher is better.
    ///
    /// # Errors
    ///
    /// The tokenizer refuses a text, or a score is not finite.
    fn score(&self, pairs: &[(&str, &str)]) -> Result<Vec<f32>, Fault>;
}
