//! Arguments that come as dictionaries, and names that stand for values of the library.

use std::path::PathBuf;
use std::str::FromStr;

use pyo3::prelude::*;
use secateur::database::VectorOptions;
use secateur::fusion::Fusion;
use secateur::index::bm25::{Analyzer, Bm25Params};
use secateur::index::hnsw::HnswParams;
use secateur::index::quantization::CodeType;
use secateur::{Filter, LoadOptions, Metric, SearchMode, SearchParams, VectorIndex};

use crate::errors::{refused, usage};

/// Reads a value from its name.
pub fn named<T: FromStr<Err: std::fmt::Display>>(argument: &str, name: &str) -> PyResult<T> {
    name.parse().map_err(|error: T::Err| usage(format!("{argument}: {error}")))
}

fn named_if<T: FromStr<Err: std::fmt::Display>>(argument: &str, name: Option<&str>) -> PyResult<Option<T>> {
    name.map(|name| named(argument, name)).transpose()
}

/// How an encoder is loaded: what is left out is as the model says.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct LoadArguments {
    name: Option<String>,
    #[pyo3(default)]
    pooling: Option<String>,
    #[pyo3(default)]
    max_length: Option<usize>,
    #[pyo3(default)]
    query_prompt: Option<String>,
    #[pyo3(default)]
    passage_prompt: Option<String>,
    #[pyo3(default)]
    truncate_dim: Option<usize>,
    #[pyo3(default)]
    base: Option<PathBuf>,
    #[pyo3(default)]
    quantize: Option<String>,
    #[pyo3(default)]
    precision: Option<String>,
    #[pyo3(default)]
    device: Option<String>,
    #[pyo3(default)]
    batch_tokens: Option<usize>,
    #[pyo3(default)]
    ignore_settings: Vec<String>,
    #[pyo3(default)]
    strict: bool,
    #[pyo3(default)]
    cache: Option<PathBuf>,
}

impl LoadArguments {
    /// As the library's.
    pub fn options(self) -> PyResult<LoadOptions> {
        Ok(LoadOptions {
            pooling: named_if("pooling", self.pooling.as_deref())?,
            quantize: named_if("quantize", self.quantize.as_deref())?,
            precision: named_if("precision", self.precision.as_deref())?,
            device: named_if("device", self.device.as_deref())?.unwrap_or_default(),
            name: self.name,
            max_length: self.max_length,
            query_prompt: self.query_prompt,
            passage_prompt: self.passage_prompt,
            truncate_dim: self.truncate_dim,
            base: self.base,
            batch_tokens: self.batch_tokens,
            ignore_settings: self.ignore_settings,
            strict: self.strict,
            cache: self.cache,
        })
    }
}

/// How to search: what is left out is as [`SearchParams::default`] says.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct SearchArguments {
    #[pyo3(default)]
    mode: Option<String>,
    k: usize,
    #[pyo3(default)]
    k1: Option<f32>,
    #[pyo3(default)]
    b: Option<f32>,
    #[pyo3(default)]
    ef_search: Option<usize>,
    #[pyo3(default)]
    filter: Option<String>,
    #[pyo3(default)]
    candidates: Option<usize>,
    #[pyo3(default)]
    fusion: Option<String>,
    #[pyo3(default)]
    dense_weight: Option<f64>,
}

impl SearchArguments {
    /// As the library's. A filter is checked against the fields of `database`, and an option that does nothing is
    /// refused. A vector is searched for in mode dense.
    pub fn params(self, database: &secateur::Database, of_vectors: bool) -> PyResult<SearchParams> {
        let idle = self.idle();
        let by_ef = self.ef_search.is_some();
        let params = self.unchecked()?;
        if let Some(filter) = &params.filter {
            database.check_filter(filter).map_err(refused)?;
        }
        let mode = match params.mode {
            None if of_vectors => SearchMode::Dense,
            _ => database.mode(&params),
        };
        if let Some((name, _)) = idle.into_iter().find(|(_, modes)| modes.contains(&mode)) {
            return Err(usage(format!(
                "{name} does nothing in mode {mode}: leave it out, or say another mode"
            )));
        }
        match database.vector_index().filter(|index| by_ef && index.ef_search().is_none()) {
            Some(index) => Err(usage(format!(
                "ef_search does nothing here: the index is {}, which compares every vector",
                index.name()
            ))),
            None => Ok(params),
        }
    }

    /// The options that are given, and the modes in which they do nothing.
    fn idle(&self) -> Vec<(&'static str, &'static [SearchMode])> {
        const ALONE: &[SearchMode] = &[SearchMode::Dense, SearchMode::Bm25];
        let options: [(&str, bool, &[SearchMode]); 6] = [
            ("k1", self.k1.is_some(), &[SearchMode::Dense]),
            ("b", self.b.is_some(), &[SearchMode::Dense]),
            ("ef_search", self.ef_search.is_some(), &[SearchMode::Bm25]),
            ("candidates", self.candidates.is_some(), ALONE),
            ("fusion", self.fusion.is_some(), ALONE),
            ("dense_weight", self.dense_weight.is_some(), ALONE),
        ];
        options
            .into_iter()
            .filter(|(_, is_given, _)| *is_given)
            .map(|(name, _, modes)| (name, modes))
            .collect()
    }

    /// As the library's. Whether there are the fields of the filter is left to the caller.
    pub fn unchecked(self) -> PyResult<SearchParams> {
        if self.k == 0 {
            return Err(usage("k is 0: ask for at least one hit"));
        }
        if self.candidates == Some(0) {
            return Err(usage("candidates is 0: fuse at least one hit of each index"));
        }
        if let Some(weight) = self.dense_weight.filter(|weight| !weight.is_finite() || *weight < 0.0) {
            return Err(usage(format!("dense_weight is {weight}: expected a finite number, 0 or more")));
        }
        let filter = self.filter.as_deref().map(filter).transpose()?;
        let default = SearchParams::default();
        let bm25 = Bm25Params { k1: self.k1.unwrap_or(default.bm25.k1), b: self.b.unwrap_or(default.bm25.b) };
        let mode: Option<SearchMode> = named_if("mode", self.mode.as_deref())?;
        let fusion: Option<Fusion> = named_if("fusion", self.fusion.as_deref())?;
        Ok(SearchParams {
            mode,
            k: self.k,
            bm25,
            ef_search: self.ef_search,
            filter,
            num_candidates: self.candidates,
            fusion,
            dense_weight: self.dense_weight,
        })
    }
}

/// A filter of its text.
pub fn filter(text: &str) -> PyResult<Filter> {
    text.parse().map_err(|error: secateur::index::Error| refused(error))
}

/// How vectors are made, compared, stored and searched.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub struct VectorArguments {
    metric: Option<String>,
    #[pyo3(default)]
    components: Option<String>,
    #[pyo3(default)]
    index: Option<String>,
    #[pyo3(default)]
    hnsw_m: Option<usize>,
    #[pyo3(default)]
    hnsw_ef_construction: Option<usize>,
    #[pyo3(default)]
    hnsw_seed: Option<u64>,
    #[pyo3(default)]
    codes: Option<String>,
    #[pyo3(default)]
    min_rows: Option<u32>,
    #[pyo3(default)]
    passage_separator: Option<String>,
    #[pyo3(default)]
    passages: Option<String>,
}

impl VectorArguments {
    /// As the library's.
    pub fn options(&self) -> PyResult<VectorOptions> {
        let default = VectorOptions::default();
        let metric: Option<Metric> = named_if("metric", self.metric.as_deref())?;
        Ok(VectorOptions {
            metric,
            components: named_if("components", self.components.as_deref())?.unwrap_or(default.components),
            index: self.vector_index()?,
            passage_separator: self.passage_separator.clone().unwrap_or(default.passage_separator),
            passages: named_if("passages", self.passages.as_deref())?,
            source: None,
        })
    }

    fn vector_index(&self) -> PyResult<VectorIndex> {
        let name = self.index.as_deref().unwrap_or("flat");
        let Some(index) = VectorIndex::all().find(|index| index.name() == name) else {
            let names: Vec<&str> = VectorIndex::all().map(|index| index.name()).collect();
            return Err(usage(format!("index: {name:?} is none of {}", names.join(", "))));
        };
        let default = HnswParams::default();
        let codes: Option<CodeType> = named_if("codes", self.codes.as_deref())?;
        let index = index.with_params(HnswParams {
            m: self.hnsw_m.unwrap_or(default.m),
            ef_construction: self.hnsw_ef_construction.unwrap_or(default.ef_construction),
            seed: self.hnsw_seed.unwrap_or(default.seed),
            codes: codes.unwrap_or(default.codes),
        });
        Ok(self.min_rows.map_or(index, |rows| index.with_min_rows(rows)))
    }
}

/// An analyzer of its name.
pub fn analyzer(name: Option<&str>) -> PyResult<Analyzer> {
    Ok(named_if("analyzer", name)?.unwrap_or_default())
}
