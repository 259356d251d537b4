//! The changes since the last commit, in a value that threads may share.

use std::sync::{Mutex, PoisonError};

use secateur_index::storage::{Store, Transaction};

/// The open transaction, if there is one. It is changed by whoever has the database for himself, so nobody waits: the
/// lock only lets other threads hold a reference to the database.
#[derive(Default)]
pub(super) struct Changes(Mutex<Option<Transaction<Store>>>);

impl Changes {
    /// Whether there are any.
    pub fn is_some(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Takes them out.
    pub fn take(&mut self) -> Option<Transaction<Store>> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Puts them in.
    pub fn insert(&mut self, changes: Transaction<Store>) -> &mut Transaction<Store> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).insert(changes)
    }
}
