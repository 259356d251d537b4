//! Porter's stemmer as Lucene's `PorterStemFilter` runs it.
//!
//! The paper is M. F. Porter, "An algorithm for suffix stripping", Program 14(3), 1980. Lucene runs Porter's own later
//! program, which departs from it in three points ("Points of difference from the published algorithm",
//! tartarus.org/martin/PorterStemmer). Words of one or two letters are left alone. In step 2, BLI becomes BLE in place
//! of ABLI ABLE, and LOGI becomes LOG. Letters are UTF-16 units, and whatever is no vowel of English is a consonant.

use std::borrow::Cow;

/// The scratch space of a stemmer.
#[derive(Default)]
pub(super) struct Stemmer {
    word: Vec<u16>,
    /// How much of the word is what a suffix follows, after [`Stemmer::ends`].
    stem: usize,
}

/// Suffixes and what replaces them: the first that a word ends in counts.
type Rules = &'static [(&'static str, &'static str)];

const STEP_2: Rules = &[
    ("ational", "ate"),
    ("tional", "tion"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("izer", "ize"),
    ("bli", "ble"),
    ("alli", "al"),
    ("entli", "ent"),
    ("eli", "e"),
    ("ousli", "ous"),
    ("ization", "ize"),
    ("ation", "ate"),
    ("ator", "ate"),
    ("alism", "al"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("aliti", "al"),
    ("iviti", "ive"),
    ("biliti", "ble"),
    ("logi", "log"),
];

const STEP_3: Rules = &[
    ("icate", "ic"),
    ("ative", ""),
    ("alize", "al"),
    ("iciti", "ic"),
    ("ical", "ic"),
    ("ful", ""),
    ("ness", ""),
];

const STEP_4: &[&str] = &[
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism",
    "ate", "iti", "ous", "ive", "ize",
];

impl Stemmer {
    /// The stem of a word in lower case.
    pub fn stem<'w>(&mut self, word: &'w str) -> Cow<'w, str> {
        // Every rule is about words that end in a letter of ASCII. Numbers do not, and there are many.
        if !word.ends_with(|c: char| c.is_ascii_lowercase()) {
            return Cow::Borrowed(word);
        }
        self.word.clear();
        self.word.extend(word.encode_utf16());
        if self.word.len() < 3 {
            return Cow::Borrowed(word);
        }
        self.plurals_and_participles();
        if self.ends("y") && self.has_vowel() {
            self.replace("i");
        }
        for rules in [STEP_2, STEP_3] {
            if let Some((_, to)) = rules.iter().find(|(from, _)| self.ends(from))
                && self.measure(self.stem) > 0
            {
                self.replace(to);
            }
        }
        if STEP_4.iter().any(|from| self.ends(from)) {
            let is_ion = self.ends("ion");
            let last = self.stem.checked_sub(1).map(|last| self.word[last]);
            let may_go = !is_ion || last.is_some_and(|last| "st".encode_utf16().any(|letter| letter == last));
            if may_go && self.measure(self.stem) > 1 {
                self.replace("");
            }
        }
        self.last_letter();
        // Borrowed if only its end was taken away. A text of ASCII has a byte for each unit.
        match word.get(..self.word.len()) {
            Some(stem) if stem.is_ascii() && self.word.iter().copied().eq(stem.encode_utf16()) => {
                Cow::Borrowed(stem)
            }
            // No pair of units is cut: only letters of ASCII and the second of two equal units are.
            _ => Cow::Owned(String::from_utf16_lossy(&self.word)),
        }
    }

    /// Step 1, without its last part.
    fn plurals_and_participles(&mut self) {
        if self.ends("sses") {
            self.word.truncate(self.word.len() - 2);
        } else if self.ends("ies") {
            self.replace("i");
        } else if self.ends("s") && !self.ends("ss") {
            self.word.pop();
        }
        if self.ends("eed") {
            if self.measure(self.stem) > 0 {
                self.word.pop();
            }
        } else if (self.ends("ed") || self.ends("ing")) && self.has_vowel() {
            self.replace("");
            let added = ["at", "bl", "iz"].into_iter().any(|end| self.ends(end));
            if added {
                self.word.push(u16::from(b'e'));
            } else if self.ends_in_double() {
                if !["l", "s", "z"].into_iter().any(|end| self.ends(end)) {
                    self.word.pop();
                }
            } else if self.measure(self.word.len()) == 1 && self.ends_short(self.word.len()) {
                self.word.push(u16::from(b'e'));
            }
        }
    }

    /// Step 5.
    fn last_letter(&mut self) {
        let whole = self.measure(self.word.len());
        if self.ends("e") {
            // The e itself is no consonant, so it adds nothing to the measure.
            if whole > 1 || whole == 1 && !self.ends_short(self.word.len() - 1) {
                self.word.pop();
            }
        }
        if self.ends("l") && self.ends_in_double() && whole > 1 {
            self.word.pop();
        }
    }

    /// Whether the word ends so. If it does, the stem is what stands before.
    fn ends(&mut self, suffix: &str) -> bool {
        let Some(stem) = self.word.len().checked_sub(suffix.len()) else { return false };
        let is_end = self.word[stem..].iter().copied().eq(suffix.bytes().map(u16::from));
        if is_end {
            self.stem = stem;
        }
        is_end
    }

    /// Puts something else after the stem.
    fn replace(&mut self, suffix: &str) {
        self.word.truncate(self.stem);
        self.word.extend(suffix.bytes().map(u16::from));
    }

    /// y is a consonant at the beginning and after a vowel.
    fn is_consonant(&self, at: usize) -> bool {
        match u8::try_from(self.word[at]) {
            Ok(b'a' | b'e' | b'i' | b'o' | b'u') => false,
            Ok(b'y') => {
                // Of a row of them every second one is.
                let row =
                    self.word[..at].iter().rev().take_while(|letter| **letter == u16::from(b'y')).count();
                let first = at - row;
                let begins = first == 0 || !self.is_consonant(first - 1);
                begins == row.is_multiple_of(2)
            }
            _ => true,
        }
    }

    /// How often in the first letters a vowel is followed by a consonant: Porter's m.
    fn measure(&self, len: usize) -> usize {
        (1..len).filter(|at| self.is_consonant(*at) && !self.is_consonant(at - 1)).count()
    }

    fn has_vowel(&self) -> bool {
        (0..self.stem).any(|at| !self.is_consonant(at))
    }

    /// Whether the last two letters are one consonant.
    fn ends_in_double(&self) -> bool {
        matches!(self.word[..], [.., a, b] if a == b) && self.is_consonant(self.word.len() - 1)
    }

    /// Whether the first letters end in consonant, vowel, consonant, of which the last is not w, x or y.
    fn ends_short(&self, len: usize) -> bool {
        len > 2
            && self.is_consonant(len - 1)
            && !self.is_consonant(len - 2)
            && self.is_consonant(len - 3)
            && !"wxy".bytes().any(|letter| u16::from(letter) == self.word[len - 1])
    }
}

/// Examples of the 1980 paper, and of the departures worked out by hand from the rules in the module's doc.
#[cfg(test)]
pub(super) const STEMS: [(&str, &str); 33] = [
    ("caresses", "caress"),
    ("ponies", "poni"),
    ("ties", "ti"),
    ("cats", "cat"),
    ("feed", "feed"),
    ("agreed", "agre"),
    ("plastered", "plaster"),
    ("motoring", "motor"),
    ("conflated", "conflat"),
    ("hopping", "hop"),
    ("filing", "file"),
    ("happy", "happi"),
    ("sky", "sky"),
    ("relational", "relat"),
    ("generalizations", "gener"),
    ("oscillators", "oscil"),
    ("controll", "control"),
    // 1. short words
    ("as", "as"),
    ("is", "is"),
    ("y", "y"),
    ("ss", "ss"),
    // 2. BLI
    ("possibly", "possibl"),
    ("assembly", "assembl"),
    ("assemblies", "assembl"),
    ("conformably", "conform"),
    ("incredibly", "incred"),
    ("bibli", "bibli"),
    ("ably", "abli"),
    ("nobly", "nobli"),
    // 3. LOGI
    ("oncology", "oncolog"),
    ("pathologies", "patholog"),
    ("biology", "biologi"),
    ("epidemiological", "epidemiolog"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems() {
        let mut stemmer = Stemmer::default();
        for (word, stem) in STEMS {
            assert_eq!(stemmer.stem(word), stem, "{word}");
        }
    }
}
