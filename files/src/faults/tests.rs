use std::io::Write;

use super::*;
use crate::disk::{DiskFile, rename, sync_folder};
use crate::{Durable, DurableFolder};

/// The model itself: what is not synced is gone, names and bytes.
#[test]
fn what_is_not_synced_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("old"), "old").unwrap();
    let faults = Faults::begin(&root, Failure::Power, usize::MAX);
    let write = |name: &str, is_synced: bool| {
        let mut file = DiskFile::create(&root.join(name)).unwrap();
        file.write_all(b"new").unwrap();
        if is_synced {
            file.sync().unwrap();
        }
    };
    write("synced", true);
    write("unsynced", false);
    sync_folder(&root).unwrap();
    write("unnamed", true);
    write("sibling", true);
    rename(&root.join("sibling"), &root.join("old")).unwrap();
    let aftermath = faults.end();
    let restored = folder.path().join("restored");
    aftermath.restore(&root, &restored);
    let mut found: Vec<(String, String)> = list(&restored)
        .iter()
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    found.sort();
    let expected = [("old", "old"), ("synced", "new"), ("unsynced", "")];
    assert_eq!(found, expected.map(|(name, text)| (name.to_owned(), text.to_owned())));
}

fn prepare(folder: &Path) {
    fs::create_dir(folder).unwrap();
    fs::write(folder.join("file"), "old").unwrap();
}

/// After every failure the file is the old one or the new one, and the new one if that was acknowledged.
#[test]
fn a_durable_file_is_old_or_new() {
    let scratch = tempfile::tempdir().unwrap();
    let write = |folder: &Path| Durable::write(&folder.join("file"), |out| out.write_all(b"the new"));
    at_every_operation(scratch.path(), prepare, write, |folder, result, what| {
        let found = fs::read_to_string(folder.join("file")).unwrap();
        assert!(found == "the new" || (found == "old" && result.is_err()), "{what}: {found}");
        // After a failure that the program survives, only files that it could not remove are left.
        assert!(list(folder).len() <= 2, "{what}");
    });
}

/// After every failure the folder is whole or not there.
#[test]
fn a_durable_folder_is_whole_or_absent() {
    let scratch = tempfile::tempdir().unwrap();
    let write = |folder: &Path| {
        let model = DurableFolder::create(&folder.join("models/a"))?;
        for name in ["config.json", "1_Pooling/config.json"] {
            let mut file = model.file(name)?;
            file.write_all(b"{}").map_err(|source| crate::PathError::new("write", name, source))?;
        }
        model.finish()
    };
    at_every_operation(scratch.path(), prepare, write, |folder, result, what| {
        let model = folder.join("models/a");
        assert!(result.is_err() || model.exists(), "{what}");
        if model.exists() {
            for name in ["config.json", "1_Pooling/config.json"] {
                assert_eq!(fs::read_to_string(model.join(name)).unwrap(), "{}", "{what}: {name}");
            }
        }
    });
}
