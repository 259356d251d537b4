//! Where the tokens of a text lie in it.

use std::ops::Range;

use tokenizers::Tokenizer as HuggingFace;

use super::Tokenizer;
use crate::error::Result;

impl Tokenizer {
    /// The bytes of each token of a text, which is not cut; special tokens are left out. Ranges ascend and lie between
    /// characters.
    pub(crate) fn ranges(&self, text: &str) -> Result<Vec<Range<usize>>> {
        let whole = match self.whole.get() {
            Some(whole) => whole,
            None => {
                let whole = self.without_truncation()?;
                self.whole.get_or_init(|| whole)
            }
        };
        let encoding = whole.encode(text, false).map_err(|source| self.failed(source))?;
        let mut least = 0;
        let mut range = |(start, end): &(usize, usize)| {
            // A token of a part of a character stands for the whole of it.
            let is_between = |at: &usize| text.is_char_boundary(*at);
            let start = (0..=*start).rev().find(is_between).unwrap_or(0).max(least);
            let end = (*end..text.len()).find(is_between).unwrap_or(text.len()).max(start);
            least = start;
            start..end
        };
        Ok(encoding.get_offsets().iter().map(&mut range).collect())
    }

    /// How many tokens of a text itself are read: without the special tokens around it.
    pub(crate) fn room(&self, max_length: usize) -> usize {
        max_length.min(self.max_length) - self.affixes.before.len() - self.affixes.after.len()
    }

    pub(super) fn without_truncation(&self) -> Result<HuggingFace> {
        let mut whole = self.inner.clone();
        whole.with_truncation(None).map_err(|source| self.failed(source))?;
        Ok(whole)
    }
}
