//! Training: examples in, an encoder that retrieves better out.
//!
//! - [`TrainOptions::run`] does all of it: a model directory and files of examples go in, a run's folder comes out.
//! - [`Run`] takes the steps of a [`Trainer`], keeps a log and a checkpoint, and goes on from it when it is called
//!   again.
//! - [`mine()`] adds hard negatives from a database to a file of [`Examples`]; [`teach()`] adds the scores of a
//!   [`Teacher`]. Both stream files of any size. They keep results in a journal beside the output, and the same call
//!   continues from there. The output is the same, byte for byte, as without an interruption. [`teach_vectors()`] does
//!   the same for the vectors that a student is to learn.

mod journal;
mod log;
mod mine;
mod options;
mod rewrite;
mod run;
mod stage;
mod teach;
mod teacher;
mod vectors;

pub use crate::training_error::TrainingError;
pub use log::{LogLine, read_log};
pub use mine::{MineOptions, MineReport, mine};
pub use options::{EncodingOptions, LossOptions, StepOptions, TrainOptions, WhatOptions};
pub use run::{Run, RunOutcome};
pub use secateur_datasets::triples::{
    BatchOptions, Batches, BeirExamples, BeirOptions, ClozeExamples, ClozeOptions, Examples, TrainingExample,
    write_examples,
};
pub use secateur_encoders::train::{
    AdamW, Decay, Example, Lora, Loss, Schedule, Slim, StepReport, TeacherVectors, TextKey, TrainSettings,
    Trained, Trainer,
};
pub use stage::TrainReport;
pub use teach::teach;
pub use teacher::Teacher;
pub use vectors::{count_texts, teach_vectors};
