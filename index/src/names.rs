//! Names of values in files and on the command line.

use strum::VariantNames;

/// A name that is none of those a value can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no {what}; choose {}", listed(expected))]
pub struct UnknownName {
    /// What was to be named, such as "metric".
    pub what: &'static str,
    /// The name that was given.
    pub name: String,
    /// The names that there are.
    pub expected: &'static [&'static str],
}

impl UnknownName {
    pub(crate) fn new<T: VariantNames>(what: &'static str, name: &str) -> UnknownName {
        UnknownName { what, name: name.to_owned(), expected: T::VARIANTS }
    }
}

/// "a, b or c"
fn listed(names: &[&str]) -> String {
    match names {
        [first @ .., before, last] => {
            first.iter().map(|name| format!("{name}, ")).collect::<String>() + &format!("{before} or {last}")
        }
        _ => names.concat(),
    }
}
