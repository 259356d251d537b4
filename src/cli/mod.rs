//! The command line: one file a subcommand, each parses its arguments, calls the library and prints.

mod add;
mod bench;
mod bench_gpu;
mod cloze;
mod compact;
mod compare;
mod dataset;
mod delete;
mod demo;
mod effir;
mod encode;
mod encoder;
mod eval;
mod eval_run;
mod failure;
mod generation;
mod get;
mod help;
mod hits;
mod index;
mod info;
mod inputs;
mod locate;
#[cfg(feature = "serve")]
mod mcp;
mod mine;
mod model;
mod model_options;
mod progress;
mod prune;
mod queries;
#[cfg(all(test, feature = "serve"))]
mod remote;
mod report;
mod rerank;
mod search;
mod searched;
#[cfg(feature = "serve")]
mod serve;
mod shards;
mod source;
mod swap;
mod teach;
mod train;
mod triples;
mod tune;
mod tune_fusion;
mod verify;

use std::io::{self, BufWriter, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::builder::{PathBufValueParser, TypedValueParser};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use failure::{Code, Failure, Result};
use serde::Serialize;

/// An embedded retrieval database whose text encoder can be pruned.
#[derive(Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Cli {
    /// Threads to compute with [default: all of the machine's].
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  secateur index notes.jsonl --out notes.db
  secateur search notes.db \"when to cut rose bushes\"
  secateur help search

Exit codes:
  0    done
  1    I/O error: disk, memory, network
  2    the command line is wrong, or an output has no folder, or is a folder that exists (a file is replaced)
  3    a data set, run, judgment file or model is missing or wrong
  4    a database is missing, damaged, locked, of a newer version or of another encoder
  5    a measurement is worse than was asked for
  130  interrupted; long work goes on where it stopped when run again, `train` with --resume

With --json an error is JSON, too, on standard error: {\"error\": {\"kind\", \"code\", \"message\"}}.";

#[derive(Subcommand)]
enum Command {
    /// Index the bundled collection, answer two queries, evaluate. Needs no network.
    Demo(demo::Arguments),
    /// Inspect, check and download data sets; make training data of them.
    #[command(subcommand)]
    Dataset(dataset::Command),
    /// Inspect, check, merge and quantize models.
    #[command(subcommand)]
    Model(model::Command),
    /// Encode a corpus or its queries to a .npy file.
    Encode(encode::Arguments),
    /// Make a database from files of documents.
    #[command(visible_alias = "create")]
    Index(index::Arguments),
    /// Add documents to a database.
    #[command(visible_alias = "insert")]
    Add(add::AddArguments),
    /// Add documents to a database, in place of those with their ids.
    #[command(visible_alias = "update")]
    Upsert(add::UpsertArguments),
    /// Delete documents by their ids or by a filter.
    #[command(visible_alias = "remove")]
    Delete(delete::Arguments),
    /// Print documents by their ids.
    Get(get::GetArguments),
    /// Write the documents of a database as lines of JSON.
    Export(get::ExportArguments),
    /// Say what a database holds: documents, fields, encoders, index, bytes.
    #[command(visible_alias = "status")]
    Info(info::Arguments),
    /// Answer a query, or many.
    Search(search::Arguments),
    /// Answer the queries of a data set and measure the answers.
    Eval(eval::Arguments),
    /// Measure encoders, indexes and modes side by side: quality, latency, size and cost.
    Bench(Box<bench::Arguments>),
    /// Make one page of stored results of `bench`, of one machine or several.
    Report(report::Arguments),
    /// Measure a run file.
    EvalRun(eval_run::Arguments),
    /// Compare runs: means, significance tests, the queries that moved most.
    Compare(compare::Arguments),
    /// Rank the best documents of a run anew with a cross-encoder.
    Rerank(rerank::Arguments),
    /// Add hard negatives to training data, from any retriever of a database.
    Mine(mine::Arguments),
    /// Add a teacher's scores to training data.
    Teach(teach::Arguments),
    /// Choose --ef of an HNSW index for a recall, and set it.
    Tune(tune::Arguments),
    /// Measure how a hybrid search should weigh vectors and words.
    TuneFusion(tune_fusion::Arguments),
    /// Find out which parts of an encoder matter least, and make smaller models of it.
    #[command(subcommand)]
    Prune(prune::Command),
    /// Fine-tune an encoder to retrieve.
    Train(train::Arguments),
    /// Score, drop, slim, train, narrow and evaluate an encoder, as a recipe says.
    Effir(effir::Arguments),
    /// Keep the documents of a database under several encoders, and choose the one that searches use.
    #[command(subcommand)]
    Generation(generation::Command),
    /// Encode the documents of a live database anew, and switch to the new encoder if it is good enough.
    Swap(Box<swap::Arguments>),
    /// Go back to the encoder that served before the last swap.
    Rollback(swap::RollbackArguments),
    /// Reclaim the space of deleted documents, and make one segment of many.
    Compact(compact::Arguments),
    /// Divide a corpus over several databases, which are built one by one and searched as one.
    #[command(subcommand)]
    Shards(Box<shards::Command>),
    /// Check every file of a database.
    Verify(verify::Arguments),
    /// Answer programs and browsers over HTTP: embeddings, reranking, search.
    #[cfg(feature = "serve")]
    Serve(Box<serve::Arguments>),
    /// Let agents search a database: a server of the Model Context Protocol.
    #[cfg(feature = "serve")]
    Mcp(Box<mcp::Arguments>),
}

/// A number of 1 or more.
fn positive(text: &str) -> std::result::Result<NonZeroUsize, String> {
    text.parse::<usize>()
        .ok()
        .and_then(NonZeroUsize::new)
        .ok_or_else(|| "expected a whole number of at least 1".to_owned())
}

/// The file of a drawing, which is SVG whatever the file is called: so it has to be called that.
fn svg_file() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|path| {
        match path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("svg")) {
            true => Ok(path),
            false => Err("expected a name that ends in .svg: drawings are SVG, which browsers show"),
        }
    })
}

pub fn main() -> ExitCode {
    let is_json = std::env::args_os().any(|argument| argument == "--json");
    let mut command = help::grouped(Cli::command());
    let parsed = command
        .try_get_matches_from_mut(std::env::args_os())
        .and_then(|matches| Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command)));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) if is_json && error.use_stderr() => {
            let failure = failure::of_command_line(&error);
            let _ = writeln!(io::stderr(), "{}", failure.as_json());
            return ExitCode::from(failure.exit_code());
        }
        Err(error) => error.exit(),
    };
    // Locked only while something is written: `mcp` has threads that write.
    let mut out = BufWriter::new(io::stdout());
    match run(cli, &mut out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // What was printed before the failure comes before its message.
            let _ = out.flush();
            // There is nobody left to tell if standard error is closed.
            let _ = match is_json {
                true => writeln!(io::stderr(), "{}", failure.as_json()),
                false => writeln!(io::stderr(), "error: {}", failure.message),
            };
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(cli: Cli, out: &mut impl Write) -> Result<()> {
    let threads = cli.threads.map_or(0, usize::from);
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .map_err(|error| Failure::new(Code::System, format!("cannot start the threads: {error}")))?;
    let text = match cli.command {
        Command::Demo(arguments) => arguments.run()?,
        Command::Dataset(command) => command.run(out)?,
        Command::Model(command) => command.run(out)?,
        Command::Encode(arguments) => arguments.run()?,
        Command::Index(arguments) => arguments.run()?,
        Command::Add(arguments) => arguments.run()?,
        Command::Upsert(arguments) => arguments.run()?,
        Command::Delete(arguments) => arguments.run()?,
        Command::Get(arguments) => arguments.run(out)?,
        Command::Export(arguments) => arguments.run(out)?,
        Command::Info(arguments) => arguments.run()?,
        Command::Search(arguments) => arguments.run(out)?,
        Command::Eval(arguments) => arguments.run()?,
        Command::Bench(arguments) => arguments.run(out)?,
        Command::Report(arguments) => arguments.run()?,
        Command::EvalRun(arguments) => arguments.run()?,
        Command::Compare(arguments) => arguments.run()?,
        Command::Rerank(arguments) => arguments.run()?,
        Command::Mine(arguments) => arguments.run()?,
        Command::Teach(arguments) => arguments.run()?,
        Command::Tune(arguments) => arguments.run()?,
        Command::TuneFusion(arguments) => arguments.run()?,
        Command::Prune(command) => command.run()?,
        Command::Train(arguments) => arguments.run()?,
        Command::Effir(arguments) => arguments.run()?,
        Command::Generation(command) => command.run()?,
        Command::Swap(arguments) => arguments.run(out)?,
        Command::Rollback(arguments) => arguments.run()?,
        Command::Compact(arguments) => arguments.run()?,
        Command::Shards(command) => command.run(out)?,
        Command::Verify(arguments) => arguments.run()?,
        #[cfg(feature = "serve")]
        Command::Serve(arguments) => arguments.run()?,
        #[cfg(feature = "serve")]
        Command::Mcp(arguments) => arguments.run()?,
    };
    print(out, &text)
}

/// A value as JSON for people and programs, with a line end.
fn as_json(value: &impl Serialize) -> Result<String> {
    let json = serde_json::to_string_pretty(value)
        .map_err(|error| Failure::new(Code::System, format!("cannot write JSON: {error}")))?;
    Ok(json + "\n")
}

/// Writes to standard output. A reader that has seen enough, such as `head`, is no failure.
fn print(out: &mut impl Write, text: &str) -> Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) => stopped(error).map(drop),
        Ok(()) => Ok(()),
    }
}

/// The end of a command that cannot write on: done, if its reader has seen enough.
fn stopped(error: io::Error) -> Result<String> {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(String::new()),
        _ => Err(Failure::new(Code::System, format!("cannot write to standard output: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    /// Options of several values take commas, and their help says so.
    #[test]
    fn lists_of_values_are_separated_by_commas() {
        fn check(command: &clap::Command, seen: &mut usize) {
            for option in command.get_opts() {
                let delimiter = option.get_value_delimiter();
                if delimiter.is_some() || option.get_num_args().is_some_and(|range| range.max_values() > 1) {
                    *seen += 1;
                    let help = option.get_help().map(ToString::to_string).unwrap_or_default();
                    assert_eq!(delimiter, Some(','), "{option} of {}", command.get_name());
                    assert!(
                        help.contains("separated by commas"),
                        "{option} of {}: {help}",
                        command.get_name()
                    );
                }
            }
            command.get_subcommands().for_each(|command| check(command, seen));
        }
        let (mut command, mut seen) = (Cli::command(), 0);
        command.build();
        check(&command, &mut seen);
        assert!(seen > 10, "{seen} options were found");
    }
}
