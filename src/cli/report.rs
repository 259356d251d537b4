//! `secateur report`: a page of stored results.

use std::path::PathBuf;

use clap::Args;
use secateur::bench::BenchReport;
use secateur::report::{bench_text, write_bench};

use super::as_json;
use super::failure::{Code, Failure, Result};

const EXAMPLES: &str = "\
The files are the results.json of `secateur bench`, or its folders. Their combinations come on one page. Machines are told apart, and speed is \
only compared with that of the same machine. A data set or an encoder of one name must be the same in all files.

Examples:
  secateur report laptop/results.json server/results.json --out both
  secateur report bench --within 20";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// results.json of one bench or several, or their folders.
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// The folder of the page, with results.json of all of them.
    #[arg(long, value_name = "DIR", default_value = "report")]
    out: PathBuf,
    /// Recommend what answers 19 of 20 queries within this time [default: as the first file has it].
    #[arg(long, value_name = "MS")]
    within: Option<f64>,
    /// Print JSON: results.json.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let target = self.out.join("results.json");
        let is_target = |file: &PathBuf| matches!((file.canonicalize(), target.canonicalize()), (Ok(file), Ok(target)) if file == target);
        let files: Vec<PathBuf> = self.files.iter().map(|file| BenchReport::file(file)).collect();
        if files.len() > 1
            && let Some(file) = files.iter().find(|file| is_target(file))
        {
            let message = format!("{} is an input: choose another --out", file.display());
            return Err(Failure::new(Code::Usage, message));
        }
        let reports = files.iter().map(|file| Ok((file.clone(), BenchReport::read(file)?)));
        let report = BenchReport::merged(reports.collect::<Result<_>>()?, self.within)?;
        secateur_files::disk::create_folders(&self.out)?;
        report.write(&target)?;
        write_bench(&report, &self.out)?;
        if self.json {
            return as_json(&report);
        }
        Ok(format!("{}\nreport: {}\n", bench_text(&report), self.out.join("report.html").display()))
    }
}
