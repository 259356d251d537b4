//! `secateur mcp`: agents search a database, over standard input and output or over HTTP.

use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use secateur_serve::{Access, Hosts, Limits, Stop};

use super::encoder::EncoderArguments;
use super::failure::{Code, Failure, Result, say};
use super::serve::{keys, limit_arenas, seconds, served, stop_on_signals, teller};

const EXAMPLES: &str = "\
An agent gets four tools that read and change nothing: search (by meaning, by words, or both, with a filter), fetch (a document by its \
id), list (page through documents) and info (numbers and fields). New commits are taken up while it runs.

Programs such as Claude Desktop, Claude Code and Cursor start it themselves when their configuration names it:
  {\"mcpServers\": {\"notes\": {\"command\": \"secateur\", \"args\": [\"mcp\", \"/home/me/notes.db\"]}}}
Standard output is the protocol's; messages for people go to standard error. It ends with its input, and by SIGINT or SIGTERM.

With --http it is `secateur serve` at that address, and the protocol is at /mcp. If SECATEUR_API_KEYS is set, a request must have one \
of its lines as `Authorization: Bearer KEY`.

Examples:
  secateur mcp notes.db
  secateur mcp notes.db --http 127.0.0.1:8080";

#[derive(Args)]
#[command(mut_arg("encoder", |encoder| encoder.help("Where the encoder of the database is, if not where it was")), after_help = EXAMPLES)]
pub struct Arguments {
    /// The database to search.
    database: PathBuf,
    /// Answer over streamable HTTP at this address of this machine; port 0 for one that is free.
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<SocketAddr>,
    /// A cross-encoder for searches that ask for it: a model directory, or OWNER/NAME of the hub.
    #[arg(long, value_name = "MODEL")]
    reranker: Option<String>,
    /// How often to look for what other processes have committed, in seconds.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    refresh: Duration,
    #[command(flatten)]
    encoder: EncoderArguments,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        limit_arenas();
        let access = match self.http {
            Some(address) => self.access(address)?,
            None => Access::default(),
        };
        let served = served(Some(&self.database), self.reranker.as_deref(), &self.encoder)?;
        let limits = Limits { refresh: self.refresh, ..Limits::default() };
        let name = self.database.display().to_string();
        let stop = Stop::new();
        stop_on_signals(stop.clone())?;
        match self.http {
            Some(address) => {
                secateur_serve::run(address, served, access, limits, &stop, teller(name)).map_err(
                    |error| {
                        let message = format!("cannot listen at {address}: {error}; choose another --http");
                        Failure::new(Code::System, message)
                    },
                )?;
            }
            None => {
                if io::stdin().is_terminal() {
                    say(&format!(
                        "{name}: an agent is awaited at standard input, to which it speaks MCP; Ctrl-C ends this"
                    ));
                }
                secateur_serve::run_stdio(served, limits, &stop, teller(name)).map_err(not_spoken)?;
            }
        }
        Ok(String::new())
    }

    fn access(&self, address: SocketAddr) -> Result<Access> {
        if !address.ip().is_loopback() {
            let message = format!(
                "--http {address}: only an address of this machine, such as 127.0.0.1:{port}; for others run `secateur serve {database} \
                 --host {host} --port {port} --api-keys FILE`, which answers at /mcp, too",
                port = address.port(),
                host = address.ip(),
                database = self.database.display()
            );
            return Err(Failure::new(Code::Usage, message));
        }
        let keys = keys(None)?;
        let hosts = if keys.is_empty() { Hosts::Local } else { Hosts::Any };
        Ok(Access { hosts, keys, writable: false })
    }
}

fn not_spoken(error: io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::InvalidData => Failure::new(
            Code::Input,
            format!("the program at standard input does not speak the Model Context Protocol: {error}"),
        ),
        _ => Failure::new(Code::System, format!("cannot answer over standard input and output: {error}")),
    }
}
