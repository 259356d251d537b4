//! German.

use crate::bm25::analysis::letters::{Letters, Rule, rule};

const FOLDED: &[(&str, char)] = &[("äàáâ", 'a'), ("öòóô", 'o'), ("ïìíî", 'i'), ("üùúû", 'u')];

/// After these letters "-s" and "-st" are endings.
const BEFORE_S: &str = "bdfghklmnt";

const CASES: &[Rule] = &[
    rule(5, "ern", ""),
    rule(4, "em", ""),
    rule(4, "en", ""),
    rule(4, "er", ""),
    rule(4, "es", ""),
    rule(3, "e", ""),
];

const DEGREES: &[Rule] = &[rule(5, "est", ""), rule(4, "er", ""), rule(4, "en", "")];

pub(in crate::bm25::analysis) fn german(word: &mut Letters) {
    umlauts(word);
    word.fold(FOLDED);
    if !word.apply(CASES) && word.len() > 3 {
        after_consonant(word, "s");
    }
    if !word.apply(DEGREES) && word.len() > 4 {
        after_consonant(word, "st");
    }
}

fn after_consonant(word: &mut Letters, end: &str) {
    if word.ends(end) && word.at_end(end.len()).is_some_and(|before| BEFORE_S.contains(before)) {
        word.cut(end.len());
    }
}

/// What Lucene's `GermanNormalizationFilter` does, after the stemmer German2 of Snowball. ß is ss, umlauts lose their
/// dots, and ae, oe and ue are umlauts too. In "neue" and "Quelle", after a vowel and q, ue is none.
fn umlauts(word: &mut Letters) {
    #[derive(Clone, Copy, PartialEq)]
    enum Before {
        Other,
        /// A vowel, or something else after which u begins no umlaut.
        Vowel,
        /// What an e makes an umlaut.
        Umlaut,
    }
    let mut before = Before::Other;
    let mut normalized = Vec::with_capacity(word.len());
    for &letter in &word.0 {
        let (to, now): (&[char], Before) = match letter {
            'a' | 'o' => (&[letter], Before::Umlaut),
            'u' if before == Before::Other => (&['u'], Before::Umlaut),
            'u' => (&['u'], Before::Vowel),
            'e' if before == Before::Umlaut => (&[], Before::Vowel),
            'e' | 'i' | 'q' | 'y' => (&[letter], Before::Vowel),
            'ä' => (&['a'], Before::Vowel),
            'ö' => (&['o'], Before::Vowel),
            'ü' => (&['u'], Before::Vowel),
            'ß' => (&['s', 's'], Before::Other),
            _ => (&[letter], Before::Other),
        };
        normalized.extend_from_slice(to);
        before = now;
    }
    word.0 = normalized;
}
