//! The encoder of a set's vectors.

use std::sync::Arc;

use secateur_encoders::Encoder;

use super::set::{ShardSet, Vectors};
use crate::database::EncoderRecord;
use crate::error::{Error, Result};
use crate::shard_error::ShardError;

impl ShardSet {
    /// Gives the set the encoder of its queries, unless it has one. [`ShardSet::best_passages`] of folders takes one
    /// that they were opened with: [`ShardSet::open_with`].
    ///
    /// # Errors
    ///
    /// [`Error::EncoderMismatch`] if its vectors are another encoder's, [`Error::NoVectors`] if it has none,
    /// [`Error::NoEncoder`] if no encoder makes them; [`ShardError::WrongAnswer`].
    pub fn set_encoder(&self, encoder: Arc<Encoder>) -> Result<()> {
        let (record, Vectors { dim, .. }) = match (&self.encoder_record, self.vectors) {
            (Some(record), Some(vectors)) => (record, vectors),
            (None, Some(_)) => return Err(Error::NoEncoder { path: self.path.clone() }),
            (_, None) => return Err(Error::NoVectors { path: self.path.clone() }),
        };
        if *encoder.fingerprint() != record.fingerprint {
            return Err(Error::other_encoder(&self.path, &record.name, record.fingerprint, &encoder));
        }
        let of_encoder = encoder.dim();
        if dim != of_encoder {
            let problem = format!("its vectors have {dim} numbers, and those of its encoder {of_encoder}");
            return Err(ShardError::WrongAnswer { problem }.into());
        }
        // Another thread may have given one meanwhile, which is the same.
        let _ = self.encoder.set(encoder);
        Ok(())
    }

    /// The encoder of its queries, if it has one.
    pub fn encoder(&self) -> Option<&Arc<Encoder>> {
        self.encoder.get()
    }

    /// The encoder of the vectors, as the shards remember it; `None` where no encoder makes vectors.
    pub fn encoder_record(&self) -> Option<&EncoderRecord> {
        self.encoder_record.as_ref()
    }

    /// The encoder for queries.
    pub(super) fn query_encoder(&self) -> Result<&Arc<Encoder>> {
        let path = || self.path.clone();
        match (self.encoder.get(), &self.encoder_record, self.vectors) {
            (Some(encoder), ..) => Ok(encoder),
            (None, Some(record), _) => {
                Err(Error::EncoderRequired { path: path(), name: record.name.clone() })
            }
            (None, None, Some(_)) => Err(Error::NoEncoder { path: path() }),
            (None, None, None) => Err(Error::NoVectors { path: path() }),
        }
    }
}
