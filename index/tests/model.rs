//! The store against a list, over random additions, replacements, deletions, commits, aborts, reopenings, compactions,
//! generations, merges of small segments and power failures.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use secateur_index::bm25::Bm25Params;
use secateur_index::filter::Filter;
use secateur_index::hnsw::HnswParams;
use secateur_index::search::SearchOptions;
use secateur_index::storage::{
    CompactOptions, Generation, NewDocument, Settings, Snapshot, Store, VectorIndex,
};
use secateur_index::{ComponentType, Error, Metric, RowId};

const DIM: usize = 3;

#[derive(Debug, Clone)]
struct Content {
    title: String,
    text: String,
    metadata: Option<String>,
    /// Where documents have passages, the vectors of all of them; else the first alone.
    vectors: Vec<[f32; DIM]>,
}

#[derive(Debug, Clone)]
enum Step {
    Add(String, Content),
    Upsert(String, Content),
    Delete(String),
}

#[derive(Debug, Clone, Copy)]
enum End {
    Commit,
    CommitAndReopen,
    CommitAndCompact,
    /// Adds a second generation, or drops it if it is there.
    CommitAndGeneration,
    Abort,
}

/// The disk operation of an end, counted from 0, at which the power fails.
type PowerFailure = Option<usize>;

fn step() -> impl Strategy<Value = Step> {
    let id = (0u8..12).prop_map(|number| format!("id{number}"));
    let content = (
        "[a-c ]{0,6}",
        "[a-d ]{0,20}|\\PC{0,8}",
        prop::option::of("\\{\"a\":[0-9]\\}"),
        prop::collection::vec([-4i8..5, -4..5, -4..5], 1..4),
    )
        .prop_map(|(title, text, metadata, vectors)| {
            let vectors = vectors.into_iter().map(|vector| vector.map(f32::from)).collect();
            Content { title, text, metadata, vectors }
        });
    prop_oneof![
        3 => (id.clone(), content.clone()).prop_map(|(id, content)| Step::Add(id, content)),
        2 => (id.clone(), content).prop_map(|(id, content)| Step::Upsert(id, content)),
        1 => id.prop_map(Step::Delete),
    ]
}

fn transactions() -> impl Strategy<Value = Vec<(Vec<Step>, End, PowerFailure)>> {
    let end = prop_oneof![
        Just(End::Commit),
        Just(End::CommitAndReopen),
        Just(End::CommitAndCompact),
        Just(End::CommitAndGeneration),
        Just(End::Abort)
    ];
    // A commit takes about ten operations, a compaction or a generation some tens.
    let power = prop::option::weighted(if cfg!(unix) { 0.25 } else { 0.0 }, 0usize..50);
    // Enough small commits that segments are merged unasked.
    prop::collection::vec((prop::collection::vec(step(), 0..10), end, power), 1..14)
}

/// The documents in the order of their rows.
type Model = Vec<(String, Content)>;

/// The name of the second generation, and its vector of a document.
const SECOND: &str = "second";

fn second(content: &Content) -> [f32; 1] {
    [content.vectors[0][0] - content.vectors[0][1]]
}

/// The vectors that the store is given.
fn first(content: &Content, has_passages: bool) -> &[f32] {
    let num_vectors = if has_passages { content.vectors.len() } else { 1 };
    content.vectors[..num_vectors].as_flattened()
}

fn has_second(snapshot: &Snapshot) -> bool {
    snapshot.generations().iter().any(|generation| generation.name == SECOND)
}

fn toggle_second(store: &mut Store, model: &Model) -> Result<(), Error> {
    if has_second(store.snapshot()) {
        return store.drop_generation(SECOND).map(drop);
    }
    let vectors = Settings::with_vectors(Metric::L2, 1).vectors.unwrap();
    let generation = Generation { name: SECOND.into(), vectors, encoder: None, properties: BTreeMap::new() };
    let mut writer = store.begin_generation(generation)?;
    model.iter().try_for_each(|(_, content)| writer.add(&second(content)))?;
    writer.finish().map(drop)
}

fn compare(snapshot: &Snapshot, model: &Model) -> Result<(), TestCaseError> {
    let has_passages = snapshot.settings().vectors.unwrap().passages;
    prop_assert_eq!(snapshot.len(), model.len());
    prop_assert_eq!(snapshot.is_empty(), model.is_empty());
    let rows: Vec<RowId> = snapshot.rows().collect();
    prop_assert!(rows.is_sorted());
    prop_assert_eq!(rows.len(), model.len());
    for (&row, (id, content)) in rows.iter().zip(model) {
        prop_assert_eq!(snapshot.id_at(row).unwrap(), id);
        prop_assert_eq!(snapshot.row(id).unwrap(), Some(row));
        prop_assert_eq!(&*snapshot.vector(row).unwrap(), first(content, has_passages));
        for stored in [snapshot.document(id).unwrap().unwrap(), snapshot.document_at(row).unwrap()] {
            prop_assert_eq!((&*stored.id, &*stored.title), (id.as_str(), content.title.as_str()));
            prop_assert_eq!(&*stored.text, content.text.as_str());
            prop_assert_eq!(stored.metadata.as_deref(), content.metadata.as_deref());
        }
    }
    for number in 0..12 {
        let id = format!("id{number}");
        prop_assert_eq!(snapshot.contains(&id).unwrap(), model.iter().any(|(known, _)| *known == id));
    }

    if has_second(snapshot) {
        let other = snapshot.with_generation(SECOND).unwrap();
        for (row, (_, content)) in rows.iter().zip(model) {
            prop_assert_eq!(&*other.vector(*row).unwrap(), &second(content));
        }
    }

    // Vectors are small integers, so every score is exact and the ranking is known.
    let query = [1.0, 2.0, -1.0];
    let product = |vector: &[f32]| query.iter().zip(vector).map(|(q, v)| q * v).sum::<f32>();
    let score = |content: &Content| {
        first(content, has_passages).chunks(DIM).map(product).fold(f32::NEG_INFINITY, f32::max)
    };
    let mut expected: Vec<(f32, RowId)> =
        rows.iter().zip(model).map(|(row, (_, content))| (score(content), *row)).collect();
    expected.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    // With more hits wanted than there are rows, the approximate index finds all of them as well.
    let hits = snapshot.index().unwrap().search(&query, 100, &SearchOptions::default()).unwrap();
    prop_assert_eq!(hits.iter().map(|hit| (hit.score, hit.row)).collect::<Vec<_>>(), expected);
    if !has_passages {
        prop_assert_eq!(&snapshot.flat().unwrap().search(&query, 100).unwrap(), &hits);
    }

    for filter in ["a >= 5", "not a in [3, 4]", "a != 1 and a < 8 or missing"] {
        let filter: Filter = filter.parse().unwrap();
        let matches = |content: &Content| filter.matches(content.metadata.as_deref().unwrap_or("{}"));
        let expected: Vec<u32> = rows
            .iter()
            .zip(model)
            .filter(|(_, (_, content))| matches(content))
            .map(|(row, _)| row.0)
            .collect();
        let among = snapshot.matching(&filter).unwrap();
        prop_assert_eq!(among.iter().collect::<Vec<_>>(), expected);
        let kept: Vec<_> = hits.iter().copied().filter(|hit| among.contains(hit.row.0)).collect();
        if !has_passages {
            prop_assert_eq!(&snapshot.flat().unwrap().search_among(&query, 100, &among).unwrap(), &kept);
        }
        let options = SearchOptions { filter: Some(&among), ..SearchOptions::default() };
        prop_assert_eq!(&snapshot.index().unwrap().search(&query, 100, &options).unwrap(), &kept);
        let few =
            snapshot.index().unwrap().search(&query, 3, &SearchOptions { ef_search: 1, ..options }).unwrap();
        prop_assert_eq!(few.len(), kept.len().min(3));
    }

    let mut found: Vec<RowId> = snapshot
        .bm25()
        .unwrap()
        .search("b", 100, Bm25Params::default())
        .unwrap()
        .iter()
        .map(|hit| hit.row)
        .collect();
    found.sort();
    let has_term = |content: &Content| {
        let terms =
            secateur_index::bm25::Analyzer::English.analyze(&format!("{} {}", content.title, content.text));
        terms.iter().any(|term| term == "b")
    };
    let expected: Vec<RowId> =
        rows.iter().zip(model).filter(|(_, (_, content))| has_term(content)).map(|(row, _)| *row).collect();
    prop_assert_eq!(found, expected);

    prop_assert_eq!(snapshot.verify().unwrap().num_documents, model.len());
    Ok(())
}

/// Applies the steps. The documents that there are then, and whether the commit was acknowledged.
fn apply(
    store: &mut Store,
    model: &Model,
    steps: &[Step],
    end: End,
) -> Result<(Model, Result<(), Error>), TestCaseError> {
    let before = store.snapshot().commit_number();
    let mut next = model.clone();
    let num_generations = store.snapshot().generations().len();
    let has_passages = store.snapshot().settings().vectors.unwrap().passages;
    let mut transaction = store.begin().unwrap();
    for step in steps {
        match step {
            Step::Add(id, content) => {
                let is_taken = next.iter().any(|(known, _)| known == id);
                prop_assert_eq!(transaction.contains(id).unwrap(), is_taken);
                let Content { title, text, metadata, .. } = content;
                let document = NewDocument { id, title, text, metadata: metadata.as_deref() };
                let vectors: [&[f32]; 2] = [first(content, has_passages), &second(content)];
                match transaction.add_all(&document, &vectors[..num_generations]) {
                    Ok(()) => prop_assert!(!is_taken),
                    Err(Error::DuplicateDocument { id: named } | Error::RepeatedDocument { id: named }) => {
                        prop_assert!(is_taken && named == *id)
                    }
                    Err(error) => panic!("{error}"),
                }
                if !is_taken {
                    next.push((id.clone(), content.clone()));
                }
            }
            Step::Upsert(id, content) => {
                let Content { title, text, metadata, .. } = content;
                let document = NewDocument { id, title, text, metadata: metadata.as_deref() };
                let vectors: [&[f32]; 2] = [first(content, has_passages), &second(content)];
                let was_there = transaction.upsert(&document, &vectors[..num_generations]).unwrap();
                prop_assert_eq!(was_there, next.iter().any(|(known, _)| known == id));
                next.retain(|(known, _)| known != id);
                next.push((id.clone(), content.clone()));
            }
            Step::Delete(id) => {
                let known = next.len();
                next.retain(|(known, _)| known != id);
                match transaction.delete(id) {
                    Ok(()) => prop_assert!(next.len() < known),
                    Err(Error::UnknownDocument { id: named }) => {
                        prop_assert!(next.len() == known && named == *id)
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
    if matches!(end, End::Abort) {
        drop(transaction);
        prop_assert_eq!(store.snapshot().commit_number(), before);
        return Ok((model.clone(), Ok(())));
    }
    let committed = match transaction.commit() {
        Ok(committed) => committed,
        Err(error) => return Ok((next, Err(error))),
    };
    prop_assert_eq!(committed.commit_number(), store.snapshot().commit_number());
    prop_assert!(committed.commit_number() - before <= 1);
    Ok((next, Ok(())))
}

/// What comes after the commit.
fn finish(store: &mut Store, model: &Model, end: End) -> Result<(), Error> {
    match end {
        End::Commit | End::CommitAndReopen | End::Abort => Ok(()),
        End::CommitAndCompact => {
            let report = store.compact(&CompactOptions::default(), |_, _| {})?;
            assert_eq!(report.num_rows[1], model.len());
            assert_eq!(report.num_segments[1], usize::from(!model.is_empty()));
            assert_eq!(store.snapshot().num_segments(), report.num_segments[1]);
            Ok(())
        }
        End::CommitAndGeneration => toggle_second(store, model),
    }
}

/// Does all of an end in which the power fails at a disk operation, and opens what is left of the database. All that
/// was acknowledged is there; of what was not, all or nothing.
#[cfg(unix)]
fn fail(
    mut store: Store,
    [path, restored]: [&Path; 2],
    model: &Model,
    (steps, end): (&[Step], End),
    number: usize,
) -> Result<(Store, Model), TestCaseError> {
    use secateur_files::faults::{Failure, Faults};

    let faults = Faults::begin(path, Failure::Power, number);
    let (next, committed) = apply(&mut store, model, steps, end)?;
    let ended = if committed.is_ok() { finish(&mut store, &next, end) } else { Ok(()) };
    drop(store);
    let aftermath = faults.end();
    prop_assert!(aftermath.has_failed() || committed.is_ok() && ended.is_ok());
    aftermath.restore(path, restored);
    let store = Store::open(restored).unwrap();
    let is_done = committed.is_ok() || compare(store.snapshot(), &next).is_ok();
    Ok((store, if is_done { next } else { model.clone() }))
}

#[cfg(not(unix))]
fn fail(
    _: Store,
    _: [&Path; 2],
    _: &Model,
    _: (&[Step], End),
    _: usize,
) -> Result<(Store, Model), TestCaseError> {
    unreachable!("there is no such disk")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn store_equals_a_map(
        transactions in transactions(),
        has_graphs: bool,
        has_passages: bool,
        components in prop::sample::select(ComponentType::ALL),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let mut path = folder.path().join("db");
        let mut settings = Settings::with_vectors(Metric::InnerProduct, DIM);
        if let Some(vectors) = &mut settings.vectors {
            // The numbers are small integers, which all of them hold.
            vectors.components = components;
            vectors.passages = has_passages;
        }
        if let (true, Some(vectors)) = (has_graphs, &mut settings.vectors) {
            vectors.index = VectorIndex::hnsw(HnswParams::default()).with_min_rows(1).with_ef_search(100);
        }
        let mut store = Store::create(&path, &settings).unwrap();
        let mut model = Model::new();
        for (turn, (steps, end, power)) in transactions.iter().enumerate() {
            let old = (store.snapshot().clone(), model.clone());
            let unread = Snapshot::open(&path).unwrap();
            if let Some(number) = power {
                let restored = folder.path().join(format!("restored{turn}"));
                (store, model) = fail(store, [&path, &restored], &model, (steps, *end), *number)?;
                path = restored;
            } else {
                let (next, committed) = apply(&mut store, &model, steps, *end)?;
                committed.unwrap();
                model = next;
                if let End::CommitAndReopen = end {
                    drop(store);
                    store = Store::open(&path).unwrap();
                }
                finish(&mut store, &model, *end).unwrap();
            }
            prop_assert!(store.snapshot().num_segments() <= model.len(), "no segment is without a document");
            compare(store.snapshot(), &model)?;
            compare(&Snapshot::open(&path).unwrap(), &model)?;
            // A snapshot stays as it was, also what of it was not read when its segments were compacted.
            compare(&old.0, &old.1)?;
            compare(&unread, &old.1)?;
            prop_assert_eq!(store.snapshot().settings(), &settings);
        }
    }
}

/// What is given at creation comes back, in a database without documents as well.
#[test]
fn settings_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut settings = Settings::with_vectors(Metric::L2, 7);
    settings.encoder =
        Some(secateur_index::storage::EncoderIdentity { name: "an encoder".into(), fingerprint: [9; 32] });
    settings.properties =
        BTreeMap::from([("passage-separator".into(), " ".into()), ("ü".into(), String::new())]);
    Store::create(&path, &settings).unwrap();
    let snapshot = Snapshot::open(&path).unwrap();
    assert_eq!(snapshot.settings(), &settings);
    assert_eq!(snapshot.commit_number(), 0);
    assert!(snapshot.flat().unwrap().search(&[0.0; 7], 3).unwrap().is_empty());
    assert!(snapshot.bm25().unwrap().search("text", 3, Bm25Params::default()).unwrap().is_empty());
    assert!(matches!(snapshot.document_at(RowId(0)), Err(Error::UnknownRow { row: 0, rows: 0 })));
    snapshot.verify().unwrap();
}

/// Rows that later commits add are found beside those with a graph, deleted ones are not, on a database opened again.
#[test]
fn graphs_follow_commits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let mut settings = Settings::with_vectors(Metric::Cosine, 8);
    let vectors = settings.vectors.as_mut().unwrap();
    vectors.index = VectorIndex::hnsw(HnswParams::default()).with_min_rows(1000).with_ef_search(100);
    let mut random = crate::Random(4);
    let vectors: Vec<[f32; 8]> =
        (0..4100).map(|_| std::array::from_fn(|_| random.below(2001) as f32 - 1000.0)).collect();
    let mut store = Store::create(&path, &settings).unwrap();
    // Two segments with graphs, one of too few rows for one.
    for range in [0..3000, 3000..4000, 4000..4100] {
        let mut transaction = store.begin().unwrap();
        for number in range {
            transaction.add(&crate::document(&number.to_string(), "text"), Some(&vectors[number])).unwrap();
        }
        transaction.commit().unwrap();
    }
    let mut transaction = store.begin().unwrap();
    (0..4100).step_by(5).for_each(|number| transaction.delete(&number.to_string()).unwrap());
    transaction.commit().unwrap();
    drop(store);

    let graphs = (1..=3).map(|number| path.join(format!("segments/{number:010}/graph")).exists());
    assert_eq!(graphs.collect::<Vec<_>>(), [true, true, false]);
    let snapshot = Snapshot::open(&path).unwrap();
    assert_eq!(snapshot.settings(), &settings);
    snapshot.verify().unwrap();
    let index = snapshot.index().unwrap();
    let mut num_found = 0;
    for number in (0..4100).step_by(41) {
        let hits = index.search(&vectors[number], 10, &SearchOptions::default()).unwrap();
        let exact = index.flat().search(&vectors[number], 10).unwrap();
        assert_eq!(hits.len(), 10);
        assert!(hits.iter().all(|hit| hit.row.0 % 5 != 0), "deleted rows are not found");
        num_found += hits.iter().filter(|hit| exact.contains(hit)).count();
    }
    assert!(num_found >= 990, "{num_found} of 1000");

    // The ef of searches is set by a commit of its own, which changes nothing else.
    let mut store = Store::open(&path).unwrap();
    let changed = store.set_ef_search(37).unwrap();
    assert!(matches!(store.set_ef_search(0), Err(Error::InvalidParameter { name: "ef_search", .. })));
    assert_eq!(changed.commit_number(), snapshot.commit_number() + 1);
    let changed = Snapshot::open(&path).unwrap();
    let index = changed.settings().vectors.unwrap().index;
    assert!(matches!(index, VectorIndex::Approximate { ef_search: 37, min_rows: 1000, .. }), "{index:?}");
    assert_eq!(changed.len(), snapshot.len());
    let mut flat = Store::create(folder.path().join("flat"), &Settings::with_vectors(Metric::L2, 2)).unwrap();
    assert!(matches!(flat.set_ef_search(37), Err(Error::NotHnsw)));

    settings.properties.insert("index.kind".into(), "tree".into());
    let result = Store::create(folder.path().join("other"), &settings);
    assert!(matches!(result, Err(Error::ReservedProperty { name }) if name == "index.kind"));
}
