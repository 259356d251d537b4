//! Progress of long work: a bar on a terminal, nothing in a pipe.

use std::convert::Infallible;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use secateur::progress::Progress as Told;

use super::failure::{Code, Failure, Result};
use crate::download;

/// How far long work is: done / total, rate and time left.
pub struct Progress(ProgressBar);

impl Progress {
    /// A bar of `unit`s. `total` is only asked for where someone looks, since counting may take time.
    pub fn start<E>(
        what: &'static str,
        unit: &'static str,
        total: impl FnOnce() -> std::result::Result<u64, E>,
    ) -> std::result::Result<Progress, E> {
        if !std::io::stderr().is_terminal() {
            return Ok(Progress(ProgressBar::hidden()));
        }
        let template = format!(
            "{what} {{bar:30}} {{human_pos}}/{{human_len}} {unit}  {{per_sec:1}}  {{eta}} left  {{msg}}"
        );
        let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = ProgressBar::new(total()?).with_style(style);
        bar.enable_steady_tick(Duration::from_millis(500));
        Ok(Progress(bar))
    }

    /// `done` of the total.
    pub fn set(&self, done: usize) {
        self.0.set_position(done as u64);
    }

    /// `done` of a total that is known when the work has begun.
    pub fn set_of(&self, done: usize, total: usize) {
        self.0.set_length(total as u64);
        self.0.set_position(done as u64);
    }

    /// Words behind the time that is left.
    pub fn say(&self, words: &str) {
        self.0.set_message(words.to_owned());
    }

    /// The work is over.
    pub fn finish(self) {}
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Shows what the library says of long work: a bar at a time.
pub fn shown() -> impl FnMut(Told<'_>) {
    let mut bar: Option<Progress> = None;
    move |told| match told {
        Told::Begins { what, unit, total } => {
            // The bar before makes room first.
            drop(bar.take());
            bar = Progress::start(what, unit, || Ok::<_, Infallible>(total().unwrap_or(0))).ok();
        }
        Told::Done(done) => bar.iter().for_each(|bar| bar.set(done)),
        Told::Step(report) => bar.iter().for_each(|bar| {
            bar.say(&format!("loss {:.4}", report.loss));
            bar.set(report.step);
        }),
        _ => {}
    }
}

/// Shows how far a download is, on a terminal.
pub fn show_download(bar: &ProgressBar, progress: download::Progress) {
    if let Ok(style) =
        ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left")
    {
        bar.set_style(style);
    }
    if let Some(total) = progress.total {
        bar.set_length(total);
    }
    bar.set_position(progress.done);
}

/// Makes Ctrl-C print what is kept and end the process. Everything written so far is valid at any moment, so nothing
/// else has to be done. Work in several parts sets another message for each part.
pub fn say_on_interrupt(message: &'static str) -> Result<()> {
    static MESSAGE: Mutex<Option<&str>> = Mutex::new(None);
    let is_set = MESSAGE.lock().unwrap_or_else(PoisonError::into_inner).replace(message).is_some();
    if is_set {
        return Ok(());
    }
    ctrlc::set_handler(|| {
        let message = MESSAGE.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or_default();
        // There is nobody left to tell if standard error is closed.
        let _ = writeln!(std::io::stderr(), "\ninterrupted: {message}");
        std::process::exit(130);
    })
    .map_err(|error| Failure::new(Code::System, format!("cannot handle interrupts: {error}")))
}
