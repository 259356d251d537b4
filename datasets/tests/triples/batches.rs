//! Batches: each example once an epoch, one source a batch, the same ones after an interruption.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use proptest::prelude::*;
use secateur_datasets::triples::{Batch, BatchOptions, Batches};

use crate::support;

/// Files of so many examples, whose queries say source and number.
fn sources(counts: &[usize]) -> (tempfile::TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().unwrap();
    let file = |(source, count): (usize, &usize)| {
        // Compressed files and Tevatron's have no place to jump to either.
        let path = folder.path().join(format!("{source}.jsonl{}", if source % 2 == 1 { ".gz" } else { "" }));
        let line = |number: usize| match source % 3 {
            2 => format!("{{\"query\":\"{source}/{number}\",\"positive_passages\":[{{\"text\":\"p\"}}]}}\n"),
            _ => format!("{{\"query\":\"{source}/{number}\",\"pos\":[\"p\"]}}\n"),
        };
        let lines: String = (0..*count).map(line).collect();
        support::write(&path, lines.as_bytes());
        path
    };
    let paths = counts.iter().enumerate().map(file).collect();
    (folder, paths)
}

fn options(batch_size: usize) -> BatchOptions {
    BatchOptions { batch_size: NonZeroUsize::new(batch_size).unwrap(), ..BatchOptions::default() }
}

fn take(batches: &mut Batches, count: u64) -> Vec<Batch> {
    (0..count).map(|_| batches.next().unwrap().unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn epochs_are_whole_batches_pure_and_positions_resumable(
        counts in proptest::collection::vec(1usize..60, 1..4),
        batch_size in 1usize..12,
        window in 0usize..40,
        seed: u64,
        stop in 0.0..1.0f64,
    ) {
        let (_folder, paths) = sources(&counts);
        let options = BatchOptions { window, seed, ..options(batch_size) };
        let mut batches = Batches::open(&paths, &options).unwrap();
        prop_assert_eq!(batches.num_examples(), counts.iter().sum::<usize>() as u64);
        let per_epoch = batches.per_epoch();
        let expected: usize = counts.iter().map(|count| count.div_ceil(batch_size)).sum();
        prop_assert_eq!(per_epoch, expected as u64);

        let all = take(&mut batches, 2 * per_epoch);
        for (epoch, batches) in all.chunks(per_epoch as usize).enumerate() {
            let mut seen = BTreeSet::new();
            for (place, batch) in batches.iter().enumerate() {
                prop_assert_eq!((batch.epoch, batch.number), (epoch as u64, epoch as u64 * per_epoch + place as u64));
                prop_assert!((1..=batch_size).contains(&batch.examples.len()));
                for example in &batch.examples {
                    let (source, _) = example.query.split_once('/').unwrap();
                    prop_assert_eq!(source, batch.source.to_string(), "a batch is of one source");
                    prop_assert!(seen.insert(example.query.clone()), "{} comes twice", example.query);
                }
            }
            prop_assert_eq!(seen.len() as u64, counts.iter().sum::<usize>() as u64, "an example is missing");
        }

        // Stopped anywhere and resumed, by another value and by the same one.
        let place = (stop * all.len() as f64) as usize;
        let mut resumed = Batches::open(&paths, &options).unwrap();
        prop_assert_eq!(resumed.fingerprint(), batches.fingerprint());
        resumed.seek(place as u64);
        prop_assert_eq!(resumed.position(), place as u64);
        prop_assert_eq!(&take(&mut resumed, (all.len() - place) as u64)[..], &all[place..]);
        batches.seek(place as u64);
        prop_assert_eq!(&batches.next().unwrap().unwrap(), &all[place]);
    }
}

#[test]
fn epochs_and_seeds_differ_and_sources_are_mixed() {
    let (_folder, paths) = sources(&[40, 120]);
    let order = |batches: &[Batch]| batches.iter().map(|batch| batch.source).collect::<Vec<_>>();
    let mut batches = Batches::open(&paths, &options(4)).unwrap();
    let first = take(&mut batches, 40);
    let second = take(&mut batches, 40);
    assert_ne!(order(&first), order(&second));
    assert_eq!(order(&first).iter().filter(|source| **source == 0).count(), 10);
    let of = |batches: &[Batch], source| {
        let examples =
            batches.iter().filter(|batch| batch.source == source).flat_map(|batch| &batch.examples);
        examples.map(|example| example.query.clone()).collect::<Vec<_>>()
    };
    assert_ne!(of(&first, 1), of(&second, 1));
    let reseeded = BatchOptions { seed: 43, ..options(4) };
    let other = take(&mut Batches::open(&paths, &reseeded).unwrap(), 40);
    assert_ne!(order(&first), order(&other));
    assert_ne!(of(&first, 1), of(&other, 1));
}

#[test]
fn a_source_is_drawn_in_proportion_to_what_remains() {
    // Of 2 and 6 batches, the first is of the first source in one case of four.
    let (_folder, paths) = sources(&[2, 6]);
    let mut batches = Batches::open(&paths, &options(1)).unwrap();
    let mut firsts = 0u32;
    for epoch in 0..1000 {
        batches.seek(epoch * batches.per_epoch());
        firsts += u32::from(batches.next().unwrap().unwrap().source == 0);
    }
    // 250 expected, with a standard deviation of 13.7: four of them.
    assert!(firsts.abs_diff(250) < 55, "{firsts}");
}

#[test]
fn rests_can_be_dropped() {
    let (_folder, paths) = sources(&[10, 9]);
    let dropping = BatchOptions { drop_last: true, ..options(4) };
    let mut batches = Batches::open(&paths, &dropping).unwrap();
    assert_eq!((batches.num_examples(), batches.per_epoch()), (19, 4));
    assert!(take(&mut batches, 12).iter().all(|batch| batch.examples.len() == 4));

    let error = Batches::open(&paths, &BatchOptions { drop_last: true, ..options(10) }).err().unwrap();
    let expected = "1.jsonl.gz: has 9 examples, fewer than a batch of 10: make the batches smaller, or keep those that \
                    are not full";
    assert!(error.to_string().ends_with(expected), "{error}");
}

#[test]
fn sources_are_checked_before_the_first_batch() {
    let (folder, paths) = sources(&[3, 3]);
    assert!(Batches::open::<PathBuf>(&[], &options(2)).unwrap().next().is_none());

    let same = Batches::open(&paths, &options(2)).unwrap().fingerprint();
    assert_ne!(Batches::open(&paths, &options(3)).unwrap().fingerprint(), same);
    assert_ne!(Batches::open(&paths[..1], &options(2)).unwrap().fingerprint(), same);

    let mut batches = Batches::open(&paths, &options(2)).unwrap();
    let text = std::fs::read_to_string(&paths[0]).unwrap();
    std::fs::write(&paths[0], text.replace("0/1", "0/9")).unwrap();
    assert_ne!(Batches::open(&paths, &options(2)).unwrap().fingerprint(), same);
    std::fs::write(&paths[0], text.lines().next().unwrap()).unwrap();
    let error = batches.find_map(Result::err).unwrap().to_string();
    assert!(
        error.ends_with(
            "0.jsonl: had 3 examples when it was opened, now it has fewer: begin the training anew"
        ),
        "{error}"
    );

    std::fs::write(&paths[0], text + "{\"query\":\"\",\"pos\":[\"p\"]}\n").unwrap();
    let error = Batches::open(&paths, &options(2)).err().unwrap().to_string();
    assert!(error.ends_with("0.jsonl:4: `query`: expected a text that is not empty, got \"\""), "{error}");
    std::fs::write(&paths[0], "\n").unwrap();
    let error = Batches::open(&paths, &options(2)).err().unwrap().to_string();
    assert!(error.ends_with("0.jsonl: the file holds no record"), "{error}");
    let error = Batches::open(&[folder.path().join("none.jsonl")], &options(2)).err().unwrap().to_string();
    assert!(error.starts_with("cannot open") && error.ends_with("none.jsonl"), "{error}");
}

/// Memory is taken for the examples that there are.
#[test]
fn a_batch_may_be_larger_than_its_source() {
    let (_folder, paths) = sources(&[3, 2]);
    for batch_size in [100_000_000_000, usize::MAX] {
        let mut batches = Batches::open(&paths, &options(batch_size)).unwrap();
        assert_eq!(batches.per_epoch(), 2);
        let mut lengths: Vec<usize> =
            take(&mut batches, 2).iter().map(|batch| batch.examples.len()).collect();
        lengths.sort();
        assert_eq!(lengths, [2, 3]);
        batches.seek(3);
        assert_eq!(batches.next().unwrap().unwrap().epoch, 1);
    }
}
