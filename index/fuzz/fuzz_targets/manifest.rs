//! The manifest of the database that the first byte chooses: any body behind a header whose length and checksums are
//! right.
#![no_main]

use libfuzzer_sys::fuzz_target;
use secateur_index_fuzz::{seal, with_database};

fuzz_target!(|data: &[u8]| {
    with_database(data, |database, body| {
        let mut bytes = b"SCTRMANI".to_vec();
        bytes.push(database.version);
        bytes.resize(64, 0);
        bytes[16..24].copy_from_slice(&(body.len() as u64).to_le_bytes());
        bytes[24..28].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
        seal(&mut bytes);
        bytes.extend_from_slice(body);
        database.probe("MANIFEST", &bytes);
    });
});
