//! The files of a bench that people and other programs read.

use std::path::Path;

use secateur_files::{Durable, disk};

use super::{ann_csv, bench_markdown, bench_page, mteb_json, per_query_tsv};
use crate::bench::BenchReport;
use crate::error::Result;

/// Writes a bench for people and for other programs, beside its results.json: report.html, report.md, queries.tsv and
/// ann.csv. Each combination that was judged gets a file of MTEB's kind.
///
/// # Errors
///
/// The disk refuses.
pub fn write_bench(report: &BenchReport, out: &Path) -> Result<()> {
    let write = |path: &Path, text: &str| Durable::write(path, |file| file.write_all(text.as_bytes()));
    write(&out.join("report.html"), &bench_page(report))?;
    write(&out.join("report.md"), &bench_markdown(report))?;
    write(&out.join("queries.tsv"), &per_query_tsv(report))?;
    write(&out.join("ann.csv"), &ann_csv(report))?;
    let folder = out.join("mteb");
    disk::create_folders(&folder)?;
    for cell in &report.cells {
        if let Some(result) = mteb_json(report, cell) {
            write(&folder.join(format!("{}.json", cell.key.file_name())), &format!("{result:#}\n"))?;
        }
    }
    Ok(())
}
