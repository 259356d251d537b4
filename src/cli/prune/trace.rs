//! `secateur prune trace`: a query and documents, followed through the layers of models.

use std::path::PathBuf;

use clap::Args;
use secateur::prune::{Trace, TraceOptions};
use secateur::report::{Align, Table, agreed, counted, layer_similarity};
use secateur_files::Durable;

use crate::cli::encoder::{Strict, model_directory};
use crate::cli::failure::Result;
use crate::cli::{as_json, svg_file};

const EXAMPLES: &str = "\
Examples:
  secateur prune trace MODEL --query \"when to prune roses\" --positive \"Prune roses in late winter.\" --negative \"Roses were sold.\"
  secateur prune trace MODEL without-mlps without-attentions --query ... --positive ... --negative ... --plot layers.svg";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Model directories, or OWNER/NAME of the Hugging Face hub: one, or several to compare.
    #[arg(required = true, value_name = "MODEL")]
    models: Vec<String>,
    #[command(flatten)]
    options: TraceOptions,
    /// Draw the similarities, a panel a model.
    #[arg(long, value_name = "FILE.svg", value_parser = svg_file())]
    plot: Option<PathBuf>,
    /// Print JSON: a list with an entry for each model.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    strict: Strict,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let mut traces = Vec::new();
        for model in &self.models {
            let model = model_directory(model)?;
            self.strict.announce(&model, self.options.reading.load_options())?;
            traces.push(self.options.run(&model)?);
        }
        if let Some(plot) = &self.plot {
            let documents = traces.iter().take(1).flat_map(|trace| &trace.documents);
            let documents: Vec<(&str, bool)> =
                documents.map(|document| (document.text.as_str(), document.is_relevant)).collect();
            let title = |trace: &Trace| format!("{}, pooled by {}", trace.model, trace.pooling);
            let models: Vec<_> = traces.iter().map(|trace| (title(trace), &trace.points[..])).collect();
            let drawing = layer_similarity(&self.options.query, &documents, &models);
            Durable::write(plot, |file| write!(file, "{drawing}"))?;
        }
        if self.json {
            return as_json(&traces);
        }
        let texts: Vec<String> = traces.iter().map(table).collect();
        Ok(texts.join("\n"))
    }
}

/// A row a place, a column a document; what parts the best positive from the best negative is last.
fn table(trace: &Trace) -> String {
    let mut columns = vec![("after".to_owned(), Align::Left)];
    let mut numbers = [0, 0];
    for document in &trace.documents {
        let (name, number) =
            if document.is_relevant { ("positive", &mut numbers[0]) } else { ("negative", &mut numbers[1]) };
        *number += 1;
        columns.push((format!("{name} {number}"), Align::Right));
    }
    columns.push(("margin".to_owned(), Align::Right));
    let mut table = Table::new(columns);
    for point in &trace.points {
        let place = point.layer.map_or_else(|| point.stage.clone(), |layer| format!("layer {layer}"));
        let best = |is_relevant: bool| {
            let documents = trace.documents.iter().zip(&point.cosines);
            let of_kind = documents.filter(|(document, _)| document.is_relevant == is_relevant);
            of_kind.map(|(_, cosine)| *cosine).fold(f64::NEG_INFINITY, f64::max)
        };
        let cosines = point.cosines.iter().map(|cosine| format!("{cosine:.4}"));
        let margin = format!("{:+.4}", best(true) - best(false));
        table.row(std::iter::once(place).chain(cosines).chain([margin]));
    }
    let cut = match trace.num_cut_texts {
        0 => String::new(),
        count => format!(
            "; {count} of {} {} longer than the {} that are read",
            counted(1 + trace.documents.len(), "text"),
            agreed(count, "is", "are"),
            counted(trace.max_length, "token")
        ),
    };
    format!(
        "{}: cosine of query and document, pooled by {}; margin: best positive minus best negative{cut}\n\n{table}",
        trace.model, trace.pooling
    )
}
