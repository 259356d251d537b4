//! Evaluation against other programs' recorded values, against its definition, and by hand.

mod by_hand;
mod properties;
mod pytrec_eval;
mod trec_eval;

use std::collections::BTreeMap;

use secateur_datasets::ScoredDocument;

fn hits(list: &[(&str, f64)]) -> Vec<ScoredDocument> {
    list.iter()
        .map(|(doc_id, score)| ScoredDocument { doc_id: (*doc_id).to_owned(), score: *score })
        .collect()
}

fn judgments(list: &[(&str, i32)]) -> BTreeMap<String, i32> {
    list.iter().map(|(doc_id, relevance)| ((*doc_id).to_owned(), *relevance)).collect()
}

fn by_query<T>(list: impl IntoIterator<Item = (&'static str, T)>) -> BTreeMap<String, T> {
    list.into_iter().map(|(query_id, value)| (query_id.to_owned(), value)).collect()
}
