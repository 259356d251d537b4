//! A database that is served, as a shard of a set.

use std::sync::Arc;

use secateur::shards::remote::{answer, snapshot_of};
use secateur::shards::{ShardError, ShardFacts};
use secateur::{Database, Error};
use secateur_serve::Fault;
use secateur_wire::{ShardAnswer, ShardAsk, ShardReply, SnapshotId};

use super::fault;
use super::state::Current;

/// How often a state is looked for that nobody replaces meanwhile.
const TRIES: usize = 3;

/// Answers as a shard: see [`Collection::shard`](secateur_serve::Collection::shard). `refresh` takes up the latest
/// state.
pub fn answered(
    current: &Current,
    refresh: &dyn Fn() -> Result<bool, Fault>,
    generation: Option<&str>,
    snapshot: Option<&SnapshotId>,
    ask: &ShardAsk,
) -> Result<ShardReply<ShardAnswer>, Fault> {
    let (database, facts) = state(current, refresh, generation, snapshot.is_some())?;
    let now = snapshot_of(&facts);
    if let Some(asked) = snapshot.filter(|asked| **asked != now) {
        return Err(Fault::moved(format!(
            "the database is at commit {} with checksum {}, and commit {} with checksum {} was asked about: begin anew with \
             /shard/info",
            now.commit, now.checksum, asked.commit, asked.checksum
        )));
    }
    let answer = answer(&database, &facts, ask).map_err(|error| fault::of(&error))?;
    Ok(ShardReply { snapshot: now, answer })
}

/// The database as it is read through a generation, and what it says of itself.
fn state(
    current: &Current,
    refresh: &dyn Fn() -> Result<bool, Fault>,
    generation: Option<&str>,
    was_there: bool,
) -> Result<(Arc<Database>, ShardFacts), Fault> {
    for _ in 0..TRIES {
        let state = current.state();
        let database = match generation {
            Some(name) if was_there && state.database.generations().iter().all(|one| one.name != name) => {
                return Err(Fault::moved(format!(
                    "generation {name:?} is gone: begin anew with /shard/info"
                )));
            }
            Some(name) => current.generation(&state, name)?,
            None => Arc::clone(&state.database),
        };
        let facts = match state.facts.get() {
            Some(facts) => facts.clone(),
            None => match ShardFacts::of(&state.database) {
                Ok(facts) => state.facts.get_or_init(|| facts).clone(),
                // Somebody has committed since.
                Err(Error::Shards(ShardError::Moved)) => {
                    refresh()?;
                    continue;
                }
                Err(error) => return Err(fault::of(&error)),
            },
        };
        let (num_vectors, generation) = (database.num_vectors() as u64, database.generation_name());
        let generation = generation.map(str::to_owned);
        return Ok((database, ShardFacts { num_vectors, generation, ..facts }));
    }
    Err(Fault::unavailable("the database changes all the time: try again later"))
}
