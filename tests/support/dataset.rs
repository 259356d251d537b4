//! BEIR folders made for one test.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::Random;

/// A BEIR folder of three documents and two queries that are sound, for a test to spoil.
pub fn small(folder: &Path) -> PathBuf {
    let corpus = [
        line("d1", "Roses", "Prune roses in late winter."),
        line("d2", "", "Bread rises overnight."),
        line("d3", "Bees", "Bees dance to tell where food is."),
    ];
    write(folder, "corpus.jsonl", corpus.concat());
    let queries =
        [json!({"_id": "q1", "text": "pruning roses"}), json!({"_id": "q2", "text": "dance of bees"})];
    write(folder, "queries.jsonl", queries.map(|query| format!("{query}\n")).concat());
    write(folder, "qrels/test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\nq2\td3\t2\n");
    folder.to_owned()
}

/// A BEIR folder of `count` documents of a few words each, without queries.
pub fn generated(folder: &Path, count: usize) -> PathBuf {
    const WORDS: [&str; 16] = [
        "rose", "pear", "saw", "winter", "bee", "honey", "bread", "oven", "rope", "hill", "wheel", "chain",
        "ash", "lava", "rain", "cloud",
    ];
    let mut random = Random(7);
    let mut corpus = String::new();
    for number in 0..count {
        let length = 3 + random.below(12);
        let words: Vec<&str> =
            (0..length).map(|_| WORDS[random.below(WORDS.len() as u64) as usize]).collect();
        corpus.push_str(&line(&format!("doc-{number}"), "", &words.join(" ")));
    }
    write(folder, "corpus.jsonl", corpus);
    folder.to_owned()
}

/// A line of a corpus.
pub fn line(id: &str, title: &str, text: &str) -> String {
    format!("{}\n", json!({"_id": id, "title": title, "text": text}))
}

/// Writes a file of a folder that need not exist.
pub fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}
