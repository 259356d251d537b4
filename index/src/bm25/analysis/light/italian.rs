//! Italian.

use super::VOWELS;
use crate::bm25::analysis::letters::{Letters, Rule, rule};

const ENDINGS: &[Rule] = &[
    rule(5, "ie", ""),
    rule(5, "he", ""),
    rule(5, "hi", ""),
    rule(5, "ii", ""),
    rule(5, "ia", ""),
    rule(5, "io", ""),
    rule(5, "e", ""),
    rule(5, "i", ""),
    rule(5, "a", ""),
    rule(5, "o", ""),
];

pub(in crate::bm25::analysis) fn italian(word: &mut Letters) {
    if word.len() > 5 {
        word.fold(VOWELS);
        word.apply(ENDINGS);
    }
}
