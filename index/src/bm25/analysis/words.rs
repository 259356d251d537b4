//! Words of a text, as Lucene's `StandardTokenizer` finds them (`StandardTokenizerImpl.jflex` of Lucene 8).
//!
//! Its rules are those of Unicode Standard Annex #29, and a few of Lucene's own. Runs of South and Southeast Asian
//! letters and sequences of emoji are words, and so is each Han character and each Hiragana. At each place the
//! longest match of a rule is a word, and of equal ones that of the rule that stands first. Where none matches, a
//! character is passed over. With the names of the grammar, and `X` for `[Extend Format ZWJ]*` after everything:
//!
//! ```text
//! emoji    = M ( (ZWJ M)* | TagSpec+ TagTerm ) | KeyCapBase FE0F? 20E3 | RI RI
//!        M = ZWJ* EmojiChar FE0F? | (ZWJ* EmojiModifierBase)? EmojiModifier
//! hangul   = Hangul+
//! katakana = Katakana+
//! word     = J* A (J+ A)* J*                            where J = ExtendNumLet
//!        A = Katakana (J* Katakana)* | ( Hebrew (' | " Hebrew) | N ((J* | MidNum) N)* | L ((J* | MidLetter) L)* )+
//! asian    = ComplexContext+
//! han      = Han
//! hiragana = Hiragana
//! ```
//!
//! All of them are one automaton, made when the first text is read: a set of positions in the rules is a state.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::OnceLock;

use super::classes::*;

/// What rule a word matches. Lucene also tells numbers apart, on which no filter here depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Word,
    Hangul,
    Katakana,
    Asian,
    Han,
    Hiragana,
    Emoji,
}

/// A word and where it is: its first byte and the one after its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word<'t> {
    pub text: &'t str,
    pub kind: Kind,
    pub start: usize,
}

impl Word<'_> {
    pub fn end(&self) -> usize {
        self.start + self.text.len()
    }

    /// Its bytes in the text.
    pub fn place(&self) -> Range<usize> {
        self.start..self.end()
    }
}

/// `StandardAnalyzer.DEFAULT_MAX_TOKEN_LENGTH`, in UTF-16 units: no rule sees more of the text at once, so longer words
/// fall into pieces.
const MAX_UNITS: usize = 255;

/// The words of a text, in order.
pub(super) fn words(text: &str) -> impl Iterator<Item = Word<'_>> {
    let automaton = Automaton::get();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < text.len() {
            let start = at;
            let rest = &text[start..];
            match automaton.longest(rest) {
                Some((length, kind)) => {
                    at += length;
                    return Some(Word { text: &rest[..length], kind, start });
                }
                None => at += rest.chars().next().map_or(1, char::len_utf8),
            }
        }
        None
    })
}

// Positions in the rules. Those of words are named for what was read last.
const START: u64 = 1;
const PREFIX: u64 = 1 << 1;
const AFTER_KATAKANA: u64 = 1 << 2;
const AFTER_NUMBER: u64 = 1 << 3;
const MID_OF_NUMBERS: u64 = 1 << 4;
const AFTER_LETTER: u64 = 1 << 5;
const MID_OF_LETTERS: u64 = 1 << 6;
const AFTER_HEBREW: u64 = 1 << 7;
const QUOTED_HEBREW: u64 = 1 << 8;
const HEBREW_DONE: u64 = 1 << 9;
const AFTER_JOINER: u64 = 1 << 10;
const ALL_HANGUL: u64 = 1 << 11;
const ALL_KATAKANA: u64 = 1 << 12;
const ALL_COMPLEX: u64 = 1 << 13;
const ONE_HAN: u64 = 1 << 14;
const ONE_HIRAGANA: u64 = 1 << 15;
const ONE_REGION: u64 = 1 << 16;
const TWO_REGIONS: u64 = 1 << 17;
const KEY: u64 = 1 << 18;
const SELECTED_KEY: u64 = 1 << 19;
const KEY_DONE: u64 = 1 << 20;
const TAGGED: u64 = 1 << 21;
const TAGS_DONE: u64 = 1 << 22;

/// Positions in the first M of an emoji, and shifted in the others, which no tags follow.
mod m {
    pub const BEFORE: u64 = 1;
    pub const JOINED: u64 = 1 << 1;
    pub const BASE: u64 = 1 << 2;
    pub const CHARACTER: u64 = 1 << 3;
    pub const MODIFIED: u64 = 1 << 4;
    pub const SELECTED: u64 = 1 << 5;
    pub const FIRST: u32 = 32;
    pub const NEXT: u32 = 40;
}

/// Where an extending character changes nothing.
const EXTENDED: u64 = PREFIX
    | AFTER_KATAKANA
    | AFTER_NUMBER
    | MID_OF_NUMBERS
    | AFTER_LETTER
    | MID_OF_LETTERS
    | AFTER_HEBREW
    | QUOTED_HEBREW
    | HEBREW_DONE
    | AFTER_JOINER
    | ALL_HANGUL
    | ALL_KATAKANA
    | ALL_COMPLEX
    | ONE_HAN
    | ONE_HIRAGANA
    | ONE_REGION
    | TWO_REGIONS;

/// The same where it must not be a selector of a presentation.
const EXTENDED_PLAINLY: u64 = KEY | KEY_DONE | in_both(m::BASE | m::CHARACTER | m::MODIFIED);

const fn in_both(positions: u64) -> u64 {
    positions << m::FIRST | positions << m::NEXT
}

/// The positions after a character of these kinds.
fn step(at: u64, kinds: u32) -> u64 {
    let has = |kind: u32| kinds & kind != 0;
    let is_at = |positions: u64| at & positions != 0;
    let mut next = 0;
    let mut go = |condition: bool, to: u64| {
        if condition {
            next |= to;
        }
    };
    if has(EXTEND) {
        go(true, at & EXTENDED);
        go(!has(TEXT_SELECTOR | EMOJI_SELECTOR), at & EXTENDED_PLAINLY);
    }
    // Words.
    let begins_part = is_at(START | PREFIX | AFTER_JOINER);
    let begins_group = begins_part || is_at(AFTER_NUMBER | AFTER_LETTER | HEBREW_DONE);
    go(has(KATAKANA) && (begins_part || is_at(AFTER_KATAKANA)), AFTER_KATAKANA);
    go(has(NUMERIC) && (begins_group || is_at(MID_OF_NUMBERS)), AFTER_NUMBER);
    go(has(LETTER) && (begins_group || is_at(MID_OF_LETTERS)), AFTER_LETTER);
    go(has(HEBREW) && begins_group, AFTER_HEBREW);
    go(has(MID_NUMBER) && is_at(AFTER_NUMBER), MID_OF_NUMBERS);
    go(has(MID_LETTER) && is_at(AFTER_LETTER), MID_OF_LETTERS);
    go(has(SINGLE_QUOTE) && is_at(AFTER_HEBREW), HEBREW_DONE);
    go(has(DOUBLE_QUOTE) && is_at(AFTER_HEBREW), QUOTED_HEBREW);
    go(has(HEBREW) && is_at(QUOTED_HEBREW), HEBREW_DONE);
    go(has(JOINER) && is_at(START | PREFIX), PREFIX);
    let ends_part = AFTER_KATAKANA | AFTER_NUMBER | AFTER_LETTER | HEBREW_DONE | AFTER_JOINER;
    go(has(JOINER) && is_at(ends_part), AFTER_JOINER);
    // The other scripts.
    go(has(HANGUL) && is_at(START | ALL_HANGUL), ALL_HANGUL);
    go(has(KATAKANA) && is_at(START | ALL_KATAKANA), ALL_KATAKANA);
    go(has(COMPLEX) && is_at(START | ALL_COMPLEX), ALL_COMPLEX);
    go(has(HAN) && is_at(START), ONE_HAN);
    go(has(HIRAGANA) && is_at(START), ONE_HIRAGANA);
    // Emoji.
    go(has(REGIONAL) && is_at(START), ONE_REGION);
    go(has(REGIONAL) && is_at(ONE_REGION), TWO_REGIONS);
    go(has(KEYCAP_BASE) && is_at(START), KEY);
    go(has(EMOJI_SELECTOR) && is_at(KEY), SELECTED_KEY);
    go(has(KEYCAP) && is_at(KEY | SELECTED_KEY), KEY_DONE);
    let ends_m = m::CHARACTER | m::MODIFIED | m::SELECTED;
    go(has(TAG) && is_at(ends_m << m::FIRST | TAGGED), TAGGED);
    go(has(TAG_END) && is_at(TAGGED), TAGS_DONE);
    for part in [m::FIRST, m::NEXT] {
        let begins = at & (m::BEFORE << part) != 0 || part == m::FIRST && is_at(START);
        let is_in = |positions: u64| at & (positions << part) != 0;
        let begins_or_joins = begins || is_in(m::JOINED);
        go(has(ZWJ) && begins_or_joins, m::JOINED << part);
        go(has(EMOJI) && begins_or_joins, m::CHARACTER << part);
        go(has(EMOJI_BASE) && begins_or_joins, m::BASE << part);
        go(has(MODIFIER) && (begins || is_in(m::BASE)), m::MODIFIED << part);
        go(has(EMOJI_SELECTOR) && is_in(m::CHARACTER), m::SELECTED << part);
        go(has(ZWJ) && is_in(ends_m), m::BEFORE << m::NEXT);
    }
    next
}

/// The rule that what was read so far matches, of several the first.
fn matched(at: u64) -> Option<Kind> {
    const WORD: u64 = AFTER_KATAKANA | AFTER_NUMBER | AFTER_LETTER | HEBREW_DONE | AFTER_JOINER;
    const EMOJI: u64 = in_both(m::CHARACTER | m::MODIFIED | m::SELECTED) | TWO_REGIONS | KEY_DONE | TAGS_DONE;
    let rules = [
        (EMOJI, Kind::Emoji),
        (ALL_HANGUL, Kind::Hangul),
        (ALL_KATAKANA, Kind::Katakana),
        (WORD, Kind::Word),
        (ALL_COMPLEX, Kind::Asian),
        (ONE_HAN, Kind::Han),
        (ONE_HIRAGANA, Kind::Hiragana),
    ];
    rules.into_iter().find(|(positions, _)| at & positions != 0).map(|(_, kind)| kind)
}

/// The rules as a table. A state is a set of positions that some text leads to, and a class a set of kinds that some
/// character has.
struct Automaton {
    ascii: [u8; 128],
    /// The class of each of [`RANGES`].
    ranges: Vec<u8>,
    num_classes: usize,
    /// (states, classes): state 0 is none, and state 1 the start.
    next: Vec<u16>,
    matched: Vec<Option<Kind>>,
}

const NONE: u16 = 0;
const FIRST: u16 = 1;

impl Automaton {
    fn get() -> &'static Automaton {
        static AUTOMATON: OnceLock<Automaton> = OnceLock::new();
        AUTOMATON.get_or_init(Automaton::new)
    }

    fn new() -> Automaton {
        let mut classes = vec![0];
        let mut class_of = |kinds: u32| match classes.iter().position(|known| *known == kinds) {
            Some(class) => class as u8,
            None => {
                classes.push(kinds);
                classes.len() as u8 - 1
            }
        };
        let ranges: Vec<u8> = RANGES.iter().map(|(_, _, kinds)| class_of(*kinds)).collect();
        let mut ascii = [0; 128];
        for ((first, last, _), class) in RANGES.iter().zip(&ranges) {
            for at in (*first..=*last).take_while(|at| *at < 128) {
                ascii[at as usize] = *class;
            }
        }
        let (mut states, mut numbers) = (vec![0, START], HashMap::from([(0, NONE), (START, FIRST)]));
        let mut next = Vec::new();
        let mut at = 0;
        while at < states.len() {
            for kinds in &classes {
                let to = step(states[at], *kinds);
                next.push(*numbers.entry(to).or_insert_with(|| {
                    states.push(to);
                    states.len() as u16 - 1
                }));
            }
            at += 1;
        }
        let matched = states.iter().map(|state| matched(*state)).collect();
        Automaton { ascii, ranges, num_classes: classes.len(), next, matched }
    }

    fn class(&self, c: char) -> u8 {
        let code = u32::from(c);
        if let Some(class) = self.ascii.get(code as usize) {
            return *class;
        }
        let range = RANGES.partition_point(|(_, last, _)| *last < code);
        match RANGES.get(range) {
            Some((first, _, _)) if *first <= code => self.ranges[range],
            _ => 0,
        }
    }

    /// The longest match at the beginning of a text: its length in bytes, and its rule.
    fn longest(&self, text: &str) -> Option<(usize, Kind)> {
        let (mut state, mut units, mut longest) = (FIRST, 0, None);
        for (at, c) in text.char_indices() {
            units += c.len_utf16();
            if units > MAX_UNITS {
                break;
            }
            state = self.next[usize::from(state) * self.num_classes + usize::from(self.class(c))];
            if state == NONE {
                break;
            }
            if let Some(kind) = self.matched[usize::from(state)] {
                longest = Some((at + c.len_utf8(), kind));
            }
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One case for each rule and for what is special in it; what Lucene prints is in `tests/lucene.rs`.
    #[test]
    fn rules() {
        let cases: &[(&str, &[(&str, Kind)])] = &[
            ("", &[]),
            (" .,;- ", &[]),
            (
                "can't _a_ 3.5 a.b 1,2a",
                &[
                    ("can't", Kind::Word),
                    ("_a_", Kind::Word),
                    ("3.5", Kind::Word),
                    ("a.b", Kind::Word),
                    ("1,2a", Kind::Word),
                ],
            ),
            (
                "한국어 日本 ひら カナ",
                &[
                    ("한국어", Kind::Hangul),
                    ("日", Kind::Han),
                    ("本", Kind::Han),
                    ("ひ", Kind::Hiragana),
                    ("ら", Kind::Hiragana),
                    ("カナ", Kind::Katakana),
                ],
            ),
            ("ภาษาไทย", &[("ภาษาไทย", Kind::Asian)]),
            ("🇩🇪🇫", &[("🇩🇪", Kind::Emoji)]),
            ("👍🏽x", &[("👍🏽", Kind::Emoji), ("x", Kind::Word)]),
            (
                "👩\u{200d}🚀 1\u{fe0f}\u{20e3}",
                &[("👩\u{200d}🚀", Kind::Emoji), ("1\u{fe0f}\u{20e3}", Kind::Emoji)],
            ),
        ];
        for (text, expected) in cases {
            let found: Vec<(&str, Kind)> = words(text).map(|word| (word.text, word.kind)).collect();
            assert_eq!(&found, expected, "{text:?}");
        }
    }

    #[test]
    fn ranges_are_in_order() {
        assert!(RANGES.iter().all(|(first, last, kinds)| first <= last && *kinds != 0));
        assert!(RANGES.windows(2).all(|pair| pair[0].1 < pair[1].0));
    }
}
