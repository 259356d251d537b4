//! Hindi and Bengali.

use crate::bm25::analysis::compositions::COMPOSITIONS;
use crate::bm25::analysis::letters::Letters;

/// Endings of Hindi by how many letters a word has at least: the first that fits goes.
const HINDI: &[(usize, &[&str])] = &[
    (7, &["ाएंगी", "ाएंगे", "ाऊंगी", "ाऊंगा", "ाइयाँ", "ाइयों", "ाइयां"]),
    (
        6,
        &[
            "ाएगी",
            "ाएगा",
            "ाओगी",
            "ाओगे",
            "एंगी",
            "ेंगी",
            "एंगे",
            "ेंगे",
            "ूंगी",
            "ूंगा",
            "ातीं",
            "नाओं",
            "नाएं",
            "ताओं",
            "ताएं",
            "ियाँ",
            "ियों",
            "ियां",
        ],
    ),
    (
        5,
        &[
            "ाकर",
            "ाइए",
            "ाईं",
            "ाया",
            "ेगी",
            "ेगा",
            "ोगी",
            "ोगे",
            "ाने",
            "ाना",
            "ाते",
            "ाती",
            "ाता",
            "तीं",
            "ाओं",
            "ाएं",
            "ुओं",
            "ुएं",
            "ुआं",
        ],
    ),
    (4, &["कर", "ाओ", "िए", "ाई", "ाए", "ने", "नी", "ना", "ते", "ीं", "ती", "ता", "ाँ", "ां", "ों", "ें"]),
    (3, &["ो", "े", "ू", "ु", "ी", "ि", "ा"]),
];

/// Those of Bengali.
const BENGALI: &[(usize, &[&str])] = &[
    (10, &["িয়াছিলাম", "িতেছিলাম", "িতেছিলেন", "ইতেছিলেন", "িয়াছিলেন", "ইয়াছিলেন"]),
    (9, &["িতেছিলি", "িতেছিলে", "িয়াছিলা", "িয়াছিলে", "িতেছিলা", "িয়াছিলি", "য়েদেরকে"]),
    (8, &["িতেছিস", "িতেছেন", "িয়াছিস", "িয়াছেন", "েছিলাম", "েছিলেন", "েদেরকে"]),
    (
        7,
        &[
            "িতেছি",
            "িতেছা",
            "িতেছে",
            "ছিলাম",
            "ছিলেন",
            "িয়াছি",
            "িয়াছা",
            "িয়াছে",
            "েছিলে",
            "েছিলা",
            "য়েদের",
            "দেরকে",
        ],
    ),
    (
        6,
        &[
            "িলাম",
            "িলেন",
            "িতাম",
            "িতেন",
            "িবেন",
            "ছিলি",
            "ছিলে",
            "ছিলা",
            "তেছে",
            "িতেছ",
            "খানা",
            "খানি",
            "গুলো",
            "গুলি",
            "য়েরা",
            "েদের",
        ],
    ),
    (
        5,
        &[
            "লাম",
            "িলি",
            "ইলি",
            "িলে",
            "ইলে",
            "লেন",
            "িলা",
            "ইলা",
            "তাম",
            "িতি",
            "ইতি",
            "িতে",
            "ইতে",
            "তেন",
            "িতা",
            "িবা",
            "ইবা",
            "িবি",
            "ইবি",
            "বেন",
            "িবে",
            "ইবে",
            "ছেন",
            "য়োন",
            "য়ের",
            "েরা",
            "দের",
        ],
    ),
    (
        4,
        &[
            "িস", "েন", "লি", "লে", "লা", "তি", "তে", "তা", "বি", "বে", "বা", "ছি", "ছা", "ছে", "ুন", "ুক", "টা",
            "টি", "নি", "ের", "রা", "কে",
        ],
    ),
    (3, &["ি", "ী", "া", "ো", "ে", "ব", "ত"]),
];

pub(in crate::bm25::analysis) fn hindi(word: &mut Letters) {
    word.apply_by_length(HINDI);
}

pub(in crate::bm25::analysis) fn bengali(word: &mut Letters) {
    word.apply_by_length(BENGALI);
}

/// Letters of Devanagari that are spelled in more than one way: loans as their own sounds, long vowels as short ones.
const HINDI_FOLDED: &[(&str, char)] = &[
    ("\u{901}", '\u{902}'),
    ("\u{929}", '\u{928}'),
    ("\u{931}", '\u{930}'),
    ("\u{934}", '\u{933}'),
    ("\u{958}", '\u{915}'),
    ("\u{959}", '\u{916}'),
    ("\u{95a}", '\u{917}'),
    ("\u{95b}", '\u{91c}'),
    ("\u{95c}", '\u{921}'),
    ("\u{95d}", '\u{922}'),
    ("\u{95e}", '\u{92b}'),
    ("\u{95f}", '\u{92f}'),
    ("\u{945}\u{946}\u{948}", '\u{947}'),
    ("\u{949}\u{94a}\u{94c}", '\u{94b}'),
    ("\u{90d}\u{90e}\u{910}", '\u{90f}'),
    ("\u{911}\u{912}\u{914}", '\u{913}'),
    ("\u{906}\u{972}", '\u{905}'),
    ("\u{908}", '\u{907}'),
    ("\u{90a}", '\u{909}'),
    ("\u{960}", '\u{90b}'),
    ("\u{961}", '\u{90c}'),
    ("\u{940}", '\u{93f}'),
    ("\u{942}", '\u{941}'),
    ("\u{944}", '\u{943}'),
    ("\u{963}", '\u{962}'),
];

/// P. Pingali and V. Varma, "Word normalization in Indian languages", 2005.
pub(in crate::bm25::analysis) fn hindi_spelling(word: &mut Letters) {
    const NA: char = '\u{928}';
    const VIRAMA: char = '\u{94d}';
    compose(word);
    let mut letters = std::mem::take(&mut word.0).into_iter().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            // A nasal without a vowel is a dot above.
            NA if letters.next_if_eq(&VIRAMA).is_some() => word.0.push('\u{902}'),
            VIRAMA | '\u{93c}' | '\u{200c}' | '\u{200d}' => {}
            letter => word.0.push(letter),
        }
    }
    word.fold(HINDI_FOLDED);
}

/// Letters of one sound are one letter, and those that are not heard go. It is Lucene's `BengaliNormalizer`, after N.
/// UzZaman and M. Khan, "A Double Metaphone Encoding for Bangla".
pub(in crate::bm25::analysis) fn bengali_spelling(word: &mut Letters) {
    const FOLDED: &[(&str, char)] = &[
        ("\u{9c0}", '\u{9bf}'),
        ("\u{9c2}", '\u{9c1}'),
        ("\u{999}", '\u{982}'),
        ("\u{9b6}\u{9b7}", '\u{9b8}'),
        ("\u{9a3}", '\u{9a8}'),
        ("\u{9dc}\u{9dd}", '\u{9b0}'),
        ("\u{9ce}", '\u{9a4}'),
    ];
    const VIRAMA: char = '\u{9cd}';
    compose(word);
    let letters = &mut word.0;
    let mut at = 0;
    while at < letters.len() {
        let joined = at > 0 && letters[at - 1] == VIRAMA;
        match letters[at] {
            '\u{981}' => {
                letters.remove(at);
                continue;
            }
            '\u{995}' if letters.get(at + 1..at + 3) == Some(&[VIRAMA, '\u{9bf}']) => {
                letters[if at == 0 { 0 } else { at + 1 }] = '\u{996}';
                letters.drain(if at == 0 { 1..3 } else { at + 2..at + 3 });
            }
            '\u{9af}' if joined && at == 2 => {
                letters[1] = '\u{9c7}';
                let vowel = usize::from(letters.get(3) == Some(&'\u{9be}'));
                letters.drain(2..3 + vowel);
                continue;
            }
            '\u{9ac}' if joined && at != 2 && !(at >= 5 && letters[at - 3] == VIRAMA) => {
                if at > 2 {
                    letters[at - 1] = letters[at - 2];
                    letters.remove(at);
                    continue;
                }
            }
            '\u{9af}' | '\u{9ac}' if joined => {
                letters.drain(at - 1..=at);
                at -= 1;
                continue;
            }
            '\u{983}' => match (letters.get(at + 1), letters.len()) {
                (Some(next), _) => letters[at] = *next,
                (None, ..=3) => letters[at] = '\u{9b9}',
                (None, _) => {
                    letters.remove(at);
                }
            },
            letter => {
                letters[at] =
                    FOLDED.iter().find(|(from, _)| from.contains(letter)).map_or(letter, |(_, to)| *to)
            }
        }
        at += 1;
    }
}

/// Puts one letter in the place of letters that are another spelling of it, in all scripts of India.
fn compose(word: &mut Letters) {
    let mut at = 0;
    while at < word.len() {
        let found = [3, 2].into_iter().find_map(|letters| {
            let spelling = word.0.get(at..at + letters)?;
            let found = COMPOSITIONS.binary_search_by(|(known, _)| known.iter().cmp(spelling)).ok()?;
            Some((letters, COMPOSITIONS[found].1))
        });
        if let Some((letters, composed)) = found {
            word.0.splice(at..at + letters, [composed]);
        }
        at += 1;
    }
}
