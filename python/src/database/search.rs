//! Databases are searched.

use numpy::ndarray::ArrayView2;
use numpy::{PyArray1, PyReadonlyArray2};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::types::PyDict;
use secateur::search::{Explanation, Place, snippet};
use secateur::{Error, Hit};

use super::Database;
use crate::arguments::SearchArguments;
use crate::errors::usage;
use crate::work::{compute, watched};

/// How many queries are answered between two looks at whether to go on.
const CHUNK: usize = 256;

/// The ids of hits and their scores, f64 (K).
pub type Found<'py> = (Vec<String>, Bound<'py, PyArray1<f64>>);

#[pymethods]
impl Database {
    /// The hits of each query.
    fn search<'py>(
        &self,
        py: Python<'py>,
        queries: Vec<PyBackedStr>,
        arguments: SearchArguments,
    ) -> PyResult<Vec<Found<'py>>> {
        let reader = self.reader();
        let params = arguments.params(&reader, false)?;
        let queries: Vec<&str> = queries.iter().map(|query| &**query).collect();
        let answer = |queries: &[&str]| reader.search_batch(queries, &params);
        let hits = in_chunks(py, &queries, answer)?;
        Ok(hits.into_iter().map(|hits| found(py, hits)).collect())
    }

    /// The hits of each vector of f32 (Q, D), which are read where they lie.
    fn search_vectors<'py>(
        &self,
        py: Python<'py>,
        vectors: PyReadonlyArray2<'_, f32>,
        arguments: SearchArguments,
    ) -> PyResult<Vec<Found<'py>>> {
        let reader = self.reader();
        let params = arguments.params(&reader, true)?;
        let view = vectors.as_array();
        let rows = rows(&view)?;
        let answer = |rows: &[&[f32]]| rows.iter().map(|row| reader.search_vector(row, &params)).collect();
        let hits = in_chunks(py, &rows, answer)?;
        Ok(hits.into_iter().map(|hits| found(py, hits)).collect())
    }

    /// The hits of one query, each with its place in the ranking of either index, and the seconds of each part.
    fn explain<'py>(
        &self,
        py: Python<'py>,
        query: &str,
        arguments: SearchArguments,
    ) -> PyResult<(Vec<Explained>, Bound<'py, PyDict>)> {
        let reader = self.reader();
        let params = arguments.params(&reader, false)?;
        explained(py, compute(py, || reader.explain(query, &params))?)
    }

    /// The name of the index that answers.
    fn mode(&self, arguments: SearchArguments) -> PyResult<String> {
        let reader = self.reader();
        Ok(reader.mode(&arguments.params(&reader, false)?).to_string())
    }

    /// The part of a text with the most of a query's words, and where they are in it: characters from, and to.
    fn snippet(&self, text: &str, query: &str, max_chars: usize) -> (String, Vec<(usize, usize)>) {
        let found = snippet(text, query, self.reader().analyzer(), max_chars);
        let chars = |bytes: usize| found.text[..bytes].chars().count();
        let marks = found.marks.iter().map(|mark| (chars(mark.start), chars(mark.end))).collect();
        (found.text, marks)
    }
}

/// A hit: id, score, rank and score by vectors, rank and score by words.
pub type Explained = (String, f64, Option<(Option<usize>, f64)>, Option<(Option<usize>, f64)>);

/// The hits of one query, and the seconds of each part, for Python.
pub fn explained(py: Python<'_>, explanation: Explanation) -> PyResult<(Vec<Explained>, Bound<'_, PyDict>)> {
    let place = |place: Option<Place>| place.map(|place| (place.rank, place.score));
    let hits = explanation.hits.into_iter();
    let hits = hits.map(|(hit, sides)| (hit.doc_id, hit.score, place(sides.dense), place(sides.bm25)));
    let times = PyDict::new(py);
    let spent = explanation.times;
    for (part, time) in [
        ("filter", spent.filter),
        ("encode", spent.encode),
        ("dense", spent.dense),
        ("bm25", spent.bm25),
        ("fuse", spent.fuse),
    ] {
        times.set_item(part, time.as_secs_f64())?;
    }
    Ok((hits.collect(), times))
}

/// The vectors of an array (Q, D), where they lie.
pub fn rows<'v>(view: &'v ArrayView2<'_, f32>) -> PyResult<Vec<&'v [f32]>> {
    let rows: Option<Vec<&[f32]>> = view.rows().into_iter().map(|row| row.to_slice()).collect();
    rows.ok_or_else(|| {
        usage("the numbers of a row are not side by side: give numpy.ascontiguousarray of the vectors")
    })
}

/// Answers some at a time, so that Ctrl-C is heard between.
pub fn in_chunks<Q: Sync, A: Send>(
    py: Python<'_>,
    queries: &[Q],
    answer: impl Fn(&[Q]) -> Result<Vec<A>, Error> + Sync,
) -> PyResult<Vec<A>> {
    if queries.len() <= CHUNK {
        return compute(py, || answer(queries));
    }
    watched(py, |watch| {
        let mut answers = Vec::with_capacity(queries.len());
        for chunk in queries.chunks(CHUNK) {
            watch.check();
            answers.extend(watch.install(|| answer(chunk))?);
        }
        Ok(answers)
    })
}

/// The hits of one query, for Python.
pub fn found(py: Python<'_>, hits: Vec<Hit>) -> Found<'_> {
    let (ids, scores): (Vec<String>, Vec<f64>) = hits.into_iter().map(|hit| (hit.doc_id, hit.score)).unzip();
    (ids, PyArray1::from_vec(py, scores))
}
