//! The part of a text that shows why it was found.

use std::collections::BTreeSet;
use std::ops::Range;

use secateur_index::bm25::Analyzer;

/// A part of a text in one line, and where the query's words are in it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Snippet {
    /// The part, with `...` where the text goes on; white space is one blank each.
    pub text: String,
    /// The words that match, in bytes of `text`, ascending.
    pub marks: Vec<Range<usize>>,
}

/// The part of a text with the most of a query's words, at most `max_chars` characters and `...` long. Words match as
/// the analyzer makes them: in English without case and endings. Without a match it is the beginning.
///
/// ```
/// use secateur::search::snippet;
/// use secateur::index::bm25::Analyzer;
/// let found = snippet("Bees dance. Prune roses in late winter.", "pruning a rose", Analyzer::English, 20);
/// assert_eq!(found.text, "...Prune roses in late...");
/// let marked: Vec<&str> = found.marks.iter().map(|mark| &found.text[mark.clone()]).collect();
/// assert_eq!(marked, ["Prune", "roses"]);
/// ```
pub fn snippet(text: &str, query: &str, analyzer: Analyzer, max_chars: usize) -> Snippet {
    let wanted: BTreeSet<String> = analyzer.analyze(query).into_iter().collect();
    // A text without blanks is cut into pieces, so that something of it can be shown.
    let words: Vec<&str> = text.split_whitespace().flat_map(|word| pieces(word, max_chars)).collect();
    let lengths: Vec<usize> = words.iter().map(|word| word.chars().count()).collect();
    let matches: Vec<Vec<String>> = words
        .iter()
        .map(|word| match wanted.is_empty() {
            true => Vec::new(),
            false => analyzer.analyze(word).into_iter().filter(|term| wanted.contains(term)).collect(),
        })
        .collect();
    let window = best_window(&lengths, &matches, max_chars);

    let mut snippet = Snippet::default();
    if window.start > 0 {
        snippet.text.push_str("...");
    }
    for place in window.clone() {
        if place > window.start {
            snippet.text.push(' ');
        }
        let start = snippet.text.len();
        snippet.text.push_str(words[place]);
        if !matches[place].is_empty() {
            snippet.marks.push(trimmed(words[place], start));
        }
    }
    if window.end < words.len() {
        snippet.text.push_str("...");
    }
    snippet
}

/// The words that are shown: those with the most different terms, then the most matches, then the first.
fn best_window(lengths: &[usize], matches: &[Vec<String>], max_chars: usize) -> Range<usize> {
    let end_of = |start: usize| {
        let mut chars = 0;
        let fits = lengths[start..].iter().enumerate().take_while(|(number, length)| {
            chars += **length + usize::from(*number > 0);
            chars <= max_chars
        });
        start + fits.count()
    };
    let mut best = (0, 0, 0..end_of(0));
    for start in (0..lengths.len()).filter(|start| !matches[*start].is_empty()) {
        // Some words before the first match show where it stands; a text is shown from its beginning if that is near.
        let (mut begin, mut before) = (start, 0);
        let from_start: usize = lengths[..start].iter().map(|length| length + 1).sum();
        let room = if from_start <= max_chars / 2 { max_chars / 2 } else { max_chars / 4 };
        while begin > 0 && before + lengths[begin - 1] < room {
            begin -= 1;
            before += lengths[begin] + 1;
        }
        let window = begin..end_of(begin);
        let found = || matches[window.clone()].iter().flatten();
        let score = (found().collect::<BTreeSet<_>>().len(), found().count());
        if score > (best.0, best.1) {
            best = (score.0, score.1, window);
        }
    }
    best.2
}

/// A word without the punctuation around it.
fn trimmed(word: &str, start: usize) -> Range<usize> {
    let is_edge = |c: char| !c.is_alphanumeric();
    let inner = word.trim_start_matches(is_edge);
    let start = start + word.len() - inner.len();
    start..start + inner.trim_end_matches(is_edge).len()
}

/// A word in pieces of at most `max_chars` characters.
fn pieces(word: &str, max_chars: usize) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let end = rest.char_indices().nth(max_chars.max(1)).map_or(rest.len(), |(at, _)| at);
        let (piece, tail) = rest.split_at(end);
        rest = tail;
        (!piece.is_empty()).then_some(piece)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_of_texts() {
        for (text, query, max, expected, marks) in [
            ("", "x", 10, "", 0),
            ("a\n b", "", 10, "a b", 0),
            ("one two three four", "nothing", 8, "one two...", 0),
            ("one two three fours", "four", 9, "...fours", 1),
            ("éééééé", "x", 3, "ééé...", 0),
            ("rose x x x x x x rose, \"tree\"", "roses trees", 16, "...x x rose, \"tree\"", 2),
        ] {
            let found = snippet(text, query, Analyzer::English, max);
            assert_eq!((found.text.as_str(), found.marks.len()), (expected, marks), "{text:?} {query:?}");
        }
    }

    proptest! {
        /// Whatever the text: a line that is short enough, and marks on words that match.
        #[test]
        fn snippets_are_lines(text in "([a-c]{1,4}[ ,.\\n]){0,30}|\\\\PC{0,40}", query in "[a-c ]{0,8}", max in 1usize..60) {
            let found = snippet(&text, &query, Analyzer::English, max);
            prop_assert!(found.text.chars().count() <= max + 6);
            prop_assert!(!found.text.contains('\n'));
            let wanted = Analyzer::English.analyze(&query);
            for mark in &found.marks {
                let terms = Analyzer::English.analyze(&found.text[mark.clone()]);
                prop_assert!(terms.iter().any(|term| wanted.contains(term)), "{:?} {:?}", found, wanted);
            }
            prop_assert!(found.marks.is_sorted_by(|a, b| a.end <= b.start));
        }
    }
}
