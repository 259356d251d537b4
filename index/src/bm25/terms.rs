//! How terms reach tantivy: as one text of lines, which its tokenizer splits again.
//!
//! tantivy also takes lists of tokens. But it writes each list as JSON, parses that and copies it before it indexes it.
//! JSON alone took a fifth of the time of adding documents.

use tantivy::Document;
use tantivy::schema::Field;
use tantivy::tokenizer::{Token, TokenStream, Tokenizer, TokenizerManager};

/// What ends a term. No word has one: UAX #29 breaks words before and after every line feed.
const END: char = '\n';

/// The terms of a document, each with an end.
#[derive(Default)]
pub(super) struct Terms {
    text: String,
    len: u32,
}

impl Terms {
    pub fn push(&mut self, term: &str) {
        debug_assert!(!term.contains(END), "{term:?} would be two terms");
        self.text.push_str(term);
        self.text.push(END);
        // A document has at most 4 GiB of text, so fewer terms than that.
        self.len += 1;
    }

    /// The number of terms.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// The document whose terms in `field` these are.
    pub fn into_document(self, field: Field) -> OneField {
        OneField { field, text: self.text }
    }
}

/// A document for tantivy, whose own kind of document would copy the text. [`tokenizers`] gives its terms.
pub(super) struct OneField {
    field: Field,
    text: String,
}

impl Document for OneField {
    type Value<'a> = &'a str;
    type FieldsValuesIter<'a> = std::iter::Once<(Field, &'a str)>;

    fn iter_fields_and_values(&self) -> Self::FieldsValuesIter<'_> {
        std::iter::once((self.field, self.text.as_str()))
    }
}

/// The tokenizer of this name that gives the terms of a text of [`Terms`].
pub(super) fn tokenizers(name: &str) -> TokenizerManager {
    let tokenizers = TokenizerManager::new();
    tokenizers.register(name, Lines::default());
    tokenizers
}

#[derive(Clone, Default)]
struct Lines(Token);

impl Tokenizer for Lines {
    type TokenStream<'a> = LineStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> LineStream<'a> {
        self.0.reset();
        LineStream { rest: text, token: &mut self.0 }
    }
}

struct LineStream<'a> {
    rest: &'a str,
    token: &'a mut Token,
}

impl TokenStream for LineStream<'_> {
    fn advance(&mut self) -> bool {
        let Some((term, rest)) = self.rest.split_once(END) else { return false };
        self.rest = rest;
        self.token.position = self.token.position.wrapping_add(1);
        self.token.text.clear();
        self.token.text.push_str(term);
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What goes in comes out, empty terms too.
    #[test]
    fn terms_come_back() {
        for expected in [&[][..], &["a"], &["one", "", "two", "ü"], &["", ""]] {
            let mut terms = Terms::default();
            expected.iter().for_each(|term| terms.push(term));
            assert_eq!(terms.len() as usize, expected.len());
            let text = terms.text;
            let mut found = Vec::new();
            tokenizers("x").get("x").unwrap().token_stream(&text).process(&mut |token| {
                found.push((token.position, token.text.clone()));
            });
            let expected: Vec<_> = expected.iter().map(|term| (*term).to_owned()).enumerate().collect();
            assert_eq!(found, expected);
        }
    }
}
