//! `secateur index`: files of documents become a database.

use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::Args;
use secateur::database::VectorOptions;
use secateur::datasets::{Error as DatasetError, Fault};
use secateur::encode::{DEFAULT_ENCODER, Passages};
use secateur::index::ComponentType;
use secateur::index::bm25::Analyzer;
use secateur::index::hnsw::HnswParams;
use secateur::index::quantization::CodeType;
use secateur::report::{agreed, counted, three_digits};
use secateur::{Database, DatabaseBuilder, Encoder, Error, Metric, VectorIndex};
use secateur_files::{Journal, PathError};

use super::encoder::{ENCODER_OR_DEFAULT, EncoderArguments};
use super::failure::{Code, Failure, Result, warn};
use super::progress::{Progress, say_on_interrupt};
use super::source::{Inputs, SourceArguments};

const EXAMPLES: &str = "\
With `--encoder none` the database has words only, for BM25; `generation add` gives it vectors later.

Files are JSON lines (.jsonl, .json), tables (.csv, .tsv, and .parquet in a build with that feature), texts (.txt, .md) or folders: of texts, or with corpus.jsonl \
as BEIR has them. Fields that are not the id, the title or the text become metadata, which --filter looks at.

Examples:
  secateur index notes.jsonl --out my.db
  secateur index my-folder --out my.db
  secateur index my-folder --encoder sentence-transformers/all-MiniLM-L6-v2 --index hnsw --out my.db
  secateur index my-folder --encoder none --out my.db";

/// What stands between a document's title and its text, unless something else is named.
pub const SEPARATOR: &str = " ";

#[derive(Args)]
#[command(mut_arg("encoder", |encoder| encoder.help(ENCODER_OR_DEFAULT)), after_help = EXAMPLES)]
pub struct Arguments {
    #[command(flatten)]
    making: MakingArguments,
    /// The database to make; it appears when it is complete.
    #[arg(long, value_name = "DB")]
    out: PathBuf,
}

/// Of which documents a database is made, and how.
#[derive(Args)]
pub struct MakingArguments {
    /// Files or folders of documents, or the name of a downloaded data set.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// How vectors are compared [default: as the model says; cosine for vectors of your own].
    #[arg(long)]
    metric: Option<Metric>,
    /// What stands between a document's title and its text when the encoder reads it.
    #[arg(long, value_name = "TEXT", default_value = SEPARATOR)]
    separator: String,
    /// What makes words of texts and of queries, for searches by words.
    #[arg(long, value_enum, default_value_t, value_name = "NAME")]
    analyzer: Analyzer,
    #[command(flatten)]
    pub source: SourceArguments,
    #[command(flatten)]
    pub encoder: EncoderArguments,
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
    index: VectorIndex,
    /// Split documents into passages of at most LENGTH tokens of the encoder, OVERLAP of them shared with the last.
    ///
    /// Each passage gets a vector, and has the title before it. A document is found once, with the score of its best
    /// passage. Without this a document has one vector, and the encoder reads only its beginning if it is long.
    #[arg(long, value_name = "LENGTH,OVERLAP")]
    passages: Option<Passages>,
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
    /// The options of the vectors.
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
            passages: self.passages,
            source: encoder.source(),
        }
    }

    /// What is said of texts that were cut.
    pub fn cut(&self, num_cut: usize, max_length: usize) -> String {
        if num_cut == 0 {
            return String::new();
        }
        let (texts, are) = (counted(num_cut, "text"), agreed(num_cut, "is", "are"));
        let tokens = counted(max_length, "token");
        let advice = if self.passages.is_none() { "; --passages splits documents" } else { "" };
        format!(" ({texts} {are} longer than the {tokens} that the encoder reads{advice})")
    }

    /// Refuses options of a graph that the chosen index does not have.
    pub fn check(&self) -> Result<()> {
        let (given, usual) = (self.params(), HnswParams::default());
        let alone = [
            ("hnsw-m", HnswParams { m: given.m, ..usual }),
            ("hnsw-ef-construction", HnswParams { ef_construction: given.ef_construction, ..usual }),
            ("hnsw-seed", HnswParams { seed: given.seed, ..usual }),
            ("codes", HnswParams { codes: given.codes, ..usual }),
        ];
        for (option, params) in alone {
            if params != usual && self.index.with_params(params) == self.index.with_params(usual) {
                let message = format!(
                    "--{option} does nothing with --index {}: leave it out, or choose an index that has it, such as hnsw",
                    self.index.name()
                );
                return Err(Failure::new(Code::Usage, message));
            }
        }
        Ok(())
    }

    fn params(&self) -> HnswParams {
        HnswParams {
            m: self.hnsw_m as usize,
            ef_construction: self.hnsw_ef_construction as usize,
            seed: self.hnsw_seed,
            codes: self.codes,
        }
    }

    fn vector_index(&self) -> VectorIndex {
        self.index.with_params(self.params())
    }
}

impl MakingArguments {
    /// What makes a database at this path, and the encoder of its vectors. That is the one in the box, unless another
    /// is named or vectors are given.
    pub fn builder(&self, out: &Path, inputs: &Inputs) -> Result<(DatabaseBuilder, Option<Arc<Encoder>>)> {
        let arguments = self.encoder.or_named((!inputs.has_vectors()).then_some(DEFAULT_ENCODER))?;
        self.check_vectors(inputs, arguments.encoder.is_some())?;
        let options = self.index.options(self.metric, &self.separator, &arguments);
        let mut builder =
            Database::builder(out).vector_options(options).analyzer(self.analyzer).allow_empty(true);
        if let Some(dim) = inputs.dim()? {
            builder = builder.vectors(dim);
        }
        let encoder = arguments.load()?;
        if let Some(encoder) = &encoder {
            builder = builder.encoder(Arc::clone(encoder));
        }
        Ok((builder, encoder))
    }

    fn check_vectors(&self, inputs: &Inputs, has_encoder: bool) -> Result<()> {
        let usage = |message: String| Err(Failure::new(Code::Usage, message));
        if has_encoder && inputs.has_vectors() {
            let message =
                "vectors are made by --encoder, or come from --npy or --vector-field: leave one out";
            return usage(message.to_owned());
        }
        if self.index.passages.is_some() && !has_encoder {
            let message =
                "--passages needs an encoder, whose tokens are counted: name another --encoder than none";
            return usage(message.to_owned());
        }
        if self.separator != SEPARATOR && !has_encoder {
            let message = "--separator does nothing without an encoder, which reads it: leave it out, or name another \
                           --encoder than none";
            return usage(message.to_owned());
        }
        if !has_encoder && !inputs.has_vectors() {
            let of_vectors = [
                ("metric", self.metric.is_some()),
                ("index", self.index.index != VectorIndex::default()),
                ("vectors", self.index.vectors != ComponentType::F32),
            ];
            if let Some((option, _)) = of_vectors.into_iter().find(|(_, is_given)| *is_given) {
                return usage(format!(
                    "--{option} does nothing without vectors: leave it out, or name another --encoder than none, --npy or \
                     --vector-field"
                ));
            }
        }
        self.index.check()
    }
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let start = Instant::now();
        let making = &self.making;
        let inputs = making.source.open(&making.files, making.encoder.strict)?;
        check_out(&self.out, "put documents into it with `secateur add`")?;
        let (builder, encoder) = making.builder(&self.out, &inputs)?;
        let num_empty = Cell::new(0);
        let documents = inputs.counted(false, |count| num_empty.set(count));
        let progress = Progress::start("indexing", "document", || inputs.count())?
            .going_on_from(&Journal::beside(&self.out));
        let mut cut = String::new();
        let built = match encoder {
            Some(encoder) => {
                say_on_interrupt("the vectors so far are kept; run the same command again to go on")?;
                let documents = documents.map(|item| item.map(|(document, _)| document));
                let built = builder.build_from(documents, |done| progress.set(done));
                cut = making.index.cut(encoder.num_cut_texts(), encoder.max_length());
                built
            }
            None => builder.build_with_vectors(documents, |done| progress.set(done)),
        };
        let database = built.map_err(with_advice)?;
        progress.finish();
        inputs.warn_of_empty(num_empty.get());
        if database.is_empty() {
            warn("there was no document to read; `secateur add` puts some into the database");
        }
        let seconds = start.elapsed().as_secs_f64();
        let what = if database.dim().is_some() { "with vectors and BM25" } else { "with BM25 only" };
        let passages = match making.index.passages {
            Some(_) => format!(" in {}", counted(database.num_vectors(), "passage")),
            None => String::new(),
        };
        let documents = counted(database.len(), "document");
        Ok(format!(
            "{}: {documents}{passages} {what}{cut}, in {} s\n",
            self.out.display(),
            three_digits(seconds)
        ))
    }
}

/// Checks that there is nothing where something is to be made, and that it can be. Of what is there it says that one
/// may as well do `other`.
pub fn check_out(out: &Path, other: &str) -> Result<()> {
    if out.exists() {
        return Err(Failure::from(PathError::exists(out)).told(|why| format!("{why}, or {other}")));
    }
    check_folder_of(out)
}

/// Checks that one file can be written, before the work whose result it takes. A file that is there is replaced, as a
/// shell would, but no folder and none of the files that are read.
pub fn check_file_out(out: &Path, inputs: &[PathBuf]) -> Result<()> {
    if out.is_dir() {
        return Err(PathError::exists(out).into());
    }
    if let Ok(place) = out.canonicalize()
        && inputs.iter().any(|input| is_read(input, &place))
    {
        let message = format!("{} is read, so it cannot be written: choose another output", out.display());
        return Err(Failure::new(Code::Usage, message));
    }
    check_folder_of(out)
}

/// Whether a file is an input, or of a data set's records where the input is its folder.
fn is_read(input: &Path, file: &Path) -> bool {
    let Ok(input) = input.canonicalize() else { return false };
    match file.strip_prefix(&input).map(|inside| inside.iter().next()) {
        Err(_) => false,
        Ok(None) => true,
        Ok(Some(first)) => {
            let first = first.to_string_lossy();
            ["corpus.jsonl", "queries.jsonl", "qrels"].iter().any(|records| first.starts_with(records))
        }
    }
}

fn check_folder_of(out: &Path) -> Result<()> {
    match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() && !parent.exists() => {
            Err(PathError::new("create", out, io::ErrorKind::NotFound).into())
        }
        _ => Ok(()),
    }
}

/// What to do about a document that is refused.
pub fn with_advice(error: Error) -> Failure {
    let advice = match &error {
        Error::Dataset(DatasetError::Line { fault: Fault::NoText { .. }, .. }) => {
            "; remove the line, or leave --strict out"
        }
        Error::Dataset(DatasetError::Line { fault: Fault::DuplicateId { .. }, .. }) => {
            "; remove one of the two"
        }
        _ => "",
    };
    Failure::from(error).told(|why| format!("{why}{advice}"))
}
