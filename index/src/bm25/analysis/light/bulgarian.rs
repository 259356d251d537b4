//! Bulgarian.

use crate::bm25::analysis::letters::{Letters, Rule, rule};

const ARTICLES: &[Rule] = &[
    rule(6, "ият", ""),
    rule(5, "ът", ""),
    rule(5, "то", ""),
    rule(5, "те", ""),
    rule(5, "та", ""),
    rule(5, "ия", ""),
    rule(4, "ят", ""),
];

const PLURALS: &[Rule] = &[
    rule(6, "овци", "о"),
    rule(6, "ове", ""),
    rule(6, "еве", "й"),
    rule(5, "ища", ""),
    rule(5, "та", ""),
    rule(5, "ци", "к"),
    rule(5, "зи", "г"),
];

const SHORT_PLURALS: &[Rule] = &[rule(4, "си", "х"), rule(4, "и", "")];

const VOWELS: &[Rule] = &[rule(0, "а", ""), rule(0, "о", ""), rule(0, "е", "")];

pub(in crate::bm25::analysis) fn bulgarian(word: &mut Letters) {
    if word.len() < 4 || word.apply(&[rule(5, "ища", "")]) {
        return;
    }
    word.apply(ARTICLES);
    if !word.apply(PLURALS) && !changed_vowel(word) {
        word.apply(SHORT_PLURALS);
    }
    if word.len() > 3 {
        word.apply(&[rule(0, "я", "")]);
        word.apply(VOWELS);
    }
    word.apply(&[rule(4, "ен", "н")]);
    if word.len() > 5 && word.at_end(1) == Some('ъ') {
        let at = word.len() - 2;
        word.0.remove(at);
    }
}

/// A plural in -и with an е before its last consonant, which is я in the singular.
fn changed_vowel(word: &mut Letters) -> bool {
    let is = word.len() > 5 && word.at_end(0) == Some('и') && word.at_end(2) == Some('е');
    if is {
        let at = word.len() - 3;
        word.0[at] = 'я';
        word.cut(1);
    }
    is
}
