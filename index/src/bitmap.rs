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

    /// Takes a row out. As after insertions alone, no word without a bit is at the end.
    pub(crate) fn remove(&mut self, row: u32) {
        if self.contains(row) {
            self.words[row as usize / 64] &= !(1 << (row % 64));
            self.len -= 1;
            while self.words.last() == Some(&0) {
                self.words.pop();
            }
        }
    }

    /// The set of those of these rows that are below `num_rows`, rounded up to a multiple of 64.
    pub(crate) fn of_rows(rows: impl IntoIterator<Item = u32>, num_rows: u32) -> Bitmap {
        let mut words = vec![0; num_rows.div_ceil(64) as usize];
        for row in rows {
            if let Some(word) = words.get_mut(row as usize / 64) {
                *word |= 1 << (row % 64);
            }
        }
        Bitmap::from_words(words)
    }

    /// All rows below `num_rows`.
    pub(crate) fn full(num_rows: u32) -> Bitmap {
        Bitmap::default().complement(num_rows)
    }

    /// The rows below `num_rows` that are not in the set.
    pub(crate) fn complement(&self, num_rows: u32) -> Bitmap {
        let mut words: Vec<u64> =
            (0..num_rows.div_ceil(64)).map(|at| !self.bits_at(i64::from(at) * 64)).collect();
        if let (Some(last), rest @ 1..) = (words.last_mut(), num_rows % 64) {
            *last &= (1 << rest) - 1;
        }
        Bitmap::from_words(words)
    }

    /// Keeps the rows that are in the other set too.
    pub(crate) fn intersect(&mut self, other: &Bitmap) {
        let words = self.words.iter().zip((0..).step_by(64));
        *self = Bitmap::from_words(words.map(|(word, at)| word & other.bits_at(at)).collect());
    }

    /// Removes the rows that are in the other set.
    pub(crate) fn subtract(&mut self, other: &Bitmap) {
        let words = self.words.iter().zip((0..).step_by(64));
        *self = Bitmap::from_words(words.map(|(word, at)| word & !other.bits_at(at)).collect());
    }

    /// Adds the rows of another set, each moved up by `base`.
    pub(crate) fn unite(&mut self, other: &Bitmap, base: u32) {
        let mut words = std::mem::take(&mut self.words);
        let len = if other.is_empty() { 0 } else { (base as usize + 64 * other.words.len()).div_ceil(64) };
        words.resize(words.len().max(len), 0);
        let first = base as usize / 64;
        for (word, at) in words[first.min(len)..len].iter_mut().zip((-i64::from(base % 64)..).step_by(64)) {
            *word |= other.bits_at(at);
        }
        *self = Bitmap::from_words(words);
    }

    /// The 64 bits from `row` on, which may be below 0.
    fn bits_at(&self, row: i64) -> u64 {
        let word = |index: i64| {
            usize::try_from(index).ok().and_then(|index| self.words.get(index)).copied().unwrap_or(0)
        };
        let (index, shift) = (row.div_euclid(64), row.rem_euclid(64));
        if shift == 0 { word(index) } else { word(index) >> shift | word(index + 1) << (64 - shift) }
    }

    /// The number of rows of the set that lie in a range and are not in `other`. Row 0 of `other` is the start of the
    /// range.
    pub(crate) fn len_within_except(&self, range: Range<u32>, other: &Bitmap) -> u32 {
        let start = i64::from(range.start);
        self.words_within(range)
            .map(|(index, word)| (word & !other.bits_at(index as i64 * 64 - start)).count_ones())
            .sum()
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

        /// The algebra of sets against that of `BTreeSet`.
        #[test]
        fn algebra_is_that_of_sets(
            a in prop::collection::btree_set(0u32..300, 0..60),
            b in prop::collection::btree_set(0u32..300, 0..60),
            base in 0u32..200,
            num_rows in 0u32..400,
            start in 0u32..300,
        ) {
            let [left, right]: [Bitmap; 2] = [&a, &b].map(|set| set.iter().copied().collect());
            let expect = |name: &str, got: &Bitmap, expected: BTreeSet<u32>| {
                prop_assert_eq!(got.len() as usize, expected.len(), "{}", name);
                prop_assert_eq!(got.iter().collect::<BTreeSet<_>>(), expected, "{}", name);
                Ok(())
            };
            let (mut both, mut without, mut moved) = (left.clone(), left.clone(), left.clone());
            both.intersect(&right);
            expect("intersect", &both, &a & &b)?;
            without.subtract(&right);
            expect("subtract", &without, &a - &b)?;
            moved.unite(&right, base);
            expect("unite", &moved, &a | &b.iter().map(|row| row + base).collect())?;
            expect("complement", &left.complement(num_rows), (0..num_rows).filter(|row| !a.contains(row)).collect())?;
            let rows: Vec<u32> = a.iter().copied().collect();
            expect("of_rows", &Bitmap::of_rows(rows, 300), a.clone())?;
            expect("full", &Bitmap::full(num_rows), (0..num_rows).collect())?;
            let range = start..start + base;
            let kept = a.range(range.clone()).filter(|row| !b.contains(&(*row - start))).count();
            prop_assert_eq!(left.len_within_except(range, &right) as usize, kept);
        }
    }
}
