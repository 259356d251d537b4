//! A recipe's text: TOML or JSON.

use std::path::Path;
use std::str::FromStr;

use secateur_datasets::read_text;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value, json};

use super::recipe::Recipe;
use crate::error::{Error, Result};

/// The keys of a recipe.
const KEYS: [&str; 6] = ["model", "score", "drop", "slim", "train", "evaluate"];

/// What is wrong with a recipe, as a sentence.
type Read<T> = std::result::Result<T, String>;

impl Recipe {
    /// Reads a file of TOML or JSON.
    ///
    /// # Errors
    ///
    /// The file cannot be read; [`Error::InvalidRecipe`], with the file and the line or the key.
    pub fn read(path: impl AsRef<Path>) -> Result<Recipe> {
        let path = path.as_ref();
        let text = read_text(path)?;
        let recipe = parse(&text)
            .map_err(|problem| Error::InvalidRecipe { problem: format!("{}: {problem}", path.display()) })?;
        Ok(Recipe { file: Some(path.to_owned()), ..recipe })
    }
}

impl FromStr for Recipe {
    type Err = Error;

    fn from_str(text: &str) -> Result<Recipe> {
        parse(text).map_err(|problem| Error::InvalidRecipe { problem })
    }
}

impl<'de> Deserialize<'de> for Recipe {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Recipe, D::Error> {
        from_value(Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Whether a text is JSON, which no TOML begins like.
pub(super) fn is_json(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

fn parse(text: &str) -> Read<Recipe> {
    let value = if is_json(text) {
        serde_json::from_str(text).map_err(|error| error.to_string())?
    } else {
        let table: toml::Table = toml::from_str(text).map_err(|error| error.to_string())?;
        as_json(toml::Value::Table(table))?
    };
    Ok(Recipe { source: Some(text.to_owned()), ..from_value(value)? })
}

/// JSON has no numbers that are not finite: they would become nothing.
fn as_json(value: toml::Value) -> Read<Value> {
    Ok(match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) if number.is_finite() => number.into(),
        toml::Value::Float(number) => return Err(format!("{number} is not a finite number")),
        toml::Value::Boolean(value) => value.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Array(values) => values.into_iter().map(as_json).collect::<Read<Vec<Value>>>()?.into(),
        toml::Value::Table(table) => {
            let fields = table.into_iter().map(|(key, value)| Ok((key, as_json(value)?)));
            fields.collect::<Read<Map<String, Value>>>()?.into()
        }
    })
}

fn from_value(value: Value) -> Read<Recipe> {
    let Value::Object(mut tables) = value else { return Err("a recipe is a table of its stages".to_owned()) };
    if let Some(key) = tables.keys().find(|key| !KEYS.contains(&key.as_str())) {
        return Err(format!("{key} is nothing that a recipe has; it has {}", KEYS.join(", ")));
    }
    let model = match tables.remove("model") {
        Some(Value::String(model)) => model,
        Some(other) => return Err(format!("model is {other}; expected the name of an encoder")),
        None => return Err("model is missing; it names the encoder to begin with".to_owned()),
    };
    Ok(Recipe {
        model,
        score: stage("score", &mut tables)?,
        drop: stage("drop", &mut tables)?,
        slim: stage("slim", &mut tables)?,
        train: stage("train", &mut tables)?,
        evaluate: stage("evaluate", &mut tables)?.unwrap_or_default(),
        directory: None,
        file: None,
        source: None,
    })
}

/// The options of a stage: the defaults, and what the recipe says. They are read key by key, so that an error can
/// name the key. Stages share options, which are flattened into theirs; there serde would neither refuse an unknown
/// key nor name a wrong one.
fn stage<T: Default + Serialize + DeserializeOwned>(
    name: &str,
    tables: &mut Map<String, Value>,
) -> Read<Option<T>> {
    let table = match tables.remove(name) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(table)) => table,
        Some(other) => return Err(format!("{name} is {other}; expected a table of its options")),
    };
    let Ok(Value::Object(defaults)) = serde_json::to_value(T::default()) else {
        unreachable!("options are structs that JSON can hold")
    };
    let mut options = defaults.clone();
    for (key, value) in table {
        let key = key.replace('_', "-");
        // Older recipes leave the word out. In [drop] these keys are other options.
        let longer = format!("calibration-{key}");
        let key = if !defaults.contains_key(&key) && defaults.contains_key(&longer) { longer } else { key };
        let Some(default) = defaults.get(&key) else {
            let keys = defaults.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(format!("the recipe's [{name}] has no key {key}; its keys are {keys}"));
        };
        // A list of one may stand without brackets.
        let value = if default.is_array() && !value.is_array() { json!([value]) } else { value };
        let mut alone = defaults.clone();
        alone.insert(key.clone(), value.clone());
        if let Err(error) = serde_json::from_value::<T>(alone.into()) {
            let found = if value.is_object() { "table".to_owned() } else { value.to_string() };
            let problem = error.to_string().replace("a nonzero usize", "a whole number of at least 1");
            let problem = problem.replace("expected usize", "expected a whole number");
            return Err(format!("the recipe's [{name}]: {key} is {found}: {problem}"));
        }
        options.insert(key, value);
    }
    serde_json::from_value(options.into())
        .map(Some)
        .map_err(|error| format!("the recipe's [{name}]: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prune::{CalibrationFormat, MeasureOptions, SlimOptions};
    use crate::train::TrainOptions;

    const TOML: &str = r#"
        model = "m"
        [train]
        data = ["a b.jsonl", "c.jsonl"]
        full = true
        gradient_cache = false
        learning-rate = 5e-5
        batch-size = 64
        [drop]
        target-params = "3.4M"
        layers = ["mlp:3", "attention:0-2"]
        [slim]
        sparsity = 0.3
        train = "one.jsonl"
        lambda = 1
    "#;

    #[test]
    fn tables_are_the_options_of_stages() {
        let recipe: Recipe = TOML.parse().unwrap();
        let train = recipe.train.as_ref().unwrap();
        let mut expected =
            TrainOptions { data: vec!["a b.jsonl".into(), "c.jsonl".into()], ..Default::default() };
        expected.what.full = true;
        expected.steps.learning_rate = Some(5e-5);
        expected.steps.batch_size = 64.try_into().unwrap();
        assert_eq!(*train, expected);
        let mut slim = SlimOptions { sparsity: 0.3, train: vec!["one.jsonl".into()], ..Default::default() };
        slim.lambda = Some(1.0);
        assert_eq!(recipe.slim, Some(slim));
        let drop = recipe.drop.as_ref().unwrap();
        assert_eq!(drop.target_params.unwrap().0, 3_400_000);
        assert_eq!(drop.layers[1].to_string(), "attention:0-2");
        assert_eq!(recipe.source.as_deref(), Some(TOML));
    }

    #[test]
    fn keys_of_calibration_may_be_short() {
        let recipe: Recipe =
            "model = \"m\"\n[score]\nblocks = 8\nformat = \"texts\"\n[drop]\nblocks = 2".parse().unwrap();
        let measure = recipe.score.unwrap().measure;
        assert_eq!(measure.calibration_blocks.get(), 8);
        assert_eq!(measure.calibration_format, CalibrationFormat::Texts);
        let drop = recipe.drop.unwrap();
        assert_eq!(drop.blocks.unwrap().get(), 2);
        assert_eq!(drop.measure, MeasureOptions::default());
    }

    #[test]
    fn a_recipe_survives_json() {
        let recipe = Recipe { source: None, ..TOML.parse().unwrap() };
        let read: Recipe = recipe.text().parse().unwrap();
        assert_eq!(Recipe { source: None, ..read }, recipe);
        assert_eq!(serde_json::from_str::<Recipe>(&recipe.text()).unwrap(), recipe);
    }

    #[test]
    fn the_recipes_in_the_repository_are_sound() {
        for name in ["minilm", "minilm-general", "minilm-half", "mistral-7b"] {
            let path = format!("{}/encoders/recipes/{name}.toml", env!("CARGO_MANIFEST_DIR"));
            Recipe::read(path).unwrap().check().unwrap();
        }
    }

    #[test]
    fn faults_are_named() {
        for (text, parts) in [
            ("model = \"m\"\n[drop", &["line 2"][..]),
            ("[drop]\nmlp = 1", &["model is missing"]),
            ("model = \"m\"\n[drip]", &["drip", "score, drop"]),
            ("model = \"m\"\n[drop]\nmlp = [[1]]", &["[drop]: mlp is [[1]]", "expected"]),
            ("model = \"m\"\n[drop]\nmlp = 0", &["[drop]: mlp is 0"]),
            ("model = \"m\"\n[drop]\nmlp = {}", &["[drop]: mlp is table"]),
            ("model = \"m\"\n[drop]\nlayers = [\"mlp3\"]", &["[drop]: layers is", "expected mlp:N"]),
            (
                "model = \"m\"\n[train]\nlearnign-rate = 1",
                &["[train] has no key learnign-rate", "learning-rate"],
            ),
            ("model = \"m\"\n[train]\nlearning-rate = inf", &["inf is not a finite number"]),
            ("{\"model\": \"m\", \"train\": {\"epochs\": \"two\"}}", &["[train]: epochs is \"two\""]),
        ] {
            let message = text.parse::<Recipe>().unwrap_err().to_string();
            assert!(parts.iter().all(|part| message.contains(part)), "{message}");
        }
    }

    #[test]
    fn contradictions_are_found_before_the_first_stage() {
        for (stages, parts) in [
            ("[score]", &["[score]", "calibration"][..]),
            ("[drop]", &["[drop]", "say what to drop"]),
            ("[score]\ncalibration = \"c\"\n[drop]\nmlp = 1\nscores = \"s\"", &["[drop]", "scores"]),
            ("[drop]\ntarget-params = 9\nmlp = 1", &["[drop]", "target-params"]),
            ("[slim]\ntrain = [\"t\"]", &["[slim]", "sparsity"]),
            ("[slim]\nsparsity = 0.3", &["[slim]", "calibration"]),
            ("[slim]\nsparsity = 0.3\ncalibration = \"c\"\npressure = 1", &["[slim]", "pressure"]),
            ("[train]", &["[train]", "data"]),
            ("[train]\ndata = [\"d\"]\nfull = true\nrank = 4", &["[train]", "rank"]),
            ("[train]\ndata = [\"d\"]\nsteps = 4\nepochs = 2", &["[train]", "epochs"]),
            ("[train]\ndata = [\"d\"]\nalignment-weight = 1", &["[train]", "alignment-weight"]),
            // What the stages would find themselves, late.
            ("[train]\ndata = [\"d\"]\nsteps = 0", &["[train]: steps: it is 0; it must be at least 1"]),
            (
                "[train]\ndata = [\"d\"]\nlearning-rate = -1.0",
                &["[train]: learning-rate: it is -1; it must be"],
            ),
            ("[train]\ndata = [\"d\"]\nepochs = 0.0", &["[train]: epochs: expected a number above 0"]),
            ("[train]\ndata = [\"d\"]\nrank = 0", &["[train]: rank: it is 0; it must be at least 1"]),
            (
                "[train]\ndata = [\"d\"]\ntemperature = 0.0",
                &["[train]: temperature: it is 0; it must be above 0"],
            ),
            ("[slim]\nsparsity = 0.3\ntrain = [\"t\"]\nsteps = 0", &["[slim]: steps: it is 0"]),
            (
                "[slim]\nsparsity = 0.3\ntrain = [\"t\"]\nlambda = -1.0",
                &["[slim]: lambda: it is -1; it must be 0 or more"],
            ),
            ("[slim]\nsparsity = 0.3\ntrain = [\"t\"]\nfloor = 2.0", &["[slim]: floor: ", "0 to 1"]),
        ] {
            let recipe: Recipe = format!("model = \"m\"\n{stages}").parse().unwrap();
            let message = recipe.check().unwrap_err().to_string();
            assert!(parts.iter().all(|part| message.contains(part)), "{stages}: {message}");
        }
    }
}
