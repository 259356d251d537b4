//! What is searched: a database, or a set of shards.

use std::path::Path;

use secateur::datasets::{Query, Run};
use secateur::encoders::Device;
use secateur::index::bm25::Analyzer;
use secateur::search::{Explanation, Sides};
use secateur::shards::{ShardPlan, ShardSet};
use secateur::{Database, Document, Filter, Hit, Result, SearchMode, SearchParams, VectorIndex};

use super::encoder::{EncoderArguments, load_for, open_database, search_on_device};
use super::failure::{self, Code, Failure};

macro_rules! searched {
    ($($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)*) => {
        /// What commands that search call. The functions are those of [`Database`].
        pub trait Searched {
            $(fn $name(&self, $($argument: $type),*) -> $answer;)*

            /// Searches vectors where the encoder computes, if that can be.
            fn search_on(&mut self, device: Device) -> failure::Result<()>;
        }

        impl Searched for Database {
            $(fn $name(&self, $($argument: $type),*) -> $answer {
                Database::$name(self, $($argument),*)
            })*

            fn search_on(&mut self, device: Device) -> failure::Result<()> {
                search_on_device(self, device)
            }
        }

        impl Searched for ShardSet {
            $(fn $name(&self, $($argument: $type),*) -> $answer {
                ShardSet::$name(self, $($argument),*)
            })*

            /// The CPU searches shards, and finds the same.
            fn search_on(&mut self, _: Device) -> failure::Result<()> {
                Ok(())
            }
        }
    };
}

searched! {
    mode(params: &SearchParams) -> SearchMode;
    analyzer() -> Analyzer;
    vector_index() -> Option<VectorIndex>;
    check_filter(filter: &Filter) -> Result<()>;
    contains(doc_id: &str) -> Result<bool>;
    document(doc_id: &str) -> Result<Option<Document>>;
    best_passages(query: &str, doc_ids: &[&str]) -> Result<Vec<Option<String>>>;
    search_sides(queries: &[&str], params: &SearchParams) -> Result<Vec<Vec<(Hit, Sides)>>>;
    search_vector(vector: &[f32], params: &SearchParams) -> Result<Vec<Hit>>;
    explain(query: &str, params: &SearchParams) -> Result<Explanation>;
    run(queries: &[Query], params: &SearchParams) -> Result<Run>;
}

/// Opens a database or a finished set of shards with its encoder, if the command needs one: see [`open_database`].
pub fn open_searched(
    path: &Path,
    generation: Option<&str>,
    arguments: &EncoderArguments,
    needs_encoder: bool,
) -> failure::Result<Box<dyn Searched>> {
    if !ShardPlan::is_there(path) {
        return Ok(Box::new(open_database(path, generation, arguments, needs_encoder)?));
    }
    arguments.refuse_unless(needs_encoder)?;
    if needs_encoder {
        let set = ShardSet::open_with(path, generation, |record| load_for(path, record, arguments))?;
        if arguments.encoder.is_some() && set.encoder_record().is_none() {
            let message =
                format!("--encoder does nothing here: no encoder makes vectors in {}", path.display());
            return Err(Failure::new(Code::Usage, message));
        }
        return Ok(Box::new(set));
    }
    Ok(Box::new(match generation {
        Some(name) => ShardSet::open_generation(path, name)?,
        None => ShardSet::open(path)?,
    }))
}
