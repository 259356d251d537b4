//! The encoders of a database: that of the generation that is read, and those of the others.

use std::path::Path;
use std::sync::Arc;

use secateur_encoders::{Encoder, Fingerprint};
use secateur_index::storage::{EncoderIdentity, Generation, Snapshot};

use super::{Database, EncoderRecord};
use crate::error::{Error, Result};

impl Database {
    /// The same database with the encoder of its vectors, as [`Database::open_with`].
    ///
    /// # Errors
    ///
    /// Those of `reload` and [`Database::with_encoder`].
    pub fn reload_encoder<E: From<Error>>(
        self,
        reload: impl FnOnce(&EncoderRecord) -> Result<Arc<Encoder>, E>,
    ) -> Result<Database, E> {
        match self.encoder_record() {
            Some(record) => Ok(self.with_encoder(reload(&record)?)?),
            None => Ok(self),
        }
    }

    /// The same database with this encoder, which must be the one that made its vectors.
    ///
    /// # Errors
    ///
    /// [`Error::EncoderMismatch`] if its vectors are another encoder's, [`Error::NoVectors`] if it has none, and
    /// [`Error::NoEncoder`] if no encoder made them.
    pub fn with_encoder(self, encoder: impl Into<Arc<Encoder>>) -> Result<Database> {
        let encoder = encoder.into();
        check_encoder(&self.path, &self.snapshot, &encoder)?;
        Ok(Database { encoder: Some(encoder), ..self })
    }

    /// The same database with the encoders of all its generations, so that documents can be added while it has several.
    /// `reload` is called for each generation whose encoder is not there yet, with its name.
    ///
    /// # Errors
    ///
    /// Those of `reload`, and [`Error::EncoderMismatch`].
    pub fn with_all_encoders<E: From<Error>>(
        mut self,
        mut reload: impl FnMut(&str, &EncoderRecord) -> Result<Arc<Encoder>, E>,
    ) -> Result<Database, E> {
        for generation in self.generations().to_vec() {
            let Some(identity) = &generation.encoder else { continue };
            if self.encoder_of(&generation).is_ok() {
                continue;
            }
            let encoder = reload(&generation.name, &EncoderRecord::read(identity, &generation.properties))?;
            if *encoder.fingerprint().as_bytes() != identity.fingerprint {
                return Err(mismatch(&self.path, identity, &encoder).into());
            }
            if self.generation_name() == Some(&generation.name) {
                self.encoder = Some(encoder);
            } else {
                self.others.insert(generation.name, encoder);
            }
        }
        Ok(self)
    }

    /// The encoder of a generation, if it is there and is the one that made its vectors.
    pub(super) fn encoder_of(&self, generation: &Generation) -> Result<&Arc<Encoder>> {
        let path = || self.path.clone();
        let Some(identity) = &generation.encoder else { return Err(Error::NoEncoder { path: path() }) };
        let is_it = |encoder: &&Arc<Encoder>| *encoder.fingerprint().as_bytes() == identity.fingerprint;
        // The encoder that is read may serve another generation too: with another index, say.
        let known = self.others.get(&generation.name).into_iter().chain(&self.encoder);
        match known.into_iter().find(is_it) {
            Some(encoder) => Ok(encoder),
            None => Err(match self.generations() {
                [_] => Error::EncoderRequired { path: path(), name: identity.name.clone() },
                _ => Error::GenerationEncoder {
                    path: path(),
                    generation: generation.name.clone(),
                    name: identity.name.clone(),
                },
            }),
        }
    }

    /// The encoder of the vectors, if it is loaded.
    pub fn encoder(&self) -> Option<&Arc<Encoder>> {
        self.encoder.as_ref()
    }

    /// The encoder of the vectors, as the database remembers it; `None` where no encoder makes vectors.
    pub fn encoder_record(&self) -> Option<EncoderRecord> {
        let settings = self.snapshot.settings();
        Some(EncoderRecord::read(settings.encoder.as_ref()?, &settings.properties))
    }

    /// The encoder for documents; `None` if no encoder makes vectors.
    pub(super) fn required_encoder(&self) -> Result<Option<&Arc<Encoder>>> {
        match (&self.encoder, &self.snapshot.settings().encoder) {
            (Some(encoder), _) => Ok(Some(encoder)),
            (None, None) => Ok(None),
            (None, Some(identity)) => {
                Err(Error::EncoderRequired { path: self.path.clone(), name: identity.name.clone() })
            }
        }
    }

    /// The encoder for queries.
    pub(super) fn query_encoder(&self) -> Result<&Arc<Encoder>> {
        let path = || self.path.clone();
        match (self.required_encoder()?, self.dim()) {
            (Some(encoder), _) => Ok(encoder),
            (None, Some(_)) => Err(Error::NoEncoder { path: path() }),
            (None, None) => Err(Error::NoVectors { path: path() }),
        }
    }

    /// The encoder of the generation in use, which this value must read.
    pub(crate) fn serving_encoder(&self) -> Result<&Arc<Encoder>> {
        let encoder = self.query_encoder()?;
        let [read, in_use] = [self.generation_name(), self.generation_in_use()]
            .map(|name| name.unwrap_or_default().to_owned());
        if read == in_use {
            return Ok(encoder);
        }
        Err(Error::GenerationNotInUse { path: self.path.clone(), generation: read, in_use })
    }
}

/// Refuses an encoder that did not make the vectors of the generation that is read.
pub(super) fn check_encoder(path: &Path, snapshot: &Snapshot, encoder: &Encoder) -> Result<()> {
    let settings = snapshot.settings();
    let path_of = || path.to_owned();
    let Some(identity) = &settings.encoder else {
        return Err(match settings.vectors {
            Some(_) => Error::NoEncoder { path: path_of() },
            None => Error::NoVectors { path: path_of() },
        });
    };
    if identity.fingerprint == *encoder.fingerprint().as_bytes() {
        return Ok(());
    }
    let same = |generation: &&Generation| {
        generation
            .encoder
            .as_ref()
            .is_some_and(|other| other.fingerprint == *encoder.fingerprint().as_bytes())
    };
    match snapshot.generations().iter().find(same) {
        Some(generation) => Err(Error::EncoderOfGeneration {
            path: path_of(),
            got_name: encoder.name().to_owned(),
            generation: generation.name.clone(),
            read: snapshot.generation().unwrap_or_default().to_owned(),
        }),
        None => Err(mismatch(path, identity, encoder)),
    }
}

fn mismatch(path: &Path, identity: &EncoderIdentity, encoder: &Encoder) -> Error {
    Error::other_encoder(path, &identity.name, Fingerprint::from_bytes(identity.fingerprint), encoder)
}
