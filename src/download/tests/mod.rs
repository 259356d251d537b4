//! Downloads from a local server that misbehaves on request.

mod beir;
mod config;
mod fetch;
mod hub;
mod suite;

use std::path::Path;
use std::time::Duration;

use super::{Fetcher, Progress};

/// A fetcher that does not keep a test waiting.
fn fetcher() -> Fetcher {
    Fetcher::with_pause(Duration::from_millis(1))
}

fn no_progress(_: Progress) {}

/// Bytes that do not repeat, so that a part in the wrong place shows.
fn bytes(length: usize) -> Vec<u8> {
    (0..length as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
