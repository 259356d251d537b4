//! Two pieces of work at a time.

#[cfg(all(any(test, feature = "faults"), unix))]
use crate::faults;

/// Without the feature `faults` nothing goes along.
#[cfg(not(all(any(test, feature = "faults"), unix)))]
mod faults {
    #[inline]
    pub(super) fn along<T>(work: impl FnOnce() -> T + Send) -> impl FnOnce() -> T + Send {
        work
    }
}

/// Does two pieces of work on the caller's rayon pool, at the same time if a thread is free, and returns both results.
/// Work that writes files goes through here, because a test's failing disk (`faults`) goes along to the other thread.
///
/// ```
/// let (sum, product) = secateur_files::join(|| 2 + 3, || 2 * 3);
/// assert_eq!((sum, product), (5, 6));
/// ```
pub fn join<A: Send, B: Send>(a: impl FnOnce() -> A + Send, b: impl FnOnce() -> B + Send) -> (A, B) {
    rayon::join(faults::along(a), faults::along(b))
}

#[cfg(all(test, unix))]
mod tests {
    use std::path::Path;

    use crate::disk;
    use crate::faults::{Failure, at_every_operation};

    use super::*;

    /// Operations of both pieces of work are counted, and the failure of one does not keep the other from its end.
    #[test]
    fn a_failing_disk_goes_along() {
        let scratch = tempfile::tempdir().unwrap();
        let make = |folder: &Path, name: &str| disk::create_folder(&folder.join(name));
        let mut numbers = Vec::new();
        at_every_operation(
            scratch.path(),
            |folder| std::fs::create_dir(folder).unwrap(),
            |folder| join(|| make(folder, "a"), || (make(folder, "b"), make(folder, "c"))),
            |folder, (a, (b, c)), case| {
                let failed = [&a, &b, &c].iter().filter(|made| made.is_err()).count();
                match case.failure {
                    Failure::Operation => {
                        assert_eq!(failed, usize::from(case.has_failed), "{case}");
                        assert_eq!(std::fs::read_dir(folder).unwrap().count(), 3 - failed, "{case}");
                    }
                    Failure::Power => assert_eq!(failed > 0, case.has_failed, "{case}"),
                }
                numbers.push(case.number);
            },
        );
        assert_eq!(numbers, [0, 1, 2, 3, 0, 1, 2, 3]);
    }
}
