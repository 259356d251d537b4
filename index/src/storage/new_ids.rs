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

/// A change of one id.
#[derive(Clone, Copy)]
pub(super) struct IdChange {
    number: u32,
    /// The row that had the id, or [`NONE`].
    before: u32,
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

    /// Gives the next row an id, unless a row has it. What undoes it is returned.
    pub fn insert(&mut self, id: &str) -> Option<IdChange> {
        let number = self.ids.intern(id);
        match self.rows.get_mut(number as usize) {
            Some(row) if *row != NONE => return None,
            Some(row) => *row = self.num_rows,
            None => self.rows.push(self.num_rows),
        }
        self.num_rows += 1;
        Some(IdChange { number, before: NONE })
    }

    /// Takes an id from the row that has it, if one has. What undoes it is returned.
    pub fn remove(&mut self, id: &str) -> Option<IdChange> {
        let number = self.ids.number(id)?;
        let before = std::mem::replace(&mut self.rows[number as usize], NONE);
        (before != NONE && self.removed.insert(before)).then_some(IdChange { number, before })
    }

    /// Undoes the last change that is not undone yet. A row that was added stays, without an id.
    pub fn undo(&mut self, IdChange { number, before }: IdChange) {
        let now = std::mem::replace(&mut self.rows[number as usize], before);
        if now != NONE {
            self.removed.insert(now);
        }
        if before != NONE {
            self.removed.remove(before);
        }
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
        fn as_a_map(steps in prop::collection::vec((0u32..12, any::<bool>(), any::<bool>()), 0..200)) {
            let (mut ids, mut rows, mut removed, mut num_rows) =
                (NewIds::default(), HashMap::new(), Bitmap::default(), 0);
            for (number, is_insertion, is_undone) in steps {
                let id = "é".repeat(number as usize % 3) + &(number / 3).to_string();
                prop_assert_eq!(ids.contains(&id), rows.contains_key(&id));
                if is_undone {
                    // A row stays, and no row has its id.
                    let change = if is_insertion { ids.insert(&id) } else { ids.remove(&id) };
                    prop_assert_eq!(change.is_some(), rows.contains_key(&id) != is_insertion);
                    if let Some(change) = change {
                        ids.undo(change);
                        if is_insertion {
                            removed.insert(num_rows);
                            num_rows += 1;
                        }
                    }
                } else if is_insertion {
                    prop_assert_eq!(ids.insert(&id).is_some(), !rows.contains_key(&id));
                    rows.entry(id).or_insert_with(|| {
                        num_rows += 1;
                        num_rows - 1
                    });
                } else {
                    let row = rows.remove(&id);
                    prop_assert_eq!(ids.remove(&id).is_some(), row.is_some());
                    row.map(|row| removed.insert(row));
                }
                prop_assert_eq!(ids.removed(), &removed);
            }
        }
    }
}
