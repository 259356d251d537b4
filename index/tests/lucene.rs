//! Analyzers against what Lucene's made of the same texts, and against what a database holds.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use secateur_index::bm25::{Analyzer, Bm25Params};
use secateur_index::storage::{CompactOptions, Settings, Snapshot, Store};

use crate::document;

fn recorded(file: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lucene").join(file);
    BufReader::new(secateur_datasets::open(&path).unwrap()).lines().collect::<Result<_, _>>().unwrap()
}

fn plain(escaped: &str) -> String {
    let mut characters = escaped.chars();
    let mut plain = String::new();
    while let Some(c) = characters.next() {
        plain.push(match c {
            '\\' => match characters.next().unwrap() {
                't' => '\t',
                'n' => '\n',
                'r' => '\r',
                other => other,
            },
            other => other,
        });
    }
    plain
}

/// Every recorded text has Lucene's terms.
#[test]
fn terms_are_those_of_lucene() {
    let mut wrong = Vec::new();
    for &analyzer in Analyzer::ALL {
        let lines = recorded(&format!("{analyzer}.tsv.gz"));
        assert!(lines.len() > 600);
        let differs = |line: &String| {
            let (text, expected) = line.split_once('\t').unwrap();
            let terms = analyzer.analyze(&plain(text)).join("|");
            (terms != expected).then(|| format!("{text:?}: {terms:?}, Lucene has {expected:?}"))
        };
        let texts: Vec<String> = lines.iter().filter_map(differs).collect();
        wrong.extend(
            (!texts.is_empty()).then(|| (analyzer, texts.len(), texts[..texts.len().min(5)].to_vec())),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Every code point has Lucene's terms, alone and beside letters, digits, itself and a mark. The filters of languages
/// change none beyond those of the first blocks.
#[test]
fn every_code_point_is_that_of_lucene() {
    let mut wrong = Vec::new();
    for &analyzer in Analyzer::ALL {
        let expected = recorded(&format!("{analyzer}.blocks.gz"));
        let has_all = [Analyzer::English, Analyzer::Standard, Analyzer::Cjk].contains(&analyzer);
        assert_eq!(expected.len(), if has_all { 0x1100 } else { 0x34 });
        for (block, expected) in (0u32..).zip(&expected) {
            let mut checksum = crc32fast::Hasher::new();
            for c in (block << 8..(block + 1) << 8).filter_map(char::from_u32) {
                let text = format!("{c} a{c}b 1{c}2 a:{c} {c}{c}\u{301}{c}s \u{5d0}{c}");
                checksum.update(analyzer.analyze(&text).join("|").as_bytes());
                checksum.update(b"\n");
            }
            if format!("{:08x}", checksum.finalize()) != *expected {
                wrong.push(format!("{analyzer} {:04x}", block << 8));
            }
        }
    }
    assert!(wrong.is_empty(), "blocks {wrong:?}");
}

/// Rows that a query finds, ascending.
fn found(snapshot: &Snapshot, query: &str) -> Vec<String> {
    let hits = snapshot.bm25().unwrap().search(query, 100, Bm25Params::default()).unwrap();
    let mut ids: Vec<String> = hits.iter().map(|hit| snapshot.id_at(hit.row).unwrap().to_owned()).collect();
    ids.sort();
    ids
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// A query finds just the documents that share a term with it under the database's analyzer. This holds when the
    /// database is opened again, when documents are added then, and after a compaction.
    #[test]
    fn queries_are_analyzed_as_documents_were(
        analyzer in prop::sample::select(Analyzer::ALL),
        texts in prop::collection::vec("(the |cats |CATS' |東京|京都 |한국|ｶﾞ|İ|i|🚀 |👍🏽|run|ning|\\.){0,9}", 2..8),
        query in "(the |cat |東京|京 |국 |ガ|İ|i|🚀|👍|running ){1,4}",
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let mut store =
            Store::create(&path, &Settings { analyzer: Some(analyzer), ..Settings::bm25_only() }).unwrap();
        let wanted = analyzer.analyze(&query);
        let expected = |texts: &[String]| -> Vec<String> {
            let shares = |text: &String| analyzer.analyze(text).iter().any(|term| wanted.contains(term));
            (0..).zip(texts).filter(|(_, text)| shares(text)).map(|(row, _): (u32, _)| row.to_string()).collect()
        };
        for (row, text) in texts.iter().enumerate() {
            // The database is opened anew for each document.
            drop(store);
            store = Store::open(&path).unwrap();
            let mut transaction = store.begin().unwrap();
            transaction.add(&document(&row.to_string(), text), None).unwrap();
            let snapshot = transaction.commit().unwrap();
            prop_assert_eq!(found(&snapshot, &query), expected(&texts[..=row]));
        }
        prop_assert_eq!(Snapshot::open(&path).unwrap().settings().analyzer, Some(analyzer));
        store.compact(&CompactOptions::default(), |_, _| {}).unwrap();
        prop_assert_eq!(found(store.snapshot(), &query), expected(&texts));
        store.snapshot().verify().unwrap();
    }
}

fn copied(name: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("db");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    copy(&from, &path);
    (folder, path)
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// A database of the time when no analyzer was written down stays what it was, also when documents are added to it.
#[test]
fn databases_without_an_analyzer_keep_theirs() {
    let (_folder, path) = copied("database-v3");
    let mut store = Store::open(&path).unwrap();
    assert_eq!(store.snapshot().settings().analyzer, None);
    let vector = store.snapshot().settings().vectors.map(|vectors| vec![1.0; vectors.dim]);
    let mut transaction = store.begin().unwrap();
    transaction.add(&document("new", "İstanbul 🚀 launches"), vector.as_deref()).unwrap();
    transaction.commit().unwrap();
    let snapshot = Snapshot::open(&path).unwrap();
    assert_eq!(snapshot.settings().analyzer, None);
    assert_eq!(found(&snapshot, "İSTANBUL"), ["new"]);
    assert_eq!(found(&snapshot, "launch"), ["new"]);
    assert!(found(&snapshot, "istanbul").is_empty() && found(&snapshot, "🚀").is_empty());
}
