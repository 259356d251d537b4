//! `secateur train`: fine-tune an encoder to retrieve.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use secateur::LoadOptions;
use secateur::report::counted;
use secateur::train::{Run, TrainOptions};

use super::encoder::{announce, model_directory, tell};
use super::failure::{Code, Failure, Result, say};
use super::locate::Locate;
use super::progress::{say_if_kept, shown};

const EXAMPLES: &str = "\
The folder --out gets model/ (a PEFT adapter, or with --full a whole model), best/ (by --dev), log.jsonl, loss.svg and \
checkpoint.safetensors. A run that was interrupted goes on with --resume, and ends with the same weights.

Examples:
  secateur dataset triples nq-qed --split train --out nq.jsonl
  secateur train MODEL --data nq.jsonl --out run
  secateur train MODEL --data nq.jsonl,boolq.jsonl --full --learning-rate 5e-5 --teacher BIGGER --out run
  secateur model merge run/model --out merged";

/// Fine-tune an encoder with InfoNCE over in-batch and hard negatives, and with a teacher's scores where there are any.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A model directory, or OWNER/NAME of the Hugging Face hub.
    model: String,
    /// The run's folder.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Go on from the folder's checkpoint.
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    options: TrainOptions,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let directory = model_directory(&self.model)?;
        let checkpoint = Run::checkpoint_in(&self.out);
        if checkpoint.exists() && !self.resume {
            let message = format!(
                "{} is a run's: go on with it by --resume, or choose another --out",
                self.out.display()
            );
            return Err(Failure::new(Code::Usage, message));
        }
        let had_ended = self.out.join("model").exists();
        if self.resume && !checkpoint.exists() && !had_ended {
            say(&format!("there is no {}: the training begins with its first step", checkpoint.display()));
        }
        let kept = "the last checkpoint is kept; run the same command with --resume to go on";
        say_if_kept(kept, "before the first checkpoint: the same command begins anew", vec![checkpoint])?;
        let options = self.options.located()?;
        if let Some(teacher) = &options.loss.teacher {
            announce(teacher, options.steps.strict, LoadOptions::default())?;
        }
        let report = match self.resume {
            true => options.resume(&directory, &self.out, &mut shown())?,
            false => options.run(&directory, &self.out, &mut shown())?,
        };
        tell(&report.notices);
        let mut said = format!(
            "{}: {}{}, {}",
            report.model.display(),
            if had_ended { "the run is finished, " } else { "" },
            counted(report.num_trained, "trained number"),
            counted(report.num_steps, "step")
        );
        if let Some(loss) = report.outcome.loss {
            said += &format!(", loss {loss:.4}");
        }
        if let Some((step, score)) = report.outcome.best {
            said += &format!("\n{}: nDCG@10 {score:.4} after step {step}", self.out.join("best").display());
        }
        if let Some(warning) = report.outcome.without_gradient() {
            // There is nobody left to tell if standard error is closed.
            let _ = writeln!(std::io::stderr(), "warning: {warning}");
        }
        Ok(said + "\n")
    }
}
