//! What all files of a database are made of: a header, sections, checksums; written once, mapped, and checked when
//! they are opened.

pub(crate) mod file_set;
pub(crate) mod files;
pub(crate) mod header;
pub(crate) mod sections;
