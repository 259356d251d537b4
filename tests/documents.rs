//! The sessions of README.md and docs/GUIDE.md, run as a reader would run them, without a network.
//!
//! A fence of `console` has commands after `$ ` and below each what it prints. Times are left out of the comparison,
//! and a line `...` stands for any lines. A command without output below it only has to end with 0. A fence whose
//! info string has a second word is a file of that name, such as `toml recipe.toml`.

use std::iter::Peekable;
use std::process::{Command, Stdio};
use std::str::Lines;

use crate::support::{Outcome, Sandbox, copy_folder, workspace_root};

#[test]
fn readme() {
    run("README.md");
}

#[test]
fn guide() {
    run("docs/GUIDE.md");
}

/// What a document has between two lines of three backquotes.
struct Fence {
    language: String,
    /// The second word of the info string, if there is one.
    file: Option<String>,
    body: String,
}

fn fences(document: &str) -> Vec<Fence> {
    let mut lines = document.lines();
    let mut fences = Vec::new();
    while let Some(info) = lines.by_ref().find_map(|line| line.strip_prefix("```")) {
        let mut words = info.split_whitespace().map(str::to_owned);
        let body = lines.by_ref().take_while(|line| *line != "```").flat_map(|line| [line, "\n"]).collect();
        fences.push(Fence { language: words.next().unwrap_or_default(), file: words.next(), body });
    }
    fences
}

/// The next command of a session and the lines below it.
fn next_command<'a>(session: &mut Peekable<Lines<'a>>) -> Option<(&'a str, Vec<&'a str>)> {
    let command = session.next()?;
    let command = command.strip_prefix("$ ").unwrap_or_else(|| panic!("{command:?} is no command"));
    let mut below = Vec::new();
    while let Some(line) = session.next_if(|line| !line.starts_with("$ ")) {
        below.push(line);
    }
    while below.last().is_some_and(|line| line.is_empty()) {
        below.pop();
    }
    Some((command, below))
}

fn run(name: &str) {
    let root = workspace_root();
    let sandbox = Sandbox::new();
    for folder in ["datasets/mini", "encoders/default", "encoders/recipes"] {
        copy_folder(&root.join(folder), &sandbox.path(folder));
    }
    let mut commands = 0;
    for fence in fences(&std::fs::read_to_string(root.join(name)).unwrap()) {
        if let Some(file) = &fence.file {
            let path = sandbox.path(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, &fence.body).unwrap();
        }
        if fence.language != "console" {
            continue;
        }
        let mut session = fence.body.lines().peekable();
        while let Some((command, expected)) = next_command(&mut session) {
            let outcome = shell(&sandbox, command);
            assert!(outcome.status.success(), "{name}: {command}\n{outcome:?}");
            let printed: Vec<String> = outcome.stdout.lines().map(without_times).collect();
            let expected: Vec<String> = expected.into_iter().map(without_times).collect();
            assert!(
                expected.is_empty() || agree(&expected, &printed),
                "{name}: {command}\nthe document has\n{}\nit prints\n{}",
                expected.join("\n"),
                printed.join("\n")
            );
            commands += 1;
        }
    }
    assert!(commands > 0, "{name} has a session");
}

/// Runs a line of a session where `secateur` is the executable under test.
fn shell(sandbox: &Sandbox, command: &str) -> Outcome {
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_secateur")).parent().unwrap();
    let path = format!("{}:/usr/bin:/bin", folder.display());
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(sandbox.path("")).env_clear().env("PATH", path);
    Outcome::of(shell.env("TMPDIR", sandbox.path("tmp")).stdin(Stdio::null()))
}

/// A line with `#` for each number before `s` or `ms`, and without spaces at its end.
fn without_times(line: &str) -> String {
    let words: Vec<&str> = line.trim_end().split(' ').collect();
    let mut out = String::new();
    for (at, word) in words.iter().enumerate() {
        let unit = words.get(at + 1).map(|next| next.trim_end_matches([',', '.', ')', ';', ':']));
        let number = word.trim_start_matches('(');
        let is_time = matches!(unit, Some("s" | "ms")) && number.parse::<f64>().is_ok();
        let shown = if is_time { word.replace(number, "#") } else { (*word).to_owned() };
        out += if at == 0 { "" } else { " " };
        out += &shown;
    }
    out
}

/// Whether the lines are those of the document, where `...` stands for any lines.
fn agree(document: &[String], printed: &[String]) -> bool {
    match document.split_first() {
        None => printed.is_empty(),
        Some((line, rest)) if line == "..." => (0..=printed.len()).any(|skip| agree(rest, &printed[skip..])),
        Some((line, rest)) => printed.first() == Some(line) && agree(rest, &printed[1..]),
    }
}

#[test]
fn sessions_are_compared_line_by_line() {
    let lines = |text: &str| text.lines().map(without_times).collect::<Vec<_>>();
    assert_eq!(without_times("done in 1.4 s (2.74 ms each, k 10)"), "done in # s (# ms each, k 10)");
    assert!(agree(&lines("a\n...\nd"), &lines("a\nb\nc\nd")));
    assert!(agree(&lines("a in 1 s"), &lines("a in 2.5 s")));
    assert!(!agree(&lines("a"), &lines("a\nb")));
    assert!(!agree(&lines("a\n...\nd"), &lines("a\nb")));
}
