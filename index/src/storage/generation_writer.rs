//! Adding, using and dropping generations.

use std::collections::BTreeMap;

use secateur_files::disk;

use super::embeddings::{EmbeddingsWriter, GenerationFiles};
use super::generation::Generation;
use super::manifest::{FileRecord, GenerationRecord};
use super::snapshot::Snapshot;
use super::store::{NewFolders, Store, replace_properties};
use crate::error::{Error, Result};
use crate::file_format::files::Output;

/// Writes the vectors of a new generation, one document after the other in the order of [`Snapshot::rows`]. Nothing is
/// visible before [`GenerationWriter::finish`]; dropping it undoes it.
pub struct GenerationWriter<'s> {
    store: &'s mut Store,
    record: GenerationRecord,
    files: GenerationFiles,
    /// The next row: the position of its segment, and its number there.
    segment: usize,
    row: u32,
    // Before the folders, so that the file is closed when they are removed.
    current: Option<EmbeddingsWriter>,
    folders: NewFolders,
    /// The files of the segments that are complete.
    finished: Vec<Vec<FileRecord>>,
    num_added: usize,
}

impl Store {
    /// Begins a generation: a vector for each document that there is. The database cannot be changed meanwhile.
    ///
    /// ```
    /// use secateur_index::Metric;
    /// use secateur_index::storage::{Generation, NewDocument, Settings, Store};
    ///
    /// let folder = tempfile::tempdir()?;
    /// let settings = Settings::with_vectors(Metric::InnerProduct, 2);
    /// let mut store = Store::create(folder.path().join("db"), &settings)?;
    /// let mut transaction = store.begin()?;
    /// for (id, vector) in [("a", [1.0, 0.0]), ("b", [0.0, 1.0])] {
    ///     transaction.add(&NewDocument { id, title: "", text: "", metadata: None }, Some(&vector))?;
    /// }
    /// transaction.commit()?;
    ///
    /// let vectors = Settings::with_vectors(Metric::InnerProduct, 1).vectors.unwrap();
    /// let generation =
    ///     Generation { name: "small".into(), vectors, encoder: None, properties: Default::default() };
    /// let mut writer = store.begin_generation(generation)?;
    /// writer.add(&[0.0])?;
    /// writer.add(&[1.0])?;
    /// let snapshot = writer.finish()?;
    /// assert_eq!(snapshot.generation(), Some("original"), "until another is used");
    /// assert_eq!(snapshot.flat()?.search(&[1.0, 0.0], 1)?[0].row.0, 0);
    /// assert_eq!(snapshot.with_generation("small")?.flat()?.search(&[1.0], 1)?[0].row.0, 1);
    /// assert_eq!(store.use_generation("small")?.generation(), Some("small"));
    /// store.drop_generation("original")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::GenerationName`], [`Error::GenerationExists`], [`Error::InvalidParameter`],
    /// [`Error::ReservedProperty`].
    pub fn begin_generation(&mut self, generation: Generation) -> Result<GenerationWriter<'_>> {
        generation.check()?;
        let manifest = self.snapshot().manifest();
        if manifest.generations.iter().any(|known| known.name == generation.name) {
            return Err(Error::GenerationExists { name: generation.name });
        }
        // No other commit has this number, so no file has been where these will be.
        let id = manifest.commit + 1;
        let files = GenerationFiles { id, settings: generation.vectors };
        Ok(GenerationWriter {
            store: self,
            record: GenerationRecord::new(id, &generation),
            files,
            segment: 0,
            row: 0,
            current: None,
            folders: NewFolders::default(),
            finished: Vec::new(),
            num_added: 0,
        })
    }

    /// Makes searches read this generation, unless they ask for another, in a commit of its own. Snapshots that are
    /// open stay with theirs.
    ///
    /// # Errors
    /// [`Error::UnknownGeneration`], and those of a commit.
    pub fn use_generation(&mut self, name: &str) -> Result<Snapshot> {
        let mut manifest = self.snapshot().manifest().clone();
        let position = manifest.position(name)?;
        if manifest.active as usize == position {
            return Ok(self.snapshot().clone());
        }
        manifest.active = position as u32;
        manifest.commit += 1;
        self.replace_manifest(manifest, NewFolders::default())
    }

    /// Makes searches read the generation `name`, as [`Store::use_generation`], and replaces the settings of the layers
    /// above of the generation `of`, in one commit.
    ///
    /// # Errors
    /// [`Error::UnknownGeneration`], [`Error::ReservedProperty`], and those of a commit.
    pub fn use_generation_with(
        &mut self,
        name: &str,
        of: &str,
        properties: BTreeMap<String, String>,
    ) -> Result<Snapshot> {
        let mut manifest = self.snapshot().manifest().clone();
        manifest.active = manifest.position(name)? as u32;
        manifest.commit += 1;
        replace_properties(&mut manifest, of, properties)?;
        self.replace_manifest(manifest, NewFolders::default())
    }

    /// Removes a generation that is not used, in a commit of its own. Snapshots that are open keep it.
    ///
    /// # Errors
    /// [`Error::UnknownGeneration`], [`Error::GenerationInUse`], and those of a commit.
    pub fn drop_generation(&mut self, name: &str) -> Result<Snapshot> {
        let mut manifest = self.snapshot().manifest().clone();
        let position = manifest.position(name)?;
        if manifest.active as usize == position {
            return Err(Error::GenerationInUse { name: name.to_owned() });
        }
        let dropped = manifest.generations.remove(position);
        manifest.active -= u32::from(position < manifest.active as usize);
        manifest.commit += 1;
        let settings = dropped.vectors(self.snapshot().path())?;
        let files = GenerationFiles { id: dropped.id, settings };
        for segment in &mut manifest.segments {
            segment.files.retain(|file| !files.owns(&file.name));
        }
        let snapshot = self.replace_manifest(manifest, NewFolders::default())?;
        // What cannot be removed now, the next writer removes.
        let _ = self.remove_garbage();
        Ok(snapshot)
    }
}

impl GenerationWriter<'_> {
    /// Adds the vector of the next document; where the generation has passages, at least one vector, (n, D).
    ///
    /// # Errors
    /// [`Error::DimensionMismatch`], [`Error::NotFinite`], [`Error::VectorTooLong`]; [`Error::GenerationRows`] if
    /// there is no further document; [`Error::Io`].
    pub fn add(&mut self, vectors: &[f32]) -> Result<()> {
        self.files.settings.check_vectors(vectors)?;
        self.go_to_document()?;
        let Some(current) = &mut self.current else {
            let expected = self.store.snapshot().len();
            return Err(Error::GenerationRows { expected, got: expected + 1 });
        };
        current.add(vectors)?;
        self.row += 1;
        self.num_added += 1;
        Ok(())
    }

    /// Goes to the next row that is not deleted, through segments that are complete; deleted rows get zeros. At the
    /// end there is no current segment.
    fn go_to_document(&mut self) -> Result<()> {
        let snapshot = self.store.snapshot().clone();
        let zeros = vec![0.0; self.files.settings.dim];
        while let Some(view) = snapshot.views().get(self.segment) {
            let current = match &mut self.current {
                Some(current) => current,
                None => {
                    let folder = self.store.segment_folder(view.segment.name());
                    // A segment that is a pack has none yet.
                    disk::create_folders(&folder)?;
                    self.folders.push(folder.join(format!("g{}", self.files.id)));
                    self.current.insert(EmbeddingsWriter::create(&Output::Folder(folder), self.files)?)
                }
            };
            while self.row < view.segment.rows() && view.deleted.contains(self.row) {
                current.add(&zeros)?;
                self.row += 1;
            }
            if self.row < view.segment.rows() {
                return Ok(());
            }
            if let Some(complete) = self.current.take() {
                let files = complete.finish()?;
                self.finished.push(files.into_iter().map(|file| file.record).collect());
                disk::sync_folder(&self.store.segment_folder(view.segment.name()))?;
            }
            self.segment += 1;
            self.row = 0;
        }
        Ok(())
    }

    /// Builds the graphs that are to be built and makes the generation visible and durable, at once. It is not used
    /// yet, unless it is the only one.
    ///
    /// # Errors
    /// [`Error::GenerationRows`] if a document has no vector yet, and those of a commit.
    pub fn finish(mut self) -> Result<Snapshot> {
        self.go_to_document()?;
        if self.current.is_some() {
            let expected = self.store.snapshot().len();
            return Err(Error::GenerationRows { expected, got: self.num_added });
        }
        let mut manifest = self.store.snapshot().manifest().clone();
        manifest.commit += 1;
        for (segment, files) in manifest.segments.iter_mut().zip(std::mem::take(&mut self.finished)) {
            segment.files.extend(files);
        }
        manifest.generations.push(self.record.clone());
        self.store.replace_manifest(manifest, std::mem::take(&mut self.folders))
    }
}
