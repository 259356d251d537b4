//! The part of a text that shows why it was found.

mod units;
mod window;

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use secateur_index::bm25::Analyzer;

use units::{Unit, has_terms_within, units};
use window::{Match, best_window};

/// A part of a text in one line, and where the query's words are in it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Snippet {
    /// The part, with `...` where the text goes on; white space is one blank each.
    pub text: String,
    /// The words that match, in bytes of `text`, ascending.
    pub marks: Vec<Range<usize>>,
}

/// The part of a text with the most of a query's words, at most `max_chars` characters and `...` long. Words match as
/// the analyzer makes them: in English without case and endings. Of Chinese and Japanese, which have no blanks between
/// words, the characters that match are marked. Without a match it is the beginning. The time grows with the text.
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
    let units = units(text, max_chars);
    let (places, matches) = matches_of(text, query, analyzer, &units);
    let window = best_window(&units, &matches, max_chars);

    let mut snippet = Snippet::default();
    if window.start > 0 {
        snippet.text.push_str("...");
    }
    // Where each unit of the window begins in what is shown.
    let mut starts = Vec::with_capacity(window.len());
    for place in window.clone() {
        if place > window.start && units[place].is_apart {
            snippet.text.push(' ');
        }
        starts.push(snippet.text.len());
        snippet.text.push_str(units[place].text);
    }
    if window.end < units.len() {
        snippet.text.push_str("...");
    }
    for (found, place) in matches.iter().zip(places) {
        for shown in found.first.max(window.start)..(found.last + 1).min(window.end) {
            let mark = marked(&units[shown], &place, starts[shown - window.start]);
            match snippet.marks.last_mut() {
                Some(last) if mark.start <= last.end => last.end = last.end.max(mark.end),
                _ => snippet.marks.push(mark),
            }
        }
    }
    snippet
}

/// Where the query's terms are in a text: in bytes of it, and in its units.
fn matches_of(
    text: &str,
    query: &str,
    analyzer: Analyzer,
    units: &[Unit<'_>],
) -> (Vec<Range<usize>>, Vec<Match>) {
    let (mut places, mut matches) = (Vec::new(), Vec::new());
    let wanted: BTreeSet<String> = analyzer.analyze(query).into_iter().collect();
    let wanted: HashMap<&str, usize> = wanted.iter().map(String::as_str).zip(0..).collect();
    if wanted.is_empty() {
        return (places, matches);
    }
    let mut first = 0;
    analyzer.for_each_token(text, |term, place| {
        let Some(term) = wanted.get(term).copied() else { return };
        while units.get(first).is_some_and(|unit| unit.end() <= place.start) {
            first += 1;
        }
        let others = units.get(first..).unwrap_or_default();
        let num_units = others.iter().take_while(|unit| unit.start < place.end).count();
        if num_units > 0 {
            matches.push(Match { term, first, last: first + num_units - 1 });
            places.push(place);
        }
    });
    (places, matches)
}

/// What is marked of a unit that is shown from byte `start` on, if a term is at this place of the text. It is a whole
/// word without the punctuation around it, or in scripts without blanks the term.
fn marked(unit: &Unit<'_>, place: &Range<usize>, start: usize) -> Range<usize> {
    if has_terms_within(unit.text) {
        let [from, to] = [place.start, place.end].map(|at| at.clamp(unit.start, unit.end()) - unit.start);
        return start + from..start + to;
    }
    let is_edge = |c: char| !c.is_alphanumeric();
    let inner = unit.text.trim_start_matches(is_edge);
    let start = start + unit.text.len() - inner.len();
    start..start + inner.trim_end_matches(is_edge).len()
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

    /// In scripts without blanks the characters of the query are found and marked, and no others.
    #[test]
    fn scripts_without_blanks() {
        let text = "冬天修剪玫瑰花丛。蜜蜂在春天采蜜";
        for (text, query, analyzer, max, expected, marks) in [
            (text, "玫瑰", Analyzer::Cjk, 5, "...玫瑰花丛。...", &["玫瑰"][..]),
            (text, "玫瑰", Analyzer::Cjk, 100, text, &["玫瑰"]),
            (text, "玫瑰花", Analyzer::Cjk, 100, text, &["玫瑰花"]),
            (text, "春天 蜜蜂", Analyzer::Cjk, 100, text, &["蜜蜂", "春天"]),
            (text, "夏天", Analyzer::Cjk, 4, "冬天修剪...", &[]),
            // English has a term for each character.
            (text, "玫", Analyzer::English, 100, text, &["玫"]),
            ("東京のバラ園 (rose)", "バラ", Analyzer::Cjk, 100, "東京のバラ園 (rose)", &["バラ"]),
            ("東京のバラ園 (rose)", "ROSE", Analyzer::Cjk, 100, "東京のバラ園 (rose)", &["rose"]),
            ("장미를 심다", "장미", Analyzer::Cjk, 100, "장미를 심다", &["장미"]),
            // A word that is longer than what is shown.
            ("a roses", "rose", Analyzer::English, 3, "...ros...", &["ros"]),
        ] {
            let found = snippet(text, query, analyzer, max);
            assert_eq!(found.text, expected, "{query}");
            let marked: Vec<&str> = found.marks.iter().map(|mark| &found.text[mark.clone()]).collect();
            assert_eq!(marked, marks, "{query}");
        }
    }

    /// Where each word matches, a window costs no more than elsewhere: else this would take minutes.
    #[test]
    fn long_texts_take_a_pass() {
        let text = "word ".repeat(200_000);
        let found = snippet(&text, "words", Analyzer::English, 200);
        assert_eq!((found.text.len(), found.marks.len()), (202, 40));
        let found = snippet(&text, "word", Analyzer::English, usize::MAX);
        assert_eq!(found.marks.len(), 200_000);
    }

    proptest! {
        /// Whatever the text: a line that is short enough, and marks on words that match.
        #[test]
        fn snippets_are_lines(text in "([a-c]{1,4}[ ,.\\n]){0,30}|\\\\PC{0,40}", query in "[a-c ]{0,8}", max in 1usize..60) {
            let found = snippet(&text, &query, Analyzer::English, max);
            prop_assert!(found.text.chars().count() <= max + 6);
            prop_assert!(!found.text.contains('\n'));
            // Of longer words, which are cut, a part is marked.
            let is_cut = text.split_whitespace().any(|word| word.chars().count() > max);
            let wanted = if is_cut { Vec::new() } else { Analyzer::English.analyze(&query) };
            for mark in &found.marks {
                let terms = Analyzer::English.analyze(&found.text[mark.clone()]);
                prop_assert!(is_cut || terms.iter().any(|term| wanted.contains(term)), "{:?} {:?}", found, wanted);
            }
            prop_assert!(found.marks.is_sorted_by(|a, b| a.end <= b.start));
        }
    }
}
