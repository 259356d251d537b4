//! `secateur compact`, and the library's side of it.

use secateur::index::storage::CompactOptions;
use secateur::{Database, Document, SearchMode, SearchParams};

use crate::support::{Sandbox, tree};

fn document(id: &str, text: &str) -> Document {
    Document { id: id.to_owned(), title: String::new(), text: text.to_owned(), metadata: None }
}

/// A database in which every document was replaced nine times.
fn churned(sandbox: &Sandbox) -> Database {
    let mut database = Database::builder(sandbox.path("db")).create().unwrap();
    for turn in 0..10 {
        for number in 0..200 {
            let id = format!("d{number}");
            if turn > 0 && number % 2 > 0 {
                continue;
            }
            if turn > 0 {
                database.delete(&id).unwrap();
            }
            database.add(&[document(&id, &format!("roses of turn {turn}, number {number}"))]).unwrap();
        }
        database.commit().unwrap();
    }
    database
}

fn size(sandbox: &Sandbox) -> usize {
    tree(&sandbox.path("db")).values().map(Vec::len).sum()
}

#[test]
fn the_command_takes_space_back() {
    let sandbox = Sandbox::new();
    let open = churned(&sandbox);
    let search = ["search", "db", "number 7 of turn 9", "--json"];
    let (before, answer) = (size(&sandbox), sandbox.run(search).json());
    let said = sandbox.run(["compact", "db"]).ok();
    assert!(said.starts_with("db: compacted in "), "{said}");
    let rows: Vec<Vec<&str>> = said.lines().skip(2).map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[1..3], [["segments", "2", "1"], ["rows", "300", "200"]], "{said}");
    assert!(size(&sandbox) < before, "{} of {before} bytes", size(&sandbox));
    assert_eq!(sandbox.run(search).json(), answer, "scores included");
    sandbox.run(["verify", "db"]).ok();
    // Who had it open reads on.
    let params = SearchParams { k: 1000, ..SearchParams::new(SearchMode::Bm25) };
    assert_eq!(open.search("roses", &params).unwrap().len(), 200);

    let again = sandbox.run(["compact", "db", "--memory", "1M"]).ok();
    assert!(again.starts_with("db: nothing to compact; segments: 1, bytes: "), "{again}");
    sandbox.run(["compact", "db", "--memory", "lots"]).fails(2, ["such as 512M or 8G"]);
    sandbox.run(["compact", "nowhere"]).fails(4, ["nowhere"]);
}

#[test]
fn changes_come_before_compactions() {
    let sandbox = Sandbox::new();
    let mut database = churned(&sandbox);
    database.delete("d7").unwrap();
    let refused = database.compact(&CompactOptions::default(), |_, _| {}).unwrap_err().to_string();
    assert!(refused.contains("changes that are not committed"), "{refused}");
    sandbox.run(["compact", "db"]).fails(4, ["is being written by process"]);
    database.commit().unwrap();
    let mut last = (0, 0);
    let report = database.compact(&CompactOptions::default(), |done, total| last = (done, total)).unwrap();
    assert_eq!((report.num_rows, last), ([300, 199], (199, 199)));
    assert_eq!((database.len(), database.document("d7").unwrap()), (199, None));
    // It can be changed further.
    database.add(&[document("d7", "a new one")]).unwrap();
    database.commit().unwrap();
    assert_eq!(Database::open(sandbox.path("db")).unwrap().len(), 200);
}
