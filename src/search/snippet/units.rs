//! The pieces of a text of which as many are shown as fit.

use std::ops::Range;

/// A piece of a text that is shown as a whole or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit<'t> {
    pub text: &'t str,
    /// Its first byte in the text.
    pub start: usize,
    /// Its characters.
    pub length: usize,
    /// Whether white space stands before it, which is shown as one blank.
    pub is_apart: bool,
}

impl<'t> Unit<'t> {
    fn new(text: &'t str, place: Range<usize>, is_apart: bool) -> Unit<'t> {
        let start = place.start;
        let text = &text[place];
        Unit { text, start, length: text.chars().count(), is_apart }
    }

    pub fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

/// What is between white space, in order. Each character of a script without blanks is a unit of its own. Long words
/// are cut into pieces of `max_chars`, so that something of them can be shown.
pub fn units(text: &str, max_chars: usize) -> Vec<Unit<'_>> {
    let mut units = Vec::new();
    // The unit that is being read: its place and its characters.
    let (mut place, mut length) = (0..0, 0);
    let (mut is_apart, mut is_alone) = (false, false);
    for (at, c) in text.char_indices() {
        let is_blank = c.is_whitespace();
        let ends = is_blank || is_alone || is_without_blanks(c) || length == max_chars.max(1);
        if ends && !place.is_empty() {
            units.push(Unit::new(text, place.clone(), is_apart));
            is_apart = false;
        }
        if ends {
            (place, length) = (at..at, 0);
        }
        if is_blank {
            is_apart = true;
            place = at + c.len_utf8()..at + c.len_utf8();
        } else {
            place.end = at + c.len_utf8();
            length += 1;
        }
        is_alone = is_without_blanks(c);
    }
    if !place.is_empty() {
        units.push(Unit::new(text, place, is_apart));
    }
    if let Some(first) = units.first_mut() {
        first.is_apart = false;
    }
    units
}

/// Han characters, Kana and the punctuation among them.
fn is_without_blanks(c: char) -> bool {
    matches!(
        c,
        '\u{2e80}'..='\u{2fdf}'
            | '\u{3001}'..='\u{30ff}'
            | '\u{31f0}'..='\u{31ff}'
            | '\u{3400}'..='\u{4dbf}'
            | '\u{4e00}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{ff66}'..='\u{ff9f}'
            | '\u{20000}'..='\u{3ffff}'
    )
}

/// Whether a term is seldom all that is between two blanks: in the scripts of Chinese, Japanese and Korean.
pub fn has_terms_within(text: &str) -> bool {
    let is_hangul =
        |c| matches!(c, '\u{1100}'..='\u{11ff}' | '\u{3130}'..='\u{318f}' | '\u{ac00}'..='\u{d7af}');
    text.chars().any(|c| is_without_blanks(c) || is_hangul(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_fall_into_units() {
        let of = |text: &str, max_chars| -> Vec<(String, usize, bool)> {
            let own = |unit: &Unit<'_>| (unit.text.to_owned(), unit.start, unit.is_apart);
            units(text, max_chars).iter().map(own).collect()
        };
        let expected = |units: &[(&str, usize, bool)]| -> Vec<(String, usize, bool)> {
            units.iter().map(|(text, start, is_apart)| ((*text).to_owned(), *start, *is_apart)).collect()
        };
        assert_eq!(of(" \n", 5), []);
        assert_eq!(of("  a\n\tbc ", 5), expected(&[("a", 2, false), ("bc", 5, true)]));
        assert_eq!(of("éàèe b", 3), expected(&[("éàè", 0, false), ("e", 6, false), ("b", 8, true)]));
        assert_eq!(of("x", 0), expected(&[("x", 0, false)]));
        assert_eq!(
            of("玫瑰。ab花 장미", 5),
            expected(&[
                ("玫", 0, false),
                ("瑰", 3, false),
                ("。", 6, false),
                ("ab", 9, false),
                ("花", 11, false),
                ("장미", 15, true)
            ])
        );
    }
}
