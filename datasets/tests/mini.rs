//! The collection that ships with the project.

use secateur_datasets::beir::BeirFolder;
use secateur_datasets::{Document, Qrels};

fn mini() -> BeirFolder {
    BeirFolder::open(concat!(env!("CARGO_MANIFEST_DIR"), "/mini")).unwrap()
}

#[test]
fn mini_is_without_fault_and_as_its_readme_says() {
    let mut findings = Vec::new();
    let verdict = mini().verify(|finding| findings.push(finding.to_string())).unwrap();
    assert_eq!(findings, [""; 0]);
    assert_eq!((verdict.documents, verdict.queries, verdict.judgments), (63, 12, 54));
    let info = mini().info().unwrap();
    assert_eq!(info.splits.len(), 1);
    assert_eq!(info.splits[0].positive_judgments, 39);
    assert_eq!(info.splits[0].relevance_range, Some((0, 3)));
    let readme = std::fs::read_to_string(mini().path().join("README.md")).unwrap();
    assert!(readme.contains("63 documents, 12 queries and 54 graded judgments (39 above 0)"));
}

#[test]
fn mini_keeps_its_promises_to_the_demo_and_the_filters() {
    let documents: Vec<Document> = mini().corpus().unwrap().collect::<Result<_, _>>().unwrap();
    for document in &documents {
        assert!(!document.title.is_empty(), "{}", document.id);
        let sentences = document.text.matches(['.', '?', '!']).count();
        assert!((2..=8).contains(&sentences), "{}: {sentences} sentences", document.id);
        let metadata: serde_json::Value =
            serde_json::from_str(document.metadata.as_deref().unwrap()).unwrap();
        assert!(metadata["topic"].is_string(), "{}", document.id);
        assert!(metadata["year"].is_u64(), "{}", document.id);
        assert!(metadata["tags"].as_array().is_some_and(|tags| tags.len() >= 2), "{}", document.id);
    }
    let qrels: Qrels = mini().qrels("test").unwrap();
    for (query_id, judged) in &qrels {
        assert!((2..=6).contains(&judged.len()), "{query_id} has {} judgments", judged.len());
        assert!(judged.values().any(|relevance| *relevance == 3), "{query_id} has no answer");
        assert!(judged.values().any(|relevance| *relevance == 0), "{query_id} has no trap");
    }
}
