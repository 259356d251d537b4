//! What changes or leaves out single terms.

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// Terms that are left out.
#[derive(Clone, Copy)]
pub(super) struct StopWords {
    /// Sorted.
    words: &'static [&'static str],
    /// The length in bytes of the longest. Most terms of a text are longer, and need not be looked for.
    longest: usize,
}

/// Lucene's `EnglishAnalyzer.ENGLISH_STOP_WORDS_SET`.
pub(super) const ENGLISH_STOP_WORDS: StopWords = StopWords::new(&[
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no",
    "not", "of", "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to",
    "was", "will", "with",
]);

/// Lucene's `CJKAnalyzer.getDefaultStopSet`.
pub(super) const CJK_STOP_WORDS: StopWords = StopWords::new(&[
    "a", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not",
    "of", "on", "or", "s", "such", "t", "that", "the", "their", "then", "there", "these", "they", "this",
    "to", "was", "will", "with", "www",
]);

impl StopWords {
    /// Of sorted words.
    pub const fn new(words: &'static [&'static str]) -> StopWords {
        let (mut longest, mut at) = (0, 0);
        while at < words.len() {
            if words[at].len() > longest {
                longest = words[at].len();
            }
            at += 1;
        }
        StopWords { words, longest }
    }

    pub fn contains(&self, term: &str) -> bool {
        term.len() <= self.longest && self.words.binary_search(&term).is_ok()
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

/// What comes before the first apostrophe goes with it if it is an article in any case: Lucene's `ElisionFilter`.
pub(super) fn without_article<'w>(word: &'w str, articles: &[&str]) -> &'w str {
    match word.split_once(APOSTROPHES) {
        Some((article, rest)) if articles.contains(&article.to_lowercase().as_str()) => rest,
        _ => word,
    }
}

/// What comes before the first apostrophe, as Lucene's `ApostropheFilter` does it for Turkish.
pub(super) fn before_apostrophe(word: &str) -> &str {
    word.split(APOSTROPHES).next().unwrap_or(word)
}

const APOSTROPHES: [char; 2] = ['\'', '\u{2019}'];

/// Writes a word in lower case as Turkish has it, where I without a dot is another letter: `TurkishLowerCaseFilter`.
pub(super) fn turkish_lower_case(word: &str, out: &mut String) {
    const DOT: char = '\u{307}';
    let is_mark = |c: char| c.general_category() == GeneralCategory::NonspacingMark;
    lower_case(word, out);
    if !word.contains('I') {
        return;
    }
    let lower = std::mem::take(out);
    // Marks may stand between an I and its dot.
    let mut after_dotted = false;
    for ((at, c), lower) in word.char_indices().zip(lower.chars()) {
        after_dotted = match c {
            'I' => word[at + 1..].chars().take_while(|c| is_mark(*c)).any(|c| c == DOT),
            c => after_dotted && is_mark(c),
        };
        match c {
            'I' if !after_dotted => out.push('ı'),
            DOT if after_dotted => {}
            _ => out.push(lower),
        }
    }
}

/// Writes a word in lower case, with a hyphen after an n or t before a capital vowel. Pairs of UTF-16 units stay. It is
/// Lucene's `IrishLowerCaseFilter`.
pub(super) fn irish_lower_case(word: &str, out: &mut String) {
    lower_case(word, out);
    if word.chars().any(|c| c.len_utf16() > 1) {
        let both = word.chars().zip(out.chars());
        *out = both.map(|(c, lower)| if c.len_utf16() > 1 { c } else { lower }).collect();
    }
    if word.starts_with(['n', 't']) && word[1..].starts_with(|c| "AEIOUÁÉÍÓÚ".contains(c)) {
        out.insert(1, '-');
    }
}

/// The ASCII digit of a decimal digit of any script. Other characters stay.
pub(super) fn ascii_digit(c: char) -> char {
    let is_digit = |code: u32| {
        char::from_u32(code).is_some_and(|c| c.general_category() == GeneralCategory::DecimalNumber)
    };
    let code = u32::from(c);
    if c.is_ascii() || !is_digit(code) {
        return c;
    }
    // Digits stand in rows that begin with zero, and some rows without a gap.
    let before = (1..=code).take_while(|distance| is_digit(code - distance)).last().unwrap_or(0);
    char::from_digit(before % 10, 10).unwrap_or(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_words_are_sorted() {
        for stop_words in [ENGLISH_STOP_WORDS, CJK_STOP_WORDS] {
            assert!(stop_words.words.is_sorted());
            assert!(stop_words.words.iter().all(|word| stop_words.contains(word)));
        }
        assert!(super::super::stop_words::ALL.iter().all(|words| words.is_sorted() && !words.is_empty()));
    }

    /// All characters with a lower case that is not one character, so that what `lower_case` takes is known.
    #[test]
    fn one_letter_has_two() {
        let several: Vec<char> = ('\0'..=char::MAX).filter(|c| c.to_lowercase().count() != 1).collect();
        assert_eq!(several, ['İ']);
    }

    #[test]
    fn articles_go() {
        let cases = [
            ("l'avion", "avion"),
            ("QU\u{2019}il", "il"),
            ("aujourd'hui", "aujourd'hui"),
            ("l", "l"),
            ("l'a'b", "a'b"),
        ];
        for (word, expected) in cases {
            assert_eq!(without_article(word, &["l", "qu"]), expected);
        }
    }

    #[test]
    fn turkish_has_two_i() {
        let cases = [
            ("IRMAK", "ırmak"),
            ("İZMİR", "izmir"),
            ("I\u{307}", "i"),
            ("I\u{301}\u{307}\u{307}x", "i\u{301}x"),
            ("I\u{301}x\u{307}", "ı\u{301}x\u{307}"),
        ];
        for (word, expected) in cases {
            let mut lower = String::new();
            turkish_lower_case(word, &mut lower);
            assert_eq!(lower, expected, "{word:?}");
        }
    }

    #[test]
    fn digits_of_scripts() {
        for (digit, expected) in
            [('٠', '0'), ('٩', '9'), ('۴', '4'), ('५', '5'), ('𝟘', '0'), ('𝟿', '9'), ('7', '7'), ('²', '²')]
        {
            assert_eq!(ascii_digit(digit), expected, "{digit}");
        }
    }
}
