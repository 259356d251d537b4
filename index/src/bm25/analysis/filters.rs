//! What changes or leaves out single terms.

/// Terms that are left out, sorted.
pub(super) struct StopWords(&'static [&'static str]);

/// Lucene's `EnglishAnalyzer.ENGLISH_STOP_WORDS_SET`.
pub(super) const ENGLISH_STOP_WORDS: StopWords = StopWords(&[
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no",
    "not", "of", "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to",
    "was", "will", "with",
]);

/// Lucene's `CJKAnalyzer.getDefaultStopSet`.
pub(super) const CJK_STOP_WORDS: StopWords = StopWords(&[
    "a", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not",
    "of", "on", "or", "s", "such", "t", "that", "the", "their", "then", "there", "these", "they", "this",
    "to", "was", "will", "with", "www",
]);

impl StopWords {
    pub fn contains(&self, term: &str) -> bool {
        self.0.binary_search(&term).is_ok()
    }
}

/// Writes a word in lower case, code point by code point as Java's `Character.toLowerCase` does it: a final sigma is
/// none, and İ is i.
pub(super) fn lower_case(word: &str, out: &mut String) {
    out.clear();
    out.extend(word.chars().map(|c| {
        if c.is_ascii() {
            return c.to_ascii_lowercase();
        }
        let mut lower = c.to_lowercase();
        match (lower.next(), lower.next()) {
            (Some(lower), None) => lower,
            // İ alone has two: i, and a dot above it.
            (Some(first), Some(_)) => first,
            (None, _) => c,
        }
    }));
}

/// Removes a final 's with any of the apostrophes U+0027, U+2019 and U+FF07, as Lucene's `EnglishPossessiveFilter`.
pub(super) fn without_possessive(word: &str) -> &str {
    word.strip_suffix(['s', 'S'])
        .and_then(|stem| stem.strip_suffix(['\'', '\u{2019}', '\u{ff07}']))
        .unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_words_are_sorted() {
        assert!([ENGLISH_STOP_WORDS, CJK_STOP_WORDS].iter().all(|words| words.0.is_sorted()));
    }

    /// All characters with a lower case that is not one character, so that what `lower_case` takes is known.
    #[test]
    fn one_letter_has_two() {
        let several: Vec<char> = ('\0'..=char::MAX).filter(|c| c.to_lowercase().count() != 1).collect();
        assert_eq!(several, ['İ']);
    }
}
