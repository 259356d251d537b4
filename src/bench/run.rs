//! A bench from beginning to end: data set by data set, cell by cell.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use secateur_datasets::{Error as DatasetError, trec};
use secateur_encoders::CrossEncoder;
use secateur_random::SplitMix64;

use super::agreement::compare;
use super::build::{Vectors, build};
use super::cell::{Measured, Task};
use super::clients::shuffle;
use super::dataset::Dataset;
use super::encoder_facts::facts;
use super::encoding::{Encoded, encode};
use super::environment::Environment;
use super::folder::{Folder, file_name};
use super::index_spec::IndexSpec;
use super::options::{BenchEncoder, BenchOptions};
use super::result::{
    BenchReport, BuildFacts, Cell, CellKey, EncoderFacts, FORMAT, RerankerFacts, Summary, Timing,
};
use crate::encode::ScorePairs;
use crate::error::{Error, Result};
use crate::number::{agreed, counted};
use crate::progress::Progress;
use crate::search::SearchMode;

/// What a bench tells its caller on the way.
#[derive(Debug)]
#[non_exhaustive]
pub enum BenchProgress<'a> {
    /// Long work, as other calls tell it.
    Work(Progress<'a>),
    /// A combination is done.
    Cell {
        /// What was measured.
        cell: &'a Cell,
        /// Whether it was measured before and kept.
        was_kept: bool,
        /// Combinations that are done.
        done: usize,
        /// All of them.
        total: usize,
        /// The time that is left, by what those took that were measured now.
        left: Option<Duration>,
    },
}

/// Measures every data set with every encoder, index and mode.
///
/// The folder `out` gets results.json, the answers as run files, and what was built. What is measured is kept there;
/// the same call goes on after an interruption. Measurements are taken again if the program, the machine's threads, the
/// data set, the encoder or an option that they depend on differs.
///
/// Each client of a load is a thread of its own. Encoders compute on the global rayon pool.
///
/// # Errors
///
/// An option contradicts another. A data set has a fault. An encoder does not load. The disk refuses.
pub fn run(options: &BenchOptions, out: &Path, on: &mut dyn FnMut(BenchProgress<'_>)) -> Result<BenchReport> {
    options.check()?;
    let folder = Folder::open(out)?;
    let environment = Environment::here(options.program.clone());
    let reranker = match &options.reranker {
        Some(given) => Some(CrossEncoder::load(&given.model, &given.options)?),
        None => None,
    };
    let mut bench = Bench {
        options,
        machine: format!("{:?} {} {}", environment.program, environment.processor, environment.threads),
        folder,
        reranker,
        report: BenchReport {
            format: FORMAT,
            environments: vec![environment],
            command: options.command.clone(),
            timing: Timing {
                k: options.k,
                warm_up: options.warm_up,
                repetitions: options.repetitions,
                seed: options.seed,
            },
            datasets: Vec::new(),
            encoders: Vec::new(),
            rerankers: Vec::new(),
            encodings: Vec::new(),
            builds: Vec::new(),
            cells: Vec::new(),
            notes: Vec::new(),
            summary: Summary::default(),
        },
        done: 0,
        measured: (0, Duration::ZERO),
    };
    bench.identify()?;
    // What is wrong with one of many data sets is found before the first is encoded.
    let mut datasets = Vec::with_capacity(options.datasets.len());
    for dataset in &options.datasets {
        let opened = Dataset::open(dataset, options)?;
        if bench.report.datasets.iter().any(|other| other.name == opened.facts.name) {
            let problem = "another data set is called so, too: give the folders other names".to_owned();
            return Err(Error::BenchDataset { name: opened.facts.name, problem });
        }
        bench.report.datasets.push(opened.facts.clone());
        datasets.push(opened);
    }
    for dataset in &datasets {
        bench.dataset(dataset, on)?;
    }
    let mut report = bench.report;
    report.summary = Summary::of(&report, options.within);
    report.write(&out.join("results.json"))?;
    Ok(report)
}

struct Bench<'a> {
    options: &'a BenchOptions,
    /// What times depend on.
    machine: String,
    folder: Folder,
    reranker: Option<CrossEncoder>,
    report: BenchReport,
    /// Cells that are done.
    done: usize,
    /// Cells that were measured now, and how long they took.
    measured: (u32, Duration),
}

/// Where the parts of a data set are.
struct Places {
    /// By encoder and index; none of both for words alone.
    databases: BTreeMap<(Option<String>, Option<String>), PathBuf>,
    /// By encoder, the documents of an exact search.
    exact: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

impl Bench<'_> {
    /// Loads every model once and notes what it is.
    fn identify(&mut self) -> Result<()> {
        for given in &self.options.encoders {
            let encoder = given.source.load()?;
            let facts = facts(given, &encoder);
            let devices = &mut self.report.environments[0].devices;
            if !devices.contains(&facts.computes_on) {
                devices.push(facts.computes_on.clone());
            }
            self.report.encoders.push(facts);
        }
        self.report.rerankers = Vec::from_iter(self.reranker.as_ref().map(|model| RerankerFacts {
            name: model.name().to_owned(),
            fingerprint: model.fingerprint().to_string(),
            top: self.options.reranker_top(),
        }));
        Ok(())
    }

    fn encoder_facts(&self, name: &str) -> Option<&EncoderFacts> {
        self.report.encoders.iter().find(|facts| facts.name == name)
    }

    fn dataset(&mut self, dataset: &Dataset, on: &mut dyn FnMut(BenchProgress<'_>)) -> Result<()> {
        let work = self.folder.work(&format!("{}-{}", dataset.facts.name, dataset.facts.fingerprint))?;
        let mut keys = self.keys(dataset);
        let is_kept = |(_, key): &(SearchMode, CellKey)| {
            self.folder.has::<Measured>(&part_of(key), &self.made_from(dataset, key))
        };
        let are_all_kept = keys.iter().all(is_kept);
        let places = self.prepare(dataset, &work, !are_all_kept, on)?;
        // Heat and neighbors must not strike the same combination every time.
        shuffle(&mut keys, &mut SplitMix64::keyed(&[self.options.seed, 3]));
        let total = keys.len() * self.options.datasets.len();
        let mut cells = Vec::with_capacity(keys.len());
        for (position, key) in keys.into_iter().enumerate() {
            let start = Instant::now();
            let (measured, is_new) = self.cell(dataset, &places, key, position, on)?;
            if is_new {
                self.measured = (self.measured.0 + 1, self.measured.1 + start.elapsed());
            }
            self.done += 1;
            let left =
                (self.measured.0 > 0).then(|| self.measured.1 / self.measured.0 * (total - self.done) as u32);
            on(BenchProgress::Cell { cell: &measured.cell, was_kept: !is_new, done: self.done, total, left });
            cells.push(measured);
        }
        let first = self.options.encoders.first().map(|encoder| &encoder.name);
        compare(dataset, first, &mut cells)?;
        cells.sort_by(|a, b| a.cell.key.cmp(&b.cell.key));
        self.report.cells.extend(cells.into_iter().map(|measured| measured.cell));
        if self.options.discard {
            secateur_files::disk::remove_folder(&work)?;
        }
        Ok(())
    }

    /// The combinations of a data set.
    fn keys(&self, dataset: &Dataset) -> Vec<(SearchMode, CellKey)> {
        let reranker = self.report.rerankers.first().map(|facts| facts.name.clone());
        let key = |mode: SearchMode, encoder: Option<&BenchEncoder>, index: Option<&IndexSpec>| {
            let key = CellKey {
                dataset: dataset.facts.name.clone(),
                encoder: encoder.map(|encoder| encoder.name.clone()),
                index: index.map(IndexSpec::to_string),
                mode: mode.to_string(),
                reranker: reranker.clone(),
            };
            (mode, key)
        };
        let mut keys = Vec::new();
        for mode in &self.options.modes {
            if *mode == SearchMode::Bm25 {
                keys.push(key(*mode, None, None));
                continue;
            }
            for encoder in &self.options.encoders {
                let of_encoder =
                    self.options.indexes.iter().map(|index| key(*mode, Some(encoder), Some(index)));
                keys.extend(of_encoder);
            }
        }
        keys
    }

    /// Encodes the corpus with each encoder and builds all databases, those that were removed again if they are
    /// `needed`.
    fn prepare(
        &mut self,
        dataset: &Dataset,
        work: &Path,
        needed: bool,
        on: &mut dyn FnMut(BenchProgress<'_>),
    ) -> Result<Places> {
        let mut places = Places { databases: BTreeMap::new(), exact: BTreeMap::new() };
        let mut work_on = |progress: Progress<'_>| on(BenchProgress::Work(progress));
        if self.options.modes.contains(&SearchMode::Bm25) {
            let path = work.join("words.db");
            self.database(dataset, None, &path, needed, &mut work_on)?;
            places.databases.insert((None, None), path);
        }
        for given in self.options.encoders.iter().filter(|_| self.options.has_vectors()) {
            let encoder = Arc::new(given.source.load()?);
            let fingerprint = encoder.fingerprint().to_string();
            let own = file_name(&format!("{}-{}", given.name, &fingerprint[..8]));
            let journal = work.join(format!("{own}.vectors"));
            let (machine, computes_on) = (&self.machine, encoder.computes_on());
            let made_from = format!("{machine} {} {fingerprint} {computes_on}", dataset.facts.fingerprint);
            let (encoded, _): (Encoded, bool) = self.folder.part(
                &format!("encoding.{}.{}", dataset.facts.name, given.name),
                &made_from,
                || encode(dataset, &given.name, &encoder, &journal, &mut work_on),
            )?;
            if encoded.facts.cut_queries > 0 {
                self.note(format!(
                    "{}: {} of {} {} longer than the {} that {} reads; what is behind is not searched for",
                    dataset.facts.name,
                    encoded.facts.cut_queries,
                    counted(dataset.facts.num_queries, "query"),
                    agreed(encoded.facts.cut_queries, "is", "are"),
                    counted(encoder.max_length(), "token"),
                    given.name
                ));
            }
            self.report.encodings.push(encoded.facts);
            places.exact.insert(given.name.clone(), encoded.exact);
            for index in &self.options.indexes {
                let path = work.join(format!("{own}.{}.db", file_name(&index.to_string())));
                let vectors = Vectors { name: &given.name, encoder: &encoder, index, journal: &journal };
                self.database(dataset, Some(&vectors), &path, needed, &mut work_on)?;
                places.databases.insert((Some(given.name.clone()), Some(index.to_string())), path);
            }
        }
        Ok(places)
    }

    fn database(
        &mut self,
        dataset: &Dataset,
        vectors: Option<&Vectors<'_>>,
        path: &Path,
        needed: bool,
        on: &mut dyn FnMut(Progress<'_>),
    ) -> Result<()> {
        let (name, of_vectors) = match vectors {
            Some(Vectors { name, encoder, index, .. }) => (
                format!("build.{}.{name}.{index}", dataset.facts.name),
                format!("{} {index:?}", encoder.fingerprint()),
            ),
            None => (format!("build.{}.words", dataset.facts.name), String::new()),
        };
        let there = path.exists();
        let made_from = format!("{} {} {of_vectors}", self.machine, dataset.facts.fingerprint);
        let (facts, is_new): (BuildFacts, bool) =
            self.folder.part(&name, &made_from, || build(dataset, vectors, path, on))?;
        if needed && !is_new && !there {
            build(dataset, vectors, path, on)?;
        }
        self.report.builds.push(facts);
        Ok(())
    }

    fn cell(
        &mut self,
        dataset: &Dataset,
        places: &Places,
        (mode, key): (SearchMode, CellKey),
        position: usize,
        on: &mut dyn FnMut(BenchProgress<'_>),
    ) -> Result<(Measured, bool)> {
        let (options, made_from) = (self.options, self.made_from(dataset, &key));
        let given = options.encoders.iter().find(|encoder| Some(&encoder.name) == key.encoder.as_ref());
        let source = given.map(|encoder| &encoder.source);
        let database = &places.databases[&(key.encoder.clone(), key.index.clone())];
        let (file, part) = (key.file_name(), part_of(&key));
        let task = Task {
            mode,
            dataset,
            encoder: source,
            database,
            exact: key.encoder.as_ref().and_then(|name| places.exact.get(name)),
            reranker: self.reranker.as_ref().map(|model| model as &(dyn ScorePairs + Sync)),
            position,
            key,
        };
        let (measured, is_new): (Measured, bool) = self.folder.part(&part, &made_from, || {
            task.measure(options, &mut |progress| on(BenchProgress::Work(progress)))
        })?;
        match trec::write_run(self.folder.run(&file), &measured.run(), "secateur-bench") {
            // An id with a blank in it has no place in a run file.
            Err(error @ DatasetError::Unwritable { .. }) => self.note(error.to_string()),
            written => written?,
        }
        Ok((measured, is_new))
    }

    /// What a measurement depends on.
    fn made_from(&self, dataset: &Dataset, key: &CellKey) -> String {
        let options = self.options;
        let facts = key.encoder.as_deref().and_then(|name| self.encoder_facts(name));
        format!(
            "{} {} {key:?} {:?} {:?} {} k {} timed {} after {} times {} clients {} rate {:?} seed {}",
            self.machine,
            dataset.facts.fingerprint,
            facts.map(|facts| (&facts.fingerprint, &facts.computes_on)),
            self.report.rerankers,
            dataset.rules,
            options.k,
            options.timed_queries,
            options.warm_up,
            options.repetitions,
            options.clients(),
            options.rate,
            options.seed,
        )
    }

    fn note(&mut self, note: String) {
        if !self.report.notes.contains(&note) {
            self.report.notes.push(note);
        }
    }
}

/// The name of the part that keeps a combination.
fn part_of(key: &CellKey) -> String {
    format!("cell.{}", key.file_name())
}
