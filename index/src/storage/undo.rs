//! What a transaction has changed since a step began, so that the step can be undone.

use super::new_ids::IdChange;

/// A part of a transaction's changes, of which all are kept or none: see [`Transaction::begin_step`].
///
/// [`Transaction::begin_step`]: super::Transaction::begin_step
#[must_use = "a step ends with `Transaction::end_step`"]
#[derive(Debug)]
pub struct Step {
    /// How many changes there were.
    start: usize,
    is_outermost: bool,
}

/// What a change is undone by.
#[derive(Clone, Copy)]
pub(super) enum Undo {
    /// This row of this committed segment is there again.
    Deleted { segment: usize, row: u32 },
    /// An id of a document that the transaction added.
    Id(IdChange),
}

/// The changes of the steps that have begun and not ended, oldest first; none are noted outside of steps.
#[derive(Default)]
pub(super) struct Undoing(Option<Vec<Undo>>);

impl Undoing {
    pub fn begin(&mut self) -> Step {
        let is_outermost = self.0.is_none();
        Step { start: self.0.get_or_insert_default().len(), is_outermost }
    }

    pub fn note(&mut self, undo: Undo) {
        if let Some(undos) = &mut self.0 {
            undos.push(undo);
        }
    }

    /// Ends a step; what its changes are undone by, latest first, if they are not kept.
    pub fn end(&mut self, step: Step, is_kept: bool) -> Vec<Undo> {
        let Some(undos) = &mut self.0 else { return Vec::new() };
        let mut undone = match is_kept {
            true => Vec::new(),
            false => undos.split_off(step.start.min(undos.len())),
        };
        undone.reverse();
        if step.is_outermost {
            self.0 = None;
        }
        undone
    }
}
