//! Headers of files: what is wrong with one, as this crate's error. `secateur_files::header` has the layout.

use std::path::Path;

use secateur_files::header::{HEADER_LEN, HeaderFault, Kind, read};

use super::files::corrupt;
use crate::error::{Damage, Error, Result};

/// The header, declared as a struct, that the bytes of a file begin with.
pub(crate) fn read_header<H: bytemuck::Pod>(file: &Path, bytes: &[u8], kind: &Kind) -> Result<H> {
    read(bytes, kind).map_err(|fault| header_error(file, fault))
}

/// What is wrong with the header of a file.
pub(crate) fn header_error(file: &Path, fault: HeaderFault) -> Error {
    let damage = match fault {
        HeaderFault::Short { got } => Damage::Size { expected: HEADER_LEN as u64, got: got as u64 },
        HeaderFault::Mark { kind } => Damage::Magic { kind },
        HeaderFault::Checksum { expected, got } => Damage::Checksum { part: "the header", expected, got },
        HeaderFault::Newer { found, supported } => {
            return Error::NewerFormat { file: file.to_owned(), found, supported };
        }
    };
    corrupt(file, damage)
}
