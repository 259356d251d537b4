//! How options are spelled that several commands take.

use std::num::NonZeroUsize;

/// A number of 1 or more.
pub(crate) fn positive(text: &str) -> Result<NonZeroUsize, String> {
    match text.parse() {
        Ok(number) => NonZeroUsize::new(number).ok_or_else(|| "expected at least 1".to_owned()),
        Err(error) => Err(format!("{error}")),
    }
}
