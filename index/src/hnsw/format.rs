//! Our own graphs as a kind of index.

use std::path::Path;

use super::file::{self, GraphFile};
use super::graph::Graph;
use super::params::HnswParams;
use crate::candidates::Candidates;
use crate::error::Result;
use crate::file_format::file_set::FileSet;
use crate::file_format::files::Written;
use crate::format::{Format, FormatFiles, IndexFiles, Kinds, Parameter};
use crate::metric::Metric;
use crate::quantization::CodeType;
use crate::rows::{ComponentType, Rows};

impl Kinds for HnswParams {
    const ALL: &'static [HnswParams] = &[HnswParams::DEFAULT];
}

impl Format for HnswParams {
    fn name(&self) -> &'static str {
        "hnsw"
    }

    fn about(&self) -> &'static str {
        "A graph is searched: approximate, and faster the more documents there are"
    }

    fn parameters(&mut self) -> Vec<Parameter<'_>> {
        let codes = Parameter::new("index.codes", &mut self.codes);
        vec![
            Parameter::new("index.m", &mut self.m),
            Parameter::new("index.ef_construction", &mut self.ef_construction),
            Parameter::new("index.seed", &mut self.seed),
            // Not named where programs that do not know it do the same.
            Parameter { implied: Some("int8"), ..codes },
        ]
    }

    fn check(&self) -> Result<()> {
        self.check()
    }

    fn code_type(&self) -> Option<CodeType> {
        Some(self.codes)
    }

    fn bytes_per_row(&self, _: ComponentType, dim: usize) -> usize {
        Graph::bytes_per_row(dim, self.m)
    }
}

impl FormatFiles for HnswParams {
    fn files(&self) -> &'static [&'static str] {
        &[file::NAME]
    }

    fn build(&self, metric: Metric, dim: usize, rows: Rows<'_>) -> Result<Box<dyn Candidates>> {
        Ok(Box::new(Graph::of(metric, dim, rows, self)?))
    }

    fn write(
        &self,
        folder: &Path,
        metric: Metric,
        dim: usize,
        rows: Rows<'_>,
    ) -> Result<Vec<(&'static str, Written)>> {
        let graph = Graph::of(metric, dim, rows, self)?;
        Ok(vec![(file::NAME, file::write(folder.join(file::NAME), &graph)?)])
    }

    fn open(&self, files: FileSet, metric: Metric, dim: usize, num_rows: u32) -> Result<Box<dyn IndexFiles>> {
        Ok(Box::new(GraphFile::open(files, metric, dim, num_rows)?))
    }
}
