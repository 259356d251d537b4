//! What errors call a text.

use std::fmt;

/// What an error calls a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextName {
    /// By its place among the texts of the call, from 0.
    Place(usize),
    /// As the caller does.
    Named(String),
}

impl fmt::Display for TextName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TextName::Place(place) => write!(f, "text {}", place + 1),
            TextName::Named(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn texts_are_counted_from_one_until_they_have_names() {
        let error = Error::VectorNotFinite { text: TextName::Place(2) };
        assert!(error.to_string().starts_with("the vector of text 3 is"), "{error}");
        let error = error.with_text(|place| TextName::Named(format!("line {}", place + 40)));
        assert!(error.to_string().starts_with("the vector of line 42 is"), "{error}");
        let error = error.with_text(|_| TextName::Place(0));
        assert!(error.to_string().starts_with("the vector of line 42 is"), "{error}");
    }
}
