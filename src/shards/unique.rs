//! Whether each id is in one shard only.

use std::hash::{DefaultHasher, Hash, Hasher};

use rayon::prelude::*;
use secateur_index::RowId;

use super::shard::in_shard;
use crate::database::Database;
use crate::error::Result;
use crate::shard_error::ShardError;

/// Ids that are compared at a time: up to 48 bytes of memory for each, while lists grow and are joined.
const AT_A_TIME: u64 = 1 << 24;

/// Refuses shards of which two have a document with the same id.
pub(super) fn check(databases: &[Database]) -> Result<()> {
    let count: u64 = databases.iter().map(|database| database.len() as u64).sum();
    check_in_rounds(databases, count.div_ceil(AT_A_TIME).max(1))
}

/// Each round looks at the ids whose hashes have one remainder, so it is enough to compare ids within a round.
fn check_in_rounds(databases: &[Database], rounds: u64) -> Result<()> {
    for round in 0..rounds {
        let places = databases.par_iter().enumerate().map(|(shard, database)| {
            let mut places = Vec::new();
            for id in database.ids() {
                let (row, id) = id.map_err(|error| failed(shard, database, error))?;
                let mut hasher = DefaultHasher::new();
                id.hash(&mut hasher);
                let hash = hasher.finish();
                if hash % rounds == round {
                    places.push((hash, shard as u32, row));
                }
            }
            Ok(places)
        });
        let mut places = places.collect::<Result<Vec<_>>>()?.concat();
        places.par_sort_unstable();
        for same in places.chunk_by(|a, b| a.0 == b.0).filter(|same| same.len() > 1) {
            check_group(databases, same)?;
        }
    }
    Ok(())
}

/// Compares the ids of one hash, which are hardly ever several.
fn check_group(databases: &[Database], places: &[(u64, u32, RowId)]) -> Result<()> {
    let id = |(_, shard, row): &(u64, u32, RowId)| {
        let shard = *shard as usize;
        databases[shard].id_at(*row).map_err(|error| failed(shard, &databases[shard], error))
    };
    for (number, second) in places.iter().enumerate() {
        for first in &places[..number] {
            if id(first)? == id(second)? {
                let [first, shard] = [first.1, second.1].map(|shard| shard as usize);
                return Err(
                    ShardError::SameDocument { id: id(second)?.to_owned(), first, second: shard }.into()
                );
            }
        }
    }
    Ok(())
}

fn failed(shard: usize, database: &Database, error: crate::Error) -> crate::Error {
    in_shard(shard, database.path().display(), error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Document, Error};

    /// An id that is in two shards is found in whichever round it is compared.
    #[test]
    fn ids_are_compared_in_any_number_of_rounds() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str, ids: &[u32]| {
            let mut database = Database::builder(folder.path().join(name)).create().unwrap();
            let documents: Vec<Document> =
                ids.iter().map(|id| Document::new(id.to_string(), "text")).collect();
            database.add(&documents).unwrap();
            database.commit().unwrap();
            database
        };
        let (first, second) = (of("0", &[1, 2, 3, 4, 5]), of("1", &[6, 7, 8]));
        let third = of("2", &[9, 4]);
        for rounds in [1, 2, 5] {
            let open = |database: &Database| Database::open(database.path()).unwrap();
            check_in_rounds(&[open(&first), open(&second)], rounds).unwrap();
            let found = check_in_rounds(&[open(&first), open(&second), open(&third)], rounds);
            let Err(Error::Shards(ShardError::SameDocument { id, first, second })) = found else { panic!() };
            assert_eq!((id.as_str(), first, second), ("4", 0, 2));
        }
    }
}
