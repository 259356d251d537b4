//! Texts packed back to back, as language models are calibrated.

use tokenizers::Tokenizer as HuggingFace;

use super::{Affixes, Tokenizer};
use crate::error::{Error, Result};

/// Tokenizes texts for packed blocks: uncut, each followed by what ends a text.
pub(crate) struct Packer<'a> {
    tokenizer: &'a Tokenizer,
    /// The same tokenizer without truncation.
    whole: HuggingFace,
    separator: Vec<u32>,
    /// What every block begins and ends with.
    pub(crate) before: Vec<u32>,
    pub(crate) after: Vec<u32>,
}

impl Tokenizer {
    /// For a `causal` model each text is followed by the end-of-text token, and blocks have no special tokens of
    /// their own. For other models each text is followed by the tokenizer's closing tokens, and a block gets special
    /// tokens as a text does.
    pub(crate) fn packer(&self, causal: bool) -> Result<Packer<'_>> {
        let whole = self.without_truncation()?;
        let (before, after, separator) = if causal {
            (Vec::new(), Vec::new(), vec![self.end_of_text()?])
        } else {
            let Affixes { before, after } = &self.affixes;
            (before.clone(), after.clone(), after.clone())
        };
        Ok(Packer { tokenizer: self, whole, separator, before, after })
    }

    fn end_of_text(&self) -> Result<u32> {
        let config = &self.config;
        let eos = self.class.token(config, "eos_token");
        let named = eos.and_then(|eos| self.inner.token_to_id(eos));
        named.or(self.affixes.after.last().copied()).ok_or_else(|| {
            let found = eos.map_or_else(|| "absent".to_owned(), |eos| format!("{eos:?}"));
            config.invalid(
                "eos_token",
                found,
                "a token of tokenizer.json: it ends every text of a packed block; or calibrate on texts that are not packed",
            )
        })
    }
}

impl Packer<'_> {
    /// The ids of a text and what ends it.
    pub(crate) fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        let encoding = self.whole.encode_fast(text, false);
        let encoding = encoding.map_err(|source| self.tokenizer.failed(source))?;
        let ids = [encoding.get_ids(), &self.separator].concat();
        match self.tokenizer.checked(ids) {
            // A text without tokens, where nothing ends a text either, adds nothing to a block.
            Err(Error::NoTokens { .. }) => Ok(Vec::new()),
            checked => checked,
        }
    }
}
