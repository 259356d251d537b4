//! The ids of documents that are being added.

use crate::bitmap::Bitmap;
use crate::strings::Interner;

/// Ids of rows that are numbered from 0, and which rows have lost theirs.
#[derive(Default)]
pub(super) struct NewIds {
    ids: Interner,
    /// The last row of each id, or [`NONE`] if it has lost it.
    rows: Vec<u32>,
    num_rows: u32,
    removed: Bitmap,
}

/// No row has this number: there are fewer.
const NONE: u32 = u32::MAX;

impl NewIds {
    /// The rows that have no id any more.
    pub fn removed(&self) -> &Bitmap {
        &self.removed
    }

    pub fn contains(&self, id: &str) -> bool {
        self.ids.number(id).is_some_and(|number| self.rows[number as usize] != NONE)
    }

    /// Gives the next row an id, unless a row has it.
    pub fn insert(&mut self, id: &str) -> bool {
        let number = self.ids.intern(id) as usize;
        match self.rows.get_mut(number) {
            Some(row) if *row != NONE => return false,
            Some(row) => *row = self.num_rows,
            None => self.rows.push(self.num_rows),
        }
        self.num_rows += 1;
        true
    }

    /// Takes an id from the row that has it; false if none has it.
    pub fn remove(&mut self, id: &str) -> bool {
        let Some(number) = self.ids.number(id) else { return false };
        let row = std::mem::replace(&mut self.rows[number as usize], NONE);
        row != NONE && self.removed.insert(row)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// As a map from ids to rows. Few ids, so that they come again.
        #[test]
        fn as_a_map(steps in prop::collection::vec((0u32..12, any::<bool>()), 0..200)) {
            let (mut ids, mut rows, mut removed, mut num_rows) =
                (NewIds::default(), HashMap::new(), Bitmap::default(), 0);
            for (number, is_insertion) in steps {
                let id = "é".repeat(number as usize % 3) + &(number / 3).to_string();
                prop_assert_eq!(ids.contains(&id), rows.contains_key(&id));
                if is_insertion {
                    prop_assert_eq!(ids.insert(&id), !rows.contains_key(&id));
                    rows.entry(id).or_insert_with(|| {
                        num_rows += 1;
                        num_rows - 1
                    });
                } else {
                    let row = rows.remove(&id);
                    prop_assert_eq!(ids.remove(&id), row.is_some());
                    row.map(|row| removed.insert(row));
                }
                prop_assert_eq!(ids.removed(), &removed);
            }
        }
    }
}
