//! What is searched: a database, or a set of shards, here or on other machines.

use std::path::Path;

use secateur::datasets::{Query, Run};
use secateur::encoders::Device;
use secateur::fusion::Fusion;
use secateur::index::bm25::Analyzer;
use secateur::index::search::RecallCurve;
use secateur::search::{Explanation, Sides};
use secateur::shards::remote::{RemoteSet, Topology};
use secateur::shards::{MissingShard, ShardPlan, ShardSet};
use secateur::{Database, Document, Filter, Hit, Result, SearchMode, SearchParams, VectorIndex};

use super::encoder::{EncoderArguments, load_for, open_database, search_on_device};
use super::failure::{self, Code, Failure};

macro_rules! searched {
    (
        told { $($told:ident($($given:ident: $of:ty),*) -> $tells:ty;)* }
        asked { $($name:ident($($argument:ident: $type:ty),*) -> $answer:ty;)* }
    ) => {
        /// What commands that search call. The functions are those of [`Database`].
        pub trait Searched {
            $(fn $told(&self, $($given: $of),*) -> $tells;)*
            $(fn $name(&self, $($argument: $type),*) -> Result<$answer>;)*

            /// The documents with these ids, which were hits of it.
            fn hits_with(&self, doc_ids: &[&str]) -> Result<Vec<Option<Document>>>;

            /// The passages of these hits that are nearest to a query.
            fn best_passages(&self, query: &str, doc_ids: &[&str]) -> Result<Vec<Option<String>>>;

            /// How often it was opened anew: answers between which it was not are of one state.
            fn reopened(&self) -> usize {
                0
            }

            /// Whether there is a document with each of these ids.
            fn contains_each(&self, doc_ids: &[&str]) -> Result<Vec<bool>>;

            /// Searches vectors where the encoder computes, if that can be.
            fn search_on(&mut self, _: Device) -> failure::Result<()> {
                // The CPU searches, and finds the same.
                Ok(())
            }

            /// Refuses to keep a recall curve where that cannot be.
            fn check_keeps(&self) -> failure::Result<()> {
                Ok(())
            }

            /// Keeps what [`Searched::tune`] measured in the named generation, and makes its ef the default.
            fn keep_curve(&mut self, generation: Option<&str>, curve: &RecallCurve) -> failure::Result<()>;

            /// The shards that gave no answer since the last [`Searched::renew`]; `None` where all must.
            fn missing(&self) -> Option<Vec<MissingShard>> {
                None
            }

            /// Shards that gave no answer are asked again from now on.
            fn renew(&self) {}
        }

        impl Searched for Database {
            $(fn $told(&self, $($given: $of),*) -> $tells {
                Database::$told(self, $($given),*)
            })*
            $(fn $name(&self, $($argument: $type),*) -> Result<$answer> {
                Database::$name(self, $($argument),*)
            })*

            fn hits_with(&self, doc_ids: &[&str]) -> Result<Vec<Option<Document>>> {
                doc_ids.iter().map(|doc_id| self.document(doc_id)).collect()
            }

            fn best_passages(&self, query: &str, doc_ids: &[&str]) -> Result<Vec<Option<String>>> {
                Database::best_passages(self, query, doc_ids)
            }

            fn contains_each(&self, doc_ids: &[&str]) -> Result<Vec<bool>> {
                doc_ids.iter().map(|doc_id| self.contains(doc_id)).collect()
            }

            fn search_on(&mut self, device: Device) -> failure::Result<()> {
                search_on_device(self, device)
            }

            fn keep_curve(&mut self, _: Option<&str>, curve: &RecallCurve) -> failure::Result<()> {
                Ok(self.set_recall_curve(curve)?)
            }
        }

        impl Searched for ShardSet {
            $(fn $told(&self, $($given: $of),*) -> $tells {
                ShardSet::$told(self, $($given),*)
            })*
            $(fn $name(&self, $($argument: $type),*) -> Result<$answer> {
                ShardSet::$name(self, $($argument),*)
            })*

            fn hits_with(&self, doc_ids: &[&str]) -> Result<Vec<Option<Document>>> {
                self.documents_with(doc_ids)
            }

            fn best_passages(&self, query: &str, doc_ids: &[&str]) -> Result<Vec<Option<String>>> {
                ShardSet::best_passages(self, query, doc_ids)
            }

            fn contains_each(&self, doc_ids: &[&str]) -> Result<Vec<bool>> {
                ShardSet::contains_each(self, doc_ids)
            }

            fn keep_curve(&mut self, generation: Option<&str>, curve: &RecallCurve) -> failure::Result<()> {
                ShardPlan::open(self.path())?.set_recall_curve(generation, curve)?;
                Ok(())
            }
        }

        impl Searched for RemoteSet {
            $(fn $told(&self, $($given: $of),*) -> $tells {
                self.current().$told($($given),*)
            })*
            $(fn $name(&self, $($argument: $type),*) -> Result<$answer> {
                self.ask(|set| set.$name($($argument),*))
            })*

            fn hits_with(&self, doc_ids: &[&str]) -> Result<Vec<Option<Document>>> {
                RemoteSet::hits_with(self, doc_ids)
            }

            fn best_passages(&self, query: &str, doc_ids: &[&str]) -> Result<Vec<Option<String>>> {
                self.ask_same(|set| set.best_passages(query, doc_ids))
            }

            fn reopened(&self) -> usize {
                RemoteSet::reopened(self)
            }

            fn contains_each(&self, doc_ids: &[&str]) -> Result<Vec<bool>> {
                self.ask(|set| set.contains_each(doc_ids))
            }

            fn check_keeps(&self) -> failure::Result<()> {
                let message = "servers change nothing here: say --dry-run, and give the ef to searches, or tune the set where \
                               its folders are";
                Err(Failure::new(Code::Usage, message))
            }

            fn keep_curve(&mut self, _: Option<&str>, _: &RecallCurve) -> failure::Result<()> {
                self.check_keeps()
            }

            fn missing(&self) -> Option<Vec<MissingShard>> {
                RemoteSet::missing(self)
            }

            fn renew(&self) {
                RemoteSet::renew(self);
            }
        }
    };
}

searched! {
    told {
        mode(params: &SearchParams) -> SearchMode;
        fusing(params: &SearchParams) -> (Fusion, f64);
        analyzer() -> Analyzer;
        vector_index() -> Option<VectorIndex>;
    }
    asked {
        check_filter(filter: &Filter) -> ();
        search_sides(queries: &[&str], params: &SearchParams) -> Vec<Vec<(Hit, Sides)>>;
        search_vector(vector: &[f32], params: &SearchParams) -> Vec<Hit>;
        explain(query: &str, params: &SearchParams) -> Explanation;
        run(queries: &[Query], params: &SearchParams) -> Run;
        tune(queries: &[&str], k: usize, target: f64) -> RecallCurve;
    }
}

/// How [`open_searched`] opens.
#[derive(Clone, Copy, Default)]
pub struct Opening<'a> {
    /// The generation whose vectors are read, if not the one in use.
    pub generation: Option<&'a str>,
    pub needs_encoder: bool,
    /// Whether servers without an answer are left out.
    pub partial: bool,
}

/// Refuses a path where there is neither a set of shards nor a file that names its servers.
pub fn check_is_set(path: &Path) -> failure::Result<()> {
    if Topology::is_named(path) {
        return Ok(());
    }
    ShardPlan::open(path)?;
    Ok(())
}

/// Opens a database, a finished set of shards, or one whose servers a file names. The encoder is opened with it, if the
/// command needs one: see [`open_database`].
pub fn open_searched(
    path: &Path,
    opening: Opening<'_>,
    arguments: &EncoderArguments,
) -> failure::Result<Box<dyn Searched>> {
    let Opening { generation, needs_encoder, partial } = opening;
    if partial && !Topology::is_named(path) {
        let message =
            format!("--partial does nothing here: {} is no file that names servers", path.display());
        return Err(Failure::new(Code::Usage, message));
    }
    if Topology::is_named(path) {
        return open_remote(path, opening, arguments);
    }
    if !ShardPlan::is_there(path) {
        return Ok(Box::new(open_database(path, generation, arguments, needs_encoder)?));
    }
    arguments.refuse_unless(needs_encoder)?;
    if needs_encoder {
        let set = ShardSet::open_with(path, generation, |record| load_for(path, record, arguments))?;
        check_encoder(path, &set, arguments)?;
        return Ok(Box::new(set));
    }
    Ok(Box::new(match generation {
        Some(name) => ShardSet::open_generation(path, name)?,
        None => ShardSet::open(path)?,
    }))
}

/// Refuses an encoder for a set whose vectors no encoder makes.
fn check_encoder(path: &Path, set: &ShardSet, arguments: &EncoderArguments) -> failure::Result<()> {
    if arguments.encoder.is_none() || set.encoder_record().is_some() {
        return Ok(());
    }
    let message = format!("--encoder does nothing here: no encoder makes vectors in {}", path.display());
    Err(Failure::new(Code::Usage, message))
}

fn open_remote(
    path: &Path,
    opening: Opening<'_>,
    arguments: &EncoderArguments,
) -> failure::Result<Box<dyn Searched>> {
    let Opening { generation, needs_encoder, partial } = opening;
    arguments.refuse_unless(needs_encoder)?;
    let set = RemoteSet::open(path, generation, partial, |record| {
        needs_encoder.then(|| load_for(path, record, arguments)).transpose()
    })?;
    check_encoder(path, &set.current(), arguments)?;
    Ok(Box::new(set))
}
