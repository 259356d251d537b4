use super::*;

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_failed_write_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.txt");
    Durable::write(&path, |file| file.write_all(b"old")).unwrap();
    let error = Durable::write(&path, |file| {
        file.write_all(b"half of the new")?;
        Err(io::Error::from(io::ErrorKind::StorageFull))
    })
    .unwrap_err();
    assert_eq!(error.to_string(), format!("cannot write {}", path.display()));
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(names(folder.path()), ["run.txt"]);
}

#[test]
fn a_missing_folder_is_an_error_that_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("absent/run.txt");
    let error = Durable::write(&path, |file| file.write_all(b"x")).unwrap_err();
    let absent = folder.path().join("absent");
    let want = format!(
        "there is no folder {} for {}: make it first, or choose another output",
        absent.display(),
        path.display()
    );
    assert_eq!(error.to_string(), want);
}

#[test]
fn a_lone_writer_takes_the_place_of_a_killed_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.npy");
    std::fs::write(folder.path().join("m.npy.tmp"), "what a kill has left, longer than the new file")
        .unwrap();
    let mut file = Durable::create_alone(&path).unwrap();
    file.write_all(b"....rows").unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    file.write_all(b"head").unwrap();
    file.finish().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"headrows");
    assert_eq!(names(folder.path()), ["m.npy"]);
}

#[test]
fn a_folder_is_there_when_it_is_finished() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("deep/model");
    let folder = DurableFolder::create(&path).unwrap();
    folder.file("config.json").unwrap().write_all(b"{}").unwrap();
    drop(folder);
    assert_eq!(names(&parent.path().join("deep")), [""; 0]);

    let folder = DurableFolder::create(&path).unwrap();
    folder.file("1_Pooling/config.json").unwrap().write_all(b"{}").unwrap();
    folder.finish().unwrap();
    assert_eq!(names(&path), ["1_Pooling"]);
    let error = DurableFolder::create(&path).unwrap_err();
    assert_eq!(error.to_string(), format!("{} exists: choose another output, or remove it", path.display()));
}

/// Files and folders are as open to others as the umask says, temporary names notwithstanding.
#[cfg(unix)]
#[test]
fn modes_follow_the_umask() {
    use std::os::unix::fs::PermissionsExt;

    let parent = tempfile::tempdir().unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let [plain_file, plain_folder] = ["f", "d"].map(|name| parent.path().join(name));
    std::fs::write(&plain_file, "").unwrap();
    std::fs::create_dir(&plain_folder).unwrap();
    let path = parent.path().join("file");
    Durable::write(&path, |_| Ok(())).unwrap();
    assert_eq!(mode(&path), mode(&plain_file));
    let path = parent.path().join("folder");
    DurableFolder::create(&path).unwrap().finish().unwrap();
    assert_eq!(mode(&path), mode(&plain_folder));
}

/// As root a rename would replace `/dev/null` by a file, for every program of the machine.
#[cfg(unix)]
#[test]
fn a_pipe_is_written_where_it_is() {
    use std::os::unix::fs::FileTypeExt;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let reader = std::thread::spawn({
        let path = path.clone();
        move || std::fs::read_to_string(path).unwrap()
    });
    Durable::write(&path, |file| file.write_all(b"a run")).unwrap();
    assert_eq!(reader.join().unwrap(), "a run");
    assert!(std::fs::metadata(&path).unwrap().file_type().is_fifo());
    assert_eq!(names(folder.path()), ["pipe"]);
}

/// What the link leads to is replaced, whether it is there yet or not.
#[cfg(unix)]
#[test]
fn a_symbolic_link_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    let (link, second) = (folder.path().join("link.txt"), folder.path().join("second.txt"));
    std::fs::create_dir(folder.path().join("far")).unwrap();
    std::os::unix::fs::symlink("far/target.txt", &link).unwrap();
    std::os::unix::fs::symlink("link.txt", &second).unwrap();
    for (path, text) in [(&link, "new"), (&second, "newer")] {
        Durable::write(path, |file| file.write_all(text.as_bytes())).unwrap();
        assert!(path.is_symlink());
        assert_eq!(std::fs::read_to_string(folder.path().join("far/target.txt")).unwrap(), text);
    }
    assert_eq!(names(&folder.path().join("far")), ["target.txt"]);
    let circle = folder.path().join("circle");
    std::os::unix::fs::symlink("circle", &circle).unwrap();
    let error = Durable::write(&circle, |file| file.write_all(b"x")).unwrap_err();
    assert!(error.to_string().contains("circle"), "{error}");
}

/// As `/dev/stdout` does, where a shell has opened a file for it.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_is_open_is_written_where_it_is() {
    use std::os::fd::AsRawFd;

    let folder = tempfile::tempdir().unwrap();
    let open = std::fs::File::create(folder.path().join("out.txt")).unwrap();
    let link = folder.path().join("stdout");
    std::os::unix::fs::symlink(format!("/proc/self/fd/{}", open.as_raw_fd()), &link).unwrap();
    Durable::write(&link, |file| file.write_all(b"words")).unwrap();
    assert!(link.is_symlink());
    assert_eq!(open.metadata().unwrap().len(), 5);
    assert_eq!(names(folder.path()), ["out.txt", "stdout"]);
}
