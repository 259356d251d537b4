//! Chinese, Japanese and Korean, which are written without spaces: Lucene's `CJKWidthFilter` and `CJKBigramFilter`.

use std::ops::Range;

use super::words::{Kind, Word};

/// Full-width Latin letters become ordinary ones, and half-width Katakana ordinary Katakana, which take a mark of voice
/// that follows them.
pub(super) fn fold_width(term: &mut String) {
    if !term.contains(|c| matches!(c, '\u{ff01}'..='\u{ff5e}' | '\u{ff65}'..='\u{ff9f}')) {
        return;
    }
    let mut folded = String::with_capacity(term.len());
    for c in term.chars() {
        match c {
            // The block of full-width forms has ASCII in its order.
            '\u{ff01}'..='\u{ff5e}' => folded.extend(char::from_u32(u32::from(c) - 0xfee0)),
            '\u{ff9e}' | '\u{ff9f}' => {
                let voiced = folded.chars().next_back().and_then(|last| voiced(last, c == '\u{ff9f}'));
                match voiced {
                    Some(voiced) => {
                        folded.pop();
                        folded.push(voiced);
                    }
                    None => folded.push(katakana(c)),
                }
            }
            '\u{ff65}'..='\u{ff9f}' => folded.push(katakana(c)),
            c => folded.push(c),
        }
    }
    *term = folded;
}

/// The Katakana of a half-width form, which stand in another order.
fn katakana(half: char) -> char {
    const FULL: &str = "・ヲァィゥェォャュョッーアイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワン\u{3099}\u{309a}";
    FULL.chars().nth((u32::from(half) - 0xff65) as usize).unwrap_or(half)
}

/// A Katakana with a mark of voice, or with that of half voice.
fn voiced(c: char, half: bool) -> Option<char> {
    let after = |c: char, distance: u32| char::from_u32(u32::from(c) + distance);
    match (c, half) {
        ('ウ', false) => Some('ヴ'),
        ('ハ' | 'ヒ' | 'フ' | 'ヘ' | 'ホ', true) => after(c, 2),
        (
            'カ' | 'キ' | 'ク' | 'ケ' | 'コ' | 'サ' | 'シ' | 'ス' | 'セ' | 'ソ' | 'タ' | 'チ' | 'ツ' | 'テ'
            | 'ト',
            false,
        )
        | ('ハ' | 'ヒ' | 'フ' | 'ヘ' | 'ホ' | 'ヽ', false) => after(c, 1),
        ('ワ' | 'ヰ' | 'ヱ' | 'ヲ', false) => after(c, 8),
        _ => None,
    }
}

/// Pairs of neighboring characters in place of words of Han, Hiragana, Katakana and Hangul. A character without a
/// neighbor stands alone. Other words stay.
#[derive(Default)]
pub(super) struct Bigrams {
    /// The characters of words that lie side by side, with their places in the text.
    run: Vec<(char, Range<usize>)>,
    /// Where the last of these words ends.
    end: usize,
    pair: String,
}

impl Bigrams {
    /// Takes the next word, whose term may be spelled otherwise than the text.
    pub fn add(&mut self, word: &Word<'_>, term: &str, mut visit: impl FnMut(&str, Range<usize>)) {
        if !matches!(word.kind, Kind::Han | Kind::Hiragana | Kind::Katakana | Kind::Hangul) {
            self.finish(&mut visit);
            visit(term, word.place());
            return;
        }
        if word.start != self.end {
            self.finish(&mut visit);
        }
        if term.chars().map(char::len_utf8).eq(word.text.chars().map(char::len_utf8)) {
            let places = term.char_indices().map(|(at, c)| word.start + at..word.start + at + c.len_utf8());
            self.run.extend(term.chars().zip(places));
        } else {
            // Characters became others, of which each is known to be in the word.
            self.run.extend(term.chars().map(|c| (c, word.place())));
        }
        self.end = word.end();
    }

    /// Ends the text, or what lies side by side.
    pub fn finish(&mut self, mut visit: impl FnMut(&str, Range<usize>)) {
        let Bigrams { run, pair, .. } = self;
        for characters in run.windows(2.min(run.len()).max(1)) {
            pair.clear();
            pair.extend(characters.iter().map(|(c, _)| c));
            let [(_, first), .., (_, last)] = characters else {
                characters.iter().for_each(|(_, only)| visit(pair, only.clone()));
                continue;
            };
            visit(pair, first.start..last.end);
        }
        run.clear();
    }
}
