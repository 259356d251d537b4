//! Generations: the documents of a database under another encoder, beside those that it has.

use std::path::PathBuf;

use secateur_datasets::Document;
use secateur_encoders::{Encoder, TextKind};
use secateur_files::{Journal, with_suffix};
use secateur_index::storage::{Generation, GenerationWriter};

use super::reading::{PassageVectors, name_of, texts_of};
use super::{Changes, Database, EncoderSource, REPLACES, VectorOptions, check_encoder};
use crate::encode::journaled::JournaledEncoding;
use crate::encode::stream::{self, Destination, Stage, Vectors};
use crate::error::{Error, Result};

impl Database {
    /// Encodes all documents with another encoder and adds the vectors as a new generation. `progress` is called with
    /// the number of documents done. Searches read the new generation after [`Database::use_generation`], or through
    /// [`Database::generation`].
    ///
    /// Vectors are kept in a file beside the database (`DATABASE.NAME.journal`) meanwhile. The work can be stopped at
    /// any moment, and the same call continues it. The database can be searched meanwhile, but not changed.
    ///
    /// # Errors
    ///
    /// A generation has the name already, or the name is invalid. Another process is writing, or there are
    /// uncommitted changes. The errors of the encoder and of the disk. After an error the database is as it was.
    pub fn add_generation(
        &mut self,
        name: &str,
        encoder: &Encoder,
        options: &VectorOptions,
        progress: impl FnMut(usize),
    ) -> Result<()> {
        let mut store = self.store()?;
        let snapshot = store.snapshot().clone();
        options.passages.map_or(Ok(()), |passages| passages.check(encoder))?;
        let generation = options.generation(name, encoder);
        let writer = store.begin_generation(generation.clone())?;
        // A name that could lead elsewhere was refused above.
        let journal = self.generation_journal(name);
        let vectors = JournaledEncoding::open(&journal, encoder, TextKind::Passage)?;
        let documents = snapshot.rows().map(|row| -> Result<Document> {
            let stored = snapshot.document_at(row)?;
            Ok(Document::new(stored.id, stored.text).title(stored.title))
        });
        let mut added = NewGeneration { writer, generation: &generation, encoder, done: 0, progress };
        let journals = stream::encode(documents, vec![Stage::new(encoder, vectors)], &mut added)?;
        let committed = added.writer.finish()?;
        // Before anybody else can write: his journal has the same name.
        journals.into_iter().for_each(JournaledEncoding::remove);
        drop(store);
        self.set_snapshot(committed)
    }

    /// Where the vectors of a generation are kept until it is there: DATABASE.NAME.journal.
    pub fn generation_journal(&self, name: &str) -> PathBuf {
        Journal::beside(&with_suffix(&self.path, &format!(".{name}")))
    }

    /// Removes what a process left that was killed when this generation was there already.
    pub(crate) fn remove_generation_journal(&self, name: &str) {
        Journal::remove_unused(&self.generation_journal(name));
    }

    /// The database as read through the named generation, without an encoder.
    ///
    /// ```no_run
    /// use secateur::database::EncoderRecord;
    /// use secateur::{Database, SearchParams};
    /// let database = Database::open("garden.db")?;
    /// let small = database.generation("small")?.reload_encoder(EncoderRecord::load)?;
    /// let hits = small.search("pruning roses", &SearchParams::default())?;
    /// # Ok::<(), secateur::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// There is no generation of this name.
    pub fn generation(&self, name: &str) -> Result<Database> {
        let snapshot = self.snapshot.with_generation(name)?;
        Ok(Database {
            path: self.path.clone(),
            encoder: None,
            others: Default::default(),
            snapshot,
            codes: None,
            changes: Changes::default(),
        })
    }

    /// The name of the generation that this value reads: the one in use when it was opened, or the one that was asked
    /// for. `None` in a database without vectors.
    pub fn generation_name(&self) -> Option<&str> {
        self.snapshot.generation()
    }

    /// The generation whose vectors this value reads; `None` in a database without.
    pub(crate) fn generation_read(&self) -> Option<&Generation> {
        let name = self.generation_name()?;
        self.generations().iter().find(|generation| generation.name == name)
    }

    /// The name of the generation that is read by those who ask for none.
    pub fn generation_in_use(&self) -> Option<&str> {
        self.snapshot.generation_in_use()
    }

    /// All generations, in the order in which they were added.
    pub fn generations(&self) -> &[Generation] {
        self.snapshot.generations()
    }

    /// Makes this generation the one in use, durably. It is read by everyone who opens the database from now on. This
    /// value keeps reading its own generation.
    ///
    /// # Errors
    ///
    /// There is no such generation, another process is writing, or there are uncommitted changes.
    pub fn use_generation(&mut self, name: &str) -> Result<()> {
        let snapshot = self.store()?.use_generation(name)?;
        self.set_snapshot(snapshot)
    }

    /// Makes `new` the generation in use, as [`Database::use_generation`], in the place of `old`. Which one that was is
    /// remembered for [`Database::restore_generation`]. A crash leaves `old` in use, or `new`.
    ///
    /// ```
    /// use secateur::encode::default_encoder;
    /// use secateur::database::VectorOptions;
    /// use secateur::{Database, Document, LoadOptions};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let path = folder.path().join("db");
    /// let whole = default_encoder(&LoadOptions::default())?;
    /// let short = default_encoder(&LoadOptions { max_length: Some(32), ..LoadOptions::default() })?;
    /// let mut database = Database::builder(&path).encoder(whole).create()?;
    /// database.add(&[Document::new("1", "Bees dance.")])?;
    /// database.commit()?;
    /// database.add_generation("short", &short, &VectorOptions::default(), |_| {})?;
    /// database.replace_generation("original", "short")?;
    /// assert_eq!(database.generation_in_use(), Some("short"));
    /// assert_eq!(Database::open(&path)?.restore_generation()?, "original");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::GenerationNotInUse`] if `old` is not the one in use. There is no generation `new`, another process is
    /// writing, or there are uncommitted changes.
    pub fn replace_generation(&mut self, old: &str, new: &str) -> Result<()> {
        let mut store = self.store()?;
        let in_use = store.snapshot().generation_in_use().unwrap_or_default();
        if in_use != old {
            let (path, in_use) = (self.path.clone(), in_use.to_owned());
            return Err(Error::GenerationNotInUse { path, generation: old.to_owned(), in_use });
        }
        let mut properties = store.snapshot().with_generation(new)?.settings().properties.clone();
        properties.insert(REPLACES.to_owned(), old.to_owned());
        let snapshot = store.use_generation_with(new, new, properties)?;
        drop(store);
        self.set_snapshot(snapshot)
    }

    /// Makes the generation the one in use again that the present one took the place of, durably, and returns its name.
    /// Calls one after the other go back through all replacements.
    ///
    /// # Errors
    ///
    /// [`Error::NothingReplaced`] if the one in use took no other's place, or the other was dropped. Another process is
    /// writing, or there are uncommitted changes.
    pub fn restore_generation(&mut self) -> Result<String> {
        let mut store = self.store()?;
        let path = self.path.clone();
        let in_use = store.snapshot().generation_in_use().unwrap_or_default().to_owned();
        let present = store.snapshot().generations().iter().find(|generation| generation.name == in_use);
        let mut properties = present.map(|present| present.properties.clone()).unwrap_or_default();
        let Some(old) = properties.remove(REPLACES) else {
            return Err(Error::NothingReplaced { path, in_use, dropped: None });
        };
        if !store.snapshot().generations().iter().any(|generation| generation.name == old) {
            return Err(Error::NothingReplaced { path, in_use, dropped: Some(old) });
        }
        // What it replaced is forgotten: two that replaced each other in turn would be restored for ever.
        let snapshot = store.use_generation_with(&old, &in_use, properties)?;
        drop(store);
        self.set_snapshot(snapshot)?;
        Ok(old)
    }

    /// Writes down where the encoder of the generation that is read is to be loaded from, durably. This value must have
    /// that encoder, so that it is the one that made the vectors: see [`Database::with_encoder`].
    ///
    /// # Errors
    ///
    /// There is no encoder, another process is writing, or there are uncommitted changes.
    pub fn set_encoder_source(&mut self, source: &EncoderSource) -> Result<()> {
        let (encoder, name) = (self.query_encoder()?, self.generation_name().unwrap_or_default().to_owned());
        check_encoder(&self.path, &self.snapshot, encoder)?;
        let mut properties = self.snapshot.settings().properties.clone();
        EncoderSource::replace(&mut properties, &source.settled(encoder));
        let snapshot = self.store()?.set_properties_of_layers_above(&name, properties)?;
        self.set_snapshot(snapshot)
    }

    /// Removes a generation that is not in use, durably. Processes that have it open keep reading it.
    ///
    /// # Errors
    ///
    /// There is no such generation, it is in use or read by this value, another process is writing, or there are
    /// uncommitted changes.
    pub fn drop_generation(&mut self, name: &str) -> Result<()> {
        if self.generation_name() == Some(name) {
            return Err(secateur_index::Error::GenerationInUse { name: name.to_owned() }.into());
        }
        let snapshot = self.store()?.drop_generation(name)?;
        self.set_snapshot(snapshot)
    }
}

struct NewGeneration<'s, P> {
    writer: GenerationWriter<'s>,
    generation: &'s Generation,
    encoder: &'s Encoder,
    done: usize,
    progress: P,
}

impl<P: FnMut(usize)> Destination for NewGeneration<'_, P> {
    type Item = Document;

    fn bytes(&self, document: &Document) -> usize {
        document.title.len() + document.text.len()
    }

    fn name(&self, document: &Document, _: usize) -> String {
        name_of(document)
    }

    fn texts(&self, document: &Document, _: usize) -> Result<Vec<String>> {
        texts_of(document, self.generation, self.encoder)
    }

    fn write(&mut self, documents: Vec<Document>, vectors: Vec<Vectors>) -> Result<()> {
        for vectors in vectors {
            let rows = PassageVectors::streamed(self.encoder.dim(), vectors);
            rows.documents().try_for_each(|rows| self.writer.add(rows))?;
        }
        self.done += documents.len();
        (self.progress)(self.done);
        Ok(())
    }
}
