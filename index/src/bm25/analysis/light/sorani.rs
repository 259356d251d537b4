//! Kurdish as it is written in Sorani.

use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

use crate::bm25::analysis::letters::{Letters, Rule, rule};

const HEH: char = '\u{647}';
/// The vowel e.
const AE: char = '\u{6d5}';

/// What follows a noun.
const POSTPOSITIONS: &[Rule] = &[rule(5, "دا", ""), rule(4, "نا", "ن"), rule(6, "ەوە", "")];

const POSSESSIVES: &[Rule] = &[rule(6, "مان", ""), rule(6, "یان", ""), rule(6, "تان", "")];

const CASES: &[Rule] = &[
    rule(6, "ێکی", ""),
    rule(7, "یەکی", ""),
    rule(5, "ێک", ""),
    rule(6, "یەک", ""),
    rule(6, "ەکە", ""),
    rule(5, "کە", ""),
    rule(7, "ەکان", ""),
    rule(6, "کان", ""),
    rule(7, "یانی", ""),
    rule(6, "انی", ""),
    rule(6, "یان", ""),
    rule(5, "ان", ""),
    rule(7, "یانە", ""),
    rule(6, "انە", ""),
    rule(5, "ایە", "ا"),
    rule(5, "ەیە", "ە"),
    rule(4, "ە", ""),
    rule(4, "ی", ""),
];

pub(in crate::bm25::analysis) fn sorani(word: &mut Letters) {
    word.apply(POSTPOSITIONS);
    word.apply(POSSESSIVES);
    word.apply(CASES);
}

/// One letter for each sound, where Arabic and Persian letters stand beside those of Sorani.
pub(in crate::bm25::analysis) fn sorani_spelling(word: &mut Letters) {
    let letters = &mut word.0;
    let mut at = 0;
    while at < letters.len() {
        letters[at] = match letters[at] {
            '\u{64a}' | '\u{649}' => '\u{6cc}',
            '\u{643}' => '\u{6a9}',
            HEH if at + 1 == letters.len() => AE,
            '\u{629}' => AE,
            '\u{6be}' => HEH,
            '\u{631}' if at == 0 => '\u{695}',
            '\u{692}' => '\u{695}',
            letter => {
                // The stretcher, the marks of vowels, and what is not seen. A non-joiner makes a vowel of heh.
                let goes = matches!(letter, '\u{640}' | '\u{64b}'..='\u{652}')
                    || letter.general_category() == GeneralCategory::Format;
                if goes {
                    if letter == '\u{200c}' && at > 0 && letters[at - 1] == HEH {
                        letters[at - 1] = AE;
                    }
                    letters.remove(at);
                    continue;
                }
                letter
            }
        };
        at += 1;
    }
}
