//! The graph file, cut or filled up to the length that it has.
#![no_main]

use libfuzzer_sys::fuzz_target;
use secateur_index_fuzz::{DATABASE, seal};

const FILE: &str = "segments/0000000001/graph";

fuzz_target!(|data: &[u8]| {
    DATABASE.with(|database| {
        let mut bytes = data.to_vec();
        bytes.resize(database.len_of(FILE), 0);
        seal(&mut bytes);
        database.probe(FILE, &bytes);
    });
});
