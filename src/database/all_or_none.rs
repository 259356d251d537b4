//! Changes of which all are kept, or none.

use secateur_index::storage::Step;

use super::Database;
use crate::error::Result;

impl Database {
    /// Makes several changes, of which all are kept, or after an error none. The changes before them stay, as do
    /// commits among them.
    ///
    /// ```
    /// use secateur::{Database, Document};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let mut database = Database::builder(folder.path().join("db")).create()?;
    /// database.add(&[Document::new("1", "Bees dance.")])?;
    /// let moved = database.all_or_none(|database| {
    ///     database.add(&[Document::new("2", "Bread rises.")])?;
    ///     database.delete("3")
    /// });
    /// assert!(moved.is_err(), "there is no document 3");
    /// database.commit()?;
    /// assert!(database.contains("1")? && !database.contains("2")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Those of the changes. Another process is writing.
    pub fn all_or_none<T>(&mut self, changes: impl FnOnce(&mut Database) -> Result<T>) -> Result<T> {
        let had_changes = self.changes.is_some();
        let step = Some(self.changes()?.begin_step());
        let mut open = OpenStep { database: self, step, had_changes, is_kept: false };
        let done = changes(open.database);
        open.is_kept = done.is_ok();
        done
    }
}

/// A step of the transaction. It ends when this is dropped, also while a panic unwinds.
struct OpenStep<'d> {
    database: &'d mut Database,
    step: Option<Step>,
    had_changes: bool,
    is_kept: bool,
}

impl Drop for OpenStep<'_> {
    fn drop(&mut self) {
        match (self.database.changes.take(), self.step.take()) {
            // The step began the transaction. Without it others may write.
            (Some(_), _) if !self.is_kept && !self.had_changes => {}
            (Some(changes), Some(step)) => self.database.changes.insert(changes).end_step(step, self.is_kept),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use secateur_index::Error as IndexError;

    use super::*;
    use crate::error::Error;
    use crate::{DatabaseBuilder, Document};

    /// An empty database without vectors, or with vectors of the caller's.
    fn empty(
        folder: &tempfile::TempDir,
        change: impl FnOnce(DatabaseBuilder) -> DatabaseBuilder,
    ) -> Database {
        change(Database::builder(folder.path().join("db"))).create().unwrap()
    }

    /// The texts of the documents with these ids, after a commit.
    fn texts(database: &mut Database, ids: &[&str]) -> Vec<Option<String>> {
        database.commit().unwrap();
        ids.iter().map(|id| database.document(id).unwrap().map(|document| document.text)).collect()
    }

    /// A call that fails changes nothing, whatever is wrong with its last document, and what came before stays.
    #[test]
    fn a_call_is_made_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = empty(&folder, |builder| builder);
        database.add(&[Document::new("stored", "a")]).unwrap();
        database.commit().unwrap();
        database.add(&[Document::new("added", "b")]).unwrap();
        let good = || Document::new("new", "c");
        let long_id = "x".repeat(70_000);
        for bad in [
            Document::new("stored", "again"),
            Document::new("added", "again"),
            Document::new("new", "twice"),
            Document::new("empty", ""),
            Document::new("", "no id"),
            Document::new(&long_id, "a long id"),
            Document::new("m", "metadata").metadata("[1]"),
        ] {
            assert!(database.add(&[good(), bad.clone()]).is_err(), "{bad:?}");
        }
        let bad = Document::new("m", "metadata").metadata("[1]");
        let replacing = [Document::new("stored", "A"), Document::new("added", "B"), good(), bad];
        assert!(database.upsert(&replacing).is_err());
        let of = ["stored", "added", "new"];
        assert_eq!(texts(&mut database, &of), [Some("a".to_owned()), Some("b".to_owned()), None]);

        let again = [good(), Document::new("new", "twice")];
        let error = database.add(&again).unwrap_err();
        assert!(
            matches!(&error, Error::Index(IndexError::RepeatedDocument { id }) if id == "new"),
            "{error}"
        );
        assert!(!database.has_changes(), "what fails leaves no transaction behind");
        assert_eq!(database.upsert(&again).unwrap(), 1);
        assert_eq!(texts(&mut database, &["new"]), [Some("twice".to_owned())]);
    }

    /// Vectors are refused together with the documents before them.
    #[test]
    fn vectors_are_taken_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = empty(&folder, |builder| builder.vectors(2));
        let documents = [Document::new("a", "x"), Document::new("b", "y")];
        for wrong in [f32::NAN, f32::INFINITY, 1e30] {
            let error = database.add_with_vectors(&documents, &[0.0, 1.0, 1.0, wrong]).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Usage, "{error}");
            assert!(database.upsert_with_vectors(&documents, &[0.0, 1.0, 1.0, wrong]).is_err());
        }
        assert_eq!(texts(&mut database, &["a", "b"]), [None, None]);
        database.add_with_vectors(&documents, &[0.0, 1.0, 1.0, 0.0]).unwrap();
        assert_eq!(texts(&mut database, &["a"]), [Some("x".to_owned())]);
    }

    /// An id that comes twice is one document, and one that is missing keeps all.
    #[test]
    fn deletions_are_made_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = empty(&folder, |builder| builder);
        database.add(&["1", "2", "3"].map(|id| Document::new(id, "a"))).unwrap();
        database.commit().unwrap();
        database.add(&[Document::new("4", "a")]).unwrap();
        let error = database.delete_all(&["4", "1", "8", "9"], false).unwrap_err();
        assert_eq!(error.to_string(), "no document has the id \"8\" (and 1 more); nothing was deleted");
        assert_eq!(texts(&mut database, &["1", "4"]), [Some("a".to_owned()), Some("a".to_owned())]);
        assert_eq!(database.delete_all(&["2", "2"], false).unwrap(), 1);
        assert_eq!(database.delete_all(&["2", "3", "3"], true).unwrap(), 1);
        assert_eq!(texts(&mut database, &["1", "2", "3"]), [Some("a".to_owned()), None, None]);
    }

    /// A step in a step is undone alone if only it fails, and with the outer one if that fails. A panic undoes it, too.
    #[test]
    fn steps_lie_in_steps() {
        let folder = tempfile::tempdir().unwrap();
        let mut database = empty(&folder, |builder| builder);
        database.add(&[Document::new("1", "a")]).unwrap();
        let done = database.all_or_none(|database| {
            database.upsert(&[Document::new("1", "b")])?;
            let failed = database.all_or_none(|database| {
                database.upsert(&[Document::new("1", "c"), Document::new("2", "c")])?;
                database.delete("absent")
            });
            assert!(failed.is_err());
            database.add(&[Document::new("3", "d")])
        });
        done.unwrap();
        let stopped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            database.all_or_none::<()>(|database| {
                database.add(&[Document::new("4", "e")])?;
                std::panic::resume_unwind(Box::new("stopped"))
            })
        }));
        assert!(stopped.is_err());
        let found = texts(&mut database, &["1", "2", "3", "4"]);
        assert_eq!(found, [Some("b".to_owned()), None, Some("d".to_owned()), None]);
    }
}
