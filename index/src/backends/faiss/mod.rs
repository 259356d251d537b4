//! Indexes of faiss, in programs with the cargo feature `faiss`. Other programs refuse such indexes by name.

#[cfg(not(feature = "faiss"))]
mod absent;
mod format;
#[cfg(feature = "faiss")]
mod index;
mod kind;

#[cfg(not(feature = "faiss"))]
pub use absent::FaissIndex;
#[cfg(feature = "faiss")]
pub use index::FaissIndex;
pub use kind::FaissKind;

#[cfg(all(test, feature = "faiss"))]
mod tests;
