//! Models whose vectors may be cut (Kusupati et al. 2022, "Matryoshka Representation Learning").

use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::error::{Error, Result};

/// The keys of config.json by which a model says so.
#[derive(Deserialize)]
struct Declaration {
    is_matryoshka: Option<bool>,
    matryoshka_dimensions: Option<Vec<usize>>,
}

/// Refuses to cut vectors of `hidden_size` numbers to `dim` where the model was not trained for it.
pub(crate) fn check(path: &Path, config: &Value, dim: usize, hidden_size: usize) -> Result<()> {
    let declaration = Declaration::deserialize(config)
        .map_err(|source| Error::Json { path: path.to_owned(), source: source.into() })?;
    let invalid = |found: String, expected: String| {
        Err(Error::InvalidField {
            path: path.to_owned(),
            field: "the dimension that was asked for".to_owned(),
            found,
            expected,
        })
    };
    match (declaration.is_matryoshka, declaration.matryoshka_dimensions) {
        (_, Some(dims)) if !dims.contains(&dim) => {
            invalid(dim.to_string(), format!("one of matryoshka_dimensions, {dims:?}"))
        }
        (Some(true), _) | (_, Some(_)) if (1..=hidden_size).contains(&dim) => Ok(()),
        (Some(true), _) | (_, Some(_)) => invalid(dim.to_string(), format!("1 to {hidden_size}")),
        _ => invalid(
            dim.to_string(),
            format!(
                "{hidden_size}: the model declares neither is_matryoshka nor matryoshka_dimensions, so a part of its \
                 vectors means nothing"
            ),
        ),
    }
}
