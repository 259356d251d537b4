//! The module `secateur._native`: what the Python package `secateur` calls.
//!
//! The package's sources, in the folder `secateur`, have what Python programs see: defaults, documents of any shape,
//! help. This crate has what they cannot do. It turns arguments into those of the library, computes without the GIL and
//! turns results back.

mod arguments;
mod bench;
mod cross_encoder;
mod database;
mod datasets;
mod documents;
mod encoder;
mod errors;
mod evaluation;
mod listener;
mod runs;
mod shards;
mod stages;
mod values;
mod work;

use pyo3::prelude::*;

/// What the Python package is made of. Its names are those of the library; `_native.pyi` has the types.
#[pymodule(gil_used = false)]
mod _native {
    #[pymodule_export]
    use crate::bench::bench;
    #[pymodule_export]
    use crate::cross_encoder::CrossEncoder;
    #[pymodule_export]
    use crate::database::Database;
    #[pymodule_export]
    use crate::database::build::build;
    #[pymodule_export]
    use crate::database::read::DocumentPages;
    #[pymodule_export]
    use crate::datasets::{
        BeirFolder, Collection, SourceDocuments, TrainingExamples, parse_record, read_qrels, read_run,
        write_qrels, write_run,
    };
    #[pymodule_export]
    use crate::encoder::{Encoder, inspect};
    #[pymodule_export]
    use crate::evaluation::{compare, evaluate};
    #[pymodule_export]
    use crate::shards::calls::ServedShard;
    #[pymodule_export]
    use crate::shards::plan::{ShardPlan, count_documents, documents_checksum, plan_parts, plan_shards};
    #[pymodule_export]
    use crate::shards::set::ShardSet;
    #[pymodule_export]
    use crate::stages::{effir, train};
    #[pymodule_export]
    use crate::work::{num_threads, set_num_threads};

    use numpy::{PyArray1, PyArrayMethods};

    use super::{Bound, PyModule, PyModuleMethods, PyResult};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        // NumPy's functions are found at their first use, by imports. A Ctrl-C that came during long work would end
        // these imports, and the crate panics without them. So the first use is here.
        drop(PyArray1::<f32>::zeros(module.py(), 0, false).try_readonly()?);
        module.add("__version__", env!("CARGO_PKG_VERSION"))
    }
}
