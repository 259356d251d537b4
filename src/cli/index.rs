//! `secateur index`: a data set becomes a database.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use secateur::datasets::{Error as DatasetError, Fault};
use secateur::index::ComponentType;
use secateur::index::bm25::Analyzer;
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
    /// A folder with corpus.jsonl (a JSON object a line: _id, title, text, metadata), or the name of a downloaded
    /// data set.
    dataset: PathBuf,
    /// The database to make; it appears when it is complete.
    #[arg(long, value_name = "DB")]
    out: PathBuf,
    /// How vectors are compared [default: as the model says].
    #[arg(long, requires = "encoder")]
    metric: Option<Metric>,
    /// What stands between a document's title and its text when the encoder reads it.
    #[arg(long, value_name = "TEXT", default_value = " ")]
    separator: String,
    /// Take documents that have neither title nor text.
    #[arg(long)]
    allow_empty: bool,
    /// What makes words of texts and of queries, for searches by words.
    #[arg(long, value_enum, default_value_t, value_name = "NAME")]
    analyzer: Analyzer,
    #[command(flatten)]
    encoder: EncoderArguments,
    #[command(flatten)]
    index: IndexArguments,
}

/// How vectors are to be stored and searched.
#[derive(Args)]
#[command(next_help_heading = "Index of the vectors")]
pub struct IndexArguments {
    /// What vectors are rounded to when they are stored: 16 bits halve the file of the vectors.
    #[arg(long, value_name = "TYPE", default_value_t = ComponentType::F32)]
    vectors: ComponentType,
    /// How vectors are searched.
    #[arg(long, value_enum, default_value_t)]
    #[arg(requires_ifs(VectorIndex::all().skip(1).map(|index| (index.name(), "encoder"))))]
    index: VectorIndex,
    /// hnsw, hnsw-rs, faiss-hnsw: neighbors of a document in the graph; twice as many on its lowest level. 2 to 256,
    /// of hnsw-rs 255.
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
    /// hnsw: the codes that searches compare in place of the vectors.
    #[arg(long, value_enum, default_value_t)]
    codes: CodeType,
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
        self.index.with_params(HnswParams {
            m: self.hnsw_m as usize,
            ef_construction: self.hnsw_ef_construction as usize,
            seed: self.hnsw_seed,
            codes: self.codes,
        })
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
        let mut builder = Database::builder(&self.out)
            .vector_options(options)
            .analyzer(self.analyzer)
            .allow_empty(self.allow_empty);
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
