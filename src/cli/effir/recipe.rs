//! The recipe's file.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use toml::{Table, Value};

use crate::cli::failure::{Code, Failure, Result};

/// What a recipe says.
pub struct Recipe {
    /// The file as it is.
    pub source: String,
    pub model: String,
    pub score: Option<Options>,
    pub drop: Option<Options>,
    pub slim: Option<Options>,
    pub train: Option<Options>,
    pub evaluate: Evaluate,
}

/// The options of a stage: the keys are those of its command.
#[derive(Default, Deserialize)]
#[serde(transparent)]
pub struct Options(Table);

/// What the model is measured on.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evaluate {
    #[serde(default)]
    pub datasets: Vec<String>,
    #[serde(default)]
    pub baseline: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    model: String,
    score: Option<Options>,
    drop: Option<Options>,
    slim: Option<Options>,
    train: Option<Options>,
    #[serde(default)]
    evaluate: Evaluate,
}

impl Recipe {
    pub fn read(path: &Path) -> Result<Recipe> {
        let source = fs::read_to_string(path)
            .map_err(|error| Failure::new(Code::Input, format!("cannot read {}: {error}", path.display())))?;
        let File { model, score, drop, slim, train, evaluate } = toml::from_str(&source)
            .map_err(|error| Failure::new(Code::Usage, format!("{}: {error}", path.display())))?;
        Ok(Recipe { source, model, score, drop, slim, train, evaluate })
    }
}

impl Options {
    /// The options as the command line spells them. `stage` is the table's name.
    pub fn arguments(&self, stage: &str) -> Result<Vec<String>> {
        let mut arguments = Vec::new();
        for (key, value) in &self.0 {
            let option = format!("--{}", key.replace('_', "-"));
            match value {
                Value::Boolean(true) => arguments.push(option),
                Value::Boolean(false) => {}
                Value::Array(values) => {
                    for value in values {
                        arguments.push(format!("{option}={}", scalar(stage, key, value)?));
                    }
                }
                value => arguments.push(format!("{option}={}", scalar(stage, key, value)?)),
            }
        }
        Ok(arguments)
    }
}

fn scalar(stage: &str, key: &str, value: &Value) -> Result<String> {
    Ok(match value {
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        other => {
            let message = format!(
                "the recipe's [{stage}]: {key} is {}; expected a string, a number, true or false, or a list of those",
                other.type_str()
            );
            return Err(Failure::new(Code::Usage, message));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_the_options_of_commands() {
        let file: File = toml::from_str(
            r#"
            model = "m"
            [train]
            data = ["a b.jsonl", "c.jsonl"]
            full = true
            gradient_cache = false
            learning-rate = 5e-5
            batch-size = 64
            "#,
        )
        .unwrap();
        let arguments = file.train.unwrap().arguments("train").unwrap();
        let expected =
            ["--data=a b.jsonl", "--data=c.jsonl", "--full", "--learning-rate=0.00005", "--batch-size=64"];
        assert_eq!(
            arguments.iter().collect::<std::collections::BTreeSet<_>>(),
            expected.map(str::to_owned).iter().collect()
        );
        let file: File = toml::from_str("model = 'm'\n[drop]\nmlp = [[1]]").unwrap();
        let message = file.drop.unwrap().arguments("drop").unwrap_err().message;
        assert!(message.contains("[drop]: mlp is array"), "{message}");
    }
}
