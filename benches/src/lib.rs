//! Programs that time secateur: `src/bin/`, each asserts its answer; `peers/` runs others beside them.
