//! `secateur shards`: a corpus over several databases that are searched as one.

use std::cell::Cell;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::{Args, Subcommand};
use secateur::Encoder;
use secateur::report::{Align, Table, counted, grouped, three_digits};
use secateur::shards::{CorpusSource, SetReport, ShardError, ShardPlan, ShardState, ShardStatus};
use secateur_files::Journal;
use serde_json::{Value, json};

use super::encoder::{ENCODER_OR_DEFAULT, EncoderArguments, open_database};
use super::failure::{Failure, Result};
use super::index::{MakingArguments, check_out, with_advice};
use super::progress::{Progress, say_on_interrupt};
use super::searched::check_is_set;
use super::source::SourceArguments;
use super::{eval, search, tune};

const EXAMPLES: &str = "\
A set is a folder with a plan and one database a shard. Shards are built in any order, on any machine that has the folder with \
the plan and the corpus; a shard that is there already is left alone. Exact searches, searches by words and hybrid searches of \
a set answer as one database of the same documents does, with the same scores.

A shard can be served on another machine with `secateur serve`. A .json file that names the servers stands for the set then: \
{\"shards\": [{\"replicas\": [\"http://10.0.0.1:8080\"]}, {\"replicas\": [\"http://10.0.0.2:8080\"]}]}

Examples:
  secateur shards plan corpus.jsonl --shards 4 --out my.set
  secateur shards build my.set 0 1 2 3
  secateur shards status my.set
  secateur shards finish my.set
  secateur shards search my.set \"when are roses pruned\"
  secateur shards search servers.json \"when are roses pruned\" --partial";

#[derive(Subcommand)]
#[command(after_help = EXAMPLES)]
pub enum Command {
    /// Divide a corpus into shards: makes the folder of a set.
    Plan(Box<PlanArguments>),
    /// Build shards of a set. Run again after an interruption, it goes on.
    Build(Box<BuildArguments>),
    /// Say how far each shard is.
    Status(StatusArguments),
    /// Check the shards against each other, and make the set searchable.
    Finish(SetArguments),
    /// Check every file of a finished set.
    Verify(SetArguments),
    /// Answer a query, or many, as `secateur search` does.
    Search(Box<search::Arguments>),
    /// Answer the queries of a data set and measure the answers, as `secateur eval` does.
    Eval(Box<eval::Arguments>),
    /// Choose --ef of all shards for a recall of the set, and set it, as `secateur tune` does.
    Tune(Box<tune::Arguments>),
}

#[derive(Args)]
#[command(mut_arg("encoder", |encoder| encoder.help(ENCODER_OR_DEFAULT)), after_help = "\
Example:
  secateur shards plan corpus.jsonl --shards 4 --out my.set")]
pub struct PlanArguments {
    #[command(flatten)]
    making: MakingArguments,
    /// How many shards the corpus is divided into. 1 to 100,000.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000))]
    shards: u64,
    /// The folder of the set to make.
    #[arg(long, value_name = "SET")]
    out: PathBuf,
}

#[derive(Args)]
#[command(after_help = "\
Example:
  secateur shards build my.set 3")]
pub struct BuildArguments {
    /// The set.
    set: PathBuf,
    /// Numbers of shards, counted from 0.
    #[arg(required = true, value_name = "SHARD")]
    shards: Vec<usize>,
    /// Files or folders of the corpus, separated by commas, if they are not where they were when the set was planned.
    #[arg(long, value_name = "FILES", num_args = 1.., value_delimiter = ',')]
    corpus: Vec<PathBuf>,
    #[command(flatten)]
    encoder: EncoderArguments,
}

#[derive(Args)]
#[command(after_help = "\
Example:
  secateur shards status my.set")]
pub struct StatusArguments {
    /// The set.
    set: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(after_help = "\
Examples:
  secateur shards finish my.set
  secateur shards verify my.set")]
pub struct SetArguments {
    /// The set.
    set: PathBuf,
}

impl Command {
    pub fn run(self, out: &mut impl Write) -> Result<String> {
        match self {
            Command::Plan(arguments) => arguments.run(),
            Command::Build(arguments) => arguments.run(),
            Command::Status(arguments) => arguments.run(),
            Command::Finish(SetArguments { set }) => {
                let report = ShardPlan::open(&set)?.finish()?;
                Ok(told(&set, "finished", &report))
            }
            Command::Verify(SetArguments { set }) => {
                let report = ShardPlan::open(&set)?.verify()?;
                Ok(told(&set, "sound", &report))
            }
            Command::Search(arguments) => {
                check_is_set(arguments.path())?;
                arguments.run(out)
            }
            Command::Eval(arguments) => {
                check_is_set(arguments.path())?;
                arguments.run()
            }
            Command::Tune(arguments) => {
                check_is_set(arguments.path())?;
                arguments.run()
            }
        }
    }
}

fn told(set: &Path, what: &str, report: &SetReport) -> String {
    let SetReport { num_shards, num_documents, num_bytes } = *report;
    let (documents, shards) = (counted(num_documents as usize, "document"), counted(num_shards, "shard"));
    let bytes = counted(num_bytes as usize, "byte");
    format!("{}: {what}; {documents} in {shards}, {bytes}\n", set.display())
}

impl PlanArguments {
    fn run(self) -> Result<String> {
        let start = Instant::now();
        let making = &self.making;
        let inputs = making.source.open(&making.files, making.encoder.strict)?;
        check_out(&self.out, "build its shards with `secateur shards build`")?;
        let (builder, _) = making.builder(&self.out, &inputs)?;
        let source =
            CorpusSource { files: inputs.paths(), options: making.source.to_options(making.encoder.strict) };
        // Ids are compared when the documents are read, so here they are only counted.
        let count = inputs.count()?;
        let progress = Progress::start("planning", "document", || Ok::<_, Failure>(count))?;
        let num_empty = Cell::new(0);
        let mut done = 0;
        let documents = inputs.counted(false, |count| num_empty.set(count)).inspect(|_| {
            done += 1;
            progress.set(done);
        });
        let plan =
            builder.plan_shards(self.shards as usize, count, documents, source).map_err(with_advice)?;
        progress.finish();
        inputs.warn_of_empty(num_empty.get());
        let sizes = || plan.shards().iter().map(|shard| shard.num_documents as usize);
        let (shards, documents) = (counted(plan.num_shards(), "shard"), counted(count as usize, "document"));
        let [least, most] = [sizes().min(), sizes().max()].map(|size| grouped(size.unwrap_or_default()));
        let each = if least == most { most } else { format!("{least} or {most}") };
        Ok(format!(
            "{}: {documents} in {shards} of {each}, planned in {} s\n",
            self.out.display(),
            three_digits(start.elapsed().as_secs_f64())
        ))
    }
}

impl BuildArguments {
    fn run(self) -> Result<String> {
        let plan = ShardPlan::open(&self.set)?;
        // Before hours of work on the first of them.
        let last = self.shards.iter().max().copied().unwrap_or_default();
        if last >= plan.num_shards() {
            let (num_shards, path) = (plan.num_shards(), self.set.clone());
            return Err(
                secateur::Error::from(ShardError::NoSuchShard { shard: last, num_shards, path }).into()
            );
        }
        let mut text = String::new();
        let mut encoder = None;
        for number in &self.shards {
            // One that is given is compared, though every shard be there already.
            let is_wanted = self.encoder.encoder.is_some() || !plan.shard_path(*number).exists();
            if encoder.is_none() && is_wanted {
                encoder = self.load(&plan)?;
            }
            text.push_str(&self.build(&plan, *number, encoder.as_ref())?);
        }
        Ok(text)
    }

    /// The encoder that the set is planned with.
    fn load(&self, plan: &ShardPlan) -> Result<Option<Arc<Encoder>>> {
        let settings = plan.settings()?;
        let database =
            open_database(settings.path(), None, &self.encoder, settings.encoder_record().is_some())?;
        Ok(database.encoder().cloned())
    }

    fn build(&self, plan: &ShardPlan, number: usize, encoder: Option<&Arc<Encoder>>) -> Result<String> {
        let start = Instant::now();
        let path = plan.shard_path(number);
        let CorpusSource { files, options } = plan.corpus();
        let (source, strict) = SourceArguments::from_options(options);
        let files = if self.corpus.is_empty() { files } else { &self.corpus };
        let is_there = path.exists();
        // What is there needs no corpus.
        let inputs = (!is_there).then(|| source.open(files, strict)).transpose()?;
        let planned = plan.shards().get(number).map_or(0, |shard| shard.num_documents);
        let progress = Progress::start("building", "document", || Ok::<_, Failure>(planned))?
            .going_on_from(&Journal::beside(&path));
        if encoder.is_some() && !is_there {
            say_on_interrupt("the vectors so far are kept; run the same command again to go on")?;
        }
        // Ids were compared when the set was planned, and remembering them takes memory.
        let documents = inputs.iter().flat_map(|inputs| inputs.documents(true));
        let built = plan
            .build(number, encoder.cloned(), documents, |done| progress.set(done))
            .map_err(with_advice)?;
        progress.finish();
        let (path, documents) = (path.display(), counted(built.database.len(), "document"));
        if built.was_there {
            return Ok(format!("{path}: there already, with {documents}\n"));
        }
        let seconds = three_digits(start.elapsed().as_secs_f64());
        Ok(format!("{path}: {documents}, in {seconds} s\n"))
    }
}

impl StatusArguments {
    fn run(self) -> Result<String> {
        let plan = ShardPlan::open(&self.set)?;
        let status = plan.status()?;
        let finished = plan.is_finished()?;
        if self.json {
            let shards: Vec<Value> = status.iter().map(as_json).collect();
            let json = json!({
                "documents": plan.num_documents(),
                "finished": finished,
                "shards": shards,
            });
            return Ok(format!("{json:#}\n"));
        }
        let mut table = Table::new([
            ("shard", Align::Right),
            ("planned", Align::Right),
            ("documents", Align::Right),
            ("bytes", Align::Right),
            ("state", Align::Left),
        ]);
        let mut num_built = 0;
        for ShardStatus { number, num_planned, state, .. } in &status {
            num_built += usize::from(matches!(state, ShardState::Built { .. }));
            let [documents, bytes, state] = match state {
                ShardState::Built { num_documents, num_bytes } => {
                    [grouped(*num_documents), grouped(*num_bytes as usize), "built".to_owned()]
                }
                ShardState::Unfinished { num_bytes } => {
                    let bytes = counted(*num_bytes as usize, "byte");
                    [String::new(), String::new(), format!("unfinished, {bytes} of vectors kept")]
                }
                ShardState::Missing => [String::new(), String::new(), "not built".to_owned()],
                ShardState::Wrong(error) => {
                    [String::new(), String::new(), secateur::error::message_with_causes(error)]
                }
            };
            table.row([number.to_string(), grouped(*num_planned as usize), documents, bytes, state]);
        }
        let next = match (finished, num_built == status.len()) {
            (true, _) => "finished".to_owned(),
            (false, true) => format!("not finished: run `secateur shards finish {}`", self.set.display()),
            (false, false) => "not finished".to_owned(),
        };
        let (built, all) = (grouped(num_built), counted(status.len(), "shard"));
        Ok(format!("{}: {built} of {all} built, {next}\n\n{table}", self.set.display()))
    }
}

fn as_json(status: &ShardStatus) -> Value {
    let ShardStatus { number, path, num_planned, state } = status;
    let mut json = json!({ "shard": number, "path": path.display().to_string(), "planned": num_planned });
    match state {
        ShardState::Missing => json["state"] = "missing".into(),
        ShardState::Unfinished { num_bytes } => {
            json["state"] = "unfinished".into();
            json["bytes_kept"] = (*num_bytes).into();
        }
        ShardState::Built { num_documents, num_bytes } => {
            json["state"] = "built".into();
            json["documents"] = (*num_documents).into();
            json["bytes"] = (*num_bytes).into();
        }
        ShardState::Wrong(error) => {
            json["state"] = "wrong".into();
            json["problem"] = secateur::error::message_with_causes(error).into();
        }
    }
    json
}
