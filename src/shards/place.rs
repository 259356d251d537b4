//! What lies where something else was to be opened.

use super::plan::{ShardPlan, shard_path};
use super::remote::Topology;
use crate::error::Error;
use crate::shard_error::ShardError;

/// The same error, unless a set or a list of servers lies where a database or a set was to be opened. Then one that
/// says so.
///
/// ```
/// use secateur::Database;
/// use secateur::shards::told_of_sets;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("servers.json");
/// std::fs::write(&path, r#"{"shards": [{"replicas": ["http://10.0.0.1:8080"]}]}"#)?;
/// let error = Database::open(&path).err().unwrap();
/// assert!(told_of_sets(error).to_string().contains("is a list of the servers of a set"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn told_of_sets(error: Error) -> Error {
    let (path, is_set_expected) = match &error {
        Error::Index(secateur_index::Error::NotADatabase { path }) => (path, false),
        Error::Shards(ShardError::NotASet { path }) => (path, true),
        _ => return error,
    };
    if !is_set_expected && ShardPlan::is_there(path) {
        return ShardError::IsASet { path: path.clone(), shard: shard_path(path, 0) }.into();
    }
    if Topology::is_there(path) {
        return ShardError::IsServers { path: path.clone() }.into();
    }
    error
}
