//! Arrays of numbers one after the other behind a header, each filled up with zeros to a multiple of 64 bytes. Maps
//! begin at pages, so every array begins at a cache line.

use std::ops::Range;

use super::files::HeadedWriter;
use crate::error::Result;
use secateur_files::header::HEADER_LEN;

const ALIGNMENT: u64 = 64;

/// The length of a file with sections of these lengths in bytes.
pub(crate) fn file_len<const N: usize>(lengths: [u64; N]) -> u64 {
    HEADER_LEN as u64 + lengths.map(|len| len.next_multiple_of(ALIGNMENT)).iter().sum::<u64>()
}

/// Where the sections lie in such a file.
pub(crate) fn ranges<const N: usize>(lengths: [u64; N]) -> [Range<usize>; N] {
    let mut at = HEADER_LEN;
    lengths.map(|len| {
        let section = at..at + len as usize;
        at = section.end.next_multiple_of(ALIGNMENT as usize);
        section
    })
}

/// Ends a section.
pub(crate) fn end(file: &mut HeadedWriter) -> Result<()> {
    let rest = file.position().next_multiple_of(ALIGNMENT) - file.position();
    file.write(&[0; ALIGNMENT as usize][..rest as usize])
}
