//! `secateur model create`: a model that has learned nothing yet.

use std::path::PathBuf;

use clap::Args;
use secateur::{NewModelOptions, Pooling, create_model};

use crate::cli::failure::Result;
use crate::cli::prune::calibration::passages;

#[derive(Args)]
#[command(after_help = "\
Example:
  secateur model create encoders/recipes/default.json --vocabulary papers.jsonl nq-qed --out new
  secateur train new --full --data pairs.jsonl --teacher .models/all-MiniLM-L6-v2 --alignment-weight 20 --out run")]
pub struct Arguments {
    /// The config.json of any family that loads: it says how many layers there are, and how wide.
    config: PathBuf,
    /// Learn a vocabulary of the configuration's size from these: files of one text a line or of JSON lines, BEIR folders.
    /// The tokenizer beside the config.json, or that of --grow, is taken unless given.
    #[arg(long, value_name = "TEXTS", num_args = 1..)]
    vocabulary: Vec<PathBuf>,
    /// The model directory to write. It must not exist.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How token vectors become one; last-token for a causal model, mean for another, unless given.
    #[arg(long)]
    pooling: Option<Pooling>,
    /// Cut texts to this many tokens; as many as the configuration allows, at most 512, unless given.
    #[arg(long, value_name = "TOKENS")]
    max_length: Option<usize>,
    /// Decides the weights.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Begin as this smaller model of the same family: take its tensors and its tokenizer; sub-layers that it does not have add
    /// nothing until they have learned to. Embeddings that are pooled by their mean grow into a decoder that pools the last
    /// token, too: its first attention averages them.
    #[arg(long, value_name = "MODEL", conflicts_with = "vocabulary")]
    grow: Option<PathBuf>,
    /// Store numbers in 16 bits.
    #[arg(long)]
    half: bool,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let Arguments { config, vocabulary, out, pooling, max_length, seed, grow, half } = self;
        let mut texts = Vec::new();
        for path in &vocabulary {
            for text in passages(path)? {
                texts.push(text?);
            }
        }
        let mut texts = texts.into_iter().map(Ok);
        let texts = (!vocabulary.is_empty()).then_some(&mut texts as &mut (dyn Iterator<Item = _> + Send));
        create_model(
            &config,
            texts,
            &NewModelOptions { pooling, max_length, seed, grow: grow.clone(), half },
            &out,
        )?;
        let weights =
            grow.map_or("random weights".to_owned(), |grow| format!("the weights of {}", grow.display()));
        Ok(format!("{}: as {} says, with {weights}\n", out.display(), config.display()))
    }
}
