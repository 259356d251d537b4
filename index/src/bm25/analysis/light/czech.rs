//! Czech.

use crate::bm25::analysis::letters::{Letters, rule};

/// Endings of cases by how many letters a word has at least: the first that fits goes.
const CASES: &[(usize, &[&str])] = &[
    (8, &["atech"]),
    (7, &["ětem", "etem", "atům"]),
    (
        6,
        &[
            "ech", "ich", "ích", "ého", "ěmi", "emi", "ému", "ěte", "ete", "ěti", "eti", "ího", "iho", "ími",
            "ímu", "imu", "ách", "ata", "aty", "ých", "ama", "ami", "ové", "ovi", "ými",
        ],
    ),
    (5, &["em", "es", "ém", "ím", "ům", "at", "ám", "os", "us", "ým", "mi", "ou"]),
    (4, &["a", "e", "i", "o", "u", "ů", "y", "á", "é", "í", "ý", "ě"]),
];

pub(in crate::bm25::analysis) fn czech(word: &mut Letters) {
    word.apply_by_length(CASES);
    word.apply(&[rule(5, "ov", ""), rule(5, "in", ""), rule(5, "ův", "")]);
    consonants(word);
}

/// What the last letters were before an ending changed them.
fn consonants(word: &mut Letters) {
    const CHANGED: &[(&str, &str)] =
        &[("čt", "ck"), ("št", "sk"), ("c", "k"), ("č", "k"), ("z", "h"), ("ž", "h")];
    if let Some((end, to)) = CHANGED.iter().find(|(end, _)| word.ends(end)) {
        return word.replace(end, to);
    }
    let at = word.len().wrapping_sub(2);
    match word.0.get(at) {
        Some('e') => {
            word.0.remove(at);
        }
        Some('ů') if at > 0 => word.0[at] = 'o',
        _ => {}
    }
}
