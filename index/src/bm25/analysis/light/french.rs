//! French.

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

use crate::bm25::analysis::letters::{Letters, Rule, rule};

const DERIVED: &[Rule] = &[
    rule(9, "issement", "ir"),
    rule(8, "issant", "ir"),
    rule(7, "ivement", "if"),
    rule(6, "ement", "e"),
    rule(11, "ficatrice", "fier"),
    rule(10, "ficateur", "fier"),
    rule(9, "catrice", "quer"),
    rule(8, "cateur", "quer"),
    rule(8, "atrice", "er"),
    rule(7, "ateur", "er"),
];

const FEMININE: &[Rule] = &[
    rule(5, "ième", ""),
    rule(7, "teuse", "ter"),
    rule(6, "teur", "ter"),
    rule(5, "euse", "eu"),
    rule(8, "ère", "er"),
    rule(7, "ive", "if"),
    rule(4, "folle", "fou"),
    rule(4, "molle", "mou"),
    rule(9, "nnelle", "n"),
    rule(9, "nnel", "n"),
];

const ABSTRACT: &[Rule] = &[
    rule(8, "esse", "e"),
    rule(7, "inage", "in"),
    rule(9, "isation", ""),
    rule(9, "isateur", ""),
    rule(8, "ation", ""),
    rule(8, "ition", ""),
];

const ACCENTS: &[(&str, char)] =
    &[("àáâ", 'a'), ("ô", 'o'), ("èéê", 'e'), ("ùû", 'u'), ("î", 'i'), ("ç", 'c')];

pub(in crate::bm25::analysis) fn french(word: &mut Letters) {
    plural(word);
    derived(word);
    normalize(word);
}

fn plural(word: &mut Letters) {
    if word.len() > 5 && word.ends("x") {
        match word.ends("aux") && word.at_end(3) != Some('e') {
            true => word.replace("ux", "l"),
            false => word.cut(1),
        }
    }
    for end in ["x", "s"] {
        word.apply(&[rule(3, end, "")]);
    }
}

fn derived(word: &mut Letters) {
    if word.apply(DERIVED) {
        return;
    }
    word.apply(&[rule(6, "trice", "teur")]);
    if word.apply(FEMININE) {
        return;
    }
    word.apply(&[rule(4, "ète", "et")]);
    word.apply(&[rule(8, "ique", "")]);
    let is_action = word.len() > 9 && word.ends("isation");
    word.apply(ABSTRACT);
    if is_action {
        word.apply(&[rule(5, "ual", "uel")]);
    }
}

/// Takes off accents, letters that stand twice, and the ends of verbs and feminines.
fn normalize(word: &mut Letters) {
    if word.len() > 4 {
        word.fold(ACCENTS);
        word.0.dedup_by(|letter, before| letter == before && is_letter(*letter));
    }
    word.apply(&[rule(4, "ie", "")]);
    if word.len() > 4 {
        for end in ["r", "e", "e"] {
            word.apply(&[rule(0, end, "")]);
        }
        if let Some(last) = word.at_end(0)
            && word.at_end(1) == Some(last)
            && is_letter(last)
        {
            word.cut(1);
        }
    }
}

fn is_letter(letter: char) -> bool {
    letter.general_category_group() == GeneralCategoryGroup::Letter
}
