//! Progress of long work: a bar on a terminal, a line a minute in a pipe or a file.

use std::cell::Cell;
use std::convert::Infallible;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use secateur::progress::Progress as Report;
use secateur::report::{counted, noun, three_digits};

use super::failure::{Code, Failure, Result, say};
use crate::download;

/// How far long work is: done / total, rate and time left.
pub struct Progress {
    bar: ProgressBar,
    told: Told,
}

/// What work it is, and when something was said of it.
struct Told {
    what: &'static str,
    unit: &'static str,
    start: Instant,
    last: Cell<Instant>,
    /// What is said when the first results are there.
    first: Cell<Option<String>>,
}

/// So long nothing is said where there is no terminal.
const SILENCE: Duration = Duration::from_secs(60);

/// The work that is going on, for those who interrupt it.
static UNDER_WAY: Mutex<UnderWay> = Mutex::new(UnderWay { done: 0, unit: "", journals: Vec::new() });

struct UnderWay {
    /// Units that are done, and what one is called.
    done: usize,
    unit: &'static str,
    /// Where results are kept, if that is known.
    journals: Vec<PathBuf>,
}

impl Progress {
    /// A bar of units, of which one is called `unit`. `total` is only asked for where someone looks, since counting may
    /// take time.
    pub fn start<E>(
        what: &'static str,
        unit: &'static str,
        total: impl FnOnce() -> std::result::Result<u64, E>,
    ) -> std::result::Result<Progress, E> {
        under_way(|work| *work = UnderWay { done: 0, unit, journals: Vec::new() });
        let start = Instant::now();
        let told = Told { what, unit, start, last: Cell::new(start), first: Cell::new(None) };
        if !std::io::stderr().is_terminal() {
            return Ok(Progress { bar: ProgressBar::hidden(), told });
        }
        // Until something is done there is no rate.
        let total = total()?;
        let units = noun(total as usize, unit);
        let template = format!("{what} {{bar:30}} 0/{{human_len}} {units}  begun {{elapsed}} ago  {{msg}}");
        let bar = ProgressBar::new(total).with_style(style(&template));
        bar.enable_steady_tick(Duration::from_millis(500));
        Ok(Progress { bar, told })
    }

    /// Says that the work goes on from what an interrupted run has left in a journal, if it does. It is said when the
    /// first results are there, because a journal of other work is refused before. Who interrupts the work before that
    /// is told whether anything is in the journal.
    pub fn going_on_from(self, journal: &Path) -> Progress {
        let vectors = secateur_files::kept_items(journal);
        if vectors > 0 {
            let vectors = counted(vectors as usize, "vector");
            let kept = format!(
                "going on from {vectors} that an interrupted run left in {}, where texts are the same",
                journal.display()
            );
            self.told.first.set(Some(kept));
        }
        under_way(|work| work.journals.push(journal.to_owned()));
        self
    }

    /// `done` of the total.
    pub fn set(&self, done: usize) {
        let Told { what, unit, start, last, first } = &self.told;
        under_way(|work| work.done = done);
        if let Some(kept) = first.take() {
            self.bar.suspend(|| say(&kept));
        }
        if !self.bar.is_hidden() {
            if self.bar.position() == 0 && done > 0 {
                let rate = "{per_sec:1}  {eta} left  {msg}";
                let units = noun(self.bar.length().unwrap_or_default() as usize, unit);
                let template = format!("{what} {{bar:30}} {{human_pos}}/{{human_len}} {units}  {rate}");
                self.bar.set_style(style(&template));
            }
            self.bar.set_position(done as u64);
        } else if last.get().elapsed() >= SILENCE {
            last.set(Instant::now());
            let rate = three_digits(done as f64 / start.elapsed().as_secs_f64());
            // Nothing can be done about a standard error that is closed.
            let _ = writeln!(std::io::stderr(), "{what}: {}, {rate}/s", counted(done, unit));
        }
    }

    /// `done` of a total that is known when the work has begun.
    pub fn set_of(&self, done: usize, total: usize) {
        self.bar.set_length(total as u64);
        self.set(done);
    }

    /// Words behind the time that is left.
    pub fn say(&self, words: &str) {
        self.bar.set_message(words.to_owned());
    }

    /// The work is over.
    pub fn finish(self) {}
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn under_way<T>(change: impl FnOnce(&mut UnderWay) -> T) -> T {
    change(&mut UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Shows what the library says of long work: a bar at a time.
pub fn shown() -> impl FnMut(Report<'_>) {
    let mut bar: Option<Progress> = None;
    move |told| match told {
        Report::Begins { what, unit, total } => {
            // The bar before makes room first.
            drop(bar.take());
            bar = Progress::start(what, unit, || Ok::<_, Infallible>(total().unwrap_or(0))).ok();
        }
        Report::Done(done) => bar.iter().for_each(|bar| bar.set(done)),
        Report::Step(report) => bar.iter().for_each(|bar| {
            bar.say(&format!("loss {:.4}", report.loss));
            bar.set(report.step);
        }),
        Report::ComputesOn(device) => {
            // Nothing can be done about a standard error that is closed.
            let _ = writeln!(std::io::stderr(), "computing on {device}");
        }
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

/// What those are told who interrupt work.
struct OnInterrupt {
    /// What is kept, and how to go on.
    kept: &'static str,
    /// What is said in its place where nothing is kept.
    nothing: &'static str,
    /// Where results are kept: journals, other files and folders. Without any, `kept` is true whatever was done, unless
    /// the work has journals ([`Progress::going_on_from`]).
    places: Vec<PathBuf>,
}

/// What is said where nothing is kept.
pub const NOTHING_IS_KEPT: &str = "before the first results were kept: the same command begins anew";

/// Makes Ctrl-C print what is kept and end the process. Everything written so far is valid at any moment, so nothing
/// else has to be done. Work in several parts sets another message for each part.
pub fn say_on_interrupt(kept: &'static str) -> Result<()> {
    say_if_kept(kept, NOTHING_IS_KEPT, Vec::new())
}

/// [`say_on_interrupt`] that says `kept` if there are results in one of these places then, else `nothing`.
pub fn say_if_kept(kept: &'static str, nothing: &'static str, places: Vec<PathBuf>) -> Result<()> {
    static TOLD: Mutex<Option<OnInterrupt>> = Mutex::new(None);
    let told = OnInterrupt { kept, nothing, places };
    if TOLD.lock().unwrap_or_else(PoisonError::into_inner).replace(told).is_some() {
        return Ok(());
    }
    ctrlc::set_handler(|| {
        if let Some(told) = &*TOLD.lock().unwrap_or_else(PoisonError::into_inner) {
            let text = under_way(|work| told.text(work));
            // There is nobody left to tell if standard error is closed.
            let _ = writeln!(std::io::stderr(), "\n{text}");
        }
        std::process::exit(130);
    })
    .map_err(|error| Failure::new(Code::System, format!("cannot handle interrupts: {error}")))
}

impl OnInterrupt {
    fn text(&self, work: &UnderWay) -> String {
        let at = match work.done {
            0 => String::new(),
            done => format!(" at {}", counted(done, work.unit)),
        };
        match (self.is_kept(work), work.done) {
            (true, _) => format!("interrupted{at}: {}", self.kept),
            (false, 0) => format!("interrupted {}", self.nothing),
            (false, _) => format!("interrupted{at}, {}", self.nothing),
        }
    }

    fn is_kept(&self, work: &UnderWay) -> bool {
        if !self.places.is_empty() {
            return self.places.iter().any(|place| has_results(place));
        }
        // Journals have results before they are counted, so a count of 0 would say too little.
        work.journals.is_empty() || work.done > 0 || work.journals.iter().any(|journal| has_results(journal))
    }
}

/// Whether there is a journal with a result, another file, or a folder with a file in it that is not hidden.
fn has_results(place: &Path) -> bool {
    if place.extension().is_some_and(|extension| extension == "journal") {
        return secateur_files::kept_items(place) > 0;
    }
    match std::fs::read_dir(place) {
        Ok(mut entries) => entries
            .any(|entry| entry.is_ok_and(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))),
        Err(_) => place.is_file(),
    }
}

#[cfg(test)]
mod tests {
    use secateur_files::Journal;

    use super::*;

    #[test]
    fn what_is_kept_is_told_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let text = |places: &[PathBuf], journals: &[PathBuf], done| {
            let told = OnInterrupt { kept: "it is kept", nothing: "before it", places: places.to_vec() };
            told.text(&UnderWay { done, unit: "step", journals: journals.to_vec() })
        };
        let (journal, file, results) = (path("x.journal"), path("checkpoint"), path("results"));
        std::fs::create_dir(&results).unwrap();
        std::fs::write(results.join(".lock"), "").unwrap();
        let mut open = Journal::open(&journal, [7; 32], 0).unwrap();
        assert_eq!(text(&[], &[], 0), "interrupted: it is kept");
        assert_eq!(text(&[], &[], 3), "interrupted at 3 steps: it is kept");
        for place in [&journal, &file, &results] {
            // Steps alone are no results.
            assert_eq!(text(std::slice::from_ref(place), &[], 0), "interrupted before it");
            assert_eq!(text(std::slice::from_ref(place), &[], 1), "interrupted at 1 step, before it");
        }
        assert_eq!(text(&[], std::slice::from_ref(&journal), 0), "interrupted before it");
        open.append([1; 32], b"a result").unwrap();
        std::fs::write(&file, "").unwrap();
        std::fs::write(results.join("a.json"), "").unwrap();
        for place in [journal.clone(), file, results] {
            assert_eq!(text(&[path("absent"), place], &[], 2), "interrupted at 2 steps: it is kept");
        }
        assert_eq!(text(&[], &[journal], 0), "interrupted: it is kept");
    }
}
