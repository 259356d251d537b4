//! From a config.json to an [`Architecture`].

use std::path::Path;

use serde_json::Value;

use super::{Architecture, Remaining, family};
use crate::error::Result;
use crate::json;

impl Architecture {
    /// Reads a config.json.
    ///
    /// # Errors
    ///
    /// The file is missing or is not JSON, names a family that is not known, or a field is absent or out of range.
    pub fn read(path: impl AsRef<Path>) -> Result<Architecture> {
        let path = path.as_ref();
        Architecture::from_config(path, &json::read(path)?)
    }

    /// Reads the JSON object of a config.json; `path` is what errors call it.
    pub(crate) fn from_config(path: &Path, config: &Value) -> Result<Architecture> {
        let family = family::by_config(path, config)?;
        let whole = (family.read)(path, config)?;
        Ok(whole.keep(&Remaining::read_from(path, config, &whole.layers)?))
    }
}
