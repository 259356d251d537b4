//! The embedding journal against a vector, and against every way of being cut short.

use std::fs;

use proptest::prelude::*;
use secateur_index::Error;
use secateur_index::storage::EmbeddingJournal;

const KEY: [u8; 32] = [3; 32];

#[derive(Debug, Clone)]
enum Step {
    Append(u8, Vec<f32>),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let rows = prop::collection::vec(any::<f32>(), 0..5).prop_map(|row| row.repeat(2));
    prop_oneof![
        4 => (any::<u8>(), rows).prop_map(|(hash, rows)| Step::Append(hash, rows)),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn journal_equals_a_vector(steps in prop::collection::vec(step(), 0..20)) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut journal = EmbeddingJournal::open(&path, KEY, 2).unwrap();
        let mut model: Vec<([u8; 32], Vec<f32>)> = Vec::new();
        for step in steps {
            match step {
                Step::Append(hash, rows) => {
                    journal.append([hash; 32], &rows).unwrap();
                    model.push(([hash; 32], rows));
                }
                Step::Reopen => {
                    drop(journal);
                    journal = EmbeddingJournal::open(&path, KEY, 2).unwrap();
                }
            }
            prop_assert_eq!(journal.len(), model.len());
            let bits = |chunk: ([u8; 32], Vec<f32>)| (chunk.0, chunk.1.iter().map(|x| x.to_bits()).collect::<Vec<_>>());
            for (number, chunk) in model.iter().enumerate() {
                prop_assert_eq!(journal.get(number).unwrap().map(bits), Some(bits(chunk.clone())));
            }
            prop_assert_eq!(journal.get(model.len()).unwrap(), None);
        }
    }
}

/// Cut at any length, and with any byte changed, the journal opens with the whole records before the fault, and can be
/// written on.
#[test]
fn torn_tails_are_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut journal = EmbeddingJournal::open(&path, KEY, 1).unwrap();
    let mut ends = vec![fs::metadata(&path).unwrap().len() as usize];
    for chunk in 0..3u8 {
        journal.append([chunk; 32], &[f32::from(chunk); 4]).unwrap();
        ends.push(fs::metadata(&path).unwrap().len() as usize);
    }
    drop(journal);
    let whole = fs::read(&path).unwrap();
    let whole_records = |fault: usize| ends.iter().filter(|end| **end <= fault).count().saturating_sub(1);
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        let mut journal = EmbeddingJournal::open(&path, KEY, 1).unwrap();
        assert_eq!(journal.len(), whole_records(len), "cut to {len}");
        journal.append([9; 32], &[1.0]).unwrap();
        drop(journal);
        let journal = EmbeddingJournal::open(&path, KEY, 1).unwrap();
        assert_eq!(journal.get(whole_records(len)).unwrap(), Some(([9; 32], vec![1.0])));
    }
    for fault in ends[0]..whole.len() {
        let mut bytes = whole.clone();
        bytes[fault] ^= 16;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(
            EmbeddingJournal::open(&path, KEY, 1).unwrap().len(),
            whole_records(fault),
            "byte {fault}"
        );
    }
    // A damaged header is an error: overwriting might destroy days of work.
    for fault in 0..ends[0] {
        let mut bytes = whole.clone();
        bytes[fault] ^= 16;
        fs::write(&path, &bytes).unwrap();
        let result = EmbeddingJournal::open(&path, KEY, 1);
        assert!(
            matches!(result, Err(Error::Corrupt { .. } | Error::NewerFormat { .. })),
            "byte {fault}: {result:?}"
        );
    }
}

/// Hours of work with another encoder are not thrown away unasked; an empty journal is nobody's.
#[test]
fn another_key_or_dimension_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    for (key, dim) in [([4; 32], 2), ([4; 32], 1), (KEY, 2)] {
        assert!(EmbeddingJournal::open(&path, key, dim).unwrap().is_empty());
    }
    let mut journal = EmbeddingJournal::open(&path, KEY, 2).unwrap();
    journal.append([1; 32], &[0.0, 1.0]).unwrap();
    assert!(matches!(journal.append([0; 32], &[1.0; 3]), Err(Error::RaggedVectors { dim: 2, got: 3 })));
    drop(journal);
    for (key, dim) in [([4; 32], 2), (KEY, 1)] {
        let result = EmbeddingJournal::open(&path, key, dim);
        assert!(matches!(&result, Err(Error::OtherWork { num_vectors: 1, .. })), "{result:?}");
    }
    assert_eq!(EmbeddingJournal::open(&path, KEY, 2).unwrap().len(), 1);
    assert!(matches!(EmbeddingJournal::open(&path, KEY, 0), Err(Error::InvalidParameter { .. })));
}

/// A file that is something else is not overwritten.
#[test]
fn other_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("precious");
    for text in ["x", "a text that is longer than the header of a journal, which has sixty-four bytes"] {
        fs::write(&path, text).unwrap();
        assert!(matches!(EmbeddingJournal::open(&path, KEY, 2), Err(Error::Corrupt { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

/// Two encodings of one corpus at the same time would mix their records.
#[test]
fn a_journal_has_one_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut first = EmbeddingJournal::open(&path, [7; 32], 1).unwrap();
    first.append([1; 32], &[0.5]).unwrap();
    let refused = EmbeddingJournal::open(&path, [7; 32], 1).unwrap_err();
    assert!(matches!(&refused, Error::Locked { path: at, .. } if *at == path), "{refused}");
    drop(first);
    assert_eq!(EmbeddingJournal::open(&path, [7; 32], 1).unwrap().len(), 1);
}
