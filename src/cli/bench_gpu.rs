//! `secateur bench gpu`: how fast and how exactly a GPU computes.

use std::io::Write;
use std::num::NonZeroUsize;
use std::time::Duration;

use clap::{ArgGroup, Args};
use secateur::LoadOptions;
use secateur::bench::{SearchSize, gpu_search};
use secateur::encode::{TextKind, default_encoder};
use secateur::encoders::gpu_bench::{self, Gpu, Groups, Kernels, SHAPES};
use serde_json::{Value, json};

use super::failure::{Code, Failure, Result};
use super::print;

/// Hits of each query that is timed.
const SEARCH_K: usize = 100;

/// What is timed from its text on; scripts/gpu/theirs.py has the same.
const QUERY: &str = "what is the best time to prune roses";

/// What goes without a model's shape, without small models, and without vectors to search. `requires` would not do:
/// clap requires nothing that conflicts with what is given.
const OTHERS: [&str; 3] = ["probe", "ceilings", "search"];
const NO_PROBE: [&str; 3] = ["config", "ceilings", "search"];
const NO_SEARCH: [&str; 3] = ["config", "probe", "ceilings"];

const MODEL: &str = "A model with random weights";
const PROBE: &str = "Small models beside the CPU";
const SEARCH: &str = "Exact search";

/// Times a model with random weights, or its training, or exact search, or compares small models with the CPU.
#[derive(Args)]
#[command(group(ArgGroup::new("what").required(true).args(["config", "probe", "ceilings", "search"])), after_help = "\
Examples:
  secateur bench gpu --probe
  secateur bench gpu --config mistral-7b --random-weights
  secateur bench gpu --config mistral-7b --drop-mlp 16 --width 0.7 --random-weights --json
  secateur bench gpu --search --rows 1000000 --dim 4096
  secateur bench gpu --config mistral-7b --random-weights --train --steps 5")]
pub struct Arguments {
    /// The model's shape.
    #[arg(long, value_parser = SHAPES, requires = "random_weights", help_heading = MODEL)]
    config: Option<String>,
    /// Leave out the MLPs of this many layers, the last ones.
    #[arg(long, value_name = "LAYERS", default_value_t = 0, conflicts_with_all = OTHERS, help_heading = MODEL)]
    drop_mlp: usize,
    /// Leave out the attentions of this many layers, the last ones.
    #[arg(long, value_name = "LAYERS", default_value_t = 0, conflicts_with_all = OTHERS, help_heading = MODEL)]
    drop_attention: usize,
    /// Keep this share of the other MLPs' neurons.
    #[arg(long, value_name = "SHARE", default_value_t = 1.0, conflicts_with_all = OTHERS, help_heading = MODEL)]
    width: f64,
    /// Weights are random: the time does not depend on them.
    #[arg(long, conflicts_with_all = OTHERS, help_heading = MODEL)]
    random_weights: bool,
    /// Compare every family, whole and pruned, and training with the CPU in f32. Fails if one differs by more than
    /// rounding.
    #[arg(long, help_heading = PROBE)]
    probe: bool,
    /// Probe only the models whose names begin with this, such as "mistral 64".
    #[arg(long, value_name = "NAME", conflicts_with_all = NO_PROBE, help_heading = PROBE)]
    only: Option<String>,
    /// Probe with the kernels that the GPU's driver compiles, even if there is machine code for the GPU.
    #[arg(long, conflicts_with_all = NO_PROBE, help_heading = PROBE)]
    ptx: bool,
    /// Measure what products and memory give at most.
    #[arg(long)]
    ceilings: bool,
    /// Search random vectors exactly, on the GPU and on the CPU. Fails if they do not find the same.
    #[arg(long, help_heading = SEARCH)]
    search: bool,
    /// Vectors to search; each takes 5 bytes a component of the memory, and one of the GPU's. One that is compared
    /// takes one more of either.
    #[arg(long, value_name = "N", default_value_t = 100_000, conflicts_with_all = NO_SEARCH, help_heading = SEARCH)]
    rows: usize,
    /// Their components.
    #[arg(long, value_name = "D", default_value_t = 1024, conflicts_with_all = NO_SEARCH, help_heading = SEARCH)]
    dim: usize,
    /// Compare the GPU's hits with the CPU's among this many of the vectors; among all unless given.
    #[arg(long, value_name = "N", conflicts_with_all = NO_SEARCH, help_heading = SEARCH, value_parser = crate::cli::positive)]
    compare_rows: Option<NonZeroUsize>,
    /// Time steps of LoRA training in place of encoding: 8 queries with 8 passages of 512 tokens each, recomputation.
    #[arg(long, conflicts_with_all = OTHERS, help_heading = MODEL)]
    train: bool,
    /// Steps that are timed, after one that is not.
    #[arg(long, value_name = "N", default_value = "5", requires = "train", help_heading = MODEL, value_parser = crate::cli::positive)]
    steps: NonZeroUsize,
    /// The number of the GPU.
    #[arg(long, value_name = "N", default_value_t = 0)]
    gpu: usize,
    /// For how long each batch is timed.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.5)]
    seconds: f64,
    /// Print a JSON object a line.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    pub fn run(self, out: &mut impl Write) -> Result<String> {
        let kernels = if self.ptx { Kernels::Ptx } else { Kernels::Fitting };
        let gpu = Gpu::open_with(self.gpu, kernels)
            .map_err(|error| Failure::new(Code::System, error.to_string()))?;
        if self.probe {
            self.probe(&gpu, out)
        } else if self.ceilings {
            self.ceilings(&gpu, out)
        } else if self.search {
            self.search(&gpu, out)
        } else if self.train {
            self.train(&gpu, out)
        } else {
            self.time(&gpu, out)
        }
    }

    fn each(&self) -> Duration {
        Duration::from_secs_f64(self.seconds.clamp(0.01, 600.0))
    }

    fn ceilings(&self, gpu: &Gpu, out: &mut impl Write) -> Result<String> {
        let mut line = json!({"what": "our ceilings", "gpu": gpu.name()});
        merge(&mut line, json!(gpu_bench::ceilings(gpu, gpu_bench::LARGE)?));
        self.say(out, &line)?;
        Ok(String::new())
    }

    fn search(&self, gpu: &Gpu, out: &mut impl Write) -> Result<String> {
        let (mut written, mut identical) = (Ok(()), true);
        let compared_rows = self.compare_rows.map_or(self.rows, NonZeroUsize::get);
        let size = SearchSize { rows: self.rows, dim: self.dim, k: SEARCH_K, compared_rows };
        gpu_search(gpu, size, self.each(), &mut |speed| {
            let mut line = json!({"what": "our search", "gpu": gpu.name()});
            identical &= speed.identical;
            merge(&mut line, json!(speed));
            if written.is_ok() {
                written = self.say(out, &line);
            }
        })?;
        written?;
        match identical {
            true => Ok(String::new()),
            false => Err(Failure::new(Code::System, "the GPU does not find what the CPU finds")),
        }
    }

    fn train(&self, gpu: &Gpu, out: &mut impl Write) -> Result<String> {
        const GROUPS: Groups = Groups { groups: 8, passages: 8, passage_tokens: 512, query_tokens: 32 };
        let config = self.config.as_deref().unwrap_or_default();
        let architecture = gpu_bench::shape(config, [self.drop_mlp, self.drop_attention], self.width)?;
        let speed = gpu_bench::train(gpu, architecture, GROUPS, self.steps.get())?;
        let mut line = json!({"what": "train ours", "gpu": gpu.name(), "config": config, "drop_mlp": self.drop_mlp,
            "drop_attention": self.drop_attention, "width": self.width});
        merge(&mut line, json!(GROUPS));
        merge(&mut line, json!(speed));
        self.say(out, &line)?;
        let [first, last] = speed.losses;
        match last < first {
            true => Ok(String::new()),
            false => Err(Failure::new(
                Code::System,
                format!("the loss did not fall: it was {first} and became {last} on the same texts"),
            )),
        }
    }

    fn say(&self, out: &mut impl Write, line: &Value) -> Result<()> {
        let text = match line.as_object() {
            Some(fields) if !self.json => {
                let field = |(name, value): (&String, &Value)| match value {
                    Value::String(text) => format!("{name} {text}"),
                    value => format!("{name} {value}"),
                };
                fields.iter().map(field).collect::<Vec<String>>().join("  ")
            }
            _ => line.to_string(),
        };
        print(out, &format!("{text}\n"))
    }

    fn time(&self, gpu: &Gpu, out: &mut impl Write) -> Result<String> {
        let config = self.config.as_deref().unwrap_or_default();
        let architecture = gpu_bench::shape(config, [self.drop_mlp, self.drop_attention], self.width)?;
        // Shapes have no tokenizer of their own. Ids of this one are below their vocabularies' sizes.
        let tokenizer = default_encoder(&LoadOptions::default())?;
        let query = || tokenizer.tokenize(&[QUERY], TextKind::Query).map(|ids| ids.concat());
        let mut written = Ok(());
        gpu_bench::measure(gpu, architecture, &query, self.each(), &mut |shape, result| {
            let mut line = json!({"what": "ours", "gpu": gpu.name(), "config": config, "drop_mlp": self.drop_mlp,
                "drop_attention": self.drop_attention, "width": self.width, "shape": shape});
            match result {
                Ok(speed) => merge(&mut line, json!(speed)),
                Err(error) => line["error"] = error.to_string().into(),
            }
            if written.is_ok() {
                written = self.say(out, &line);
            }
        })?;
        written.map(|()| String::new())
    }

    fn probe(&self, gpu: &Gpu, out: &mut impl Write) -> Result<String> {
        let (mut written, mut failed, mut any) = (Ok(()), Vec::new(), false);
        let only = self.only.as_deref().unwrap_or_default();
        gpu_bench::probe(gpu, only, &mut |model, result| {
            let mut line = json!({"what": "probe", "gpu": gpu.name(), "model": model});
            let passes = match result {
                Ok(probe) => {
                    merge(&mut line, json!(probe));
                    probe.passes()
                }
                Err(error) => {
                    line["error"] = error.to_string().into();
                    false
                }
            };
            line["passes"] = passes.into();
            any = true;
            if !passes {
                failed.push(model.to_owned());
            }
            if written.is_ok() {
                written = self.say(out, &line);
            }
        })?;
        written?;
        if !any {
            return Err(Failure::new(
                Code::Usage,
                format!("there is no model whose name begins with {only:?}"),
            ));
        }
        match failed.is_empty() {
            true => Ok(String::new()),
            false => Err(Failure::new(
                Code::System,
                format!("the GPU differs from the CPU: {}", failed.join(", ")),
            )),
        }
    }
}

fn merge(line: &mut Value, more: Value) {
    if let (Value::Object(line), Value::Object(more)) = (line, more) {
        line.extend(more);
    }
}
