//! What a database holds, in numbers and names.

use secateur_index::storage::{FieldCount, Generation};

use super::{Database, EncoderRecord, reading};
use crate::encode::Passages;
use crate::error::Result;

/// What a database holds: from [`Database::info`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseInfo {
    /// Documents.
    pub num_documents: usize,
    /// Deleted documents that still take space.
    pub num_deleted: usize,
    /// Segments, of which a search goes through all.
    pub num_segments: usize,
    /// The length of the segments' files in bytes.
    pub num_bytes: u64,
    /// The number of the last commit.
    pub commit: u64,
    /// The fields of the documents' metadata.
    pub fields: Vec<FieldCount>,
    /// The generations, in the order in which they were added.
    pub generations: Vec<GenerationInfo>,
}

/// What a generation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationInfo {
    /// Its name, and how its vectors are compared, stored and searched.
    pub generation: Generation,
    /// Whether searches read it that name none.
    pub is_used: bool,
    /// The encoder, and where it was; `None` if the vectors came with the documents.
    pub encoder: Option<EncoderRecord>,
    /// How documents are split; `None` where each has one vector.
    pub passages: Option<Passages>,
    /// Vectors, those of deleted documents included that still take space.
    pub num_vectors: usize,
}

impl Database {
    /// What the database holds. Reads the metadata of all documents.
    ///
    /// # Errors
    ///
    /// A file is damaged.
    pub fn info(&self) -> Result<DatabaseInfo> {
        let snapshot = &self.snapshot;
        Ok(DatabaseInfo {
            num_documents: snapshot.len(),
            num_deleted: snapshot.num_rows() - snapshot.len(),
            num_segments: snapshot.num_segments(),
            num_bytes: snapshot.num_bytes(),
            commit: snapshot.commit_number(),
            fields: snapshot.fields()?,
            generations: self.generation_infos(),
        })
    }

    /// The number of the last commit that this value sees: it grows with each.
    pub fn commit_number(&self) -> u64 {
        self.snapshot.commit_number()
    }

    /// Whether both see the same documents and vectors: the same commit of one database, through the same generation.
    pub fn sees_the_same(&self, other: &Database) -> bool {
        self.snapshot.is_same(&other.snapshot)
    }

    /// The length of the segments' files in bytes.
    pub(crate) fn num_bytes(&self) -> u64 {
        self.snapshot.num_bytes()
    }

    /// The generations, in the order in which they were added.
    pub fn generation_infos(&self) -> Vec<GenerationInfo> {
        let info = |(generation, num_vectors): (&Generation, usize)| GenerationInfo {
            passages: reading::passages(generation),
            num_vectors,
            is_used: self.generation_in_use() == Some(&generation.name),
            encoder: generation
                .encoder
                .as_ref()
                .map(|identity| EncoderRecord::read(identity, &generation.properties)),
            generation: generation.clone(),
        };
        self.generations().iter().zip(self.snapshot.num_vectors_of_all()).map(info).collect()
    }
}
