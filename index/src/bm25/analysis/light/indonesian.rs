//! Indonesian.

use crate::bm25::analysis::letters::Letters;

/// What was taken off the beginning, on which it depends what may go off the end.
#[derive(Clone, Copy, PartialEq)]
enum Prefix {
    None,
    Ke,
    Peng,
    Di,
    Meng,
    Ter,
    Ber,
    Pe,
}

/// A prefix, whether a vowel must follow it, what takes its place, and its kind.
type Row = (&'static str, bool, &'static str, Prefix);

const FIRST_ORDER: &[Row] = &[
    ("meng", false, "", Prefix::Meng),
    ("meny", true, "s", Prefix::Meng),
    ("men", false, "", Prefix::Meng),
    ("mem", false, "", Prefix::Meng),
    ("me", false, "", Prefix::Meng),
    ("peng", false, "", Prefix::Peng),
    ("peny", true, "s", Prefix::Peng),
    ("peny", false, "", Prefix::Peng),
    ("pen", true, "t", Prefix::Peng),
    ("pen", false, "", Prefix::Peng),
    ("pem", false, "", Prefix::Peng),
    ("di", false, "", Prefix::Di),
    ("ter", false, "", Prefix::Ter),
    ("ke", false, "", Prefix::Ke),
];

pub(in crate::bm25::analysis) fn indonesian(word: &mut Letters) {
    let syllables = word.0.iter().filter(|letter| is_vowel(**letter)).count();
    Stem { word, syllables, prefixes: [Prefix::None; 2] }.run();
}

fn is_vowel(letter: char) -> bool {
    matches!(letter, 'a' | 'e' | 'i' | 'o' | 'u')
}

/// A word at work.
struct Stem<'w> {
    word: &'w mut Letters,
    /// One for each vowel, less one for each affix that is gone.
    syllables: usize,
    prefixes: [Prefix; 2],
}

impl Stem<'_> {
    fn run(&mut self) {
        self.end(&["kah", "lah", "pun"]);
        self.end(&["ku", "mu", "nya"]);
        if self.first_order() {
            if self.suffix() {
                self.second_order();
            }
        } else {
            self.second_order();
            self.suffix();
        }
    }

    /// Takes off the first of these ends that the word has, if it has more than two syllables.
    fn end(&mut self, ends: &[&str]) -> bool {
        let found = ends.iter().find(|end| self.syllables > 2 && self.word.ends(end));
        if let Some(end) = found {
            self.word.replace(end, "");
            self.syllables -= 1;
        }
        found.is_some()
    }

    fn begin(&mut self, letters: usize, to: &str, prefix: Prefix) -> bool {
        self.word.0.splice(..letters, to.chars());
        self.syllables -= 1;
        let free = if self.prefixes[0] == Prefix::None { 0 } else { 1 };
        self.prefixes[free] = prefix;
        true
    }

    fn first_order(&mut self) -> bool {
        let fits = |&&(prefix, before_vowel, ..): &&Row| {
            let next = self.word.0.get(prefix.len());
            self.word.begins(prefix) && (!before_vowel || next.is_some_and(|next| is_vowel(*next)))
        };
        match FIRST_ORDER.iter().find(fits) {
            Some((prefix, _, to, kind)) if self.syllables > 2 => self.begin(prefix.len(), to, *kind),
            _ => false,
        }
    }

    fn second_order(&mut self) -> bool {
        if self.syllables <= 2 {
            return false;
        }
        let word = &*self.word;
        match () {
            () if word.begins("ber") || word.is("belajar") => self.begin(3, "", Prefix::Ber),
            // As in "bekerja".
            () if word.begins("be")
                && word.0.get(2).is_some_and(|letter| !is_vowel(*letter))
                && word.0.get(3..5) == Some(&['e', 'r']) =>
            {
                self.begin(2, "", Prefix::Ber)
            }
            () if word.begins("per") || word.is("pelajar") => self.begin(3, "", Prefix::None),
            () if word.begins("pe") => self.begin(2, "", Prefix::Pe),
            () => false,
        }
    }

    fn suffix(&mut self) -> bool {
        let none_of = |kinds: &[Prefix]| !kinds.iter().any(|kind| self.prefixes.contains(kind));
        let kan = none_of(&[Prefix::Ke, Prefix::Peng, Prefix::Pe]);
        let an = none_of(&[Prefix::Di, Prefix::Meng, Prefix::Ter]);
        let i = none_of(&[Prefix::Ber, Prefix::Ke, Prefix::Peng]) && !self.word.ends("si");
        kan && self.end(&["kan"]) || an && self.end(&["an"]) || i && self.end(&["i"])
    }
}
