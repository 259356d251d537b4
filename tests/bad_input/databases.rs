//! Damaged databases: every file, truncated, lengthened, flipped and removed.

use std::fs;

use crate::support::{Random, Sandbox, files, mini, model, segment, tree};

/// A sandbox with the database `db`, of the tiny model's vectors.
fn database() -> Sandbox {
    let sandbox = Sandbox::new();
    model::tiny(&sandbox.path("model"));
    let mini = mini().into_os_string().into_string().unwrap();
    sandbox.run(["index", &mini, "--out", "db", "--encoder", "model"]).ok();
    sandbox
}

/// Whatever is damaged, a search either answers or says so in the way of a database.
fn searches_answer_or_refuse(sandbox: &Sandbox, what: &str) {
    for mode in ["bm25", "dense"] {
        let outcome = sandbox.run(["search", "db", "how bees dance", "--mode", mode, "--json"]);
        match outcome.status.code() {
            Some(0) => {}
            Some(4) => assert!(outcome.stderr.starts_with("{\"error\":"), "{what}: {outcome:?}"),
            _ => panic!("{what}: {outcome:?}"),
        }
    }
}

#[test]
fn damage_to_any_file_is_found_and_named() {
    let sandbox = database();
    // Beside the pack of few documents a segment that is too large for one.
    let long = format!("{{\"id\": \"long\", \"text\": \"{}\"}}\n", "long ".repeat(300_000));
    fs::write(sandbox.path("long.jsonl"), long).unwrap();
    sandbox.run(["add", "db", "long.jsonl"]).ok();
    let mut random = Random(3);
    let folder = sandbox.path("db");
    let all = files(&folder);
    assert!(all.len() >= 8, "{all:?}");
    for path in all.iter().filter(|path| !path.ends_with("LOCK")) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let whole = fs::read(path).unwrap();
        let mut damages = vec![
            ("emptied".to_owned(), Vec::new()),
            ("halved".to_owned(), whole[..whole.len() / 2].to_vec()),
            ("one byte short".to_owned(), whole[..whole.len() - 1].to_vec()),
            ("one byte long".to_owned(), [&whole[..], b"x"].concat()),
            ("zeros".to_owned(), vec![0; whole.len()]),
        ];
        // The first bytes, where marks, versions and lengths are, the last, where checksums are, and some between.
        let mut places = vec![0, 9, whole.len() - 1];
        places.extend((0..4).map(|_| random.below(whole.len() as u64) as usize));
        for place in places.into_iter().filter(|place| *place < whole.len()) {
            let mut bytes = whole.clone();
            bytes[place] ^= 1 << random.below(8);
            damages.push((format!("a bit of byte {place} flipped"), bytes));
        }
        for (damage, bytes) in damages {
            let what = format!("{}: {damage}", path.display());
            fs::write(path, bytes).unwrap();
            let outcome = sandbox.run(["verify", "db"]);
            assert_eq!(outcome.status.code(), Some(4), "{what}: {outcome:?}");
            outcome.fails(4, [name]);
            searches_answer_or_refuse(&sandbox, &what);
        }
        fs::remove_file(path).unwrap();
        sandbox.run(["verify", "db"]).fails(4, [name]);
        searches_answer_or_refuse(&sandbox, &format!("{} removed", path.display()));
        fs::write(path, whole).unwrap();
    }
    sandbox.run(["verify", "db"]).ok();
}

#[test]
fn damage_that_a_search_reads_is_found_by_the_search() {
    // Postings are checked when the index opens, and documents when they are read, so damage in them gives no wrong
    // answer.
    let sandbox = database();
    let database = sandbox.path("db");
    let damaged = ["0000000001.pack is damaged", "restore the file from a copy"];
    let text = b"Pruning apples and pears";
    let flip = |bytes: &mut [u8]| {
        let place = bytes.windows(text.len()).position(|window| window == text).unwrap();
        bytes[place] ^= b'P' ^ b'D';
    };
    let documents = segment::read(&database, "0000000001", "documents").unwrap();
    segment::change(&database, "0000000001", "documents", flip);
    sandbox.run(["search", "db", "pruning apples pears", "--mode", "bm25", "-k", "1"]).fails(4, damaged);
    segment::change(&database, "0000000001", "documents", |bytes| bytes.copy_from_slice(&documents));

    for (name, ..) in segment::files(&database, "0000000001") {
        if name.starts_with("bm25/") {
            let flip = |bytes: &mut [u8]| bytes[bytes.len() / 2] ^= 4;
            segment::change(&database, "0000000001", &name, flip);
            sandbox.run(["search", "db", "pruning", "--mode", "bm25"]).fails(4, damaged);
            segment::change(&database, "0000000001", &name, flip);
        }
    }
    sandbox.run(["search", "db", "pruning", "--mode", "bm25"]).ok();
}

#[test]
fn what_is_no_database_is_refused_and_left_alone() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.path("empty")).unwrap();
    fs::create_dir_all(sandbox.path("other")).unwrap();
    fs::write(sandbox.path("other/notes.txt"), "mine").unwrap();
    fs::write(sandbox.path("file"), "mine").unwrap();
    let before = tree(&sandbox.path("."));
    for name in ["nowhere", "empty", "other"] {
        let refused = match name {
            "nowhere" => ["there is no database nowhere", "nothing of that name"].map(str::to_owned),
            _ => [&format!("{name} is not a secateur database"), "MANIFEST"].map(str::to_owned),
        };
        sandbox.run(["verify", name]).fails(4, &refused);
        sandbox.run(["search", name, "bees"]).fails(4, &refused);
        sandbox.run(["eval", name, mini().to_str().unwrap()]).fails(4, &refused);
    }
    sandbox.run(["verify", "file"]).fails(4, ["file"]);
    assert_eq!(tree(&sandbox.path(".")), before);
}
