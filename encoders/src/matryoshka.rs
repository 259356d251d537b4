//! Models whose vectors may be cut (Kusupati et al. 2022, "Matryoshka Representation Learning").

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};

/// The key of config.json by which a model says which lengths it was trained for.
#[derive(Deserialize)]
struct Declaration {
    matryoshka_dimensions: Option<Vec<usize>>,
}

/// Refuses to cut vectors of `whole` numbers to `dim` where the model says that it was trained for other lengths.
///
/// A model that says nothing is cut as it is asked for.
pub(crate) fn check(path: &Path, config: &Value, dim: usize, whole: usize) -> Result<()> {
    let declaration = Declaration::deserialize(config)
        .map_err(|source| Error::Json { path: path.to_owned(), source: source.into() })?;
    let expected = match declaration.matryoshka_dimensions {
        Some(dims) if !dims.contains(&dim) => format!("one of matryoshka_dimensions, {dims:?}"),
        _ if !(1..=whole).contains(&dim) => format!("1 to {whole}"),
        _ => return Ok(()),
    };
    Err(Error::InvalidOption { path: path.to_owned(), option: "dimension", found: dim, expected })
}
