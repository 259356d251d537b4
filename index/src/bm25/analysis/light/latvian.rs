//! Latvian.

use crate::bm25::analysis::letters::{Letters, Rule, rule};

/// Endings, the fewest vowels of a word that has one, and whether the letters before it may be softened.
const ENDINGS: &[(&str, usize, bool)] = &[
    ("ajiem", 4, false),
    ("ajai", 4, false),
    ("ajam", 3, false),
    ("ajām", 3, false),
    ("ajos", 3, false),
    ("ajās", 3, false),
    ("iem", 3, true),
    ("ajā", 3, false),
    ("ais", 3, false),
    ("ai", 3, false),
    ("ei", 3, false),
    ("ām", 2, false),
    ("am", 2, false),
    ("ēm", 2, false),
    ("īm", 2, false),
    ("im", 2, false),
    ("um", 2, false),
    ("us", 2, true),
    ("as", 2, false),
    ("ās", 2, false),
    ("es", 2, false),
    ("os", 2, true),
    ("ij", 2, false),
    ("īs", 2, false),
    ("ēs", 2, false),
    ("is", 2, false),
    ("ie", 2, false),
    ("u", 2, true),
    ("a", 2, true),
    ("i", 2, true),
    ("e", 2, false),
    ("ā", 2, false),
    ("ē", 2, false),
    ("ī", 2, false),
    ("ū", 2, false),
    ("o", 2, false),
    ("s", 1, false),
    ("š", 1, false),
];

/// Only before an ending in u, which is that of a genitive.
const SOFT_GENITIVES: &[Rule] = &[rule(0, "kš", "kst"), rule(0, "ņņ", "nn")];

const SOFT: &[Rule] = &[
    rule(0, "pj", "p"),
    rule(0, "bj", "b"),
    rule(0, "mj", "m"),
    rule(0, "vj", "v"),
    rule(0, "šņ", "sn"),
    rule(0, "žņ", "zn"),
    rule(0, "šļ", "sl"),
    rule(0, "žļ", "zl"),
    rule(0, "ļņ", "ln"),
    rule(0, "ļļ", "ll"),
    rule(0, "č", "c"),
    rule(0, "ļ", "l"),
    rule(0, "ņ", "n"),
];

pub(in crate::bm25::analysis) fn latvian(word: &mut Letters) {
    let vowels = word.0.iter().filter(|letter| "aeiouāēīū".contains(**letter)).count();
    let ending = ENDINGS
        .iter()
        .find(|(end, least, _)| vowels >= *least && word.len() >= end.chars().count() + 3 && word.ends(end));
    let Some((end, _, softens)) = ending else { return };
    word.replace(end, "");
    if *softens && !(end.starts_with('u') && word.apply(SOFT_GENITIVES)) {
        word.apply(SOFT);
    }
}
