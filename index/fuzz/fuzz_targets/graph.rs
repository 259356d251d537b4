//! The graph file, cut or filled up to the length that it has; the first byte chooses the database.
#![no_main]

use libfuzzer_sys::fuzz_target;
use secateur_index_fuzz::{seal, with_database};

const FILE: &str = "segments/0000000001/graph";

fuzz_target!(|data: &[u8]| {
    with_database(data, |database, data| {
        let mut bytes = data.to_vec();
        bytes.resize(database.len_of(FILE), 0);
        seal(&mut bytes);
        database.probe(FILE, &bytes);
    });
});
