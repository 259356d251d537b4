//! The manifest: any body behind a header whose length and checksums are right.
#![no_main]

use libfuzzer_sys::fuzz_target;
use secateur_index_fuzz::{DATABASE, seal};

fuzz_target!(|body: &[u8]| {
    let mut bytes = b"SCTRMANI\x03\0\0\0".to_vec();
    bytes.resize(64, 0);
    bytes[16..24].copy_from_slice(&(body.len() as u64).to_le_bytes());
    bytes[24..28].copy_from_slice(&crc32fast::hash(body).to_le_bytes());
    seal(&mut bytes);
    bytes.extend_from_slice(body);
    DATABASE.with(|database| database.probe("MANIFEST", &bytes));
});
