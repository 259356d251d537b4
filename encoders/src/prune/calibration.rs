//! What a model reads while its sub-layers are measured: blocks of packed text, or texts as the encoder reads them.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::encoder::Encoder;
use crate::error::{Error, Result};
use crate::text_kind::TextKind;
use crate::tokenize::Packer;

/// How calibration texts become sequences of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum CalibrationFormat {
    /// Blocks of texts back to back, as language models are calibrated.
    ///
    /// As LLM-Drop does (He et al. 2024). Each text is followed by the end-of-text token. 1,000 texts are joined and
    /// cut into blocks of one length; the tail is dropped. Models that are not causal have their own special tokens
    /// around each block and behind each text.
    Packed,
    /// Each text as the encoder reads it.
    ///
    /// As a passage: prompt and special tokens, cut to the maximum length, one sequence a text.
    Texts,
}

/// How much a model reads, and in which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calibration {
    /// How texts become sequences.
    pub format: CalibrationFormat,
    /// The most sequences that are read: blocks, or texts.
    pub max_sequences: usize,
    /// Tokens of a packed block, special tokens included. Unless given: 2,048, or as many as the model takes.
    pub block_length: Option<usize>,
}

impl Default for Calibration {
    /// LLM-Drop's, and the paper's (section 4.2): 256 blocks.
    fn default() -> Calibration {
        Calibration { format: CalibrationFormat::Packed, max_sequences: 256, block_length: None }
    }
}

/// LLM-Drop's block length.
const BLOCK_LENGTH: usize = 2048;

/// Texts that are packed together: the batch of the `datasets` library, in which LLM-Drop packs.
const GROUP: usize = 1000;

impl Calibration {
    /// The length of this encoder's packed blocks.
    ///
    /// # Errors
    ///
    /// The length that was asked for is more than the model takes.
    pub fn block_length(&self, encoder: &Encoder) -> Result<usize> {
        // A bidirectional model was trained on texts of its maximum length; a causal model on all its positions.
        let positions = encoder.architecture().max_tokens().unwrap_or(usize::MAX);
        let limit = if encoder.architecture().attention.causal { positions } else { encoder.max_length() };
        let length = self.block_length.unwrap_or(BLOCK_LENGTH.min(limit));
        if length == 0 || length > positions {
            return Err(Error::InvalidOption {
                path: encoder.directory().join("config.json"),
                option: "block length",
                found: length,
                expected: format!("1 to {positions}, the model's positions"),
            });
        }
        Ok(length)
    }
}

/// The sequences of an encoder's calibration, made from `texts` as they are asked for. At most one group of texts is
/// in memory.
pub(crate) struct Sequences<'a, I> {
    encoder: &'a Encoder,
    packing: Option<Packing<'a>>,
    texts: I,
    /// The blocks of the current group, last first.
    ready: Vec<Vec<u32>>,
    left: usize,
    /// Tokens of all texts read so far.
    pub(crate) tokens_read: usize,
}

struct Packing<'a> {
    packer: Packer<'a>,
    block_length: usize,
}

/// Texts that are tokenized together where they are not packed.
const TEXTS_AT_ONCE: usize = 64;

impl<'a, I, E> Sequences<'a, I>
where
    I: Iterator<Item = std::result::Result<String, E>>,
    E: From<Error>,
{
    pub(crate) fn new(encoder: &'a Encoder, calibration: &Calibration, texts: I) -> Result<Sequences<'a, I>> {
        let packing = match calibration.format {
            CalibrationFormat::Texts => None,
            CalibrationFormat::Packed => {
                let block_length = calibration.block_length(encoder)?;
                let packer = encoder.tokenizer().packer(encoder.architecture().attention.causal)?;
                let num_special = packer.before.len() + packer.after.len();
                if block_length <= num_special {
                    return Err(Error::InvalidOption {
                        path: encoder.directory().join("tokenizer.json"),
                        option: "block length",
                        found: block_length,
                        expected: format!("more than the {num_special} special tokens of a block"),
                    });
                }
                Some(Packing { packer, block_length })
            }
        };
        let left = calibration.max_sequences;
        Ok(Sequences { encoder, packing, texts, ready: Vec::new(), left, tokens_read: 0 })
    }

    /// Reads the next group of texts. `false` at their end.
    fn refill(&mut self) -> std::result::Result<bool, E> {
        let count = if self.packing.is_some() { GROUP } else { TEXTS_AT_ONCE.min(self.left) };
        let texts: Vec<String> = self.texts.by_ref().take(count).collect::<std::result::Result<_, E>>()?;
        if texts.is_empty() {
            return Ok(false);
        }
        match &self.packing {
            None => {
                let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
                self.ready = self.encoder.tokenize(&texts, TextKind::Passage)?;
                self.tokens_read += self.ready.iter().map(Vec::len).sum::<usize>();
            }
            Some(Packing { packer, block_length }) => {
                let tokens: Vec<Vec<u32>> =
                    texts.par_iter().map(|text| packer.tokens(text)).collect::<Result<_>>()?;
                let tokens = tokens.concat();
                self.tokens_read += tokens.len();
                let content = block_length - packer.before.len() - packer.after.len();
                let blocks = tokens.chunks_exact(content);
                self.ready =
                    blocks.map(|block| [&packer.before[..], block, &packer.after[..]].concat()).collect();
            }
        }
        self.ready.reverse();
        Ok(true)
    }
}

impl<I, E> Sequences<'_, I>
where
    I: Iterator<Item = std::result::Result<String, E>>,
    E: From<Error>,
{
    /// The next sequences, which are measured together. They are few, so that memory is bounded and an interruption
    /// loses little. Empty at the end.
    pub(crate) fn chunk(&mut self) -> std::result::Result<Vec<Vec<u32>>, E> {
        const TOKENS: usize = 8192;
        let mut chunk: Vec<Vec<u32>> = Vec::new();
        let mut size = 0;
        while size < TOKENS {
            let Some(sequence) = self.next() else { break };
            let sequence = sequence?;
            size += sequence.len();
            chunk.push(sequence);
        }
        Ok(chunk)
    }
}

impl<I, E> Iterator for Sequences<'_, I>
where
    I: Iterator<Item = std::result::Result<String, E>>,
    E: From<Error>,
{
    type Item = std::result::Result<Vec<u32>, E>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        while self.ready.is_empty() {
            match self.refill() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
        self.left -= 1;
        self.ready.pop().map(Ok)
    }
}
