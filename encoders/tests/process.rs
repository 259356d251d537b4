use std::process::Command;

/// Set in the process that [`alone`] starts.
const IS_ALONE: &str = "SECATEUR_TEST_IS_ALONE";

/// Runs `body` in a process that runs nothing else: the peak of memory that the kernel tells is the process's.
/// `test` is the path of the calling test in this binary.
pub fn alone(test: &str, body: impl FnOnce()) {
    if std::env::var_os(IS_ALONE).is_some() {
        return body();
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--include-ignored", "--nocapture"])
        .env(IS_ALONE, "1")
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

/// KiB by the kernel's name.
pub fn status(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}
