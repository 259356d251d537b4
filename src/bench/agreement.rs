//! How much the answers of an encoder agree with the first encoder's, and what they lost.

use secateur_datasets::Document;

use super::cell::Measured;
use super::dataset::Dataset;
use super::result::{Agreement, Loss, Shown};
use crate::error::Result;
use crate::statistics::{overlap, rank_correlation};

/// The first documents of a ranking that are compared.
const FIRST: usize = 10;

/// Queries whose losses are told.
const LOSSES: usize = 5;

/// Documents of a lost query that are told.
const SHOWN: usize = 3;

/// The characters of a document's text that are told where it has no title.
const TITLE: usize = 80;

/// Compares each cell with that of the first encoder that differs from it in nothing else.
pub(super) fn compare(dataset: &Dataset, first: Option<&String>, cells: &mut [Measured]) -> Result<()> {
    let Some(first) = first else { return Ok(()) };
    let mut agreements = Vec::new();
    for (place, cell) in cells.iter().enumerate() {
        let key = &cell.cell.key;
        let of_first = |other: &&Measured| {
            let theirs = &other.cell.key;
            theirs.encoder.as_ref() == Some(first)
                && (&theirs.index, &theirs.mode, &theirs.reranker) == (&key.index, &key.mode, &key.reranker)
        };
        if key.encoder.is_none() || key.encoder.as_ref() == Some(first) {
            continue;
        }
        if let Some(before) = cells.iter().find(of_first) {
            agreements.push((place, agreement(dataset, first, before, cell)));
        }
    }
    let losses = agreements.iter().flat_map(|(_, agreement)| &agreement.losses);
    let shown = losses.flat_map(|loss| loss.first_before.iter().chain(&loss.first_after));
    let documents = dataset.folder.documents_by_id(shown.map(|shown| shown.doc_id.as_str()))?;
    for (place, mut agreement) in agreements {
        for loss in &mut agreement.losses {
            for shown in loss.first_before.iter_mut().chain(&mut loss.first_after) {
                shown.title = documents.get(&shown.doc_id).map(title).unwrap_or_default();
            }
        }
        cells[place].cell.agreement = Some(agreement);
    }
    Ok(())
}

fn agreement(dataset: &Dataset, with: &str, before: &Measured, after: &Measured) -> Agreement {
    let (mut overlaps, mut correlations) = (Vec::new(), Vec::new());
    let mut changes: Vec<(f64, f64, &String, &String)> = Vec::new();
    let ndcg = |cell: &Measured, id: &String| Some(cell.cell.quality.as_ref()?.per_query.get(id)?[0]);
    for (id, text) in &dataset.queries {
        let [old, new] = [before, after].map(|cell| cell.first(id, FIRST));
        // Two empty answers are the same.
        let same = overlap(&old, &new, FIRST).unwrap_or(1.0);
        overlaps.push(same);
        correlations.extend(rank_correlation(&old, &new, FIRST));
        match (ndcg(before, id), ndcg(after, id)) {
            (Some(old), Some(new)) => changes.push((old, new, id, text)),
            _ if dataset.qrels.is_none() => changes.push((1.0, same, id, text)),
            _ => {}
        }
    }
    changes.retain(|(old, new, _, _)| new < old);
    changes.sort_by(|(a, b, x, _), (c, d, y, _)| (b - a).total_cmp(&(d - c)).then_with(|| x.cmp(y)));
    changes.truncate(LOSSES);
    let shown = |cell: &Measured, id: &String| -> Vec<Shown> {
        let judged = dataset.qrels.as_ref().and_then(|qrels| qrels.get(id));
        let one = |doc_id: &str| Shown {
            doc_id: doc_id.to_owned(),
            title: String::new(),
            relevance: judged.and_then(|judged| judged.get(doc_id)).copied(),
        };
        cell.first(id, SHOWN).into_iter().map(one).collect()
    };
    let losses = changes.into_iter().map(|(old, new, id, text)| Loss {
        query_id: id.clone(),
        query: text.clone(),
        before: old,
        after: new,
        first_before: shown(before, id),
        first_after: shown(after, id),
    });
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    Agreement {
        with: with.to_owned(),
        overlap_at_10: mean(&overlaps),
        rank_correlation: mean(&correlations),
        losses: losses.collect(),
    }
}

/// The title of a document; the beginning of its text where there is none.
fn title(document: &Document) -> String {
    let text = if document.title.trim().is_empty() { &document.text } else { &document.title };
    let mut title: String = text.chars().take(TITLE).collect();
    if title.len() < text.len() {
        title.push('…');
    }
    title
}
