//! A comparison as text.

use std::fmt;

use super::{Against, Answer, Comparison, Difference, MovedQuery};
use crate::number::counted;
use crate::table::{Align, Table};

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", counted(self.num_queries, "query"))?;
        let runs = self.runs.iter().map(|run| (run.name.clone(), Align::Right));
        let mut means = Table::new([("measure".to_owned(), Align::Left)].into_iter().chain(runs));
        for (at, measure) in self.measures.iter().enumerate() {
            let values = self.runs.iter().map(|run| format!("{:.4}", run.means[at]));
            means.row([measure.to_string()].into_iter().chain(values));
        }
        write!(f, "{means}")?;
        let first = &self.runs[0].name;
        for against in &self.against_first {
            write!(f, "\n{} against {first}\n\n{}", against.name, self.differences(against))?;
            if !against.moved.is_empty() {
                writeln!(f, "\nmoved most by {}, from {first} to {}", self.measures[0], against.name)?;
            }
            for moved in &against.moved {
                write!(f, "\n{}", Answers([first, &against.name], moved))?;
            }
        }
        Ok(())
    }
}

impl Comparison {
    fn differences(&self, against: &Against) -> Table {
        // One test needs no adjustment.
        let is_adjusted = self.against_first.len() > 1;
        let mut columns = vec![("measure", Align::Left)];
        let numbers = ["difference", "wins", "ties", "losses", "t-test p", "randomization p"];
        columns.extend(numbers.map(|name| (name, Align::Right)));
        if is_adjusted {
            columns.extend(["t-test, Holm", "randomization, Holm"].map(|name| (name, Align::Right)));
        }
        let mut table = Table::new(columns);
        for difference in &against.by_measure {
            let Difference { measure, mean, wins, ties, losses, t_test, randomization, .. } = difference;
            let mut row = vec![measure.to_string(), format!("{mean:+.4}")];
            row.extend([wins, ties, losses].map(usize::to_string));
            row.extend([probability(t_test.map(|test| test.p)), probability(Some(*randomization))]);
            if is_adjusted {
                row.extend([
                    probability(difference.t_test_holm),
                    probability(Some(difference.randomization_holm)),
                ]);
            }
            table.row(row);
        }
        table
    }
}

fn probability(p: Option<f64>) -> String {
    match p {
        None => "-".to_owned(),
        Some(p) if p < 0.0001 => "<0.0001".to_owned(),
        Some(p) => format!("{p:.4}"),
    }
}

impl MovedQuery {
    /// The query and both answers side by side, under the names of the runs.
    pub(crate) fn side_by_side<'a>(&'a self, names: [&'a str; 2]) -> impl fmt::Display + 'a {
        Answers(names, self)
    }
}

/// A query and both answers side by side, under the names of the runs.
struct Answers<'a>([&'a str; 2], &'a MovedQuery);

impl fmt::Display for Answers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Answers(names, moved) = self;
        let [before, after] = moved.values;
        let text = moved.text.as_deref().map(|text| format!(": {}", cut(text, 80))).unwrap_or_default();
        writeln!(f, "{before:.4} -> {after:.4}  {}{text}", moved.query_id)?;
        let columns = [("", Align::Right), (names[0], Align::Left), (names[1], Align::Left)];
        let mut table = Table::new(columns);
        let [first, second] = &moved.answers;
        for rank in 0..first.len().max(second.len()) {
            let cell = |answers: &[Answer]| answers.get(rank).map(shown).unwrap_or_default();
            table.row([(rank + 1).to_string(), cell(first), cell(second)]);
        }
        write!(f, "{table}")
    }
}

/// `[2] d7 Honey keeps`: the judgment, or a dash, before the document.
fn shown(answer: &Answer) -> String {
    let judgment = answer.relevance.map_or_else(|| "-".to_owned(), |relevance| relevance.to_string());
    let title = answer.title.as_deref().map(|title| format!(" {}", cut(title, 36))).unwrap_or_default();
    format!("[{judgment}] {}{title}", answer.doc_id)
}

/// A text in one line of at most so many characters.
fn cut(text: &str, characters: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(characters) {
        Some((end, _)) => format!("{}...", line[..end].trim_end()),
        None => line,
    }
}
