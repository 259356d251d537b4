//! A swap as text.

use std::fmt;

use super::{SwapReport, SwapSide};
use crate::number::{counted, three_digits};
use crate::table::{Align, Table};

impl fmt::Display for SwapReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let split = self.split.as_deref().map_or_else(String::new, |split| format!(" {split}"));
        writeln!(
            f,
            "{} on {}{split}: {}, {}",
            self.database.display(),
            self.dataset,
            counted(self.num_queries, "query"),
            self.mode
        )?;
        if let Some(rules) = &self.rules {
            writeln!(f, "rules: {rules}")?;
        }
        let [old, new] = &self.generations;
        let names = [old, new].map(|side| (side.generation.clone(), Align::Right));
        let mut table = Table::new([("generation".to_owned(), Align::Left)].into_iter().chain(names));
        let mut row = |name: &str, value: &dyn Fn(&SwapSide) -> String| {
            table.row([name.to_owned(), value(old), value(new)]);
        };
        row("encoder", &|side| side.encoder.clone());
        row("parameters, millions", &|side| three_digits(side.parameters as f64 / 1e6));
        row("dimension", &|side| side.dim.to_string());
        row("median query, ms", &|side| three_digits(side.latency.p50));
        row("95th percentile, ms", &|side| three_digits(side.latency.p95));
        writeln!(
            f,
            "\n{table}\nlatency ratio {}; {:.4} of the first ten documents are the same, rank correlation {:.4}\n",
            three_digits(self.latency_ratio),
            self.overlap_at_10,
            self.rank_correlation
        )?;
        if let Some(comparison) = &self.comparison {
            write!(f, "{comparison}")?;
        }
        if !self.changed.is_empty() {
            writeln!(f, "changed most, by the share of the first ten that stays")?;
        }
        for changed in &self.changed {
            write!(f, "\n{}", changed.side_by_side([&old.generation, &new.generation]))?;
        }
        Ok(())
    }
}
