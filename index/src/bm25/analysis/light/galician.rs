//! Galician.

use crate::bm25::analysis::galician_rules::*;
use crate::bm25::analysis::letters::{Letters, Step, SuffixRule};

impl Step {
    fn apply(&self, word: &mut Letters) {
        let excepted = if self.whole { Letters::is_any } else { Letters::ends_in_any };
        let fits = |&&(suffix, stem, _, except): &&SuffixRule| {
            word.len() >= suffix.chars().count() + stem && word.ends(suffix) && !excepted(word, except)
        };
        if let Some((suffix, _, to, _)) = self.rules.iter().find(fits) {
            word.replace(suffix, to);
        }
    }
}

pub(in crate::bm25::analysis) fn galician(word: &mut Letters) {
    const ACCENTS: &[(&str, char)] = &[("á", 'a'), ("éê", 'e'), ("í", 'i'), ("ó", 'o'), ("ú", 'u')];
    PLURAL.apply(word);
    UNIFICATION.apply(word);
    ADVERB.apply(word);
    loop {
        let before = word.len();
        AUGMENTATIVE.apply(word);
        if word.len() == before {
            break;
        }
    }
    let before = word.len();
    NOUN.apply(word);
    if word.len() == before {
        VERB.apply(word);
    }
    VOWEL.apply(word);
    word.fold(ACCENTS);
}
