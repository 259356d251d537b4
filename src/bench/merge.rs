//! The results of several benches in one report: of several machines, or of parts that were measured one by one.

use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::result::{BenchReport, Cell, Summary};
use crate::error::{Error, Result};
use crate::options::above_zero;

impl BenchReport {
    /// One report of several, each with the file that it was read from. Names must mean the same in all of them: a data
    /// set has one fingerprint, and so has an encoder. Machines are told apart by what they say of themselves. What
    /// follows from the measurements is found anew, for recommendations within `within` milliseconds, or what the
    /// first report has.
    ///
    /// ```no_run
    /// use secateur::bench::BenchReport;
    /// let files = ["laptop/results.json", "server/results.json"].map(std::path::PathBuf::from);
    /// let reports = files.map(|file| Ok((file.clone(), BenchReport::read(&file)?)));
    /// let all = BenchReport::merged(reports.into_iter().collect::<Result<_, secateur::Error>>()?, None)?;
    /// println!("{}", all.summary.sentence);
    /// # Ok::<(), secateur::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::BenchResults`] if there is none, or one is named twice, or a name means another thing in a later one.
    /// [`Error::InvalidOption`] if `within` is not above 0.
    pub fn merged(reports: Vec<(PathBuf, BenchReport)>, within: Option<f64>) -> Result<BenchReport> {
        within.map_or(Ok(()), |within| above_zero("within", within))?;
        let mut reports = reports.into_iter();
        let Some((first_path, mut all)) = reports.next() else {
            let problem = "there is nothing to merge: name at least one file".to_owned();
            return Err(Error::BenchResults { path: PathBuf::from("results.json"), problem });
        };
        let canonical = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut seen = vec![canonical(&first_path)];
        for (path, report) in reports {
            if seen.contains(&canonical(&path)) {
                let problem = "it is named twice: leave it out once".to_owned();
                return Err(Error::BenchResults { path, problem });
            }
            seen.push(canonical(&path));
            all.add(&first_path, &path, report)?;
        }
        all.summary = Summary::of(&all, within.unwrap_or(all.summary.within));
        Ok(all)
    }

    fn add(&mut self, first: &Path, path: &Path, report: BenchReport) -> Result<()> {
        let BenchReport { environments, command, timing, datasets, encoders, .. } = report;
        let differs = |what: &str, name: &str, [old, new]: [&str; 2]| {
            let problem = format!(
                "the {what} {name} is {new} here, and {old} in {} or a file after it: they cannot be on one page under one \
                 name",
                first.display()
            );
            Err(Error::BenchResults { path: path.to_owned(), problem })
        };
        for dataset in datasets {
            match self.datasets.iter().find(|known| known.name == dataset.name) {
                None => self.datasets.push(dataset),
                Some(known) if known.fingerprint == dataset.fingerprint => {}
                Some(known) => {
                    return differs("data set", &dataset.name, [&known.fingerprint, &dataset.fingerprint]);
                }
            }
        }
        for encoder in encoders {
            match self.encoders.iter().find(|known| known.name == encoder.name) {
                None => self.encoders.push(encoder),
                Some(known) if known.fingerprint == encoder.fingerprint => {}
                Some(known) => {
                    return differs("encoder", &encoder.name, [&known.fingerprint, &encoder.fingerprint]);
                }
            }
        }
        for reranker in report.rerankers {
            match self.rerankers.iter().find(|known| known.name == reranker.name) {
                None => self.rerankers.push(reranker),
                Some(known) if *known == reranker => {}
                Some(known) => {
                    let told =
                        [known, &reranker].map(|facts| format!("{} of {}", facts.fingerprint, facts.top));
                    return differs("reranker", &reranker.name, [&told[0], &told[1]]);
                }
            }
        }
        if timing != self.timing {
            self.notes.push(format!("{} was timed in another way: {timing:?}", path.display()));
        }
        self.notes.extend(report.notes);
        if !self.command.is_empty() && !command.is_empty() {
            self.command.push('\n');
        }
        self.command.push_str(&command);
        let places: Vec<usize> = environments
            .into_iter()
            .enumerate()
            .map(|(place, environment)| {
                let of_it = report.cells.iter().filter(|cell| cell.environment == place);
                self.place_of(environment, &of_it.collect::<Vec<&Cell>>())
            })
            .collect();
        let moved = |place: &mut usize| *place = places.get(*place).copied().unwrap_or(*place);
        let (mut encodings, mut builds, mut cells) = (report.encodings, report.builds, report.cells);
        encodings.iter_mut().for_each(|facts| moved(&mut facts.environment));
        builds.iter_mut().for_each(|facts| moved(&mut facts.environment));
        cells.iter_mut().for_each(|cell| moved(&mut cell.environment));
        self.encodings.extend(encodings);
        self.builds.extend(builds);
        self.cells.extend(cells);
        self.cells.sort_by(|a, b| (&a.key, a.environment).cmp(&(&b.key, b.environment)));
        Ok(())
    }

    /// The place of a machine among ours. What was measured on a machine a second time is kept beside the first.
    fn place_of(&mut self, environment: Environment, cells: &[&Cell]) -> usize {
        let has_none_of = |place: usize| {
            let here = |own: &&Cell| own.environment == place;
            !self.cells.iter().filter(here).any(|own| cells.iter().any(|cell| cell.key == own.key))
        };
        let known = self
            .environments
            .iter()
            .enumerate()
            .find(|(place, known)| known.is_same_machine(&environment) && has_none_of(*place));
        if let Some((place, _)) = known {
            for device in environment.devices {
                let devices = &mut self.environments[place].devices;
                if !devices.contains(&device) {
                    devices.push(device);
                }
            }
            return place;
        }
        self.environments.push(environment);
        self.environments.len() - 1
    }

    /// What a machine is called where there are several: A, B and so on in their order.
    pub fn machine(&self, environment: usize) -> Option<String> {
        let letter = char::from_u32('A' as u32 + (environment % 26) as u32)?;
        let number = if environment < 26 { String::new() } else { (environment / 26).to_string() };
        (self.environments.len() > 1).then(|| format!("{letter}{number}"))
    }
}
