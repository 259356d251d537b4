//! The plan of a set: which documents of the corpus go into which shard.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use secateur_datasets::Document;
use secateur_files::DurableFolder;
use serde::{Deserialize, Serialize};

use super::record::{self, Record, digits};
use crate::database::{Database, DatabaseBuilder};
use crate::error::{Error, Result};
use crate::shard_error::ShardError;

const FILE_NAME: &str = "plan.json";
const SETTINGS: &str = "settings";
pub(super) const MANIFEST: &str = "manifest.json";

/// Shards have names of five digits.
const MAX_SHARDS: usize = 100_000;

/// Where the corpus of a set is. The library keeps it for the program that builds the shards.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CorpusSource {
    /// Files and folders, in their order.
    pub files: Vec<PathBuf>,
    /// How they are read: options by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, String>,
}

/// The documents of a shard.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedShard {
    /// How many documents of the corpus come before.
    #[serde(rename = "first")]
    pub first: u64,
    /// How many it has.
    #[serde(rename = "documents")]
    pub num_documents: u64,
    /// BLAKE3 over the documents, with their vectors if they come with some: 32 hexadecimal digits.
    pub checksum: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PlanRecord {
    corpus: CorpusSource,
    documents: u64,
    shards: Vec<PlannedShard>,
}

impl Record for PlanRecord {
    const FORMAT: &'static str = "secateur shard plan";
    const VERSION: u64 = 1;
    const ADVICE: &'static str = "restore it from a copy, or plan the set again";
}

impl PlanRecord {
    /// Writes the plan, and lets the folder of the set appear.
    fn finish(self, path: PathBuf, folder: DurableFolder) -> Result<ShardPlan> {
        record::write(&folder.temporary().join(FILE_NAME), &self)?;
        folder.finish()?;
        Ok(ShardPlan { folder: path, record: self })
    }

    /// Whether the shards are what [`DatabaseBuilder::plan_shards`] makes of so many documents.
    fn divides(&self) -> bool {
        let count = self.shards.len();
        (1..=MAX_SHARDS).contains(&count)
            && self.shards.iter().enumerate().all(|(number, shard)| {
                let [first, end] = [number, number + 1].map(|number| bound(number, count, self.documents));
                (shard.first, shard.num_documents) == (first, end - first)
            })
    }
}

/// The plan of a set of shards, from which they are built. It is never changed.
///
/// [`DatabaseBuilder::plan_shards`] makes one; the [module](super) has an example.
#[derive(Clone, Debug)]
pub struct ShardPlan {
    folder: PathBuf,
    record: PlanRecord,
}

impl DatabaseBuilder {
    /// Makes a set of shards in place of one database: a folder with a plan, at the path of this builder, which must be
    /// absent. Every shard gets this builder's settings. Documents come with vectors if the builder was told so
    /// ([`DatabaseBuilder::vectors`]).
    ///
    /// The corpus has `num_documents` documents, n, in one order. Shard i of N gets those from i·n/N to (i+1)·n/N. The
    /// corpus is read once, for checksums.
    ///
    /// # Errors
    ///
    /// [`ShardError::NumShards`] for 0 or more than 100,000 shards; [`ShardError::CorpusCount`]. There is something at
    /// the path. The errors of the corpus's items, and those of [`DatabaseBuilder::create`].
    pub fn plan_shards<E>(
        self,
        num_shards: usize,
        num_documents: u64,
        corpus: impl IntoIterator<Item = std::result::Result<(Document, Option<Vec<f32>>), E>>,
        source: CorpusSource,
    ) -> Result<ShardPlan>
    where
        Error: From<E>,
    {
        let path = self.path().to_owned();
        let folder = self.begin_set(num_shards)?;
        let mut shards = Vec::with_capacity(num_shards);
        let mut corpus = corpus.into_iter();
        let mut read = 0;
        for number in 0..num_shards {
            let [first, end] = [number, number + 1].map(|number| bound(number, num_shards, num_documents));
            let mut checksum = DocumentsChecksum::default();
            while read < end
                && let Some(item) = corpus.next()
            {
                let (document, vector) = item?;
                checksum.add(&document, vector.as_deref());
                read += 1;
            }
            shards.push(PlannedShard { first, num_documents: end - first, checksum: checksum.finish() });
        }
        for item in corpus {
            item?;
            read += 1;
        }
        if read != num_documents {
            return Err(ShardError::CorpusCount { expected: num_documents, got: read }.into());
        }
        PlanRecord { corpus: source, documents: num_documents, shards }.finish(path, folder)
    }

    /// Makes a set of shards as [`DatabaseBuilder::plan_shards`] does, of a corpus whose parts were read elsewhere.
    /// There is a checksum for each shard, of its documents in their order: [`DocumentsChecksum`].
    ///
    /// # Errors
    ///
    /// As [`DatabaseBuilder::plan_shards`].
    pub fn plan_parts(
        self,
        num_documents: u64,
        checksums: Vec<String>,
        source: CorpusSource,
    ) -> Result<ShardPlan> {
        let path = self.path().to_owned();
        let num_shards = checksums.len();
        let folder = self.begin_set(num_shards)?;
        let planned = |(number, checksum): (usize, String)| {
            let [first, end] = [number, number + 1].map(|number| bound(number, num_shards, num_documents));
            PlannedShard { first, num_documents: end - first, checksum }
        };
        let shards = checksums.into_iter().enumerate().map(planned).collect();
        PlanRecord { corpus: source, documents: num_documents, shards }.finish(path, folder)
    }

    /// The folder of a set, with the settings of its shards. Wrong settings are found before the corpus is read.
    fn begin_set(self, num_shards: usize) -> Result<DurableFolder> {
        if !(1..=MAX_SHARDS).contains(&num_shards) {
            return Err(ShardError::NumShards { num_shards, max: MAX_SHARDS }.into());
        }
        let path = self.path().to_owned();
        if path.exists() {
            return Err(Error::OutputExists { path });
        }
        let folder = DurableFolder::create(&path)?;
        self.at(folder.temporary().join(SETTINGS)).create()?;
        Ok(folder)
    }
}

/// Where shard `number` of `num_shards` begins.
fn bound(number: usize, num_shards: usize, num_documents: u64) -> u64 {
    (number as u128 * u128::from(num_documents) / num_shards as u128) as u64
}

impl ShardPlan {
    /// The plan of the set in the folder `path`.
    ///
    /// # Errors
    ///
    /// [`ShardError::NotASet`], [`ShardError::BadFile`], [`ShardError::OtherVersion`].
    pub fn open(path: impl AsRef<Path>) -> Result<ShardPlan> {
        let folder = path.as_ref().to_owned();
        if !ShardPlan::is_there(&folder) {
            return Err(ShardError::NotASet { path: folder }.into());
        }
        let path = folder.join(FILE_NAME);
        let record: PlanRecord = record::read(&path)?;
        if !record.divides() {
            let problem = "its shards are not the parts of its documents".to_owned();
            return Err(ShardError::BadFile { path, problem, advice: PlanRecord::ADVICE }.into());
        }
        Ok(ShardPlan { folder, record })
    }

    /// Whether the folder `path` is that of a set.
    pub fn is_there(path: impl AsRef<Path>) -> bool {
        path.as_ref().join(FILE_NAME).exists()
    }

    /// The folder of the set.
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// How many shards the set has.
    pub fn num_shards(&self) -> usize {
        self.record.shards.len()
    }

    /// How many documents the corpus has.
    pub fn num_documents(&self) -> u64 {
        self.record.documents
    }

    /// The documents of each shard.
    pub fn shards(&self) -> &[PlannedShard] {
        &self.record.shards
    }

    /// Where the corpus was.
    pub fn corpus(&self) -> &CorpusSource {
        &self.record.corpus
    }

    /// The folder of a shard, which need not be there.
    pub fn shard_path(&self, number: usize) -> PathBuf {
        shard_path(&self.folder, number)
    }

    /// The empty database that has the settings of all shards.
    ///
    /// # Errors
    ///
    /// It is missing or damaged.
    pub fn settings(&self) -> Result<Database> {
        Database::open(self.folder.join(SETTINGS))
    }

    /// What is planned of a shard.
    pub(super) fn shard(&self, number: usize) -> Result<&PlannedShard> {
        self.record.shards.get(number).ok_or_else(|| {
            let (num_shards, path) = (self.num_shards(), self.folder.clone());
            ShardError::NoSuchShard { shard: number, num_shards, path }.into()
        })
    }
}

pub(super) fn shard_path(set: &Path, number: usize) -> PathBuf {
    set.join(format!("shard-{number:05}"))
}

/// BLAKE3 over documents, one after the other: the same documents with the same vectors in the same order give the same
/// digits. It is what a plan has of each shard ([`PlannedShard::checksum`]).
///
/// ```
/// use secateur::shards::{CorpusSource, DocumentsChecksum};
/// use secateur::{Database, Document, Error};
///
/// let folder = tempfile::tempdir()?;
/// // Two parts of a corpus, read on two machines.
/// let parts = [["Prune roses."], ["Bees dance."]].map(|texts| texts.map(|text| Document::new(text, text)));
/// let checksums = parts.iter().map(|part| {
///     let mut checksum = DocumentsChecksum::default();
///     part.iter().for_each(|document| checksum.add(document, None));
///     checksum.finish()
/// });
/// let builder = Database::builder(folder.path().join("garden"));
/// let plan = builder.plan_parts(2, checksums.collect(), CorpusSource::default())?;
/// let second = parts[1].clone().into_iter().map(|document| Ok::<_, Error>((document, None)));
/// let built = plan.build_part(1, None, second, |_| {})?;
/// assert_eq!(built.database.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct DocumentsChecksum(blake3::Hasher);

impl DocumentsChecksum {
    /// Takes the next document, with its vector if it comes with one.
    pub fn add(&mut self, document: &Document, vector: Option<&[f32]>) {
        let Document { id, title, text, metadata } = document;
        for part in [Some(id), Some(title), Some(text), metadata.as_ref()] {
            // With its length before, no two sequences of parts are one sequence of bytes.
            self.0.update(&part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
            self.0.update(part.map_or(&[][..], |part| part.as_bytes()));
        }
        let vector = vector.unwrap_or_default();
        self.0.update(&(vector.len() as u64).to_le_bytes());
        for component in vector {
            self.0.update(&component.to_le_bytes());
        }
    }

    /// The checksum of the documents so far: 32 hexadecimal digits.
    pub fn finish(&self) -> String {
        digits(&self.0.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every document is in one shard, in its order, and sizes differ by one at most.
    #[test]
    fn shards_divide_a_corpus() {
        for (num_shards, num_documents) in [(1, 0), (1, 9), (3, 1), (3, 10), (7, 7), (16, 3), (16, u64::MAX)]
        {
            let bounds: Vec<u64> =
                (0..=num_shards).map(|number| bound(number, num_shards, num_documents)).collect();
            assert_eq!((bounds[0], bounds[num_shards]), (0, num_documents));
            let sizes = || bounds.windows(2).map(|pair| pair[1].checked_sub(pair[0]).unwrap());
            assert!(sizes().max().unwrap() - sizes().min().unwrap() <= 1, "{bounds:?}");
        }
    }

    /// A plan that was edited, its checksum too, is refused.
    #[test]
    fn plans_divide_their_documents() {
        let shard = |first, num_documents| PlannedShard { first, num_documents, checksum: String::new() };
        for (documents, shards, divides) in [
            (5, vec![shard(0, 2), shard(2, 3)], true),
            (0, vec![shard(0, 0)], true),
            (5, vec![], false),
            (5, vec![shard(0, 2), shard(2, 2)], false),
            (5, vec![shard(0, 2), shard(3, 2)], false),
            (5, vec![shard(u64::MAX, u64::MAX)], false),
        ] {
            let record = PlanRecord { corpus: CorpusSource::default(), documents, shards };
            let folder = tempfile::tempdir().unwrap();
            record::write(&folder.path().join(FILE_NAME), &record).unwrap();
            let opened = ShardPlan::open(folder.path());
            assert_eq!(opened.is_ok(), divides, "{record:?}");
        }
    }

    /// Id, text, metadata, vector.
    type Row = (&'static str, &'static str, Option<&'static str>, Option<&'static [f32]>);

    #[test]
    fn checksums_tell_documents_apart() {
        let of = |documents: &[Row]| {
            let mut checksum = DocumentsChecksum::default();
            for (id, text, metadata, vector) in documents {
                let mut document = Document::new(*id, *text);
                document.metadata = metadata.map(str::to_owned);
                checksum.add(&document, *vector);
            }
            checksum.finish()
        };
        let sums = [
            of(&[]),
            of(&[("a", "b", None, None)]),
            of(&[("ab", "", None, None)]),
            of(&[("a", "b", Some(""), None)]),
            of(&[("a", "b", None, Some(&[0.0]))]),
            of(&[("a", "b", None, Some(&[-0.0]))]),
            of(&[("a", "b", None, None), ("c", "d", None, None)]),
            of(&[("c", "d", None, None), ("a", "b", None, None)]),
        ];
        let different: std::collections::BTreeSet<&String> = sums.iter().collect();
        assert_eq!(different.len(), sums.len());
        assert_eq!(of(&[("a", "b", None, None)]), sums[1]);
    }
}
