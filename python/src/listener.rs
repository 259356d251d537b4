//! What long work of the library says of itself, said to Python.

use secateur::progress::Progress as Stage;
use secateur::report::noun;

use crate::work::{Progress, Told, Watch};

/// Hears work of several stages.
pub struct Listener<'a> {
    watch: &'a Watch,
    progress: &'a Progress,
    told: Told,
}

impl<'a> Listener<'a> {
    /// One that has heard nothing yet.
    pub fn new(watch: &'a Watch, progress: &'a Progress) -> Listener<'a> {
        Listener { watch, progress, told: Told::default() }
    }

    /// Passes on what the work says, and ends the work if the caller wants it.
    pub fn hear(&mut self, stage: Option<String>, said: Stage<'_>) {
        self.told.stage = stage;
        match said {
            Stage::Begins { what, unit, total } => {
                let (stage, unit) = (self.told.stage.take(), noun(2, unit));
                self.told = Told { stage, what, unit, total: total() };
                self.progress.tell(self.watch, &self.told, 0, None);
            }
            Stage::Done(done) => self.progress.tell(self.watch, &self.told, done, None),
            Stage::Step(report) => {
                self.progress.tell(self.watch, &self.told, report.step, Some(report.loss));
            }
            _ => self.watch.check(),
        }
    }
}
