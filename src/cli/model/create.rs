//! `secateur model create`: a model that has learned nothing yet.

use std::path::PathBuf;

use clap::Args;
use secateur::datasets::Texts;
use secateur::encode::Pooling;
use secateur::encoders::{NewModelOptions, create_model};

use crate::cli::failure::Result;
use crate::cli::locate;

const READS: &str = "How texts are read";
const WEIGHTS: &str = "Weights";

#[derive(Args)]
#[command(after_help = "\
Example:
  secateur model create encoders/recipes/default.json --vocabulary papers.jsonl,nq-qed --out new
  secateur train new --full --data pairs.jsonl --teacher .models/all-MiniLM-L6-v2 --alignment-weight 20 --out run")]
pub struct Arguments {
    /// The config.json of any family that loads: it says how many layers there are, and how wide.
    config: PathBuf,
    /// Learn a vocabulary of the configuration's size from these, separated by commas: files of one text a line or of
    /// JSON lines, data sets.
    ///
    /// Without this, the tokenizer is that beside the config.json, or that of --grow.
    #[arg(long, value_name = "TEXTS", num_args = 1.., value_delimiter = ',')]
    vocabulary: Vec<PathBuf>,
    /// The model directory to write. It must not exist.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How token vectors become one [default: last-token for a causal model, mean for another].
    #[arg(long, help_heading = READS)]
    pooling: Option<Pooling>,
    /// Cut texts to this many tokens [default: as many as the configuration allows, at most 512].
    #[arg(long, value_name = "TOKENS", help_heading = READS)]
    max_length: Option<usize>,
    /// Decides the weights.
    #[arg(long, default_value_t = 42, help_heading = WEIGHTS)]
    seed: u64,
    /// Begin as this smaller model of the same family: with its tensors and its tokenizer.
    ///
    /// Sub-layers that the smaller model lacks add nothing until they are trained. A model of embeddings and mean
    /// pooling can grow into a decoder with last-token pooling: its first attention then averages the embeddings.
    #[arg(long, value_name = "MODEL", conflicts_with = "vocabulary", help_heading = WEIGHTS)]
    grow: Option<PathBuf>,
    /// Store numbers in 16 bits.
    #[arg(long, help_heading = WEIGHTS)]
    half: bool,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let Arguments { config, vocabulary, out, pooling, max_length, seed, grow, half } = self;
        let mut texts = Vec::new();
        for path in &vocabulary {
            for text in Texts::open(&locate::texts(path)?)? {
                texts.push(text?.joined(" "));
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
