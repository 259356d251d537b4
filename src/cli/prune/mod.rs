//! `secateur prune`: score, drop, sweep.

use clap::Subcommand;

use super::failure::Result;

#[derive(Subcommand)]
pub enum Command {}

impl Command {
    pub fn run(self) -> Result<String> {
        match self {}
    }
}
