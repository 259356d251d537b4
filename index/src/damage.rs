//! What is wrong with damaged files.

/// What is wrong with a damaged file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Damage {
    /// A file that the manifest names is gone.
    #[error("the file is missing")]
    Missing,
    /// The manifest lists a file of unknown kind.
    #[error("the manifest names it, but no file of a database has this name")]
    Unknown,
    /// The file does not begin with the bytes that mark its kind.
    #[error("it does not begin with the mark of {kind}")]
    Magic {
        /// The kind of file expected.
        kind: &'static str,
    },
    /// The file is shorter or longer than was written.
    #[error("it has {got} bytes, expected {expected}")]
    Size {
        /// The length that was written.
        expected: u64,
        /// The length found.
        got: u64,
    },
    /// A checksum (CRC-32) does not match.
    #[error("the checksum of {part} is {got:08x}, expected {expected:08x}")]
    Checksum {
        /// The part that was checked.
        part: &'static str,
        /// The checksum that was written.
        expected: u32,
        /// The checksum of the bytes found.
        got: u32,
    },
    /// A number in the file contradicts another one.
    #[error("{field} is {got}, expected {expected}")]
    Field {
        /// The field's name in FORMAT.md.
        field: &'static str,
        /// What it should be.
        expected: String,
        /// What was found.
        got: String,
    },
    /// The file is of one generation alone.
    #[error(
        "{damage}; it is of generation {generation:?}, {}",
        if *is_in_use { "which is in use" } else { "which can be dropped and added again" }
    )]
    OfGeneration {
        /// Its name.
        generation: String,
        /// Whether it is the generation in use.
        is_in_use: bool,
        /// What is wrong with the file.
        damage: Box<Damage>,
    },
    /// A record cannot be read although its checksum matches.
    #[error("{part} cannot be decoded")]
    Undecodable {
        /// The part that could not be decoded.
        part: &'static str,
    },
}
