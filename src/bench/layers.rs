//! Where relevant documents part from others, layer by layer (EffiR, Fig. 6 and 7), on average over queries.

use secateur_datasets::Document;
use secateur_encoders::Encoder;
use secateur_encoders::prune::trace;

use super::dataset::Dataset;
use super::result::{LayerSimilarity, SimilarityPoint};
use crate::error::Result;

/// Queries that are followed.
const QUERIES: usize = 16;

/// The mean cosines of the first queries with a relevant document and with that of the next query. They are the same
/// for all encoders. `None` where fewer than two queries have one.
pub(super) fn layer_similarity(dataset: &Dataset, encoder: &Encoder) -> Result<Option<LayerSimilarity>> {
    let Some(qrels) = &dataset.qrels else { return Ok(None) };
    // The most relevant document; of equal ones the first by id.
    let answer = |query_id: &String| {
        let judged = qrels.get(query_id)?.iter().filter(|(_, relevance)| **relevance > 0);
        judged.min_by_key(|(id, relevance)| (std::cmp::Reverse(**relevance), *id)).map(|(id, _)| id.as_str())
    };
    let pairs: Vec<(&str, &str)> = dataset
        .queries
        .iter()
        .filter_map(|(id, text)| Some((text.as_str(), answer(id)?)))
        .take(QUERIES)
        .collect();
    let found = dataset.folder.documents_by_id(pairs.iter().map(|(_, answer)| *answer))?;
    let text = |id: &str| found.get(id).map(|document: &Document| document.passage(" "));
    let pairs: Vec<(&str, &str, String)> =
        pairs.into_iter().filter_map(|(query, id)| Some((query, id, text(id)?))).collect();
    let mut points: Vec<SimilarityPoint> = Vec::new();
    let mut num_queries = 0_u32;
    for (place, (query, id, relevant)) in pairs.iter().enumerate() {
        let (_, other_id, other) = &pairs[(place + 1) % pairs.len()];
        if other_id == id {
            continue;
        }
        num_queries += 1;
        for (place, point) in trace(encoder, query, &[relevant, other])?.into_iter().enumerate() {
            if points.len() == place {
                let (stage, layer) = (point.stage, point.layer);
                points.push(SimilarityPoint { stage, layer, relevant: 0.0, other: 0.0 });
            }
            points[place].relevant += point.cosines[0];
            points[place].other += point.cosines[1];
        }
    }
    for point in &mut points {
        point.relevant /= f64::from(num_queries);
        point.other /= f64::from(num_queries);
    }
    let num_queries = num_queries as usize;
    Ok((num_queries > 0).then_some(LayerSimilarity { num_queries, points }))
}
