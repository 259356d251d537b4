//! Which part of a text is shown.

use std::ops::Range;

use super::units::Unit;

/// A term of the query in a text: its number among them, and the first and the last unit that it is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    pub term: usize,
    pub first: usize,
    pub last: usize,
}

/// The units that are shown: those with the most different terms, then the most matches, then the first. Matches are
/// in the order of the text. The time is that of a few passes over units and matches, however many match.
pub fn best_window(units: &[Unit<'_>], matches: &[Match], max_chars: usize) -> Range<usize> {
    let line = Line::of(units);
    let num_terms = matches.iter().map(|found| found.term + 1).max().unwrap_or(0);
    let mut best = (0, 0, 0..line.end_of(0, max_chars));
    // The matches in the window: `inside`, each term's count, and how many terms have one.
    let (mut inside, mut counts, mut num_different) = (0..0, vec![0_usize; num_terms], 0);
    let mut begin = 0;
    for found in matches {
        begin = line.begin_before(found.first, max_chars).max(begin);
        while begin < found.first && line.end_of(begin, max_chars) <= line.shown_to(found, max_chars) {
            begin += 1;
        }
        let window = begin..line.end_of(begin, max_chars);
        while let Some(next) = matches.get(inside.end)
            && line.shown_to(next, max_chars) < window.end
        {
            num_different += usize::from(counts[next.term] == 0);
            counts[next.term] += 1;
            inside.end += 1;
        }
        while inside.start < matches.len() && matches[inside.start].first < begin {
            if inside.start < inside.end {
                let term = matches[inside.start].term;
                counts[term] -= 1;
                num_different -= usize::from(counts[term] == 0);
            } else {
                inside.end += 1;
            }
            inside.start += 1;
        }
        if (num_different, inside.len()) > (best.0, best.1) {
            best = (num_different, inside.len(), window);
        }
    }
    best.2
}

/// Where the units are in one line with a blank where white space was, in characters.
struct Line {
    starts: Vec<usize>,
    ends: Vec<usize>,
    /// The start of each unit but the last, and 1 more if a blank is after it: that blank takes no room before a match.
    leads: Vec<usize>,
}

impl Line {
    fn of(units: &[Unit<'_>]) -> Line {
        let (mut starts, mut ends) = (Vec::with_capacity(units.len()), Vec::with_capacity(units.len()));
        let mut end = 0;
        for unit in units {
            let start = end + usize::from(unit.is_apart);
            end = start + unit.length;
            starts.push(start);
            ends.push(end);
        }
        let blank_after = units.iter().skip(1).map(|unit| usize::from(unit.is_apart));
        let leads = starts.iter().zip(blank_after).map(|(start, blank)| start + blank).collect();
        Line { starts, ends, leads }
    }

    /// The end of the units from `begin` on that fit.
    fn end_of(&self, begin: usize, max_chars: usize) -> usize {
        let Some(start) = self.starts.get(begin) else { return begin };
        let limit = start.saturating_add(max_chars);
        begin + self.ends[begin..].partition_point(|end| *end <= limit)
    }

    /// Where a window with this unit begins. Some words before the first match show where it stands; a text is shown
    /// from its beginning if that is near.
    fn begin_before(&self, unit: usize, max_chars: usize) -> usize {
        let start = self.starts[unit];
        let room = if start <= max_chars / 2 { max_chars / 2 } else { max_chars / 4 };
        self.leads[..unit].partition_point(|lead| lead.saturating_add(room) <= start)
    }

    /// The last unit of a match that has to be shown. What is longer than a window is shown by its beginning.
    fn shown_to(&self, found: &Match, max_chars: usize) -> usize {
        found.last.min(self.end_of(found.first, max_chars).saturating_sub(1)).max(found.first)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use secateur_index::bm25::Analyzer;

    use super::super::matches_of;
    use super::super::units::units;
    use super::*;

    /// The same by trying each window and counting what is in it.
    fn naive(units: &[Unit<'_>], matches: &[Match], max_chars: usize) -> Range<usize> {
        let blank = |unit: usize| usize::from(units[unit].is_apart);
        let end_of = |begin: usize| {
            let (mut chars, mut end) = (0, begin);
            while end < units.len() {
                chars += units[end].length + if end > begin { blank(end) } else { 0 };
                if chars > max_chars {
                    break;
                }
                end += 1;
            }
            end
        };
        // A match is as long as what can be shown of it.
        let last_of = |found: &Match| found.last.min(end_of(found.first).max(found.first + 1) - 1);
        let mut best = (0, 0, 0..end_of(0));
        for found in matches {
            let (mut begin, mut before) = (found.first, 0);
            let from_start: usize = (0..found.first).map(|unit| units[unit].length + blank(unit + 1)).sum();
            let room = if from_start <= max_chars / 2 { max_chars / 2 } else { max_chars / 4 };
            while begin > 0 && before + units[begin - 1].length < room {
                before += units[begin - 1].length + blank(begin);
                begin -= 1;
            }
            while begin < found.first && end_of(begin) <= last_of(found) {
                begin += 1;
            }
            let window = begin..end_of(begin);
            let inside: Vec<usize> = matches
                .iter()
                .filter(|found| found.first >= window.start && last_of(found) < window.end)
                .map(|found| found.term)
                .collect();
            let score = (inside.iter().collect::<BTreeSet<_>>().len(), inside.len());
            if score > (best.0, best.1) {
                best = (score.0, score.1, window);
            }
        }
        best.2
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// The window is that of the naive way.
        #[test]
        fn windows_are_those_of_counting(
            text in "([a-d]{1,5}[ ,.]|[玫瑰花丛]{1,4}|장미| ){0,40}",
            query in "([a-d]{1,2} |[玫瑰花]{2}|장미 ){0,4}",
            is_cjk: bool,
            max_chars in 0usize..50,
        ) {
            let analyzer = if is_cjk { Analyzer::Cjk } else { Analyzer::English };
            let units = units(&text, max_chars);
            let (_, matches) = matches_of(&text, &query, analyzer, &units);
            prop_assert!(matches.is_sorted_by_key(|found| found.first));
            prop_assert!(matches.is_sorted_by_key(|found| found.last));
            prop_assert_eq!(best_window(&units, &matches, max_chars), naive(&units, &matches, max_chars));
        }
    }
}
