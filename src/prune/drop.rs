//! A model without some of its sub-layers.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use secateur_encoders::prune::{
    Budget, BudgetPlan, Importance, Layout, ModelDirectory, Remaining, SubLayer, Variant,
};
use serde::{Deserialize, Serialize};

use super::score::{MeasureOptions, ScoreOptions};
use super::{ReadingOptions, open_model, read_scores};
use crate::error::{Error, Result};
use crate::options::positive;
use crate::progress::Progress;

/// Which sub-layers are dropped. The keys of a recipe's `[drop]` and the options of `secateur prune drop` are these.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct DropOptions {
    /// Drop this many MLPs, the least important ones.
    #[arg(long, value_name = "N", value_parser = positive, help_heading = WHAT)]
    pub mlp: Option<NonZeroUsize>,
    /// Drop this many attentions, the least important ones.
    #[arg(long, value_name = "N", value_parser = positive, help_heading = WHAT)]
    pub attention: Option<NonZeroUsize>,
    /// Drop this many blocks, the least important ones.
    #[arg(long, value_name = "N", value_parser = positive, help_heading = WHAT)]
    pub blocks: Option<NonZeroUsize>,
    /// Drop this many blocks at the end.
    #[arg(long, value_name = "N", value_parser = positive, help_heading = WHAT)]
    pub last_blocks: Option<NonZeroUsize>,
    /// Drop these sub-layers, separated by commas, whatever their importance: mlp:3, attention:0-2 or block:5.
    #[arg(long, value_name = "NAMES", value_delimiter = ',', help_heading = WHAT)]
    pub layers: Vec<NamedLayers>,
    /// Drop MLPs until the model has at most this many parameters, such as 3.4B.
    ///
    /// If depth alone cannot reach it, prints the --sparsity to give to `prune slim`.
    #[arg(long, value_name = "N", conflicts_with_all = COUNTS, help_heading = WHAT)]
    pub target_params: Option<ParameterCount>,
    /// Drop MLPs until a token costs at most this many GFLOP in the linear layers.
    ///
    /// If depth alone cannot reach it, prints the --sparsity to give to `prune slim`.
    #[arg(long, value_name = "X", conflicts_with_all = COUNTS, conflicts_with = "target_params", help_heading = WHAT)]
    pub target_gflop: Option<f64>,
    /// The scores of this model, from `prune score`.
    #[arg(long, value_name = "FILE.json", conflicts_with = "iterative", help_heading = IMPORTANCE)]
    pub scores: Option<PathBuf>,
    /// Measure anew after each sub-layer that is dropped, on the texts of --calibration.
    #[arg(long, requires = "calibration", help_heading = IMPORTANCE)]
    pub iterative: bool,
    /// Texts that the model reads: a file of one text a line, JSON lines with `text`, or a data set.
    #[arg(long, value_name = "TEXTS", help_heading = IMPORTANCE)]
    pub calibration: Option<PathBuf>,
    /// How config.json says what is dropped.
    #[arg(long, value_enum, default_value_t)]
    pub format: Layout,
    /// How importance is measured on the texts.
    #[command(flatten, next_help_heading = IMPORTANCE)]
    #[serde(flatten)]
    pub measure: MeasureOptions,
    /// How the model's files are read.
    #[command(flatten)]
    #[serde(flatten)]
    pub reading: ReadingOptions,
}

const WHAT: &str = "What to drop";
const IMPORTANCE: &str = "How importance is known";
const COUNTS: [&str; 5] = ["mlp", "attention", "blocks", "last_blocks", "iterative"];

/// What was dropped.
#[derive(Clone, Debug, PartialEq)]
pub struct Dropped {
    /// What the model is called that it was dropped from.
    pub model: String,
    /// What is left of it.
    pub remaining: Remaining,
    /// The sub-layers that went, in words; those dropped before are not among them.
    pub losses: String,
    /// Parameters before and after.
    pub parameters: [usize; 2],
    /// How a target was reached, and the sparsity that is left for slimming.
    pub plan: Option<BudgetPlan>,
}

impl DropOptions {
    /// Refuses options that say nothing to drop or contradict each other, before anything is read.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`]
    pub fn check(&self) -> Result<()> {
        let targets =
            [("target-params", self.target_params.is_some()), ("target-gflop", self.target_gflop.is_some())];
        let mut given = targets.into_iter().filter(|(_, is_given)| *is_given);
        let (target, other) = (given.next(), given.next());
        if let Some((option, _)) = other {
            return Err(Error::option(option, "`target-params` says already how far to go"));
        }
        if let Some((option, _)) = target
            && (self.variant().needs_scores() || self.last_blocks.is_some() || self.iterative)
        {
            return Err(Error::option(
                option,
                "a target takes no numbers of sub-layers, and is not iterative",
            ));
        }
        if target.is_some() && self.scores.is_none() {
            return Err(Error::option("scores", "a target needs the model's scores, from `prune score`"));
        }
        if self.iterative && self.scores.is_some() {
            return Err(Error::option("scores", "`iterative` measures anew instead"));
        }
        if self.iterative && self.calibration.is_none() {
            return Err(Error::option("iterative", "name the texts that the model reads with `calibration`"));
        }
        if target.is_none() && self.variant().is_full() && self.layers.is_empty() {
            let problem = "say what to drop: a number of mlp, attention, blocks or last-blocks, layers by name, target-params \
                           or target-gflop";
            return Err(Error::option("mlp", problem));
        }
        Ok(())
    }

    /// Writes the model of a directory without what is dropped to the new directory `out`.
    ///
    /// # Errors
    ///
    /// The errors of [`DropOptions::check`]. `out` exists. The scores are missing, or of another model. There is less
    /// to drop than is asked for, or the target is out of reach.
    pub fn run(
        &self,
        model: impl AsRef<Path>,
        out: impl AsRef<Path>,
        on: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Dropped> {
        let model = model.as_ref();
        let out = out.as_ref();
        self.check()?;
        let opened = open_model(model, &self.reading, out)?;
        let architecture = opened.architecture();
        let named = self.without_named(architecture.remaining())?;
        let scores = self.scores.as_deref().map(|scores| read_scores(scores, &opened)).transpose()?;
        let importance = scores.as_ref().map(|scores| &scores.importance);
        let (remaining, plan) = if let (Some((budget, _)), Some(importance)) = (self.budget(), importance) {
            let plan = budget.plan(architecture, importance, &named)?;
            (plan.remaining.clone(), Some(plan))
        } else if self.iterative {
            (self.one_by_one(model, named, on)?, None)
        } else {
            (self.variant().choose(&named, importance)?, None)
        };
        opened.write_dropped(&remaining, self.format, out)?;
        let left = architecture.keep(&remaining);
        let parameters = [architecture, &left].map(|architecture| architecture.parameters().total());
        let losses = remaining.losses_of(architecture);
        Ok(Dropped { model: opened.name(), remaining, losses, parameters, plan })
    }

    /// Refuses a model with less to drop than is asked for, before anything is measured. Returns what can be left of
    /// it; how many MLPs that has does not depend on their importance if all blocks are whole.
    pub(crate) fn check_model(&self, model: &ModelDirectory) -> Result<Remaining> {
        fn of(option: &'static str) -> impl Fn(secateur_encoders::Error) -> Error {
            move |error| Error::option(option, error.to_string())
        }
        let architecture = model.architecture();
        let named = self.without_named(architecture.remaining()).map_err(of("layers"))?;
        let layers = 0..architecture.layers.len();
        if let Some((budget, option)) = self.budget() {
            let alike: Vec<_> = layers.map(|_| Some(0.0)).collect();
            let alike = Importance { attention: alike.clone(), mlp: alike.clone(), block: alike };
            return Ok(budget.plan(architecture, &alike, &named).map_err(of(option))?.remaining);
        }
        let Variant { last_blocks, blocks, mlp, attention } = self.variant();
        let left = |kind: SubLayer, option: &'static str, count: usize| -> Result<Remaining> {
            let mut left = named.clone();
            left.drop_last(SubLayer::Block, last_blocks).map_err(of("last-blocks"))?;
            // Which blocks matter least is not known yet. It may be those that lack this sub-layer already.
            let mut order: Vec<usize> = layers.clone().collect();
            order.sort_by_key(|layer| named.has(kind, *layer));
            left.drop_in_order(SubLayer::Block, order, blocks).map_err(of("blocks"))?;
            left.drop_last(kind, count).map_err(of(option))?;
            Ok(left)
        };
        left(SubLayer::Attention, "attention", attention)?;
        left(SubLayer::Mlp, "mlp", mlp)
    }

    /// What is left without the sub-layers that are named.
    fn without_named(&self, whole: Remaining) -> secateur_encoders::Result<Remaining> {
        let mut left = whole.clone();
        for NamedLayers { sub_layer, first, last } in &self.layers {
            for layer in *first..=*last {
                // What is named twice goes once.
                if left.has(*sub_layer, layer) || !whole.has(*sub_layer, layer) {
                    left.drop(*sub_layer, layer)?;
                }
            }
        }
        Ok(left)
    }

    /// The target, and the option that says it.
    fn budget(&self) -> Option<(Budget, &'static str)> {
        let parameters = self.target_params.map(|count| (Budget::Parameters(count.0), "target-params"));
        parameters.or(self.target_gflop.map(|gflop| (Budget::Gflop(gflop), "target-gflop")))
    }

    fn variant(&self) -> Variant {
        let count = |count: Option<NonZeroUsize>| count.map_or(0, NonZeroUsize::get);
        Variant {
            last_blocks: count(self.last_blocks),
            blocks: count(self.blocks),
            mlp: count(self.mlp),
            attention: count(self.attention),
        }
    }

    /// The same count, with a measurement of the model that is left before each step.
    fn one_by_one(
        &self,
        path: &Path,
        mut remaining: Remaining,
        on: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Remaining> {
        let scoring = ScoreOptions {
            calibration: self.calibration.clone().unwrap_or_default(),
            measure: self.measure.clone(),
            reading: self.reading.clone(),
        };
        for step in self.variant().steps() {
            let scores = match step.needs_scores() {
                true => Some(scoring.measure(path, Some(&remaining), None, on)?),
                false => None,
            };
            let importance = scores.as_ref().map(|scores| &scores.importance);
            remaining = step.choose(&remaining, importance)?;
        }
        Ok(remaining)
    }
}

/// A sub-layer of one layer, or of several in a row: "mlp:3", "attention:0-2", "block:5".
///
/// ```
/// use secateur::prune::NamedLayers;
/// let layers: NamedLayers = "attention:0-2".parse()?;
/// assert_eq!((layers.first, layers.last), (0, 2));
/// assert_eq!(layers.to_string(), "attention:0-2");
/// assert!("mlp3".parse::<NamedLayers>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NamedLayers {
    /// What of the layers.
    pub sub_layer: SubLayer,
    /// The first layer.
    pub first: usize,
    /// The last one.
    pub last: usize,
}

impl FromStr for NamedLayers {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<NamedLayers, String> {
        let wrong = || {
            format!("{text:?} is not a sub-layer; expected mlp:N, attention:N or block:N, or N-M for several")
        };
        let (part, layers) = text.split_once(':').ok_or_else(wrong)?;
        let sub_layer = SubLayer::ALL
            .into_iter()
            .find(|known| known.name().eq_ignore_ascii_case(part))
            .ok_or_else(wrong)?;
        let (first, last) = layers.split_once('-').unwrap_or((layers, layers));
        let number = |text: &str| text.parse::<usize>().map_err(|_| wrong());
        let named = NamedLayers { sub_layer, first: number(first)?, last: number(last)? };
        if named.first > named.last { Err(wrong()) } else { Ok(named) }
    }
}

impl fmt::Display for NamedLayers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let NamedLayers { sub_layer, first, last } = self;
        let part = sub_layer.name().to_lowercase();
        if first == last { write!(f, "{part}:{first}") } else { write!(f, "{part}:{first}-{last}") }
    }
}

impl TryFrom<String> for NamedLayers {
    type Error = String;

    fn try_from(text: String) -> std::result::Result<NamedLayers, String> {
        text.parse()
    }
}

impl From<NamedLayers> for String {
    fn from(layers: NamedLayers) -> String {
        layers.to_string()
    }
}

/// A number of parameters, as text "3.4B", "80M" or "1200000".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "NumberOrText", into = "usize")]
pub struct ParameterCount(pub usize);

/// What stands for a number of parameters in a recipe.
#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(f64),
    Text(String),
}

impl FromStr for ParameterCount {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<ParameterCount, String> {
        let (digits, factor) = match text.strip_suffix(['B', 'b', 'G']) {
            Some(digits) => (digits, 1e9),
            None => text.strip_suffix(['M', 'm']).map_or((text, 1.0), |digits| (digits, 1e6)),
        };
        match digits.parse::<f64>() {
            Ok(number) if number > 0.0 && number.is_finite() => {
                Ok(ParameterCount((number * factor).round() as usize))
            }
            _ => Err("expected a number, such as 3.4B, 80M or 1200000".to_owned()),
        }
    }
}

impl TryFrom<NumberOrText> for ParameterCount {
    type Error = String;

    fn try_from(count: NumberOrText) -> std::result::Result<ParameterCount, String> {
        match count {
            NumberOrText::Number(number) => number.to_string().parse(),
            NumberOrText::Text(text) => text.parse(),
        }
    }
}

impl From<ParameterCount> for usize {
    fn from(count: ParameterCount) -> usize {
        count.0
    }
}
