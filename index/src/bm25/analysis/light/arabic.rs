//! Arabic.

use crate::bm25::analysis::letters::{Letters, Rule, rule};

/// Forms of alef, of yeh, and teh marbuta as heh.
const FOLDED: &[(&str, char)] =
    &[("\u{622}\u{623}\u{625}", '\u{627}'), ("\u{649}", '\u{64a}'), ("\u{629}", '\u{647}')];

/// Articles, conjunctions and prepositions that are written with the word, and how many letters the word has at least.
const PREFIXES: &[(&str, usize)] = &[
    ("\u{627}\u{644}", 4),
    ("\u{648}\u{627}\u{644}", 5),
    ("\u{628}\u{627}\u{644}", 5),
    ("\u{643}\u{627}\u{644}", 5),
    ("\u{641}\u{627}\u{644}", 5),
    ("\u{644}\u{644}", 4),
    ("\u{648}", 4),
];

/// Each is taken off in turn. At least two letters stay.
const SUFFIXES: &[Rule] = &[
    rule(3, "\u{647}\u{627}", ""),
    rule(3, "\u{627}\u{646}", ""),
    rule(3, "\u{627}\u{62a}", ""),
    rule(3, "\u{648}\u{646}", ""),
    rule(3, "\u{64a}\u{646}", ""),
    rule(3, "\u{64a}\u{647}", ""),
    rule(2, "\u{647}", ""),
    rule(2, "\u{64a}", ""),
];

/// One letter for each sound, without the stretcher and the marks of vowels.
pub(super) fn arabic_spelling(word: &mut Letters) {
    word.fold(FOLDED);
    word.0.retain(|letter| !matches!(letter, '\u{640}' | '\u{64b}'..='\u{652}'));
}

pub(in crate::bm25::analysis) fn arabic(word: &mut Letters) {
    arabic_spelling(word);
    let prefix = PREFIXES.iter().find(|(prefix, least)| {
        word.len() >= *least && prefix.chars().zip(&word.0).all(|(letter, found)| letter == *found)
    });
    if let Some((prefix, _)) = prefix {
        word.0.drain(..prefix.chars().count());
    }
    for suffix in SUFFIXES {
        word.apply(std::slice::from_ref(suffix));
    }
}
