use std::fs;
use std::path::Path;

use secateur_encoders::prune::{Layout, ModelDirectory};
use secateur_encoders::train::{Example, TrainSettings, Trained, Trainer};
use secateur_encoders::{QuantizedFormat, write_quantized};
use secateur_files::faults::at_every_operation;
use tempfile::TempDir;

use crate::support::{id_texts, sequences, tiny};

fn trainer(directory: &TempDir) -> Trainer {
    Trainer::load(directory.path(), TrainSettings::new(Trained::Full, 10)).unwrap()
}

fn step(trainer: &mut Trainer) {
    let texts = id_texts(&sequences());
    let example = |query: usize, passage: usize| Example {
        query: texts[query].clone(),
        passages: vec![texts[passage].clone()],
        scores: None,
    };
    trainer.step(&[&[example(0, 1), example(2, 3)]]).unwrap();
}

/// Whatever fails, and whenever the power is cut, a run goes on from its new checkpoint or from the one before.
#[test]
fn every_failure_leaves_a_checkpoint() {
    let directory = tiny("bert");
    let mut before = trainer(&directory);
    step(&mut before);
    let mut after = trainer(&directory);
    step(&mut after);
    step(&mut after);
    let scratch = tempfile::tempdir().unwrap();
    let prepare = |folder: &Path| {
        fs::create_dir(folder).unwrap();
        before.save(folder.join("state"), "before").unwrap();
    };
    let save = |folder: &Path| after.save(folder.join("state"), "after");
    at_every_operation(scratch.path(), prepare, save, |folder, result, what| {
        let mut found = trainer(&directory);
        let notes = found.resume(folder.join("state")).unwrap_or_else(|error| panic!("{what}: {error}"));
        let steps = if notes == "after" { 2 } else { 1 };
        assert!(notes == "after" || result.is_err(), "{what}: {notes}");
        assert_eq!(found.num_steps(), steps, "{what}");
    });
}

/// What is in the files of a folder, by name.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            files.extend(
                self::files(&entry.path())
                    .into_iter()
                    .map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)),
            );
        } else {
            files.push((name, fs::read(entry.path()).unwrap()));
        }
    }
    files.sort();
    files
}

/// Whatever fails, a model directory is there as a whole or not at all: one that was trained, pruned or quantized.
#[test]
fn every_failure_leaves_a_whole_model_or_none() {
    let directory = tiny("bert");
    let mut trained = trainer(&directory);
    step(&mut trained);
    let model = ModelDirectory::open(directory.path()).unwrap();
    let mut left = model.architecture().remaining();
    left.intermediate_sizes[0] = None;
    type Write<'a> = &'a dyn Fn(&Path) -> secateur_encoders::Result<()>;
    let writers: [Write<'_>; 3] =
        [&|out| trained.write(out), &|out| model.write_dropped(&left, Layout::Secateur, out), &|out| {
            write_quantized(directory.path(), None, QuantizedFormat::Int8, out)
        }];
    for (number, write) in writers.into_iter().enumerate() {
        let scratch = tempfile::tempdir().unwrap();
        let expected = scratch.path().join("expected");
        write(&expected).unwrap();
        let expected = files(&expected);
        let prepare = |folder: &Path| fs::create_dir(folder).unwrap();
        at_every_operation(
            scratch.path(),
            prepare,
            |folder| write(&folder.join("model")),
            |folder, result, what| {
                let model = folder.join("model");
                assert!(model.exists() || result.is_err(), "writer {number}, {what}: said to be written");
                if model.exists() {
                    assert!(files(&model) == expected, "writer {number}, {what}: half of a model");
                }
            },
        );
    }
}
