//! A set of row numbers, one bit a row: which rows of a segment are deleted.

/// A growable set of `u32`s with its cardinality at hand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Bitmap {
    words: Vec<u64>,
    len: u32,
}

impl Bitmap {
    /// The set stored as `words`, bit r % 64 of word r / 64 for row r.
    pub fn from_words(words: Vec<u64>) -> Bitmap {
        let len = words.iter().map(|word| word.count_ones()).sum();
        Bitmap { words, len }
    }

    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// The number of rows in the set.
    pub fn len(&self) -> u32 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    pub fn contains(&self, row: u32) -> bool {
        self.words.get(row as usize / 64).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Adds a row; false if it was there.
    pub fn insert(&mut self, row: u32) -> bool {
        let word = row as usize / 64;
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let bit = 1 << (row % 64);
        let is_new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        self.len += u32::from(is_new);
        is_new
    }

    /// The rows of the set, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().enumerate().flat_map(|(index, &word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some(index as u32 * 64 + bit)
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// The bitmap against a `BTreeSet`: membership, count, order and the stored words.
        #[test]
        fn equals_a_set(rows in prop::collection::vec(0u32..500, 0..60)) {
            let mut bitmap = Bitmap::default();
            let mut set = BTreeSet::new();
            for row in rows {
                prop_assert_eq!(bitmap.insert(row), set.insert(row));
            }
            prop_assert_eq!(bitmap.len() as usize, set.len());
            prop_assert_eq!(bitmap.is_empty(), set.is_empty());
            prop_assert!((0..600).all(|row| bitmap.contains(row) == set.contains(&row)));
            prop_assert_eq!(bitmap.iter().collect::<Vec<_>>(), set.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(Bitmap::from_words(bitmap.words().to_vec()), bitmap);
        }
    }
}
