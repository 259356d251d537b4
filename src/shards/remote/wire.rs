//! What shards are asked and answer, between the types of the library and those that are sent.

use secateur_datasets::Document;
use secateur_index::filter::Field;
use secateur_index::storage::FieldCount;
use secateur_wire::{ShardDocument, ShardField, ShardHits, SnapshotId};

use crate::search::Hit;
use crate::shards::facts::ShardFacts;

/// The state that a shard says it is in.
pub fn snapshot_of(facts: &ShardFacts) -> SnapshotId {
    SnapshotId {
        commit: facts.record.commit,
        checksum: facts.record.checksum.clone(),
        generation: facts.generation.clone(),
    }
}

/// The bits of vectors (Q, D).
pub fn to_bits(vectors: &[f32], dim: usize) -> Vec<Vec<u32>> {
    vectors
        .chunks_exact(dim.max(1))
        .map(|vector| vector.iter().map(|number| number.to_bits()).collect())
        .collect()
}

/// Vectors (Q, D) of their bits.
pub fn of_bits(vectors: &[Vec<u32>]) -> Vec<f32> {
    vectors.iter().flatten().map(|bits| f32::from_bits(*bits)).collect()
}

pub fn to_hits(hits: Vec<Hit>) -> ShardHits {
    let scores = hits.iter().map(|hit| hit.score.to_bits()).collect();
    ShardHits { ids: hits.into_iter().map(|hit| hit.doc_id).collect(), scores }
}

/// Hits, if there is a score for each id.
pub fn of_hits(hits: ShardHits) -> Option<Vec<Hit>> {
    let ShardHits { ids, scores } = hits;
    let hit = |(doc_id, bits)| Hit { doc_id, score: f64::from_bits(bits) };
    (ids.len() == scores.len()).then(|| ids.into_iter().zip(scores).map(hit).collect())
}

pub fn to_document(document: Document) -> ShardDocument {
    let Document { id, title, text, metadata } = document;
    ShardDocument { id, title, text, metadata }
}

pub fn of_document(document: ShardDocument) -> Document {
    let ShardDocument { id, title, text, metadata } = document;
    Document { id, title, text, metadata }
}

pub fn to_field(count: FieldCount) -> ShardField {
    let FieldCount { field, num_documents, num_of_kind } = count;
    ShardField { path: field.names().to_vec(), documents: num_documents, of_kind: num_of_kind }
}

pub fn of_field(field: ShardField) -> FieldCount {
    let ShardField { path, documents, of_kind } = field;
    FieldCount { field: Field::new(path), num_documents: documents, num_of_kind: of_kind }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is sent comes back, to the last bit.
    #[test]
    fn what_is_sent_comes_back() {
        let numbers =
            [0.1f32, -0.0, f32::MIN_POSITIVE / 3.0, f32::MAX, 1.0 + f32::EPSILON, f32::NEG_INFINITY];
        let sent = serde_json::to_string(&to_bits(&numbers, 2)).unwrap();
        let back = of_bits(&serde_json::from_str::<Vec<Vec<u32>>>(&sent).unwrap());
        let of_all =
            |numbers: &[f32]| -> Vec<u32> { numbers.iter().map(|number| number.to_bits()).collect() };
        assert_eq!(of_all(&back), of_all(&numbers));
        let scores = [f64::from(0.1f32), 0.1, -0.0, f64::MAX, 5e-324];
        let hits: Vec<Hit> =
            scores.iter().map(|score| Hit { doc_id: format!("\"{score}\n"), score: *score }).collect();
        let sent = serde_json::to_string(&to_hits(hits.clone())).unwrap();
        let back = of_hits(serde_json::from_str(&sent).unwrap()).unwrap();
        let bits = |hits: &[Hit]| -> Vec<(String, u64)> {
            hits.iter().map(|hit| (hit.doc_id.clone(), hit.score.to_bits())).collect()
        };
        assert_eq!(bits(&back), bits(&hits));
        assert_eq!(of_hits(ShardHits { ids: vec!["a".to_owned()], scores: vec![] }), None);
        let field = FieldCount { field: Field::new(["a", "b c"]), num_documents: 3, num_of_kind: [1, 0, 2] };
        assert_eq!(of_field(to_field(field.clone())), field);
        let document = Document::new("a", "b").title("c").metadata("{ \"n\":  1.10 }");
        assert_eq!(of_document(to_document(document.clone())), document);
    }
}
