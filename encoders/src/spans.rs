//! Where the texts of a batch lie.

use std::ops::Range;

/// Where each text of a batch lies: text b has the rows `offsets[b]..offsets[b + 1]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spans {
    offsets: Vec<usize>,
}

impl Spans {
    /// The spans of texts with these numbers of tokens.
    pub fn from_lengths(lengths: impl IntoIterator<Item = usize>) -> Spans {
        let mut offsets = vec![0];
        let mut end = 0;
        for length in lengths {
            end += length;
            offsets.push(end);
        }
        Spans { offsets }
    }

    /// The rows of each text.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Range<usize>> + '_ {
        self.offsets.windows(2).map(|pair| pair[0]..pair[1])
    }

    /// B, the number of texts.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// T, the tokens of all texts together.
    pub fn num_tokens(&self) -> usize {
        self.offsets[self.len()]
    }
}
