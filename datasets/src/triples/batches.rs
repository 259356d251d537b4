//! Batches of examples for training, each from one file.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use secateur_random::SplitMix64;

use super::example::TrainingExample;
use super::read::{Examples, Format, parse};
use super::shuffle::{Shuffled, shuffled};
use crate::error::{Error, Result};
use crate::fault::Fault;
use crate::reader::{Lines, OwnedLines};

/// How batches are drawn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchOptions {
    /// Examples in a batch.
    pub batch_size: NonZeroUsize,
    /// How many lines of each source are in memory, to be drawn from: see [`shuffled`].
    pub window: usize,
    /// Decides everything that is random.
    pub seed: u64,
    /// Whether the last examples of a source are left out of the epoch if they are fewer than a batch. Otherwise they
    /// are a smaller batch.
    pub drop_last: bool,
}

impl Default for BatchOptions {
    /// 32 examples, a window of 10,000, seed 42, nothing dropped.
    fn default() -> BatchOptions {
        const BATCH_SIZE: NonZeroUsize = NonZeroUsize::new(32).expect("not 0");
        BatchOptions { batch_size: BATCH_SIZE, window: 10_000, seed: 42, drop_last: false }
    }
}

/// Examples that are trained on together.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Counted from 0 over all epochs.
    pub number: u64,
    /// The passes over the data that are complete.
    pub epoch: u64,
    /// The source of all its examples: a place in the list that [`Batches::open`] was given.
    pub source: usize,
    /// The examples.
    pub examples: Vec<TrainingExample>,
}

/// Batches of training examples, epoch after epoch without end.
///
/// All examples of a batch are from one source, so that a query's in-batch negatives are passages of its own kind. In
/// an epoch every example comes once; each epoch has another order. A source is drawn with the probability of its
/// share of the remaining batches. So every order of the sources is equally likely.
///
/// The files, the options and n decide what batch number n holds. Memory: a window of lines for each source.
///
/// ```
/// use secateur_datasets::triples::{BatchOptions, Batches};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let (ponds, roses) = (folder.path().join("ponds.jsonl"), folder.path().join("roses.jsonl"));
/// # for (path, count) in [(&ponds, 5), (&roses, 40)] {
/// #     let line = |i| format!("{{\"query\": \"q{i}\", \"pos\": [\"p{i}\"]}}\n");
/// #     std::fs::write(path, (0..count).map(line).collect::<String>())?;
/// # }
/// let options = BatchOptions { batch_size: 4.try_into()?, ..BatchOptions::default() };
/// let mut batches = Batches::open(&[&ponds, &roses], &options)?;
/// assert_eq!((batches.num_examples(), batches.per_epoch()), (45, 2 + 10));
/// let first: Vec<_> = batches.by_ref().take(20).collect::<Result<_, _>>()?;
/// assert_eq!((first[11].epoch, first[12].epoch), (0, 1));
///
/// // After an interruption: as if there had been none.
/// let mut resumed = Batches::open(&[&ponds, &roses], &options)?;
/// resumed.seek(17);
/// assert_eq!(resumed.next().unwrap()?, first[17]);
/// # Ok(())
/// # }
/// ```
pub struct Batches {
    sources: Vec<ExampleFile>,
    options: BatchOptions,
    fingerprint: [u8; 32],
    /// The number of the next batch.
    next: u64,
    /// The epoch that the next batch is in, once it has begun.
    epoch: Option<Epoch>,
}

struct ExampleFile {
    path: PathBuf,
    format: Format,
    num_examples: u64,
}

/// The state within an epoch.
struct Epoch {
    number: u64,
    random: SplitMix64,
    sources: Vec<Position>,
}

struct Position {
    /// Batches that were not drawn yet.
    remaining: u64,
    /// Batches that were drawn and not read.
    skipped: u64,
    /// The lines, after they were read.
    lines: Option<Shuffled<OwnedLines>>,
}

impl Batches {
    /// Opens sources: files of training data in either format. Each file is read through once, to count its examples
    /// and to find any bad line before training begins.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Line`] for the first bad line. [`Error::File`] for a source that gives no batch:
    /// it has no examples, or fewer than a batch while small batches are dropped.
    pub fn open<P: AsRef<Path>>(sources: &[P], options: &BatchOptions) -> Result<Batches> {
        let mut hasher = blake3::Hasher::new();
        let BatchOptions { batch_size, window, seed, drop_last } = *options;
        for number in [sources.len() as u64, batch_size.get() as u64, window as u64, seed, drop_last.into()] {
            hasher.update(&number.to_le_bytes());
        }
        let sources = sources
            .iter()
            .map(|path| ExampleFile::open(path.as_ref(), options, &mut hasher))
            .collect::<Result<Vec<_>>>()?;
        let fingerprint = hasher.finalize().into();
        Ok(Batches { sources, options: options.clone(), fingerprint, next: 0, epoch: None })
    }

    /// Examples of an epoch, those that are dropped included.
    pub fn num_examples(&self) -> u64 {
        self.sources.iter().map(|source| source.num_examples).sum()
    }

    /// Batches of an epoch. 0 only where there is no source.
    pub fn per_epoch(&self) -> u64 {
        self.sources.iter().map(|source| source.num_batches(&self.options)).sum()
    }

    /// A hash of the options and of every line. If the hash is the same, batch number n is the same batch.
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint
    }

    /// The number of the next batch.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// Makes batch number `number` the next one. Earlier epochs are not read, and earlier lines of the same epoch are
    /// not parsed.
    pub fn seek(&mut self, number: u64) {
        self.next = number;
        self.epoch = None;
    }

    fn read_next(&mut self) -> Result<Batch> {
        let per_epoch = self.per_epoch();
        let (number, place) = (self.next / per_epoch, self.next % per_epoch);
        let mut epoch = match self.epoch.take() {
            Some(epoch) if epoch.number == number => epoch,
            _ => Epoch::begin(number, place, &self.sources, &self.options),
        };
        let source = epoch.draw();
        let examples = epoch.read(source, &self.sources[source], &self.options)?;
        let batch = Batch { number: self.next, epoch: number, source, examples };
        self.epoch = Some(epoch);
        self.next += 1;
        Ok(batch)
    }
}

impl Iterator for Batches {
    type Item = Result<Batch>;

    /// The next batch; `None` only where there is no source. After an error the same batch is next.
    fn next(&mut self) -> Option<Result<Batch>> {
        (!self.sources.is_empty()).then(|| self.read_next())
    }
}

impl ExampleFile {
    fn open(path: &Path, options: &BatchOptions, hasher: &mut blake3::Hasher) -> Result<ExampleFile> {
        let mut examples = Examples::open(path, None)?;
        let mut num_examples = 0;
        while let Some(item) = examples.next_with_line() {
            let (_, line) = item?;
            hasher.update(&(line.len() as u64).to_le_bytes()).update(line.as_bytes());
            num_examples += 1;
        }
        hasher.update(&u64::MAX.to_le_bytes());
        let fails = |fault| Error::File { path: path.to_owned(), fault };
        let format = examples.format().ok_or_else(|| fails(Fault::Empty))?;
        let source = ExampleFile { path: path.to_owned(), format, num_examples };
        if source.num_batches(options) == 0 {
            return Err(fails(Fault::NoWholeBatch {
                examples: num_examples,
                batch_size: options.batch_size.get(),
            }));
        }
        Ok(source)
    }

    fn num_batches(&self, options: &BatchOptions) -> u64 {
        let batch_size = options.batch_size.get() as u64;
        if options.drop_last {
            self.num_examples / batch_size
        } else {
            self.num_examples.div_ceil(batch_size)
        }
    }

    /// Examples in batch number `place` of the source.
    fn batch_len(&self, place: u64, options: &BatchOptions) -> u64 {
        let batch_size = options.batch_size.get() as u64;
        batch_size.min(self.num_examples - place * batch_size)
    }
}

impl Epoch {
    /// Epoch `number` after `place` of its batches.
    fn begin(number: u64, place: u64, sources: &[ExampleFile], options: &BatchOptions) -> Epoch {
        let position = |source: &ExampleFile| Position {
            remaining: source.num_batches(options),
            skipped: 0,
            lines: None,
        };
        let mut epoch = Epoch {
            number,
            random: SplitMix64::keyed(&[options.seed, number]),
            sources: sources.iter().map(position).collect(),
        };
        for _ in 0..place {
            let source = epoch.draw();
            epoch.sources[source].skipped += 1;
        }
        epoch
    }

    /// The source of the next batch.
    fn draw(&mut self) -> usize {
        let remaining = self.sources.iter().map(|source| source.remaining).sum();
        let mut at = self.random.below(remaining);
        let drawn = self
            .sources
            .iter()
            .position(|source| {
                let is_here = at < source.remaining;
                at = at.wrapping_sub(source.remaining);
                is_here
            })
            .expect("the number is below the sum");
        self.sources[drawn].remaining -= 1;
        drawn
    }

    /// The examples of the next batch of a source, which was drawn.
    fn read(
        &mut self,
        drawn: usize,
        source: &ExampleFile,
        options: &BatchOptions,
    ) -> Result<Vec<TrainingExample>> {
        let changed = || Error::File {
            path: source.path.clone(),
            fault: Fault::Changed { examples: source.num_examples },
        };
        let position = &mut self.sources[drawn];
        let lines = match &mut position.lines {
            Some(lines) => lines,
            closed => {
                let seed = SplitMix64::keyed(&[options.seed, self.number, drawn as u64]).bits();
                let mut lines = shuffled(OwnedLines(Lines::open(&source.path)?), options.window, seed);
                for _ in 0..position.skipped * options.batch_size.get() as u64 {
                    lines.next().ok_or_else(changed)??;
                }
                closed.insert(lines)
            }
        };
        let place = source.num_batches(options) - position.remaining - 1;
        let mut examples = Vec::new();
        for _ in 0..source.batch_len(place, options) {
            let (line, text) = lines.next().ok_or_else(changed)??;
            let example = parse(&text, &mut Some(source.format)).map_err(|fault| Error::Line {
                path: source.path.clone(),
                line,
                fault,
            })?;
            examples.push(example);
        }
        Ok(examples)
    }
}
