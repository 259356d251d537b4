//! Disks that are full or read-only. A small file system in memory stands in for them, where one may be mounted.
#![cfg(target_os = "linux")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use secateur::{Database, Document};
use secateur_testkit::skip;

use crate::support::{Sandbox, dataset, mini, model, tree};

/// A mounted file system of two megabytes, unmounted at the end.
struct Disk(PathBuf);

impl Disk {
    fn mount(test: &str, sandbox: &Sandbox) -> Option<Disk> {
        let folder = sandbox.path("disk");
        fs::create_dir(&folder).unwrap();
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"]).arg(&folder).output();
        match mounted {
            Ok(output) if output.status.success() => Some(Disk(folder)),
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr);
                skip(test, &format!("a small file system cannot be mounted here: {}", why.trim()));
                None
            }
            Err(error) => {
                skip(test, &format!("mount did not start: {error}"));
                None
            }
        }
    }

    fn remount(&self, option: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,{option}")]).arg(&self.0).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let status = Command::new("umount").arg("-l").arg(&self.0).status();
        if !std::thread::panicking() {
            assert!(status.unwrap().success());
        }
    }
}

fn text(number: usize) -> Document {
    let text = (0..400).map(|i| format!("word{} ", number * 1000 + i)).collect();
    Document { id: number.to_string(), title: String::new(), text, metadata: None }
}

#[test]
fn a_full_disk_loses_nothing_that_was_stored() {
    let sandbox = Sandbox::new();
    let Some(disk) = Disk::mount("a_full_disk_loses_nothing_that_was_stored", &sandbox) else { return };
    dataset::generated(&sandbox.path("many"), 50_000);
    model::tiny(&sandbox.path("model"));
    let mini = mini().into_os_string().into_string().unwrap();
    sandbox.run(["index", &mini, "--out", "disk/db", "--encoder", "model"]).ok();
    let before = tree(&disk.0);
    let untouched = |what: &str| {
        let mut now = tree(&disk.0);
        // Vectors that were encoded are kept, as far as they fit, for the next run.
        now.retain(|path, _| !path.to_string_lossy().ends_with(".journal"));
        assert!(now.keys().eq(before.keys()), "{what}: {:?}", now.keys());
        assert!(now == before, "{what}: a file has changed");
        sandbox.run(["verify", "disk/db"]).ok();
    };
    let full = "No space left on device";

    sandbox.run(["index", "many", "--encoder", "none", "--out", "disk/new"]).fails(1, ["disk/new", full]);
    untouched("index by words");
    sandbox.run(["index", "many", "--out", "disk/new", "--encoder", "model"]).fails(1, ["disk/new", full]);
    untouched("index with vectors");
    // The journal has filled the disk.
    sandbox.run(["search", "disk/db", "how bees dance"]).ok();
    sandbox
        .run(["encode", "many", "--out", "disk/out.npy", "--encoder", "model"])
        .fails(1, ["disk/out.npy", full]);
    fs::remove_file(disk.0.join("new.journal")).unwrap();
    let _ = fs::remove_file(disk.0.join("out.npy.journal"));
    let _ = fs::remove_file(disk.0.join("out.npy.ids"));
    untouched("encode");

    fs::write(disk.0.join("filler"), vec![0; 3 << 20]).unwrap_err();
    sandbox.run(["eval", "disk/db", &mini, "--run", "disk/out.run"]).fails(1, ["disk/out.run", full]);
    fs::remove_file(disk.0.join("filler")).unwrap();
    untouched("eval --run");
}

#[test]
fn a_commit_that_does_not_fit_changes_nothing() {
    let sandbox = Sandbox::new();
    let Some(disk) = Disk::mount("a_commit_that_does_not_fit_changes_nothing", &sandbox) else { return };
    let path = disk.0.join("db");
    let mut database = Database::builder(&path).create().unwrap();
    database.add(&[text(0)]).unwrap();
    database.commit().unwrap();
    let before = tree(&path);

    // Each document is some 4 kB, so that hundreds do not fit, whether adding or committing finds out.
    let documents: Vec<Document> = (1..1000).map(text).collect();
    let error = database.add(&documents).and_then(|()| database.commit()).unwrap_err();
    assert!(error.to_string().contains("disk/db"), "{error}");
    // What is left of the transaction goes with the value.
    drop(database);

    let mut database = Database::open(&path).unwrap();
    assert_eq!(database.len(), 1);
    database.verify().unwrap();
    assert_eq!(database.document("0").unwrap(), Some(text(0)));
    assert_eq!(database.document("1").unwrap(), None);
    let after = tree(&path);
    assert!(after.keys().eq(before.keys()), "{:?}", after.keys());
    // There is room for a smaller one.
    database.add(&documents[..1]).unwrap();
    database.commit().unwrap();
    assert_eq!(database.len(), 2);
    database.verify().unwrap();
}

#[test]
fn a_database_on_a_read_only_disk_answers() {
    let sandbox = Sandbox::new();
    let Some(disk) = Disk::mount("a_database_on_a_read_only_disk_answers", &sandbox) else { return };
    model::tiny(&sandbox.path("model"));
    let mini = mini().into_os_string().into_string().unwrap();
    sandbox.run(["index", &mini, "--out", "disk/db", "--encoder", "model"]).ok();
    disk.remount("ro");
    sandbox.run(["verify", "disk/db"]).ok();
    sandbox.run(["eval", "disk/db", &mini]).ok();
    for mode in ["dense", "bm25", "hybrid"] {
        sandbox.run(["search", "disk/db", "how bees dance", "--mode", mode]).ok();
    }
    sandbox
        .run(["index", &mini, "--encoder", "none", "--out", "disk/new"])
        .fails(1, ["disk/new", "Read-only file system"]);
    sandbox
        .run(["encode", &mini, "--out", "disk/out.npy", "--encoder", "model"])
        .fails(1, ["disk/out.npy", "Read-only file system"]);
    let mut database = Database::open(disk.0.join("db")).unwrap();
    let error = database.delete("garden-01").unwrap_err();
    assert!(error.to_string().contains("disk/db"), "{error}");
}

#[test]
fn training_data_appears_whole_or_not_at_all() {
    let sandbox = Sandbox::new();
    let Some(disk) = Disk::mount("training_data_appears_whole_or_not_at_all", &sandbox) else { return };
    model::tiny(&sandbox.path("model"));
    dataset::generated(&sandbox.path("set"), 200);
    sandbox.run(["index", "set", "--encoder", "none", "--out", "disk/db"]).ok();
    let line = |i| format!("{{\"query\":\"rose bee {i}\",\"pos\":[\"{}\"]}}\n", "winter ".repeat(200));
    dataset::write(&sandbox.path("."), "in.jsonl", (0..2000).map(line).collect::<String>());
    let teach = ["teach", "in.jsonl", "--model", "model", "--max-length", "8", "--out", "disk/t.jsonl"];
    let mine = ["mine", "in.jsonl", "--db", "disk/db", "--depth", "1-20", "--out", "disk/t.jsonl"];
    // The scores fit, the examples do not; what was scored is kept for the next run.
    for command in [&teach[..], &mine[..]] {
        sandbox.run(command).fails(1, ["cannot write disk/t.jsonl", "No space left on device"]);
        let left: Vec<PathBuf> = tree(&disk.0).into_keys().filter(|path| !path.starts_with("db")).collect();
        assert_eq!(left, [PathBuf::from("t.jsonl.journal")], "{command:?}");
        // Another command would refuse to throw it away.
        fs::remove_file(disk.0.join("t.jsonl.journal")).unwrap();
    }
    disk.remount("ro");
    for command in [&teach[..], &mine[..]] {
        sandbox.run(command).fails(1, ["disk/t.jsonl", "Read-only file system"]);
    }
    // A database that cannot be written can be mined from.
    let elsewhere = [&mine[..mine.len() - 1], &["t.jsonl"]].concat();
    sandbox.run(elsewhere).ok();
}

#[test]
fn a_folder_without_permission_is_named() {
    use std::os::unix::fs::PermissionsExt;

    let sandbox = Sandbox::new();
    dataset::small(&sandbox.path("set"));
    let folder = sandbox.path("closed");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(folder.join("probe"), "").is_ok() {
        skip("a_folder_without_permission_is_named", "this user may write everywhere");
        return;
    }
    sandbox
        .run(["index", "set", "--encoder", "none", "--out", "closed/db"])
        .fails(1, ["closed/db", "ermission denied"]);
}
