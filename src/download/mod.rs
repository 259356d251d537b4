//! What the command line fetches from the network: published data sets and models of the Hugging Face hub.
//!
//! No library of the workspace downloads anything; these functions are only called by commands that were asked to.

mod beir;
mod checksum;
mod config;
mod error;
mod fetch;
mod hub;
mod rows;
mod suite;
mod unpack;

#[cfg(test)]
mod tests;

pub use beir::download_dataset;
pub use config::HubConfig;
pub use error::DownloadError;
pub use fetch::{Fetcher, Progress};
pub use hub::resolve_model;
pub use suite::{Suite, SuiteDataset};
