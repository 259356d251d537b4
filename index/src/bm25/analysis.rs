//! Text to terms, as Anserini's `DefaultEnglishAnalyzer` with Porter stemming does it.

use unicode_segmentation::UnicodeSegmentation;

use super::stem::Stemmer;

/// Lucene's `EnglishAnalyzer.ENGLISH_STOP_WORDS_SET`, sorted.
const STOP_WORDS: [&str; 33] = [
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no",
    "not", "of", "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to",
    "was", "will", "with",
];

/// Lucene's `StandardAnalyzer.DEFAULT_MAX_TOKEN_LENGTH`; longer words are cut into pieces of this many characters.
const MAX_TERM_CHARS: usize = 255;

/// The terms of a text, in order. A term is a word of Unicode Standard Annex #29 without the English possessive, in
/// lower case, stemmed with Porter's algorithm. Lucene's 33 English stop words are left out.
///
/// ```
/// use secateur_index::bm25::analyze;
/// assert_eq!(analyze("The cat's whiskers: 3.5 cm!"), ["cat", "whisker", "3.5", "cm"]);
/// ```
pub fn analyze(text: &str) -> Vec<String> {
    let mut terms = Vec::new();
    Analyzer::default().for_each_term(text, |term| terms.push(term.to_owned()));
    terms
}

/// The scratch space of an analysis, reused from word to word.
#[derive(Default)]
pub(crate) struct Analyzer {
    stemmer: Stemmer,
    lower: String,
}

impl Analyzer {
    /// Calls `visit` with each term of `text`, in order.
    pub fn for_each_term(&mut self, text: &str, mut visit: impl FnMut(&str)) {
        for word in text.unicode_words() {
            for piece in pieces(word) {
                self.lower.clear();
                let without_possessive = strip_possessive(piece);
                self.lower.extend(without_possessive.chars().flat_map(char::to_lowercase));
                if STOP_WORDS.binary_search(&self.lower.as_str()).is_err() && !self.lower.is_empty() {
                    visit(&self.stemmer.stem(&self.lower));
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

/// Removes a final 's with any of the apostrophes U+0027, U+2019 and U+FF07, as Lucene's `EnglishPossessiveFilter`.
fn strip_possessive(word: &str) -> &str {
    word.strip_suffix(['s', 'S'])
        .and_then(|stem| stem.strip_suffix(['\'', '\u{2019}', '\u{ff07}']))
        .unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_words_are_sorted() {
        assert!(STOP_WORDS.is_sorted());
    }

    /// What each step does, one row a case. The expected terms follow from the definitions of the filters.
    #[test]
    fn terms_of_texts() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("  \n\t ,;!", &[]),
            ("The THE the", &[]),
            ("dog's DOG\u{2019}S dogs", &["dog", "dog", "dog"]),
            // The possessive goes before the stop words do, so "it's" and "that's" vanish.
            ("it's that's can't", &["can't"]),
            ("e-mail U.S.A. 1,000.5 foo_bar", &["e", "mail", "u.s.a", "1,000.5", "foo_bar"]),
            // Case folds letter by letter, as in Lucene: no final sigma.
            ("naïve CAFÉ ΣΑΣ", &["naïv", "café", "σασ"]),
            ("running ponies caresses", &["run", "poni", "caress"]),
            ("日本", &["日", "本"]),
        ];
        for (text, terms) in cases {
            assert_eq!(&analyze(text), terms, "{text:?}");
        }
    }

    #[test]
    fn long_words_are_cut_not_dropped() {
        let word = "é".repeat(600);
        let lengths: Vec<usize> = analyze(&word).iter().map(|term| term.chars().count()).collect();
        assert_eq!(lengths, [255, 255, 90]);
    }
}
