//! Databases of 16-bit vectors against databases of f32 that hold the same numbers: the same answers, bit for bit.

use std::path::Path;

use proptest::prelude::*;
use secateur_index::hnsw::HnswParams;
use secateur_index::quantization::CodeType;
use secateur_index::search::SearchOptions;
use secateur_index::storage::{
    CompactOptions, Generation, NewDocument, Settings, Snapshot, Store, VectorIndex, VectorSettings,
};
use secateur_index::{Bitmap, ComponentType, Error, Hit, Metric};

use crate::Random;

const SIXTEEN: [ComponentType; 2] = [ComponentType::F16, ComponentType::Bf16];

fn settings(metric: Metric, dim: usize, components: ComponentType, index: VectorIndex) -> Settings {
    let vectors = VectorSettings { components, index, ..VectorSettings::new(metric, dim) };
    Settings { vectors: Some(vectors), ..Settings::bm25_only() }
}

fn add(store: &mut Store, vectors: &[Vec<f32>]) -> Snapshot {
    let first = store.snapshot().num_rows();
    let mut transaction = store.begin().unwrap();
    for (number, vector) in vectors.iter().enumerate() {
        let id = (first + number).to_string();
        let document = NewDocument { id: &id, title: "", text: "text", metadata: None };
        transaction.add(&document, Some(vector)).unwrap();
    }
    transaction.commit().unwrap()
}

fn delete(store: &mut Store, step: usize) -> Snapshot {
    let num_rows = store.snapshot().num_rows();
    let mut transaction = store.begin().unwrap();
    for number in (0..num_rows).step_by(step) {
        transaction.delete(&number.to_string()).unwrap();
    }
    transaction.commit().unwrap()
}

/// All answers, with the bits of their scores.
fn answers(snapshot: &Snapshot, queries: &[f32], k: usize) -> Vec<Vec<(u32, u32)>> {
    let dim = snapshot.settings().vectors.unwrap().dim;
    let some: Bitmap = (0..1000).filter(|row| row % 3 != 1).collect();
    let (flat, index) = (snapshot.flat().unwrap(), snapshot.index().unwrap());
    let options = SearchOptions { filter: Some(&some), ..SearchOptions::new(8) };
    let mut answers: Vec<Vec<Hit>> = flat.search_batch(queries, k).unwrap();
    answers.extend(flat.search_batch_among(queries, k, &some).unwrap());
    answers.extend(index.search_batch(queries, k, &SearchOptions::new(8)).unwrap());
    answers.extend(index.search_batch(queries, k, &options).unwrap());
    answers.extend(queries.chunks_exact(dim).map(|query| flat.search(query, k).unwrap()));
    let bits = |hits: Vec<Hit>| hits.iter().map(|hit| (hit.row.0, hit.score.to_bits())).collect();
    answers.into_iter().map(bits).collect()
}

/// A file of the first segment.
fn file(folder: &Path, name: &str) -> Option<Vec<u8>> {
    crate::segment::read(folder, "0000000001", name)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn sixteen_bits_answer_as_the_rounded_numbers(
        dim in 1usize..40,
        num_rows in 1usize..300,
        index in prop::sample::select(vec![None, Some(CodeType::Int8), Some(CodeType::OneBit)]),
        metric in prop::sample::select(Metric::ALL),
        components in prop::sample::select(&SIXTEEN),
        exponent in -20i32..12,
        seed: u64,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let index = index.map_or(VectorIndex::Flat, |codes| {
            let params = HnswParams { m: 4, ef_construction: 20, codes, ..HnswParams::default() };
            VectorIndex::hnsw(params).with_min_rows(20).with_ef_search(10)
        });
        let mut random = Random(seed);
        let scale = 2f32.powi(exponent) / 1000.0;
        let mut vectors = |len: usize| -> Vec<Vec<f32>> {
            let mut vector = || (0..dim).map(|_| (random.below(2001) as f32 - 1000.0) * scale).collect();
            (0..len).map(|_| vector()).collect()
        };
        let (rows, more, queries) = (vectors(num_rows), vectors(30), vectors(12).concat());
        let path = |name| folder.path().join(name);
        let mut half = Store::create(path("half"), &settings(metric, dim, components, index)).unwrap();
        let mut whole = Store::create(path("whole"), &settings(metric, dim, ComponentType::F32, index)).unwrap();
        for rows in [&rows, &more] {
            let first = half.snapshot().num_rows();
            let snapshot = add(&mut half, rows);
            let stored = snapshot.rows().skip(first).map(|row| snapshot.vector(row).unwrap().into_owned());
            let stored: Vec<Vec<f32>> = stored.collect();
            // The nearest: off by half of the last place of 8 bits at most, or of the smallest number that f16 has.
            for (x, rounded) in rows.concat().iter().zip(stored.concat()) {
                prop_assert!((x - rounded).abs() <= x.abs() / 256.0 + 2f32.powi(-25), "{} {}", x, rounded);
            }
            add(&mut whole, &stored);
        }
        prop_assert_eq!(answers(half.snapshot(), &queries, 7), answers(whole.snapshot(), &queries, 7));
        for name in ["graph", "codes"] {
            prop_assert!(file(&path("half"), name) == file(&path("whole"), name), "{}", name);
        }
        let sizes = ["half", "whole"].map(|name| file(&path(name), "vectors").unwrap().len() - 64);
        prop_assert_eq!(2 * sizes[0], sizes[1]);
        prop_assert_eq!(answers(&delete(&mut half, 5), &queries, 7), answers(&delete(&mut whole, 5), &queries, 7));
        for store in [&mut half, &mut whole] {
            store.compact(&CompactOptions::default(), |_, _| {}).unwrap();
            store.snapshot().verify().unwrap();
        }
        let opened = ["half", "whole"].map(|name| Snapshot::open(path(name)).unwrap());
        prop_assert_eq!(opened[0].settings().vectors.unwrap().components, components);
        let [half, whole] = opened.map(|snapshot| answers(&snapshot, &queries, 7));
        prop_assert_eq!(half, whole);
    }
}

/// Vectors that f16 cannot hold are refused where they come in, and are none for bf16; a generation may have a type
/// of its own.
#[test]
fn types_have_their_limits() {
    let folder = tempfile::tempdir().unwrap();
    for (components, largest) in [(ComponentType::F16, 65_519.0), (ComponentType::Bf16, 1e17f32)] {
        let path = folder.path().join(components.name());
        let mut store =
            Store::create(&path, &settings(Metric::L2, 2, components, VectorIndex::Flat)).unwrap();
        let snapshot = add(&mut store, &[vec![largest, -largest]]);
        snapshot.verify().unwrap();
        assert_eq!(std::fs::read(path.join("MANIFEST")).unwrap()[8], 7);
        assert_eq!(
            file(&path, "vectors").unwrap()[8],
            2,
            "programs that know f32 alone refuse the file by its version"
        );
        let beyond = [1.0, -65_520.0];
        let mut transaction = store.begin().unwrap();
        let document = NewDocument { id: "x", title: "", text: "", metadata: None };
        let result = transaction.add(&document, Some(&beyond));
        drop(transaction);
        let vectors = VectorSettings { components, ..VectorSettings::new(Metric::Cosine, 2) };
        let generation =
            Generation { name: "other".into(), vectors, encoder: None, properties: Default::default() };
        let mut writer = store.begin_generation(generation).unwrap();
        let again = writer.add(&beyond);
        if components == ComponentType::F16 {
            for result in [result.map(drop), again] {
                assert!(matches!(
                    result,
                    Err(Error::ComponentTooLarge { component: 1, value: -65_520.0, .. })
                ));
            }
            writer.add(&[0.5, 0.1]).unwrap();
        } else {
            assert!(result.is_ok() && again.is_ok());
        }
        let snapshot = writer.finish().unwrap().with_generation("other").unwrap();
        snapshot.verify().unwrap();
        let row = snapshot.rows().next().unwrap();
        assert_ne!(*snapshot.vector(row).unwrap(), [0.5, 0.1], "rounded");
    }
}

/// A component that is no number is found by `verify`, whatever stands in the rest of the file.
#[test]
fn infinite_components_are_found() {
    let folder = tempfile::tempdir().unwrap();
    for (components, infinity) in [(ComponentType::F16, [0x00, 0x7c]), (ComponentType::Bf16, [0x80, 0xff])] {
        let path = folder.path().join(components.name());
        let mut store =
            Store::create(&path, &settings(Metric::L2, 2, components, VectorIndex::Flat)).unwrap();
        add(&mut store, &[vec![1.0, 2.0]]).verify().unwrap();
        let change = |bytes: &mut [u8]| bytes[66..68].copy_from_slice(&infinity);
        crate::segment::change(&path, "0000000001", "vectors", change);
        let result = Snapshot::open(&path).unwrap().verify();
        assert!(matches!(result, Err(Error::Corrupt { .. })), "{result:?}");
    }
}
