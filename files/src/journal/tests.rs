use std::fs;

use super::*;

const KEY: [u8; 32] = [3; 32];

#[test]
fn the_layout_is_that_of_format_md() {
    let header = secateur_testkit::byte_ranges!(JournalHeader: width, key);
    assert_eq!(secateur_testkit::format::documented("The embedding journal", 0)[..], header);
    let head = secateur_testkit::byte_ranges!(RecordHead: hash, items, items_crc, crc, zeros);
    assert_eq!(secateur_testkit::format::documented("The embedding journal", 1)[..], head);
}

/// The bytes of a journal of vectors, as every version has written them.
#[test]
fn the_bytes_are_those_of_format_md() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut journal = Journal::open(&path, KEY, 2).unwrap();
    let rows: Vec<u8> = [0.5f32, 0.25, 1.0, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    journal.append([1; 32], &rows).unwrap();

    let mut expected = b"SCTRJRNL\x01\0\0\0\x02\0\0\0".to_vec();
    expected.extend(KEY);
    expected.extend([0; 12]);
    expected.extend(crc32fast::hash(&expected).to_le_bytes());
    let mut head = [1; 32].to_vec();
    head.extend(2u32.to_le_bytes());
    head.extend(crc32fast::hash(&rows).to_le_bytes());
    head.extend(crc32fast::hash(&head).to_le_bytes());
    head.extend([0; 4]);
    expected.extend(head);
    expected.extend(rows);
    assert_eq!(fs::read(&path).unwrap(), expected);
}

#[test]
fn a_record_is_a_whole_number_of_items() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(&folder.path().join("journal"), KEY, 2).unwrap();
    let error = journal.append([0; 32], &[0; 12]).unwrap_err();
    assert!(matches!(error, JournalError::Length { expected: 8, got: 12 }), "{error}");
    assert!(journal.is_empty());
}

#[test]
fn other_files_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("precious");
    fs::write(&path, "a text that is longer than the header of a journal, which has sixty-four bytes")
        .unwrap();
    let error = Journal::open(&path, KEY, 0).unwrap_err();
    assert!(error.to_string().contains("does not begin with the mark of a journal"), "{error}");
    assert!(fs::read_to_string(&path).unwrap().starts_with("a text"));
}

#[test]
fn a_journal_has_one_writer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let first = Journal::open(&path, KEY, 0).unwrap();
    assert!(matches!(Journal::open(&path, KEY, 0), Err(JournalError::Locked { .. })));
    drop(first);
    Journal::open(&path, KEY, 0).unwrap();
}

/// Who opened the file before it was removed writes to a new one, and who has it open keeps it.
#[test]
fn only_its_holder_removes_a_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let mut first = Journal::open(&path, KEY, 0).unwrap();
    first.append([1; 32], b"one").unwrap();
    Journal::remove_unused(&path);
    assert!(path.exists(), "somebody has it open");
    first.remove();
    assert!(!path.exists());

    // A file that goes while it is open, and another one in its place.
    let gone = Journal::open(&path, KEY, 0).unwrap();
    fs::remove_file(&path).unwrap();
    let mut second = Journal::open(&path, KEY, 0).unwrap();
    second.append([2; 32], b"two").unwrap();
    drop(gone);
    drop(second);
    let third = Journal::open(&path, KEY, 0).unwrap();
    assert_eq!(third.get(0).unwrap().unwrap().bytes, b"two");
    drop(third);
    Journal::remove_unused(&path);
    Journal::remove_unused(&path);
    assert!(!path.exists());
}

#[test]
fn a_journal_without_a_record_leaves_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    drop(Journal::open(&path, KEY, 0).unwrap());
    assert!(!path.exists());
    let mut journal = Journal::open(&path, KEY, 0).unwrap();
    journal.append([1; 32], b"one").unwrap();
    drop(journal);
    // Refused, so that it is not ours to remove.
    let error = Journal::open(&path, [4; 32], 0).unwrap_err();
    assert!(matches!(error, JournalError::OtherWork { .. }), "{error}");
    assert_eq!(Journal::open(&path, KEY, 0).unwrap().len(), 1);
}

/// Many open, write and remove one journal at a time; nobody finds another one's record, and nobody fails.
#[test]
fn journals_of_one_name_are_never_mixed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("journal");
    let work = |own: u8| {
        for _ in 0..50 {
            let mut journal = loop {
                match Journal::open(&path, KEY, 0) {
                    Err(JournalError::Locked { .. }) => std::thread::yield_now(),
                    opened => break opened.unwrap(),
                }
            };
            assert!(journal.is_empty());
            journal.append([own; 32], &[own]).unwrap();
            assert!(path.exists());
            journal.remove();
        }
    };
    std::thread::scope(|scope| (0..4).for_each(|own| drop(scope.spawn(move || work(own)))));
    assert!(!path.exists());
}

/// A record that was appended is never lost, a failed one never there, and work goes on from either.
#[cfg(unix)]
#[test]
fn every_failure_leaves_whole_records() {
    let scratch = tempfile::tempdir().unwrap();
    let open = |folder: &Path| Journal::open(&folder.join("journal"), KEY, 0);
    let prepare = |folder: &Path| {
        fs::create_dir(folder).unwrap();
        open(folder).unwrap().append([0; 32], b"zero").unwrap();
    };
    let append = |folder: &Path| {
        let Ok(mut journal) = open(folder) else { return (false, false) };
        let first = journal.append([1; 32], b"one").is_ok();
        (first, first && journal.append([2; 32], b"two").is_ok())
    };
    crate::faults::at_every_operation(scratch.path(), prepare, append, |folder, (first, second), what| {
        let mut journal = open(folder).unwrap();
        let len = journal.len();
        assert!(len > usize::from(first) + usize::from(second), "{what}: {len} records");
        for (number, bytes) in [&b"zero"[..], b"one", b"two"].into_iter().enumerate().take(len) {
            let record = Record { hash: [number as u8; 32], bytes: bytes.to_vec() };
            assert_eq!(journal.get(number).unwrap(), Some(record), "{what}");
        }
        journal.append([9; 32], b"more").unwrap();
    });
}
