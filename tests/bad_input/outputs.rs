//! Readers that go away and outputs that take nothing.
#![cfg(target_os = "linux")]

use std::fs::OpenOptions;
use std::io::Read;
use std::process::Stdio;

use crate::support::dataset::{line, small, write};
use crate::support::{Outcome, Sandbox, mini, model, tree};

/// Commands whose output is longer than a pipe holds (64 KiB on Linux) or comes in several pieces.
fn commands() -> (Sandbox, Vec<Vec<String>>) {
    let sandbox = Sandbox::new();
    let folder = small(&sandbox.path("set"));
    write(&folder, "corpus.jsonl", line("d1", "", &"rose ".repeat(100_000)) + &line("d3", "", "bees"));
    // Ten thousand warnings.
    let titles: String = (0..10_000).map(|i| line(&format!("t{i}"), "title", "")).collect();
    write(&sandbox.path("titles"), "corpus.jsonl", titles);
    write(&sandbox.path("titles"), "queries.jsonl", "{\"_id\": \"q\", \"text\": \"title\"}\n");
    sandbox.run(["index", "set", "--encoder", "none", "--out", "db"]).ok();
    let mini = mini().into_os_string().into_string().unwrap();
    let commands = [
        "search db rose --json",
        "dataset verify titles",
        "dataset info set",
        "dataset download --list",
        "eval db set --per-query",
        "verify db",
        "demo",
        "--help",
    ];
    let mut commands: Vec<Vec<String>> =
        commands.iter().map(|command| command.split(' ').map(str::to_owned).collect()).collect();
    commands.push(vec!["dataset".to_owned(), "info".to_owned(), mini]);
    (sandbox, commands)
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let (sandbox, commands) = commands();
    for command in commands {
        for read in [0, 20] {
            let mut child = sandbox.start(&command);
            let mut output = child.stdout.take().unwrap();
            output.read_exact(&mut vec![0; read]).unwrap();
            drop(output);
            assert_eq!(Outcome::wait(child).ok(), "", "{command:?}");
        }
    }
}

#[test]
fn an_output_that_takes_nothing_is_a_failure() {
    let (sandbox, commands) = commands();
    for arguments in commands.iter().filter(|arguments| arguments[0] != "--help") {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let child = sandbox.command(arguments).stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        Outcome::wait(child).fails(1, ["cannot write to standard output", "No space left on device"]);
    }
}

/// Whichever command is to make it: an output that exists, or whose folder does not, has one code and one text.
#[test]
fn outputs_that_cannot_be_made() {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    let mini = mini().into_os_string().into_string().unwrap();
    sandbox.run(["index", &mini, "--encoder", "none", "--out", "db"]).ok();
    let run = |command: &str| {
        let command = command.replace("MINI", &mini);
        sandbox.run(command.split(' '))
    };
    std::fs::create_dir(sandbox.path("there")).unwrap();
    let exists = ["there exists: choose another output, or remove it"];
    run("index MINI --encoder none --out there").fails(2, exists);
    run("shards plan MINI --encoder none --shards 2 --out there").fails(2, exists);
    run("prune drop tiny --layers mlp:0 --out there").fails(2, exists);
    run("prune slim tiny --sparsity 0.5 --calibration MINI --out there").fails(2, exists);
    run("model create tiny/config.json --out there").fails(2, exists);
    run("model quantize tiny --out there").fails(2, exists);
    run("dataset convert MINI --out there").fails(2, exists);
    // A command that writes one file replaces a file, but no folder.
    run("encode MINI --encoder tiny --out there").fails(2, exists);
    run("export db --out there").fails(2, exists);
    run("search db --queries MINI/queries.jsonl --run there").fails(2, exists);
    run("prune score tiny --calibration MINI --out there").fails(2, exists);
    run("dataset triples MINI --split test --allow-evaluation-split --out there").fails(2, exists);
    std::fs::write(sandbox.path("texts.txt"), "Bees dance. Bread rises.\n").unwrap();
    let own = ["texts.txt is read, so it cannot be written: choose another output"];
    run("dataset cloze texts.txt --out ./texts.txt").fails(2, own);
    run("eval db MINI --run there").fails(2, exists);
    assert!(!sandbox.path("there.ids").exists());
    let no_folder = ["there is no folder gone for gone/out", "make it first, or choose another output"];
    run("index MINI --encoder none --out gone/out").fails(2, no_folder);
    run("shards plan MINI --encoder none --shards 2 --out gone/out").fails(2, no_folder);
    run("prune score tiny --calibration MINI --out gone/out").fails(2, no_folder);
    run("encode MINI --encoder tiny --out gone/out").fails(2, no_folder);
    run("export db --out gone/out").fails(2, no_folder);
    run("search db --queries MINI/queries.jsonl --run gone/out").fails(2, no_folder);
    assert!(!sandbox.path("gone").exists());
}

/// A value that an option cannot have is the command line's fault, whichever layer finds it.
#[test]
fn values_of_options_that_cannot_be() {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    let mini = mini().into_os_string().into_string().unwrap();
    let pair = |query: &str| format!("{{\"query\": \"{query}\", \"pos\": [\"x\"], \"neg\": [\"y\"]}}\n");
    std::fs::write(sandbox.path("pairs.jsonl"), pair("a") + &pair("b")).unwrap();
    for (command, problem) in [
        ("train tiny --data pairs.jsonl --out run --full --steps 0", "at least 1"),
        ("prune slim tiny --calibration MINI --out small --sparsity 2", "a sparsity of 2"),
        ("prune slim tiny --calibration MINI --out small --sparsity 0.5 --floor 2", "a floor of 2"),
        ("index MINI --encoder tiny --out db --truncate-dim 0", "dimension that was asked for is 0"),
        ("index MINI --encoder tiny --out db --max-length 0", "maximum length that was asked for is 0"),
        ("index MINI --encoder tiny --out db --passages 9999,0", "passages of 9999 tokens"),
        ("model create tiny/config.json --out new --max-length 0", "max_length is 0"),
        ("prune score tiny --calibration MINI --out s.json --block-length 99999", "block length that was"),
    ] {
        let command = command.replace("MINI", &mini);
        sandbox.run(command.split(' ')).fails(2, [problem]);
    }
    assert_eq!(sandbox.names(), ["pairs.jsonl", "tiny"]);
}

/// The message says what the user can do, in the words of the file or of the command line.
#[test]
fn messages_name_what_is_to_be_mended() {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("tiny"));
    std::fs::write(sandbox.path("recipe.toml"), "model = \"tiny\"\n[drop]\nattentions = 1\n").unwrap();
    let drop = ["prune", "drop", "tiny", "--scores", "recipe.toml", "--mlp", "1", "--out", "new"];
    sandbox.run(drop).fails(3, ["recipe.toml holds no scores", "give a file that `secateur prune` wrote"]);
    let said =
        sandbox.run(["effir", "recipe.toml", "--out", "new"]).fails(2, ["[drop] has no key attentions"]);
    assert!(!said.contains("--attentions"), "{said}");
    std::fs::write(sandbox.path("recipe.toml"), "model = \"tiny\"\n[train]\nbatch-size = 0\n").unwrap();
    let said =
        sandbox.run(["effir", "recipe.toml", "--out", "new"]).fails(2, ["a whole number of at least 1"]);
    assert!(!said.contains("usize"), "{said}");
    let said = sandbox.run(["search", "db", "roses", "--ef", "0"]).fails(2, ["a whole number of at least 1"]);
    assert!(!said.contains("non-zero type"), "{said}");

    let corpus = "{\"id\": \"a\", \"text\": \"honey\", \"year\": 2}\n";
    std::fs::write(sandbox.path("notes.jsonl"), corpus).unwrap();
    sandbox.run(["index", "notes.jsonl", "--encoder", "none", "--out", "db"]).ok();
    for filter in ["year contains \"2\"", "year starts with \"2\""] {
        let said = sandbox.run(["search", "db", "honey", "--filter", filter]).fails(2, ["are for strings"]);
        assert!(!said.contains("without quotes"), "{said}");
    }
    std::fs::write(sandbox.path("notes.jsonl"), corpus.repeat(2)).unwrap();
    let index = |file: &str| sandbox.run(["index", file, "--encoder", "none", "--out", "new"]);
    index("notes.jsonl").fails(3, ["notes.jsonl:2: duplicate id \"a\", first used on line 1"]);
    // The quote is opened on the third line, in the second line of a row.
    std::fs::write(sandbox.path("open.csv"), "id,title,text\n1,\"a\nb\",\"c\n2,d,e\n3,f,g\n").unwrap();
    index("open.csv").fails(3, ["open.csv:3: a quoted field is not closed"]);
    std::fs::write(sandbox.path("few.csv"), "id,title,text,year\n1,a,b\n").unwrap();
    index("few.csv").fails(3, ["few.csv:2: expected 4 fields, as in the header, found 3"]);
}

/// A data set that is read keeps its records, whatever else may be written into its folder.
#[test]
fn records_that_are_read_are_not_written_over() {
    let sandbox = Sandbox::new();
    let folder = small(&sandbox.path("set"));
    sandbox.run(["index", "set", "--encoder", "none", "--out", "db"]).ok();
    let before = tree(&folder);
    for command in [
        "encode set --encoder default --out set/corpus.jsonl",
        "encode set --encoder default --queries --out set/../set/queries.jsonl",
        "eval db set --run set/qrels/test.tsv",
        "dataset triples set --out set/corpus.jsonl",
    ] {
        sandbox.run(command.split(' ')).fails(2, ["is read, so it cannot be written: choose another output"]);
    }
    assert_eq!(tree(&folder), before);
    // The second time it replaces what the first time made.
    for _ in 0..2 {
        sandbox.run("eval db set --run set/words.run".split(' ')).ok();
    }
}
