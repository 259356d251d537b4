//! Persian.

use crate::bm25::analysis::letters::Letters;

/// Forms of yeh, keheh and heh.
const FOLDED: &[(&str, char)] =
    &[("\u{6cc}\u{6d2}", '\u{64a}'), ("\u{6a9}", '\u{643}'), ("\u{6c0}\u{6c1}", '\u{647}')];

/// One letter for each, where Arabic and Persian have two. No ending goes.
pub(in crate::bm25::analysis) fn persian_spelling(word: &mut Letters) {
    super::arabic::arabic_spelling(word);
    word.fold(FOLDED);
    word.0.retain(|letter| *letter != '\u{654}');
}
