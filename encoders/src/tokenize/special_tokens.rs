//! The special tokens around a text, for people.

use serde::Serialize;

use super::Tokenizer;

/// The special tokens of a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SpecialTokens {
    /// Before the text, such as `[CLS]` or `<s>`.
    pub before: Vec<String>,
    /// After it, such as `[SEP]` or `</s>`.
    pub after: Vec<String>,
    /// Where Python puts padding, if tokenizer_config.json says so. Here texts are not padded.
    pub padding_side: Option<String>,
}

impl SpecialTokens {
    pub(crate) fn of(tokenizer: &Tokenizer) -> SpecialTokens {
        let [before, after] = tokenizer.around();
        SpecialTokens { before, after, padding_side: tokenizer.padding_side().map(str::to_owned) }
    }
}
