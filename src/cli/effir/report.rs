//! What has come of a recipe, in figures.

use std::fmt;

use secateur::Cell;
use secateur::report::{Align, Table};

use crate::cli::number::grouped;

/// A model and what it is worth.
pub struct Measured {
    pub name: String,
    pub parameters: usize,
    /// Without the embeddings.
    pub body: usize,
    /// By data set.
    pub cells: Vec<(String, Cell)>,
}

impl Measured {
    /// The mean over the data sets.
    fn average(&self) -> f64 {
        self.cells.iter().map(|(_, cell)| cell.ndcg_at_10).sum::<f64>() / self.cells.len().max(1) as f64
    }
}

/// The models of a pipeline: the one it began with, where it was measured, and the one that it ended with.
pub struct Record {
    pub model: String,
    pub measured: Vec<Measured>,
}

impl Record {
    fn table(&self) -> Table {
        let columns = self.measured.iter().map(|one| (one.name.clone(), Align::Right));
        let mut table = Table::new(std::iter::once((String::new(), Align::Left)).chain(columns));
        let mut row = |name: &str, value: &dyn Fn(&Measured) -> String| {
            table.row(std::iter::once(name.to_owned()).chain(self.measured.iter().map(value)));
        };
        row("parameters", &|one| grouped(one.parameters));
        row("without embeddings", &|one| grouped(one.body));
        let Some(first) = self.measured.first() else { return table };
        for (place, (dataset, _)) in first.cells.iter().enumerate() {
            row(&format!("{dataset} nDCG@10"), &|one| format!("{:.4}", one.cells[place].1.ndcg_at_10));
        }
        if !first.cells.is_empty() {
            row("average", &|one| format!("{:.4}", one.average()));
            // Of the model at the beginning, if the recipe has it measured.
            if self.measured.len() > 1 {
                row("kept", &|one| format!("{:.1} %", 100.0 * one.average() / first.average()));
            }
        }
        for (place, (dataset, _)) in first.cells.iter().enumerate() {
            row(&format!("{dataset} documents/s"), &|one| {
                format!("{:.1}", one.cells[place].1.documents_per_second)
            });
        }
        table
    }

    /// The README.md of the model's directory. `recipe` is the recipe's text.
    pub fn model_card(&self, recipe: &str) -> String {
        format!(
            "---\nbase_model: {}\nlibrary_name: secateur\npipeline_tag: sentence-similarity\n---\n\n\
             # {} by EffiR\n\nPruned and fine-tuned with `secateur effir`.\n\n```\n{}```\n\n## Recipe\n\n```toml\n{}\n```\n",
            self.model,
            self.model,
            self.table(),
            recipe.trim_end()
        )
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.table())
    }
}
