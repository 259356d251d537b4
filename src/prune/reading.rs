//! How the files of a model that is pruned are read.

use secateur_encoders::LoadOptions;
use serde::{Deserialize, Serialize};

/// How the files of a model that is pruned are read.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct ReadingOptions {
    /// Read the model's files as if they did not have this setting: KEY, or OUTER.KEY. What is written lacks it.
    #[arg(long, value_name = "KEY", help_heading = "How the model is read")]
    pub ignore_setting: Vec<String>,
}

impl ReadingOptions {
    /// The options to load the model with.
    pub fn load_options(&self) -> LoadOptions {
        LoadOptions { ignore_settings: self.ignore_setting.clone(), ..LoadOptions::default() }
    }
}
