//! A word as the letters that stemmers of Java see, which are UTF-16 units.

/// Surrogates stand `TO_PRIVATE` higher, among private characters, of which no word has any.
const TO_PRIVATE: u32 = 0xe000 - 0xd800;

/// The end of a word and what takes its place.
pub(super) struct Rule {
    /// The word has more letters than this.
    pub longer_than: usize,
    pub end: &'static str,
    pub to: &'static str,
}

/// Short for rules in tables.
pub(super) const fn rule(longer_than: usize, end: &'static str, to: &'static str) -> Rule {
    Rule { longer_than, end, to }
}

/// A rule of RSLP: a suffix, the fewest letters before it, what takes its place, and words that keep it.
pub(super) type SuffixRule = (&'static str, usize, &'static str, &'static [&'static str]);

/// Rules of RSLP of which the first that fits is applied.
pub(super) struct Step {
    /// Whether words that keep a suffix are whole words, not ends of words.
    pub whole: bool,
    pub rules: &'static [SuffixRule],
}

/// A word that is being stemmed.
#[derive(Default)]
pub(super) struct Letters(pub Vec<char>);

impl Letters {
    pub fn read(&mut self, word: &str) {
        self.0.clear();
        self.0.extend(units(word));
    }

    pub fn write(&self, out: &mut String) {
        out.clear();
        out.extend(characters(self.0.iter().copied()));
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The letter `before` places before the last.
    pub fn at_end(&self, before: usize) -> Option<char> {
        self.0.iter().rev().nth(before).copied()
    }

    pub fn ends(&self, end: &str) -> bool {
        end.chars().rev().zip(0..).all(|(letter, before)| self.at_end(before) == Some(letter))
    }

    pub fn begins(&self, beginning: &str) -> bool {
        beginning.chars().zip(0..).all(|(letter, at)| self.0.get(at) == Some(&letter))
    }

    pub fn is(&self, word: &str) -> bool {
        word.chars().eq(self.0.iter().copied())
    }

    pub fn is_any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(word))
    }

    pub fn ends_in_any(&self, ends: &[&str]) -> bool {
        ends.iter().any(|end| self.ends(end))
    }

    /// Takes letters off the end.
    pub fn cut(&mut self, letters: usize) {
        self.0.truncate(self.0.len().saturating_sub(letters));
    }

    /// Puts `to` in place of an end that the word has.
    pub fn replace(&mut self, end: &str, to: &str) {
        self.cut(end.chars().count());
        self.0.extend(to.chars());
    }

    /// Applies the first rule that fits. Tells whether there is one.
    pub fn apply(&mut self, rules: &[Rule]) -> bool {
        let rule = rules.iter().find(|rule| self.len() > rule.longer_than && self.ends(rule.end));
        if let Some(rule) = rule {
            self.replace(rule.end, rule.to);
        }
        rule.is_some()
    }

    /// Takes off the first end that fits, of ends by how many letters a word has at least.
    pub fn apply_by_length(&mut self, ends: &[(usize, &'static [&'static str])]) {
        let fits = |(least, ends): &(usize, &'static [&'static str])| {
            (self.len() >= *least).then(|| ends.iter().find(|end| self.ends(end))).flatten()
        };
        if let Some(end) = ends.iter().find_map(fits) {
            self.replace(end, "");
        }
    }

    /// Replaces single letters: the pairs are what is replaced, and by what.
    pub fn fold(&mut self, pairs: &[(&str, char)]) {
        for letter in &mut self.0 {
            if let Some((_, to)) = pairs.iter().find(|(from, _)| from.contains(*letter)) {
                *letter = *to;
            }
        }
    }
}

/// The letters of a word.
pub(super) fn units(word: &str) -> impl Iterator<Item = char> {
    word.chars().flat_map(|c| {
        let mut pair = [0; 2];
        let units = match c.len_utf16() {
            1 => [Some(c), None],
            _ => {
                c.encode_utf16(&mut pair);
                pair.map(|unit| char::from_u32(u32::from(unit) + TO_PRIVATE))
            }
        };
        units.into_iter().flatten()
    })
}

/// The characters of letters. Half of a pair becomes U+FFFD.
pub(super) fn characters(letters: impl Iterator<Item = char>) -> impl Iterator<Item = char> {
    let units = letters.map(|letter| {
        let code = u32::from(letter);
        // A letter is one unit, and private ones are surrogates.
        let code = if matches!(code, 0xe000..=0xe7ff) { code - TO_PRIVATE } else { code };
        u16::try_from(code).unwrap_or(0xfffd)
    });
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_units() {
        let mut letters = Letters::default();
        letters.read("né𝒙s");
        assert_eq!(letters.len(), 5);
        let mut word = String::new();
        letters.write(&mut word);
        assert_eq!(word, "né𝒙s");
        letters.cut(2);
        letters.write(&mut word);
        assert_eq!(word, "né\u{fffd}");
    }

    #[test]
    fn the_first_rule_that_fits_is_applied() {
        let rules = [rule(5, "eaux", "eau"), rule(3, "aux", "al"), rule(0, "x", "")];
        let cases =
            [("chevaux", "cheval"), ("aux", "au"), ("tableaux", "tableau"), ("x", ""), ("mot", "mot")];
        for (word, expected) in cases {
            let mut letters = Letters::default();
            letters.read(word);
            assert_eq!(letters.apply(&rules), word != expected, "{word}");
            let mut stem = String::new();
            letters.write(&mut stem);
            assert_eq!(stem, expected);
        }
    }
}
