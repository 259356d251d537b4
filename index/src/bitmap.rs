//! A set of row numbers, one bit a row: which rows are deleted, or may be found.

use std::ops::Range;

/// A growable set of row numbers with its cardinality at hand.
///
/// ```
/// use secateur_index::Bitmap;
/// let even: Bitmap = (0..10).step_by(2).collect();
/// assert!(even.contains(4) && !even.contains(5) && even.len() == 5);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bitmap {
    words: Vec<u64>,
    len: u32,
}

impl Bitmap {
    /// The set stored as `words`, bit r % 64 of word r / 64 for row r.
    pub fn from_words(words: Vec<u64>) -> Bitmap {
        let len = words.iter().map(|word| word.count_ones()).sum();
        Bitmap { words, len }
    }

    /// Bit r % 64 of word r / 64 is set if row r is in the set; rows beyond the last word are not.
    pub fn words(&self) -> &[u64] {
        &self.words
    }

    /// The number of rows in the set.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// Whether there is no row in the set.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether a row is in the set.
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
        self.iter_within(0..u32::MAX)
    }

    /// The rows of the set that lie in a range, ascending.
    pub fn iter_within(&self, range: Range<u32>) -> impl Iterator<Item = u32> + '_ {
        self.words_within(range).flat_map(|(index, word)| {
            let mut rest = word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros())?;
                rest &= rest - 1;
                Some(index as u32 * 64 + bit)
            })
        })
    }

    /// The number of rows of the set that lie in a range.
    pub fn len_within(&self, range: Range<u32>) -> u32 {
        self.words_within(range).map(|(_, word)| word.count_ones()).sum()
    }

    /// The words that hold a range with their positions, without the bits outside.
    fn words_within(&self, range: Range<u32>) -> impl Iterator<Item = (usize, u64)> + '_ {
        let end = (range.end as usize).div_ceil(64).min(self.words.len());
        let first = (range.start as usize / 64).min(end);
        self.words[first..end].iter().zip(first..).map(move |(&word, index)| {
            let start = index as u64 * 64;
            let below = |row: u32| match u64::from(row).saturating_sub(start) {
                bits @ 0..64 => (1u64 << bits) - 1,
                _ => u64::MAX,
            };
            (index, word & below(range.end) & !below(range.start))
        })
    }
}

impl FromIterator<u32> for Bitmap {
    fn from_iter<I: IntoIterator<Item = u32>>(rows: I) -> Bitmap {
        let mut bitmap = Bitmap::default();
        rows.into_iter().for_each(|row| {
            bitmap.insert(row);
        });
        bitmap
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
        fn equals_a_set(rows in prop::collection::vec(0u32..500, 0..60), start in 0u32..600, len in 0u32..300) {
            let mut bitmap = Bitmap::default();
            let mut set = BTreeSet::new();
            for row in rows {
                prop_assert_eq!(bitmap.insert(row), set.insert(row));
            }
            prop_assert_eq!(bitmap.len() as usize, set.len());
            prop_assert_eq!(bitmap.is_empty(), set.is_empty());
            prop_assert!((0..600).all(|row| bitmap.contains(row) == set.contains(&row)));
            let within: Vec<u32> = set.range(start..start + len).copied().collect();
            prop_assert_eq!(bitmap.len_within(start..start + len) as usize, within.len());
            prop_assert_eq!(bitmap.iter_within(start..start + len).collect::<Vec<_>>(), within);
            prop_assert_eq!(&set.iter().copied().collect::<Bitmap>(), &bitmap);
            prop_assert_eq!(bitmap.iter().collect::<Vec<_>>(), set.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(Bitmap::from_words(bitmap.words().to_vec()), bitmap);
        }
    }
}
