//! The files of a segment but for the graph and tantivy's, which are read only if their checksum is right. The first
//! byte chooses the database, the second the file. The other bytes are the file, cut or filled up to the length that
//! the file has.
#![no_main]

use libfuzzer_sys::fuzz_target;
use secateur_index_fuzz::{seal, with_database};

const FILES: [&str; 6] = [
    "segments/0000000001/documents",
    "segments/0000000001/vectors",
    "segments/0000000001/lengths",
    "segments/0000000002/documents",
    "segments/0000000002/codes",
    "segments/0000000002/lengths",
];

fuzz_target!(|data: &[u8]| {
    with_database(data, |database, data| {
        let Some((choice, data)) = data.split_first() else { return };
        let file = FILES[usize::from(*choice) % FILES.len()];
        let mut bytes = data.to_vec();
        bytes.resize(database.len_of(file), 0);
        seal(&mut bytes);
        database.probe(file, &bytes);
    });
});
