//! `secateur index`: a data set becomes a database.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, ValueEnum};
use secateur::beir::BeirFolder;
use secateur::{
    ComponentType, CreateOptions, Database, Error, FaissKind, HnswParams, IndexError, IndexOptions, Metric,
    VectorIndex, WalkCodes, index_corpus, sync_name, with_suffix,
};

use super::encoder::{EncoderArguments, metric_of};
use super::failure::{Code, Failure, Result};
use super::inputs::open_dataset;
use super::progress::{Progress, say_on_interrupt};

#[derive(Args)]
pub struct Arguments {
    /// A BEIR folder, or the name of a downloaded data set.
    dataset: PathBuf,
    /// The database to make; it appears when it is complete.
    #[arg(long, value_name = "DB")]
    out: PathBuf,
    #[command(flatten)]
    encoder: EncoderArguments,
    /// How vectors are compared: cosine, inner-product or l2. What the model says, unless given.
    #[arg(long, requires = "encoder")]
    metric: Option<Metric>,
    #[command(flatten)]
    index: IndexArguments,
    /// What stands between a document's title and its text when the encoder reads it.
    #[arg(long, value_name = "TEXT", default_value = " ")]
    separator: String,
    /// Take documents that have neither title nor text.
    #[arg(long)]
    allow_empty: bool,
}

/// How vectors are to be stored and searched.
#[derive(Args)]
pub struct IndexArguments {
    /// What vectors are rounded to when they are stored: f32, f16 or bf16. 16 bits halve the file of the vectors.
    #[arg(long, value_name = "TYPE", default_value_t = ComponentType::F32)]
    pub vectors: ComponentType,
    /// How vectors are searched.
    #[arg(long, value_enum, default_value_t = IndexKind::Flat)]
    #[arg(requires_ifs(["hnsw", "hnsw-rs", "faiss-flat", "faiss-hnsw", "faiss-ivf-pq"].map(|kind| (kind, "encoder"))))]
    index: IndexKind,
    /// hnsw, hnsw-rs, faiss-hnsw: neighbors of a document in the graph; twice as many on its lowest level. 2 to 256, of hnsw-rs 255.
    #[arg(long, value_name = "M", default_value_t = HnswParams::default().m as u64)]
    #[arg(value_parser = clap::value_parser!(u64).range(2..=256))]
    hnsw_m: u64,
    /// hnsw, hnsw-rs, faiss-hnsw: candidates among which neighbors are chosen. 1 to 65536.
    #[arg(long, value_name = "EF", default_value_t = HnswParams::default().ef_construction as u64)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=65_536))]
    hnsw_ef_construction: u64,
    /// hnsw: decides the levels of documents. The same seed gives the same graph, whatever the number of threads.
    #[arg(long, value_name = "SEED", default_value_t = HnswParams::default().seed)]
    hnsw_seed: u64,
    /// hnsw: the copies of the vectors that walks read.
    #[arg(long, value_enum, default_value_t = CodesKind::Int8)]
    codes: CodesKind,
}

#[derive(Clone, Copy, ValueEnum)]
enum CodesKind {
    /// A byte a component.
    Int8,
    /// A bit a component: less memory, longer walks; for vectors of very many dimensions.
    #[value(name = "1bit")]
    OneBit,
}

#[derive(Clone, Copy, ValueEnum)]
enum IndexKind {
    /// Every vector is compared: exact.
    Flat,
    /// A graph is walked: approximate, and faster the more documents there are.
    Hnsw,
    /// The same with graphs of the crate hnsw_rs, for comparison: slower, and on several threads another graph each time.
    HnswRs,
    /// faiss's IndexFlatL2. Takes a build with `--features faiss`, as the next two do.
    FaissFlat,
    /// faiss's IndexHNSWFlat.
    FaissHnsw,
    /// faiss's IndexIVFPQ; of commits of fewer than 9,984 documents every vector is compared.
    FaissIvfPq,
}

impl IndexArguments {
    pub fn vector_index(&self) -> VectorIndex {
        let (m, ef_construction) = (self.hnsw_m as usize, self.hnsw_ef_construction as usize);
        match self.index {
            IndexKind::Flat => VectorIndex::Flat,
            IndexKind::Hnsw => {
                let codes = match self.codes {
                    CodesKind::Int8 => WalkCodes::Int8,
                    CodesKind::OneBit => WalkCodes::OneBit,
                };
                VectorIndex::hnsw(HnswParams { m, ef_construction, seed: self.hnsw_seed, codes })
            }
            IndexKind::HnswRs => VectorIndex::hnsw_rs(m, ef_construction),
            IndexKind::FaissFlat => VectorIndex::faiss(FaissKind::Flat),
            IndexKind::FaissHnsw => VectorIndex::faiss(FaissKind::Hnsw { m, ef_construction }),
            IndexKind::FaissIvfPq => VectorIndex::faiss(FaissKind::IvfPq),
        }
    }
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let start = Instant::now();
        let dataset = open_dataset(&self.dataset)?;
        if self.out.exists() {
            let message = format!("{} exists: choose another --out, or remove it", self.out.display());
            return Err(Failure::new(Code::Database, message));
        }
        let encoder = self.encoder.load()?;
        let metric = self
            .metric
            .or_else(|| encoder.as_ref().map(|encoder| metric_of(encoder)))
            .unwrap_or(Metric::Cosine);
        let options = CreateOptions {
            metric,
            components: self.index.vectors,
            index: self.index.vector_index(),
            passage_separator: self.separator.clone(),
            notes: self.encoder.notes(),
        };
        // Everything happens beside the place where the database will be, so that it is there whole or not at all.
        let partial = with_suffix(&self.out, ".partial");
        let journal = with_suffix(&self.out, ".journal");
        remove_partial(&partial)?;
        let mut database = Database::create(&partial, encoder, &options)?;
        if self.encoder.encoder.is_some() {
            say_on_interrupt("the vectors so far are kept; run the same command again to go on")?;
        }
        let progress =
            Progress::start("indexing", "documents", || dataset.info().map(|info| info.documents))?;
        let index_options = IndexOptions { allow_empty: self.allow_empty, keep_journal: true };
        let indexed = index_corpus(&mut database, dataset.corpus()?, &journal, index_options, |done| {
            progress.set(done);
        });
        if let Err(error) = indexed {
            // What is worth keeping is in the journal; the disk may be full.
            drop(database);
            let _ = remove_partial(&partial);
            return Err(explain(error, &dataset));
        }
        progress.finish();
        let (len, vectors) = (database.len(), database.dim().is_some());
        drop(database);
        // The vectors leave the journal when the database has its place, so a kill in between loses none.
        std::fs::rename(&partial, &self.out)
            .and_then(|()| sync_name(&self.out))
            .map_err(|source| Failure::write(&self.out, &source))?;
        if vectors {
            std::fs::remove_file(&journal).map_err(|source| Failure::write(&journal, &source))?;
        }
        let seconds = start.elapsed().as_secs_f64();
        let what = if vectors { "with vectors and BM25" } else { "with BM25 only" };
        Ok(format!("{}: {len} documents {what}, in {seconds:.1} s\n", self.out.display()))
    }
}

/// What is in the folder of a database when its creation or its removal was interrupted.
const UNFINISHED: [&str; 3] = ["LOCK", "MANIFEST.tmp", "segments"];

/// Removes what an interrupted run has left, unless that run is going on.
fn remove_partial(partial: &Path) -> Result<()> {
    if !partial.exists() {
        return Ok(());
    }
    let manifest = partial.join("MANIFEST");
    if manifest.exists() {
        Database::lock(partial)?;
    }
    let remove = || {
        for entry in std::fs::read_dir(partial)? {
            let name = entry?.file_name();
            if name != "MANIFEST" && !UNFINISHED.iter().any(|unfinished| name == *unfinished) {
                return Err(std::io::Error::other(format!(
                    "it holds {name:?}, which is none of secateur's files"
                )));
            }
        }
        // First, so that a removal that is interrupted leaves an unfinished database and not a damaged one.
        if manifest.exists() {
            std::fs::remove_file(&manifest)?;
        }
        std::fs::remove_dir_all(partial)
    };
    remove().map_err(|source| {
        Failure::new(Code::System, format!("cannot remove {}: {source}", partial.display()))
    })
}

/// Where the data set is at fault, the file and the line.
fn explain(error: Error, dataset: &BeirFolder) -> Failure {
    let (doc_id, advice) = match &error {
        Error::EmptyDocument { doc_id } => (doc_id, "remove the line, or pass --allow-empty"),
        Error::Index(IndexError::DuplicateDocument { id }) => (id, "remove one of the two"),
        _ => return error.into(),
    };
    let named = format!("{doc_id:?}");
    let mut place = None;
    let checked = dataset.verify(|finding| {
        let text = finding.to_string();
        if place.is_none() && text.contains(&named) {
            place = Some(text);
        }
    });
    match (checked, place) {
        (Ok(_), Some(place)) => Failure::new(Code::Input, format!("{place}; {advice}")),
        _ => error.into(),
    }
}
