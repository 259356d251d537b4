//! The `secateur` command: glue between the command line and the library.

mod cli;
mod download;

fn main() -> std::process::ExitCode {
    cli::main()
}
