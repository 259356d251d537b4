//! Which rows a search has met.

/// A set of rows, one bit each, that is emptied in the time that filling it took.
#[derive(Default)]
pub(crate) struct Visited {
    words: Vec<u64>,
    rows: Vec<u32>,
}

impl Visited {
    /// Empties the set and makes room for rows below `num_rows`.
    pub fn reset(&mut self, num_rows: usize) {
        let words = num_rows.div_ceil(64);
        // Clearing a word at random costs about what 8 in a row do.
        if self.words.len() == words && self.rows.len() < words / 8 {
            self.rows.iter().for_each(|row| self.words[*row as usize / 64] = 0);
        } else {
            self.words.clear();
            self.words.resize(words, 0);
        }
        self.rows.clear();
    }

    /// Adds a row below `num_rows`; false if it was there.
    #[inline]
    pub fn insert(&mut self, row: u32) -> bool {
        let word = &mut self.words[row as usize / 64];
        let bit = 1 << (row % 64);
        let is_new = *word & bit == 0;
        if is_new {
            *word |= bit;
            self.rows.push(row);
        }
        is_new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After either way of clearing nothing is left, whatever the sizes.
    #[test]
    fn resets_leave_nothing() {
        let mut visited = Visited::default();
        for (num_rows, step) in [(10_000, 1), (10_000, 4999), (10_000, 3), (64, 1), (65, 60), (10_000, 9999)]
        {
            visited.reset(num_rows);
            for row in (0..num_rows as u32).step_by(step) {
                assert!(visited.insert(row));
                assert!(!visited.insert(row));
            }
        }
        visited.reset(10_000);
        assert!((0..10_000).all(|row| visited.insert(row)));
    }
}
