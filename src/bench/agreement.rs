//! How much the answers of an encoder agree with the first encoder's, and what they lost.

use std::collections::HashMap;

use secateur_datasets::Run;

use super::cell::Measured;
use super::dataset::Dataset;
use super::result::Agreement;
use crate::compare::{RunAgreement, Telling, describe};
use crate::error::Result;

/// The first documents of a ranking that are compared.
const FIRST: usize = 10;

/// Queries whose losses are told.
const LOSSES: usize = 5;

/// Documents of a lost query that are told.
const SHOWN: usize = 3;

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
    let texts: HashMap<&str, &String> =
        dataset.queries.iter().map(|(id, text)| (id.as_str(), text)).collect();
    let losses = agreements.iter_mut().flat_map(|(_, agreement)| &mut agreement.losses);
    let documents = |ids: &[&str]| Ok(dataset.folder.documents_by_id(ids.iter().copied())?);
    describe(losses, documents, |id| texts.get(id).map(|text| (*text).clone()))?;
    for (place, agreement) in agreements {
        cells[place].cell.agreement = Some(agreement);
    }
    Ok(())
}

fn agreement(dataset: &Dataset, with: &str, before: &Measured, after: &Measured) -> Agreement {
    let runs: [Run; 2] = [before, after].map(Measured::run);
    let ids = dataset.queries.iter().map(|(id, _)| id);
    let agreement = RunAgreement::of([&runs[0], &runs[1]], ids, FIRST);
    let ndcg = |cell: &Measured, id: &String| Some(cell.cell.quality.as_ref()?.per_query.get(id)?[0]);
    let values = agreement.overlaps.iter().filter_map(|(id, overlap)| match &dataset.qrels {
        Some(_) => Some((*id, [ndcg(before, id)?, ndcg(after, id)?])),
        None => Some((*id, [1.0, *overlap])),
    });
    let telling = Telling {
        queries: LOSSES,
        answers: SHOWN,
        qrels: dataset.qrels.as_ref(),
        drop_identical_ids: dataset.rules.drop_identical_ids,
    };
    Agreement {
        with: with.to_owned(),
        overlap_at_10: agreement.overlap,
        rank_correlation: agreement.rank_correlation,
        losses: telling.moved([&runs[0], &runs[1]], values.filter(|(_, [before, after])| after < before)),
    }
}
