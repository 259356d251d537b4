//! Writing to disk so that a crash loses nothing that was acknowledged.
//!
//! # Overview of types
//!
//! - [`Durable`] writes a file that appears whole or not at all.
//! - [`DurableFolder`] does the same for a folder with all its files.
//! - [`Journal`] is an append-only file of records, so that long work can stop and go on.
//! - [`disk`] holds the single operations that the three are made of: create, write, sync, rename, remove.
//! - [`header`] is the checked 64-byte beginning of a file of numbers.
//! - [`LockedFile`] keeps other processes away.
//! - [`PathError`] is the one error of a file operation: what was attempted, on which path, and why it failed.
//! - [`ErrorKind`] says of every error of the workspace whose turn it is.
//! - [`UnknownName`] is the error of a value that has names, of a name that is none of them.
//! - [`join`] does two pieces of work at a time.
//! - `faults`, behind the feature of that name, makes any operation of a test fail, or cuts the power.
//!
//! The crate knows no document, vector or model. Every crate that writes a file writes it through this one, so that
//! one test harness reaches all writers.
//!
//! ```
//! use std::io::Write;
//! use secateur_files::Durable;
//!
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("notes.txt");
//! Durable::write(&path, |out| writeln!(out, "all or nothing"))?;
//! assert_eq!(std::fs::read_to_string(&path)?, "all or nothing\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

#[cfg(target_endian = "big")]
compile_error!("secateur's files hold little-endian numbers, which are read where they lie");

pub mod disk;
mod durable;
mod error;
#[cfg(all(any(test, feature = "faults"), unix))]
pub mod faults;
pub mod header;
mod journal;
mod lock;
mod names;
mod parallel;

pub use durable::{Durable, DurableFolder, with_suffix};
pub use error::{AtPath, ErrorKind, PathError, Result};
pub use journal::{Journal, JournalError, Record, kept_bytes, kept_items};
pub use lock::LockedFile;
pub use names::UnknownName;
pub use parallel::join;
