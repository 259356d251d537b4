//! `secateur model check`: a model's vectors against stored ones.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use secateur::Encoder;
use secateur::encode::TextKind;
use secateur::encoders::golden::{Comparison, Golden};
use secateur::report::counted;
use secateur_files::PathError;

use super::inspect::encoding;
use crate::cli::encoder::EncoderArguments;
use crate::cli::failure::{Code, Failure, Result};
use crate::cli::print;

#[derive(Args)]
// The encoder is what this command is about: it is named without `--encoder`.
#[command(mut_arg("encoder", |encoder| encoder.long(None::<&str>).required(true)), after_help = "\
Examples:
  secateur model check .models/all-MiniLM-L6-v2 --golden minilm.jsonl --write
  secateur model check small --golden minilm.jsonl --min-cosine 0.9")]
pub struct Arguments {
    /// Texts and their vectors, one JSON object a line: {"text": "...", "kind": "query", "vector": [...]}.
    #[arg(long, value_name = "FILE")]
    golden: PathBuf,
    /// Write that file from the model's own vectors instead of reading it.
    #[arg(long)]
    write: bool,
    /// The texts to write vectors of, one passage a line [default: a few of all lengths and scripts].
    #[arg(long, value_name = "FILE", requires = "write")]
    texts: Option<PathBuf>,
    /// The least cosine that passes.
    #[arg(long, value_name = "COSINE", default_value_t = 0.9999)]
    min_cosine: f64,
    /// The largest difference of two numbers that passes [default: any].
    #[arg(long, value_name = "DIFFERENCE")]
    max_difference: Option<f64>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    encoder: EncoderArguments,
}

impl Arguments {
    pub fn run(self, out: &mut impl Write) -> Result<String> {
        let encoder = self.encoder.load_required()?;
        if self.write {
            return self.record(&encoder);
        }
        let golden = Golden::read(&self.golden)?;
        let comparison = golden.compare(&encoder)?;
        let faults = self.faults(&comparison);
        print(out, &self.report(&encoder, &comparison, faults.is_empty())?)?;
        if faults.is_empty() {
            return Ok(String::new());
        }
        let file = self.golden.display();
        let message =
            format!("the vectors of {} are not those of {file}: {}", encoder.name(), faults.join("; "));
        Err(Failure::new(Code::Input, message))
    }

    fn record(&self, encoder: &Encoder) -> Result<String> {
        let file = self.golden.display();
        if self.golden.exists() {
            return Err(PathError::exists(&self.golden).into());
        }
        let text = match &self.texts {
            None => String::new(),
            Some(path) => secateur::datasets::read_text(path)?,
        };
        let texts: Vec<(&str, TextKind)> = match &self.texts {
            None => {
                TEXTS.iter().flat_map(|text| [(*text, TextKind::Query), (*text, TextKind::Passage)]).collect()
            }
            Some(_) => text.lines().map(|line| (line, TextKind::Passage)).collect(),
        };
        if let (Some(path), true) = (&self.texts, texts.is_empty()) {
            return Err(Failure::new(Code::Input, format!("{} has no line", path.display())));
        }
        let golden = Golden::record(encoder, &texts, &self.golden)?;
        Ok(format!(
            "{file}: {}, {} each\n",
            counted(golden.texts().len(), "text"),
            counted(encoder.dim(), "number")
        ))
    }

    /// What does not pass.
    fn faults(&self, comparison: &Comparison) -> Vec<String> {
        let Comparison {
            least_cosine, least_cosine_line, largest_difference, largest_difference_line, ..
        } = comparison;
        let mut faults = Vec::new();
        // A tolerance that is no number passes nothing.
        let is_passed = *least_cosine >= self.min_cosine;
        if !is_passed {
            faults.push(format!(
                "the cosine of line {least_cosine_line} is {least_cosine:.6}, below {}",
                self.min_cosine
            ));
        }
        if let Some(max) = self.max_difference {
            let is_passed = *largest_difference <= max;
            if !is_passed {
                faults.push(format!(
                    "a number of line {largest_difference_line} differs by {largest_difference:.1e}, more than {max:e}"
                ));
            }
        }
        faults
    }

    fn report(&self, encoder: &Encoder, comparison: &Comparison, passed: bool) -> Result<String> {
        if self.json {
            let value = serde_json::json!({
                "model": encoder.name(),
                "fingerprint": encoder.fingerprint().to_string(),
                "golden": self.golden,
                "settings": encoder.settings(),
                "special_tokens": encoder.special_tokens(),
                "notices": encoder.notices(),
                "comparison": comparison,
                "min_cosine": self.min_cosine,
                "max_difference": self.max_difference,
                "passed": passed,
            });
            return Ok(format!("{value:#}\n"));
        }
        Ok(format!(
            "{}\n{}\n{}: {}; least cosine {:.8} (line {}), largest difference {:.1e} (line {}): {}\n",
            encoder.name(),
            encoding(encoder.settings(), Some(&encoder.special_tokens())),
            self.golden.display(),
            counted(comparison.texts, "text"),
            comparison.least_cosine,
            comparison.least_cosine_line,
            comparison.largest_difference,
            comparison.largest_difference_line,
            if passed { "pass" } else { "FAIL" },
        ))
    }
}

/// What tends to go wrong: one token, white space, case, accents, scripts, digits, punctuation, special tokens spelled
/// out, and a long word. The last text has more tokens than most models take.
const TEXTS: [&str; 12] = [
    "a",
    "When are roses pruned?",
    "  Two  spaces,\ttabs and\nlines.  ",
    "UPPER and lower CASE",
    "Crème brûlée, Straße, naïve façade",
    "剪枝使树木更健康。",
    "Обрезка деревьев весной",
    "🌹✂️🌳",
    "3.14159, 2026-01-31, 1,000,000",
    "[CLS] </s> <s> [SEP] <|endoftext|>",
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft",
    LONG,
];

const LONG: &str = include_str!("long.txt");
