//! The embedding journal, the log that makes encoding resumable: any bytes, with the checksums of records made right
//! as far as the records go. Then the journal must take an append, and have the record after it is opened again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use secateur_index::storage::EmbeddingJournal;
use secateur_index_fuzz::{seal, with_database};

const DIM: usize = 3;
const HEADER: usize = 64;
const RECORD: usize = 48;

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.to_vec();
    seal(&mut bytes);
    let mut at = HEADER;
    while let Some(record) = bytes.get_mut(at..).filter(|rest| rest.len() >= RECORD) {
        let (header, rest) = record.split_at_mut(RECORD);
        let rows = u32::from_le_bytes([header[32], header[33], header[34], header[35]]) as usize;
        let Some(rows) = rows.checked_mul(4 * DIM).and_then(|len| rest.get(..len)) else { break };
        header[36..40].copy_from_slice(&crc32fast::hash(rows).to_le_bytes());
        let crc = crc32fast::hash(&header[..40]);
        header[40..44].copy_from_slice(&crc.to_le_bytes());
        at += RECORD + rows.len();
    }
    // Any folder will do.
    with_database(&[0], |database, _| {
        let path = database.path().with_file_name("journal");
        std::fs::write(&path, &bytes).expect("room for the file");
        let open = || EmbeddingJournal::open(&path, [7; 32], DIM);
        let Ok(mut journal) = open() else { return };
        let len = journal.len();
        let records: Vec<_> = (0..len).map(|number| journal.get(number).ok()).collect();
        journal.append([1; 32], &[1.0, 2.0, 3.0]).expect("room for a record");
        drop(journal);
        let again = open().expect("a journal that was just written");
        assert_eq!(again.len(), len + 1);
        for (number, record) in records.iter().enumerate() {
            let same = again.get(number).ok();
            assert_eq!(format!("{same:?}"), format!("{record:?}"));
        }
        assert_eq!(again.get(len).expect("the record").expect("the record"), ([1; 32], vec![1.0, 2.0, 3.0]));
    });
});
