//! What has come of a recipe, in figures.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::read::is_json;
use crate::measure::Measurement;
use crate::report::{Align, Table, grouped, three_digits};

/// The models of a recipe: the one it began with, where that was measured, and the one it ended with.
///
/// Printed, it is the file report.md.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// What the recipe calls the model it began with.
    pub model: String,
    /// The last one is what has come of it.
    pub measured: Vec<MeasuredModel>,
}

/// A model and what it is worth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasuredModel {
    /// What the encoder is called.
    pub name: String,
    /// Its parameters.
    pub parameters: usize,
    /// Those that are no embeddings.
    pub without_embeddings: usize,
    /// By data set, as the recipe names them.
    pub results: Vec<OnDataset>,
}

/// What a model reached on a data set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OnDataset {
    /// The data set.
    pub dataset: String,
    /// The result.
    #[serde(flatten)]
    pub measurement: Measurement,
}

impl MeasuredModel {
    /// The mean nDCG@10 over the data sets.
    pub fn average(&self) -> f64 {
        self.results.iter().map(|result| result.measurement.ndcg_at_10).sum::<f64>()
            / self.results.len().max(1) as f64
    }
}

impl Report {
    fn table(&self) -> Table {
        let columns = self.measured.iter().map(|one| (one.name.clone(), Align::Right));
        let mut table = Table::new(std::iter::once((String::new(), Align::Left)).chain(columns));
        let mut row = |name: &str, value: &dyn Fn(&MeasuredModel) -> String| {
            table.row(std::iter::once(name.to_owned()).chain(self.measured.iter().map(value)));
        };
        row("parameters", &|one| grouped(one.parameters));
        row("without embeddings", &|one| grouped(one.without_embeddings));
        let Some(first) = self.measured.first() else { return table };
        for (place, OnDataset { dataset, .. }) in first.results.iter().enumerate() {
            row(&format!("{dataset} nDCG@10"), &|one| {
                format!("{:.4}", one.results[place].measurement.ndcg_at_10)
            });
        }
        if !first.results.is_empty() {
            row("average", &|one| format!("{:.4}", one.average()));
            // Of the model at the beginning, if the recipe has it measured.
            if self.measured.len() > 1 {
                row("kept", &|one| format!("{:.1} %", 100.0 * one.average() / first.average()));
            }
        }
        for (place, OnDataset { dataset, .. }) in first.results.iter().enumerate() {
            row(&format!("{dataset} documents/s"), &|one| {
                three_digits(one.results[place].measurement.documents_per_second)
            });
        }
        table
    }

    /// The README.md of the model's directory. `recipe` is the recipe's text.
    pub fn model_card(&self, recipe: &str) -> String {
        let language = if is_json(recipe) { "json" } else { "toml" };
        format!(
            "---\nbase_model: {}\nlibrary_name: secateur\npipeline_tag: sentence-similarity\n---\n\n\
             # {} by EffiR\n\nPruned and fine-tuned with `secateur effir`.\n\n```\n{}```\n\n## Recipe\n\n```{language}\n{}\n```\n",
            self.model,
            self.model,
            self.table(),
            recipe.trim_end()
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.table())
    }
}
