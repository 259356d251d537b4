//! `secateur index`: a data set becomes a database.

use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use secateur::datasets::{Error as DatasetError, Fault};
use secateur::index::ComponentType;
use secateur::index::backends::FaissKind;
use secateur::index::hnsw::HnswParams;
use secateur::index::quantization::CodeType;
use secateur::{Database, Error, Metric, VectorIndex, VectorOptions};

use super::encoder::EncoderArguments;
use super::failure::{Code, Failure, Result};
use super::inputs::open_dataset;
use super::progress::{Progress, say_on_interrupt};

const EXAMPLES: &str = "\
Without --encoder the database has words only, for BM25.

Examples:
  secateur index my-folder --out my.db
  secateur index my-folder --encoder default --index hnsw --out my.db";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// A folder with corpus.jsonl (a JSON object a line: _id, title, text, metadata), or the name of a downloaded data set.
    dataset: PathBuf,
    /// The database to make; it appears when it is complete.
    #[arg(long, value_name = "DB")]
    out: PathBuf,
    #[command(flatten)]
    encoder: EncoderArguments,
    /// How vectors are compared [default: as the model says].
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
#[command(next_help_heading = "Index of the vectors")]
pub struct IndexArguments {
    /// What vectors are rounded to when they are stored: 16 bits halve the file of the vectors.
    #[arg(long, value_name = "TYPE", default_value_t = ComponentType::F32)]
    vectors: ComponentType,
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
    /// All that is said of the vectors.
    pub fn options(
        &self,
        metric: Option<Metric>,
        separator: &str,
        encoder: &EncoderArguments,
    ) -> VectorOptions {
        VectorOptions {
            metric,
            components: self.vectors,
            index: self.vector_index(),
            passage_separator: separator.to_owned(),
            source: encoder.source(),
        }
    }

    fn vector_index(&self) -> VectorIndex {
        let (m, ef_construction) = (self.hnsw_m as usize, self.hnsw_ef_construction as usize);
        match self.index {
            IndexKind::Flat => VectorIndex::Flat,
            IndexKind::Hnsw => {
                let codes = match self.codes {
                    CodesKind::Int8 => CodeType::Int8,
                    CodesKind::OneBit => CodeType::OneBit,
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
        let options = self.index.options(self.metric, &self.separator, &self.encoder);
        let mut builder = Database::builder(&self.out).vector_options(options).allow_empty(self.allow_empty);
        if let Some(encoder) = self.encoder.load()? {
            builder = builder.encoder(encoder);
            say_on_interrupt("the vectors so far are kept; run the same command again to go on")?;
        }
        let corpus = dataset.corpus()?.checked(self.allow_empty);
        let progress =
            Progress::start("indexing", "documents", || dataset.info().map(|info| info.documents))?;
        let database = builder.build_from(corpus, |done| progress.set(done)).map_err(with_advice)?;
        progress.finish();
        let seconds = start.elapsed().as_secs_f64();
        let what = if database.dim().is_some() { "with vectors and BM25" } else { "with BM25 only" };
        Ok(format!("{}: {} documents {what}, in {seconds:.1} s\n", self.out.display(), database.len()))
    }
}

/// What to do about a document that is refused.
fn with_advice(error: Error) -> Failure {
    let advice = match &error {
        Error::Dataset(DatasetError::Line { fault: Fault::NoText { .. }, .. }) => {
            "; remove the line, or pass --allow-empty"
        }
        Error::Dataset(DatasetError::Line { fault: Fault::DuplicateId { .. }, .. }) => {
            "; remove one of the two"
        }
        _ => "",
    };
    let failure = Failure::from(error);
    Failure { message: failure.message + advice, ..failure }
}
