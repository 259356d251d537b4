//! `secateur info`: what a database holds.

use std::path::PathBuf;

use clap::Args;
use secateur::Database;
use secateur::database::{DatabaseInfo, GenerationInfo};
use secateur::encode::Passages;
use secateur::index::ComponentType;
use secateur::index::filter::ValueKind;
use secateur::index::storage::FieldCount;
use secateur::report::{Align, Table, counted, grouped};
use serde_json::json;

use super::failure::Result;

#[derive(Args)]
#[command(after_help = "\
Example:
  secateur info my.db")]
pub struct Arguments {
    /// The database.
    database: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let info = Database::open(&self.database)?.info()?;
        if self.json {
            return Ok(format!("{:#}\n", as_json(&info)));
        }
        let deleted = match info.num_deleted {
            0 => String::new(),
            count => {
                let ones = counted(count, "deleted one");
                format!(" and {ones}, whose space `secateur compact` reclaims")
            }
        };
        let mut text = format!(
            "{}: {}{deleted}; {}, {}\n",
            self.database.display(),
            counted(info.num_documents, "document"),
            counted(info.num_segments, "segment"),
            counted(info.num_bytes as usize, "byte")
        );
        if info.generations.is_empty() {
            text.push_str("no vectors: searched by words (BM25)\n");
        }
        for generation in &info.generations {
            text.push_str(&described(generation));
        }
        if info.fields.is_empty() {
            text.push_str("no metadata\n");
        } else {
            text.push_str(&format!("\n{}", fields(&info.fields)));
        }
        Ok(text)
    }
}

/// A generation in a few lines.
pub fn described(info: &GenerationInfo) -> String {
    let GenerationInfo { generation, is_used, encoder, passages, num_vectors } = info;
    let vectors = generation.vectors;
    let ef = vectors.index.ef_search().map_or_else(String::new, |ef| format!(", ef {ef}"));
    let codes = vectors.index.code_type().map_or_else(String::new, |codes| format!(", {codes} codes"));
    let components = match vectors.components {
        ComponentType::F32 => String::new(),
        other => format!(" of {other}"),
    };
    let used = if *is_used { ", in use" } else { "" };
    let mut text = format!(
        "\ngeneration {}{used}\n  vectors   {}{components}, {}\n  index     {}{ef}{codes}\n",
        generation.name,
        counted(vectors.dim, "number"),
        vectors.metric,
        vectors.index.name()
    );
    if let Some(Passages { length, overlap }) = passages {
        let [overlap, count] = [*overlap, *num_vectors].map(grouped);
        let tokens = counted(*length, "token");
        text.push_str(&format!("  passages  {count}, of {tokens}, {overlap} shared\n"));
    }
    match encoder {
        Some(encoder) => {
            text.push_str(&format!("  encoder   {} (fingerprint {})\n", encoder.name, encoder.fingerprint));
            if let Some(source) = encoder.source.as_ref().filter(|source| source.model != encoder.name) {
                text.push_str(&format!("  loaded    from {}\n", source.model));
            }
        }
        None => text.push_str("  encoder   none: vectors come with the documents\n"),
    }
    text
}

fn fields(fields: &[FieldCount]) -> String {
    let mut table =
        Table::new([("field", Align::Left), ("documents", Align::Right), ("values", Align::Left)]);
    for count in fields {
        let kinds = ValueKind::ALL.iter().zip(count.num_of_kind).filter(|(_, number)| *number > 0);
        let kinds = kinds.map(|(kind, number)| match number == count.num_documents {
            true => kind.to_string(),
            false => format!("{kind} ({})", grouped(number)),
        });
        let kinds: Vec<String> = kinds.collect();
        table.row([count.field.to_string(), grouped(count.num_documents), kinds.join(", ")]);
    }
    table.to_string()
}

/// A database as JSON.
pub fn as_json(info: &DatabaseInfo) -> serde_json::Value {
    let field = |count: &FieldCount| {
        let [booleans, numbers, strings] = count.num_of_kind;
        json!({
            "field": count.field.to_string(),
            "documents": count.num_documents,
            "booleans": booleans,
            "numbers": numbers,
            "strings": strings,
        })
    };
    json!({
        "documents": info.num_documents,
        "deleted": info.num_deleted,
        "segments": info.num_segments,
        "bytes": info.num_bytes,
        "commit": info.commit,
        "generations": info.generations.iter().map(generation_json).collect::<Vec<_>>(),
        "fields": info.fields.iter().map(field).collect::<Vec<_>>(),
    })
}

/// A generation as JSON.
pub fn generation_json(info: &GenerationInfo) -> serde_json::Value {
    let GenerationInfo { generation, is_used, encoder, .. } = info;
    let vectors = generation.vectors;
    let source = encoder.as_ref().and_then(|encoder| encoder.source.as_ref());
    json!({
        "name": generation.name,
        "in_use": is_used,
        "encoder": encoder.as_ref().map(|encoder| &encoder.name),
        "fingerprint": encoder.as_ref().map(|encoder| encoder.fingerprint.to_string()),
        "path": source.map(|source| &source.model),
        "dim": vectors.dim,
        "passages": info.passages.map(|passages| json!({
            "length": passages.length,
            "overlap": passages.overlap,
            "count": info.num_vectors,
        })),
        "metric": vectors.metric.to_string(),
        "vectors": vectors.components.name(),
        "index": vectors.index.name(),
        "ef": vectors.index.ef_search(),
        "codes": vectors.index.code_type().map(|codes| codes.name()),
    })
}
