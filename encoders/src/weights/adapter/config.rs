//! adapter_config.json of PEFT.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::json;

/// The file that makes a directory an adapter's.
pub(crate) const FILE: &str = "adapter_config.json";

/// What an adapter says of itself.
pub(crate) struct Config {
    /// The model it was trained on: a path or a name.
    base: Option<String>,
    rank: usize,
    alpha: f64,
    ranks: Vec<(Regex, usize)>,
    alphas: Vec<(Regex, f64)>,
    rank_stabilized: bool,
}

#[derive(Deserialize)]
struct Raw {
    peft_type: String,
    base_model_name_or_path: Option<String>,
    r: usize,
    lora_alpha: f64,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    #[serde(default)]
    rank_pattern: BTreeMap<String, usize>,
    #[serde(default)]
    alpha_pattern: BTreeMap<String, f64>,
}

impl Config {
    /// `fan_in_fan_out` is not read. It says that the base stores its weights transposed, as GPT-2 does. No family
    /// here does so, and PEFT turns it off for them.
    pub(crate) fn read(path: &Path) -> Result<Config> {
        let raw: Raw = json::read(path)?;
        let invalid = |field: &str, found: String, expected: &str| Error::InvalidField {
            path: path.to_owned(),
            field: field.to_owned(),
            found,
            expected: expected.to_owned(),
        };
        if raw.peft_type != "LORA" {
            return Err(invalid("peft_type", format!("{:?}", raw.peft_type), "\"LORA\""));
        }
        if raw.use_dora {
            return Err(invalid("use_dora", "true".to_owned(), "false: DoRA adapters are not read"));
        }
        let pattern = |field: &str, key: &str| {
            Regex::new(&format!(r"^(?:.*\.)?(?:{key})$"))
                .map_err(|_| invalid(field, format!("{key:?}"), "a regular expression"))
        };
        let ranks = raw.rank_pattern.iter().map(|(key, rank)| Ok((pattern("rank_pattern", key)?, *rank)));
        let alphas =
            raw.alpha_pattern.iter().map(|(key, alpha)| Ok((pattern("alpha_pattern", key)?, *alpha)));
        Ok(Config {
            rank: raw.r,
            alpha: raw.lora_alpha,
            ranks: ranks.collect::<Result<_>>()?,
            alphas: alphas.collect::<Result<_>>()?,
            rank_stabilized: raw.use_rslora,
            base: raw.base_model_name_or_path.filter(|base| !base.is_empty()),
        })
    }

    /// The directory of the model that it names, where that is a model's; `directory` is the adapter's.
    pub(crate) fn base_directory(self, directory: &Path) -> Option<PathBuf> {
        let candidates = self.base.map(|base| [directory.join(&base), PathBuf::from(base)]);
        candidates.into_iter().flatten().find(|path| path.join("config.json").exists())
    }

    /// The rank of a module's adapter.
    pub(super) fn rank(&self, module: &str) -> usize {
        self.ranks.iter().find(|(pattern, _)| pattern.is_match(module)).map_or(self.rank, |(_, rank)| *rank)
    }

    /// The factor on a module's product: alpha / r (Hu et al. 2021), or alpha / sqrt(r) (Kalajdzievski 2023).
    pub(super) fn scaling(&self, module: &str) -> f64 {
        let alpha = self.alphas.iter().find(|(pattern, _)| pattern.is_match(module));
        let alpha = alpha.map_or(self.alpha, |(_, alpha)| *alpha);
        let rank = self.rank(module) as f64;
        alpha / if self.rank_stabilized { rank.sqrt() } else { rank }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_those_of_peft() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("adapter_config.json");
        let read = |extra: &str| {
            let text = format!(r#"{{"peft_type": "LORA", "r": 4, "lora_alpha": 8{extra}}}"#);
            std::fs::write(&path, text).unwrap();
            Config::read(&path)
        };
        let config = read(
            r#", "rank_pattern": {"down_proj": 16, "layers\\.1\\..*q_proj": 2}, "alpha_pattern": {"layers.0.mlp.down_proj": 4}"#,
        )
        .unwrap();
        let cases = [
            ("model.layers.0.self_attn.q_proj", 4, 2.0),
            ("model.layers.1.self_attn.q_proj", 2, 4.0),
            ("model.layers.0.mlp.down_proj", 16, 0.25),
            ("model.layers.1.mlp.down_proj", 16, 0.5),
            // A suffix counts only after a dot.
            ("model.layers.1.mlp.updown_proj", 4, 2.0),
        ];
        for (module, rank, scaling) in cases {
            assert_eq!((config.rank(module), config.scaling(module)), (rank, scaling), "{module}");
        }
        assert_eq!(read(r#", "use_rslora": true"#).unwrap().scaling("q_proj"), 4.0);
        for (extra, want) in [
            (r#", "use_dora": true"#, "use_dora is true"),
            (r#", "rank_pattern": {"(": 1}"#, "rank_pattern is \"(\"; expected a regular expression"),
        ] {
            let message = read(extra).err().unwrap().to_string();
            assert!(message.contains(want), "{message}");
        }
    }
}
