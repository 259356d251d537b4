//! The 64-byte header that begins every file with numbers in it.
//!
//! | bytes | field |
//! |---|---|
//! | 0..8 | mark of the kind of file |
//! | 8..12 | format version, u32 |
//! | 12..60 | fields of the kind; the rest is zero |
//! | 60..64 | CRC-32 of bytes 0..60 |
//!
//! A kind declares its header as a struct of 64 bytes, so that the compiler knows every offset:
//!
//! ```
//! use secateur_files::header::{Kind, Start, read, seal};
//!
//! const KIND: Kind = Kind { mark: *b"EXAMPLE1", name: "an example", version: 2 };
//!
//! #[repr(C)]
//! #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
//! struct ExampleHeader {
//!     start: Start,
//!     rows: u32,
//!     sum: u64,
//!     zeros: [u32; 9],
//!     crc: u32,
//! }
//! const _: () = assert!(std::mem::offset_of!(ExampleHeader, sum) == 16);
//!
//! let zeroed: ExampleHeader = bytemuck::Zeroable::zeroed();
//! let bytes = seal(&ExampleHeader { start: Start::of(&KIND), rows: 7, sum: 40, ..zeroed });
//! let header: ExampleHeader = read(&bytes, &KIND)?;
//! assert_eq!((header.rows, header.sum), (7, 40));
//! # Ok::<(), secateur_files::header::HeaderFault>(())
//! ```

use bytemuck::{Pod, Zeroable};

/// The length of a header in bytes.
pub const HEADER_LEN: usize = 64;

/// Where the checksum lies.
const CRC_AT: usize = HEADER_LEN - 4;

/// What distinguishes one kind of file from another.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// The bytes that the file begins with.
    pub mark: [u8; 8],
    /// In words, for messages: "a graph file".
    pub name: &'static str,
    /// The newest version that can be read.
    pub version: u32,
}

/// The beginning of every header.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Pod, Zeroable)]
pub struct Start {
    /// The mark of the kind.
    pub mark: [u8; 8],
    /// The version of the format.
    pub version: u32,
}

impl Start {
    /// That of the newest version of a kind.
    pub fn of(kind: &Kind) -> Start {
        Start { mark: kind.mark, version: kind.version }
    }
}

/// Why bytes are not the header of a kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// There are fewer bytes than a header has.
    #[error("it has {got} bytes, and its header alone {HEADER_LEN}")]
    Short {
        /// The bytes that there are.
        got: usize,
    },
    /// The mark is another.
    #[error("it does not begin with the mark of {kind}")]
    Mark {
        /// The kind of file expected.
        kind: &'static str,
    },
    /// The version is later than this program.
    #[error(
        "it has format version {found}, this program reads up to version {supported}; use a newer secateur"
    )]
    Newer {
        /// The version it declares.
        found: u32,
        /// The newest version this program reads.
        supported: u32,
    },
    /// The checksum does not match.
    #[error("the checksum of its header is {got:08x}, expected {expected:08x}")]
    Checksum {
        /// The checksum that was written.
        expected: u32,
        /// That of the bytes found.
        got: u32,
    },
}

/// The bytes of a header to be written, with the checksum in place.
pub fn seal<H: Pod>(header: &H) -> [u8; HEADER_LEN] {
    const { assert!(size_of::<H>() == HEADER_LEN) }
    let mut bytes = [0; HEADER_LEN];
    bytes.copy_from_slice(bytemuck::bytes_of(header));
    let crc = crc32fast::hash(&bytes[..CRC_AT]);
    bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The header that `bytes` begin with, after mark, version and checksum were checked.
///
/// # Errors
/// [`HeaderFault`]; a later version before the checksum, for it may lay the header out differently.
pub fn read<H: Pod>(bytes: &[u8], kind: &Kind) -> Result<H, HeaderFault> {
    const { assert!(size_of::<H>() == HEADER_LEN) }
    let bytes = bytes.first_chunk::<HEADER_LEN>().ok_or(HeaderFault::Short { got: bytes.len() })?;
    let start: Start = bytemuck::pod_read_unaligned(&bytes[..size_of::<Start>()]);
    if start.mark != kind.mark {
        return Err(HeaderFault::Mark { kind: kind.name });
    }
    if start.version > kind.version {
        return Err(HeaderFault::Newer { found: start.version, supported: kind.version });
    }
    let [expected, got] = [bytemuck::pod_read_unaligned(&bytes[CRC_AT..]), crc32fast::hash(&bytes[..CRC_AT])];
    // A build for fuzzing takes any checksum, to get at what lies behind it.
    if expected != got && !cfg!(fuzzing) {
        return Err(HeaderFault::Checksum { expected, got });
    }
    Ok(bytemuck::pod_read_unaligned(bytes))
}
