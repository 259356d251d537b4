//! Why something could not be downloaded.

use std::path::PathBuf;

use secateur::ErrorKind;
use secateur_files::PathError;

/// Why something could not be downloaded; each message says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DownloadError {
    /// The operating system refused to work on a file or folder; a full disk is one of the reasons.
    #[error("{0}; what was downloaded so far is kept, run the command again to go on")]
    Io(#[from] PathError),

    /// The connection could not be made or broke again and again.
    #[error(
        "cannot download {url}: gave up after {attempts} attempts; when the server can be reached, the same command goes on"
    )]
    Network {
        /// The address.
        url: String,
        /// How many requests failed in a row, counted from the last one that brought something.
        attempts: u32,
        /// The reason of the last one.
        source: Box<ureq::Error>,
    },

    /// The server has nothing under the address.
    #[error(
        "{url} does not exist (404): check the name, and that you may see it (HF_TOKEN for private models)"
    )]
    NotFound {
        /// The address.
        url: String,
    },

    /// The server refuses this user.
    #[error("{url} does not exist or is not for everyone ({status}): {}", if *with_token {
        "check the name; the token of HF_TOKEN was sent but does not open it, accept the terms on its page \
         or use another token"
    } else {
        "check the name, and set HF_TOKEN to an access token that may read it"
    })]
    Denied {
        /// The address.
        url: String,
        /// 401 or 403.
        status: u16,
        /// Whether a token was sent.
        with_token: bool,
    },

    /// The server answered with another status than the ones that are understood.
    #[error("{url} answered with status {status}: try again later, or look at the address with a browser")]
    Status {
        /// The address.
        url: String,
        /// The HTTP status.
        status: u16,
    },

    /// The bytes are not the ones that were published; the file was removed.
    #[error(
        "{url} has {algorithm} {got}, expected {expected}: the file was damaged or changed, and is removed; \
             run the command again, and report it if that does not help"
    )]
    Checksum {
        /// The address.
        url: String,
        /// `md5`, `sha256` or `size in bytes`.
        algorithm: &'static str,
        /// The published value.
        expected: String,
        /// The value of the downloaded file.
        got: String,
    },

    /// The archive is not a readable zip file.
    #[error("{} is not a readable zip archive", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What the reader found.
        source: zip::result::ZipError,
    },

    /// The archive has an entry that must not be unpacked.
    #[error("{}: refusing to unpack {entry:?}: {reason}", path.display())]
    UnsafeArchive {
        /// The archive.
        path: PathBuf,
        /// The entry's name.
        entry: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// The archive unpacked, but holds no data set.
    #[error("{} holds no data set {name}", path.display())]
    NotADataset {
        /// The archive.
        path: PathBuf,
        /// The data set that was looked for.
        name: String,
        /// What is missing.
        source: Box<secateur_datasets::Error>,
    },

    /// No data set of that name is published.
    #[error("no data set {name:?} is published: choose one of {}", known.join(", "))]
    UnknownDataset {
        /// The name that was asked for.
        name: String,
        /// The names there are.
        known: Vec<&'static str>,
    },

    /// The text is no model of the hub.
    #[error(
        "{id:?} is neither a model directory nor a model of the hub: expected a path, OWNER/NAME or \
             OWNER/NAME@REVISION"
    )]
    BadModelId {
        /// The text.
        id: String,
    },

    /// The model or data set is not in the cache and the network is off.
    #[error("{id} is not in the cache or not all of it, and HF_HUB_OFFLINE forbids to download it: looked in {}; unset \
             HF_HUB_OFFLINE and TRANSFORMERS_OFFLINE, or copy that folder from a machine that has it", looked_in.display())]
    Offline {
        /// The model, with its revision, or the data set.
        id: String,
        /// The folder of the cache that would hold it.
        looked_in: PathBuf,
    },

    /// A name is none of a directory here, and the hub cannot be asked for it.
    #[error("there is no directory {id} here, {} does not have a model of that name, and the hub cannot be reached to look it \
             up: give the path of a model directory, or copy that folder from a machine that has it", looked_in.display())]
    Unreachable {
        /// The model, with its revision.
        id: String,
        /// The folder of the cache that would hold it.
        looked_in: PathBuf,
        /// Why the hub cannot be reached.
        source: Box<DownloadError>,
    },

    /// The rows of a data set cannot be understood.
    #[error(
        "{url}: cannot understand the rows of the data set: {reason}; try again later, or put a BEIR folder in its place"
    )]
    BadRows {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// The hub's description of a model cannot be understood.
    #[error("{url}: cannot understand the list of the model's files: {reason}; is HF_ENDPOINT right?")]
    BadListing {
        /// The address.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },

    /// The model has no weights that can be read.
    #[error(
        "{id} has no weights that can be read, neither safetensors nor pytorch_model.bin: choose another revision"
    )]
    NoWeights {
        /// The model, with its revision.
        id: String,
    },

    /// There is no folder that the cache could be in.
    #[error("no home directory: set HF_HOME to the folder that shall hold the Hugging Face cache")]
    NoHome,
}

impl DownloadError {
    /// Whose turn it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            DownloadError::Io { .. }
            | DownloadError::Network { .. }
            | DownloadError::Unreachable { .. }
            | DownloadError::Status { .. } => ErrorKind::System,
            DownloadError::NotFound { .. }
            | DownloadError::Denied { .. }
            | DownloadError::Checksum { .. }
            | DownloadError::Archive { .. }
            | DownloadError::UnsafeArchive { .. }
            | DownloadError::NotADataset { .. }
            | DownloadError::UnknownDataset { .. }
            | DownloadError::BadModelId { .. }
            | DownloadError::Offline { .. }
            | DownloadError::BadListing { .. }
            | DownloadError::BadRows { .. }
            | DownloadError::NoWeights { .. }
            | DownloadError::NoHome => ErrorKind::Input,
        }
    }
}
