//! How English texts became terms before databases named their analyzer. Databases of that time are still read and
//! written so, for a query finds what was analyzed as it is.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

use super::filters::{ENGLISH_STOP_WORDS, without_possessive};
use super::published::Stemmer;

/// Longer words were cut into pieces of this many characters.
const MAX_TERM_CHARS: usize = 255;

/// Words of Unicode Standard Annex #29 that have letters or digits; the lower case of a letter may have several.
#[derive(Default)]
pub(super) struct Former {
    stemmer: Stemmer,
    lower: String,
}

impl Former {
    pub fn for_each_token(&mut self, text: &str, mut visit: impl FnMut(&str, Range<usize>)) {
        for (mut start, word) in text.unicode_word_indices() {
            for piece in pieces(word) {
                let place = start..start + piece.len();
                start = place.end;
                self.lower.clear();
                self.lower.extend(without_possessive(piece).chars().flat_map(char::to_lowercase));
                if !ENGLISH_STOP_WORDS.contains(&self.lower) && !self.lower.is_empty() {
                    visit(&self.stemmer.stem(&self.lower), place);
                }
            }
        }
    }
}

/// Cuts a word into pieces of at most [`MAX_TERM_CHARS`] characters.
fn pieces(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let end = rest.char_indices().nth(MAX_TERM_CHARS).map_or(rest.len(), |(at, _)| at);
        let (piece, tail) = rest.split_at(end);
        rest = tail;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What such databases hold.
    #[test]
    fn terms_of_texts() {
        let cases: &[(&str, &[&str])] = &[
            ("The dog's DOG\u{2019}S dogs", &["dog", "dog", "dog"]),
            ("e-mail U.S.A. 1,000.5 foo_bar", &["e", "mail", "u.s.a", "1,000.5", "foo_bar"]),
            ("naïve ΣΑΣ İzmir", &["naïv", "σασ", "i\u{307}zmir"]),
            ("launch 🚀 日本", &["launch", "日", "本"]),
        ];
        for (text, expected) in cases {
            let mut terms = Vec::new();
            Former::default().for_each_token(text, |term, _| terms.push(term.to_owned()));
            assert_eq!(&terms, expected, "{text:?}");
        }
        let mut lengths = Vec::new();
        Former::default().for_each_token(&"é".repeat(600), |term, _| lengths.push(term.chars().count()));
        assert_eq!(lengths, [255, 255, 90]);
    }
}
