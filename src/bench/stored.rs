//! results.json: written, and read again with what it lacks.

use std::path::{Path, PathBuf};

use secateur_files::{AtPath, Durable};

use super::result::{BenchReport, CellKey, FORMAT};
use crate::error::{Error, Result};

impl BenchReport {
    /// Reads results.json, or the one in the folder of a bench.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or holds something else.
    pub fn read(path: &Path) -> Result<BenchReport> {
        let path = &BenchReport::file(path);
        let bytes = std::fs::read(path).at("read", path)?;
        let report: BenchReport = serde_json::from_slice(&bytes).map_err(|error| Error::BenchResults {
            path: path.to_owned(),
            problem: format!("it is not what `secateur bench` writes as results.json: {error}"),
        })?;
        let problem = match report.format == FORMAT {
            true => report.fault(),
            false => Some(format!("its format is {}, and this program reads {FORMAT}", report.format)),
        };
        match problem {
            None => Ok(report),
            Some(problem) => Err(Error::BenchResults { path: path.to_owned(), problem }),
        }
    }

    /// The results.json that a file or the folder of a bench stands for.
    pub fn file(path: &Path) -> PathBuf {
        if path.is_dir() { path.join("results.json") } else { path.to_owned() }
    }

    /// What is named and not there, as in a file that somebody has changed.
    fn fault(&self) -> Option<String> {
        let places = self.encodings.iter().map(|facts| facts.environment);
        let places = places.chain(self.builds.iter().map(|facts| facts.environment));
        let mut places = places.chain(self.cells.iter().map(|cell| cell.environment));
        let num_machines = self.environments.len();
        if let Some(place) = places.find(|place| *place >= num_machines) {
            return Some(format!(
                "a measurement is of machine {place}, and it has {num_machines} machines, from 0 on"
            ));
        }
        self.cells.iter().find_map(|cell| {
            let CellKey { dataset, encoder, .. } = &cell.key;
            let is_known = |name: &String| self.encoders.iter().any(|encoder| encoder.name == *name);
            let lacks = match encoder.as_ref().filter(|name| !is_known(name)) {
                _ if cell.closed.is_empty() => "no times".to_owned(),
                _ if !self.datasets.iter().any(|known| known.name == *dataset) => {
                    "no such data set".to_owned()
                }
                Some(name) => format!("no encoder {name}"),
                None => return None,
            };
            Some(format!("it has {lacks} for the combination {dataset}, {}", cell.key.system()))
        })
    }

    /// Writes results.json.
    ///
    /// # Errors
    ///
    /// The disk refuses.
    pub fn write(&self, path: &Path) -> Result<()> {
        Ok(Durable::write(path, |out| {
            serde_json::to_writer_pretty(&mut *out, self)?;
            writeln!(out)
        })?)
    }
}
