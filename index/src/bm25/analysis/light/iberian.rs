//! Spanish and Portuguese.

use super::VOWELS;
use crate::bm25::analysis::letters::{Letters, Rule, rule};

const SPANISH: &[Rule] = &[
    rule(4, "o", ""),
    rule(4, "a", ""),
    rule(4, "e", ""),
    rule(4, "eses", "es"),
    rule(4, "ces", "z"),
    rule(4, "os", ""),
    rule(4, "as", ""),
    rule(4, "es", ""),
];

pub(in crate::bm25::analysis) fn spanish(word: &mut Letters) {
    if word.len() > 4 {
        word.fold(VOWELS);
        word.apply(SPANISH);
    }
}

const PLURAL: &[Rule] = &[
    rule(4, "res", "r"),
    rule(4, "ses", "s"),
    rule(4, "les", "l"),
    rule(4, "zes", "z"),
    rule(3, "ns", "m"),
    rule(4, "eis", "el"),
    rule(4, "éis", "el"),
    rule(4, "ais", "al"),
    rule(4, "óis", "ol"),
    rule(4, "is", "il"),
    rule(3, "ões", "ão"),
    rule(3, "ães", "ão"),
    rule(6, "mente", ""),
    rule(3, "s", ""),
];

const FEMININE: &[Rule] = &[
    rule(7, "inha", "inho"),
    rule(7, "iaca", "iaco"),
    rule(7, "eira", "eiro"),
    rule(6, "osa", "oso"),
    rule(6, "ica", "ico"),
    rule(6, "ida", "ido"),
    rule(6, "ada", "ado"),
    rule(6, "iva", "ivo"),
    rule(6, "ama", "amo"),
    rule(6, "ona", "ão"),
    rule(6, "ora", "or"),
    rule(6, "esa", "ês"),
    rule(6, "na", "no"),
];

pub(in crate::bm25::analysis) fn portuguese(word: &mut Letters) {
    if word.len() < 4 {
        return;
    }
    word.apply(PLURAL);
    word.apply(FEMININE);
    word.apply(&[rule(4, "e", ""), rule(4, "a", ""), rule(4, "o", "")]);
    word.fold(VOWELS);
    word.fold(&[("ã", 'a'), ("õ", 'o'), ("ç", 'c')]);
}
