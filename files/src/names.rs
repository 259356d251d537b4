//! Values that have names, on a command line as in a file: what is said of a name that none of them has.

use strum::VariantNames;

/// A name that is none of those expected.
///
/// ```
/// use secateur_files::UnknownName;
///
/// #[derive(strum::VariantNames)]
/// #[strum(serialize_all = "kebab-case")]
/// enum Season {
///     Spring,
///     Autumn,
/// }
/// let error = UnknownName::of::<Season>("a season", "fall");
/// assert_eq!(error.to_string(), "\"fall\" is not a season; expected spring or autumn");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not {what}; expected {}", alternatives(expected))]
pub struct UnknownName {
    /// What was expected, with its article.
    pub what: &'static str,
    /// The name.
    pub found: String,
    /// The names there are.
    pub expected: &'static [&'static str],
}

impl UnknownName {
    /// `found` in the place of a name of a `T`.
    pub fn of<T: VariantNames>(what: &'static str, found: &str) -> UnknownName {
        UnknownName { what, found: found.to_owned(), expected: T::VARIANTS }
    }
}

/// "a, b or c".
fn alternatives(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [others @ .., last] => format!("{} or {last}", others.join(", ")),
    }
}
