//! Building one shard of a set.

use std::sync::Arc;

use secateur_datasets::Document;
use secateur_encoders::Encoder;

use super::manifest::{named, state_of};
use super::plan::{DocumentsChecksum, PlannedShard, ShardPlan};
use super::shard::in_shard;
use crate::database::{Database, DatabaseBuilder, VectorOptions};
use crate::error::{Error, Result, short};
use crate::number::counted;
use crate::shard_error::ShardError;

/// A shard that is built.
pub struct Built {
    /// The shard, without an encoder.
    pub database: Database,
    /// Whether it was there already, so that nothing was done.
    pub was_there: bool,
}

impl ShardPlan {
    /// Builds a shard, unless it is there: reads its documents out of the whole corpus, in the order in which it was
    /// planned. `progress` is called with the number of documents done.
    ///
    /// The shard appears when it is complete, as a database of [`DatabaseBuilder::build_from`] does. After an error or
    /// a kill the same call continues from the last stored vectors, and ends with the same bytes.
    ///
    /// The encoder is the one that the set was planned with, if it was planned with one.
    ///
    /// # Errors
    ///
    /// [`ShardError::NoSuchShard`], [`ShardError::PlannedEncoder`], [`ShardError::CorpusChanged`]. Another process
    /// builds this shard. The errors of the corpus's items, of the encoder and of the disk. What is in the shard's
    /// place is no shard of this set.
    pub fn build<E>(
        &self,
        number: usize,
        encoder: Option<Arc<Encoder>>,
        corpus: impl IntoIterator<Item = std::result::Result<(Document, Option<Vec<f32>>), E>>,
        progress: impl FnMut(usize),
    ) -> Result<Built>
    where
        Error: From<E>,
    {
        let planned = self.shard(number)?;
        self.build_of(ShardDocuments::new(number, planned, 0, corpus.into_iter()), encoder, progress)
    }

    /// Builds a shard as [`ShardPlan::build`] does, from its own documents: those of the corpus from its first one on.
    ///
    /// # Errors
    ///
    /// As [`ShardPlan::build`].
    pub fn build_part<E>(
        &self,
        number: usize,
        encoder: Option<Arc<Encoder>>,
        documents: impl IntoIterator<Item = std::result::Result<(Document, Option<Vec<f32>>), E>>,
        progress: impl FnMut(usize),
    ) -> Result<Built>
    where
        Error: From<E>,
    {
        let planned = self.shard(number)?;
        self.build_of(
            ShardDocuments::new(number, planned, planned.first, documents.into_iter()),
            encoder,
            progress,
        )
    }

    fn build_of<C, E>(
        &self,
        part: ShardDocuments<'_, C>,
        encoder: Option<Arc<Encoder>>,
        progress: impl FnMut(usize),
    ) -> Result<Built>
    where
        C: Iterator<Item = std::result::Result<(Document, Option<Vec<f32>>), E>>,
        Error: From<E>,
    {
        let number = part.number;
        let path = self.shard_path(number);
        let settings = self.settings()?;
        if path.exists() {
            return Ok(Built { database: self.built(number, &settings)?, was_there: true });
        }
        self.check_encoder(&settings, encoder.as_deref())?;
        let builder = self.builder(number, &settings);
        let built = match encoder {
            Some(encoder) => builder
                .encoder(encoder)
                .build_from::<Error>(part.map(|item| item.map(|(document, _)| document)), progress),
            None => builder.build_with_vectors::<Error>(part, progress),
        };
        built.map_err(|error| match error {
            error @ Error::Shards(_) => error,
            error => in_shard(number, path.display(), error),
        })?;
        Ok(Built { database: Database::open(&path)?, was_there: false })
    }

    /// A shard that is there. It must have the settings of the plan.
    pub(super) fn built(&self, number: usize, settings: &Database) -> Result<Database> {
        let path = self.shard_path(number);
        if !path.exists() {
            return Err(ShardError::NotBuilt { shard: number, path }.into());
        }
        let database = Database::open(&path).map_err(|error| in_shard(number, path.display(), error))?;
        let [mut planned, mut found] = [settings, &database].map(state_of);
        // Generations may have been added and dropped since: `finish` compares the shards with each other. That in use
        // cannot be dropped, so a database without any is another one.
        if !found.generations.is_empty() {
            planned.leave_common(&mut found);
        }
        found.check(&planned, number, &path)?;
        Ok(database)
    }

    /// What makes a shard with the settings of the set.
    fn builder(&self, number: usize, settings: &Database) -> DatabaseBuilder {
        let vectors = settings.generations().first().map(|generation| generation.vectors);
        let options = VectorOptions {
            metric: vectors.map(|vectors| vectors.metric),
            source: settings.encoder_record().and_then(|record| record.source),
            ..settings.vector_options()
        };
        let builder = Database::builder(self.shard_path(number))
            .vector_options(options)
            .analyzer(settings.analyzer())
            .allow_empty(true);
        match vectors {
            Some(vectors) => builder.vectors(vectors.dim),
            None => builder,
        }
    }

    fn check_encoder(&self, settings: &Database, encoder: Option<&Encoder>) -> Result<()> {
        let planned = settings.encoder_record();
        let given = encoder.map(|encoder| (encoder.name(), encoder.fingerprint()));
        if planned.as_ref().map(|record| &record.fingerprint) == given.map(|(_, fingerprint)| fingerprint) {
            return Ok(());
        }
        let none = || "no encoder".to_owned();
        let expected = planned.map_or_else(none, |record| named(&record.name, &short(&record.fingerprint)));
        let got = given.map_or_else(none, |(name, fingerprint)| named(name, &short(fingerprint)));
        Err(ShardError::PlannedEncoder { path: self.path().to_owned(), expected, got }.into())
    }
}

/// The documents of a shard, out of a corpus: those before are passed over, and at the end the checksum is compared.
struct ShardDocuments<'p, C> {
    number: usize,
    planned: &'p PlannedShard,
    corpus: C,
    /// Documents of the corpus that come before the next one.
    read: u64,
    checksum: DocumentsChecksum,
    is_done: bool,
}

impl<'p, C> ShardDocuments<'p, C> {
    /// `read` documents of the corpus are left out of `corpus`.
    fn new(number: usize, planned: &'p PlannedShard, read: u64, corpus: C) -> ShardDocuments<'p, C> {
        ShardDocuments {
            number,
            planned,
            corpus,
            read,
            checksum: DocumentsChecksum::default(),
            is_done: false,
        }
    }

    fn changed(&self, problem: String) -> Error {
        ShardError::CorpusChanged { shard: self.number, problem }.into()
    }
}

impl<C, E> Iterator for ShardDocuments<'_, C>
where
    C: Iterator<Item = std::result::Result<(Document, Option<Vec<f32>>), E>>,
    Error: From<E>,
{
    type Item = Result<(Document, Option<Vec<f32>>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let end = self.planned.first + self.planned.num_documents;
        while !self.is_done && self.read < end {
            let Some(item) = self.corpus.next() else {
                self.is_done = true;
                let count = counted(self.read as usize, "document");
                let problem = format!("it has {count}, and the shard ends with number {end}");
                return Some(Err(self.changed(problem)));
            };
            self.read += 1;
            match item {
                Err(error) => {
                    self.is_done = true;
                    return Some(Err(error.into()));
                }
                Ok((document, vector)) if self.read > self.planned.first => {
                    self.checksum.add(&document, vector.as_deref());
                    return Some(Ok((document, vector)));
                }
                Ok(_) => {}
            }
        }
        if std::mem::replace(&mut self.is_done, true) {
            return None;
        }
        let (expected, got) = (&self.planned.checksum, self.checksum.finish());
        (got != *expected).then(|| {
            let count = counted(self.planned.num_documents as usize, "document");
            let problem = format!("the checksum of the shard's {count} is {got}, planned is {expected}");
            Err(self.changed(problem))
        })
    }
}
