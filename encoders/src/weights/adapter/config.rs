//! adapter_config.json of PEFT.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use regex::Regex;
use secateur_files::AtPath;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::keys::KEYS;
use crate::error::{Error, Result};
use crate::json;
use crate::keys::check;

/// The file that makes a directory an adapter's.
pub(crate) const FILE: &str = "adapter_config.json";

/// What an adapter says of itself.
pub(crate) struct Config {
    /// The model it was trained on: a path or a name.
    base: Option<String>,
    revision: Option<String>,
    rank: usize,
    alpha: f64,
    ranks: Vec<(Regex, usize)>,
    alphas: Vec<(Regex, f64)>,
    rank_stabilized: bool,
    /// Whether rows of the sums are scaled to lengths of their own (Liu et al. 2024, DoRA).
    pub(super) scales_rows: bool,
    pub(super) init: LoraInit,
    /// Rows of embedding tables that were trained, by what the name of the table ends in.
    tokens: BTreeMap<String, Vec<usize>>,
}

/// What was taken out of the base where the adapter began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LoraInit {
    /// Nothing.
    Apart,
    /// The best approximation of the adapter's rank.
    Pissa,
    /// The first columns of its QR decomposition.
    Olora,
}

/// PEFT's rank, where the file does not say it.
fn eight() -> usize {
    8
}

/// PEFT's scale, likewise.
fn eight_of_alpha() -> f64 {
    8.0
}

#[derive(Deserialize)]
struct Raw {
    base_model_name_or_path: Option<String>,
    revision: Option<String>,
    #[serde(default = "eight")]
    r: usize,
    #[serde(default = "eight_of_alpha")]
    lora_alpha: f64,
    #[serde(default)]
    use_rslora: bool,
    #[serde(default)]
    use_dora: bool,
    rank_pattern: Option<BTreeMap<String, usize>>,
    alpha_pattern: Option<BTreeMap<String, f64>>,
    #[serde(default)]
    init_lora_weights: Value,
    trainable_token_indices: Option<Tokens>,
}

/// Of the input embeddings, or of tables by name.
#[derive(Deserialize)]
#[serde(untagged)]
enum Tokens {
    Inputs(Vec<usize>),
    ByTable(BTreeMap<String, Vec<usize>>),
}

impl Config {
    /// Reads the file of an adapter's directory, without the settings to ignore.
    pub(crate) fn read(directory: &Path, ignored: &[String]) -> Result<Config> {
        let path = &directory.join(FILE);
        let bytes = std::fs::read(path).at("read", path)?;
        let object: Map<String, Value> = json::parse_without(path, &bytes, ignored)?;
        let invalid = |field: &str, found: String, expected: &str| Error::InvalidField {
            path: path.to_owned(),
            field: field.to_owned(),
            found,
            expected: expected.to_owned(),
        };
        let kind = object.get("peft_type").cloned().unwrap_or_default();
        if kind != "LORA" {
            return Err(invalid("peft_type", kind.to_string(), "\"LORA\""));
        }
        check(path, "", &object, &[&KEYS])?;
        let raw: Raw = json::of_value(path, Value::Object(object))?;
        let init = match &raw.init_lora_weights {
            Value::Null | Value::Bool(_) => LoraInit::Apart,
            Value::String(name) => match name.to_lowercase().as_str() {
                // The weights that they begin with are those of the file by now.
                "gaussian" | "eva" | "orthogonal" | "lora_ga" | "mica" => LoraInit::Apart,
                "pissa" => LoraInit::Pissa,
                "olora" => LoraInit::Olora,
                name if name.starts_with("pissa_niter_") => {
                    let expected = "an initialization that can be computed again: this one took a part out of the base that \
                                    random numbers decided, and they are not in the adapter; save it with PEFT's \
                                    path_initial_model_for_weight_conversion";
                    return Err(invalid("init_lora_weights", format!("{name:?}"), expected));
                }
                _ => {
                    let expected = "true, false, gaussian, eva, orthogonal, lora_ga, mica, pissa or olora";
                    return Err(invalid("init_lora_weights", format!("{name:?}"), expected));
                }
            },
            other => {
                return Err(invalid(
                    "init_lora_weights",
                    other.to_string(),
                    "true, false or the name of an initialization",
                ));
            }
        };
        let pattern = |field: &str, key: &str| {
            Regex::new(&format!(r"^(?:.*\.)?(?:{key})$"))
                .map_err(|_| invalid(field, format!("{key:?}"), "a regular expression"))
        };
        let (rank_pattern, alpha_pattern) =
            (raw.rank_pattern.unwrap_or_default(), raw.alpha_pattern.unwrap_or_default());
        let ranks = rank_pattern.iter().map(|(key, rank)| Ok((pattern("rank_pattern", key)?, *rank)));
        let alphas = alpha_pattern.iter().map(|(key, alpha)| Ok((pattern("alpha_pattern", key)?, *alpha)));
        Ok(Config {
            rank: raw.r,
            alpha: raw.lora_alpha,
            ranks: ranks.collect::<Result<_>>()?,
            alphas: alphas.collect::<Result<_>>()?,
            rank_stabilized: raw.use_rslora,
            scales_rows: raw.use_dora,
            init,
            base: raw.base_model_name_or_path.filter(|base| !base.is_empty()),
            revision: raw.revision.filter(|revision| !revision.is_empty()),
            tokens: match raw.trainable_token_indices {
                None => BTreeMap::new(),
                Some(Tokens::Inputs(rows)) => BTreeMap::from([(String::new(), rows)]),
                Some(Tokens::ByTable(rows)) => rows,
            },
        })
    }

    /// The model that it names, as `OWNER/NAME` or `OWNER/NAME@REVISION`, where that is no model directory here.
    pub(crate) fn base_name(self, directory: &Path) -> Option<String> {
        let (base, revision) = (self.base.clone()?, self.revision.clone());
        if self.base_directory(directory).is_some() {
            return None;
        }
        Some(match revision {
            Some(revision) => format!("{base}@{revision}"),
            None => base,
        })
    }

    /// The rows of the table `name` that were trained.
    pub(super) fn tokens_of(&self, name: &str) -> Option<&[usize]> {
        let by_name = self
            .tokens
            .iter()
            .find(|(table, _)| !table.is_empty() && (name == *table || name.ends_with(&format!(".{table}"))));
        by_name.map(|(_, rows)| rows.as_slice()).or_else(|| self.tokens.get("").map(Vec::as_slice))
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
            Config::read(directory.path(), &[])
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
            (r#", "init_lora_weights": "pissa_niter_4""#, "init_lora_weights is \"pissa_niter_4\""),
            (r#", "init_lora_weights": "corda""#, "pissa or olora"),
            (r#", "lora_bias": true"#, "lora_bias is true"),
            (r#", "use_sparsity": 3"#, "--ignore-setting use_sparsity"),
            (r#", "rank_pattern": {"(": 1}"#, "rank_pattern is \"(\"; expected a regular expression"),
        ] {
            let message = read(extra).err().unwrap().to_string();
            assert!(message.contains(want), "{message}");
        }
    }
}
