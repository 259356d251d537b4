//! Test collections in other layouts than BEIR's, so that they can be converted.
//!
//! | layout | corpus | queries | judgments |
//! |---|---|---|---|
//! | BEIR | `corpus.jsonl` | `queries.jsonl` | `qrels/SPLIT.tsv` |
//! | the Hugging Face hub | `corpus/*.parquet` | `queries/*.parquet` | `default/SPLIT*.parquet`, or `qrels/` or `data/` |
//! | MS MARCO | `collection.tsv` | `queries.SPLIT.tsv` | `qrels.SPLIT.tsv` |
//! | ir_datasets' exports | `docs.tsv` | `queries.tsv` | `qrels`, `qrels.tsv`, `qrels.SPLIT.tsv` |
//!
//! On the hub the folders are the configurations `corpus`, `queries` and `default`; a file may lie in the top folder
//! under the configuration's name, too. MS MARCO's `top1000.SPLIT.tsv` are the candidates of each query, and become a
//! run in which all have one score. All files may be compressed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::beir::{self, insert_judgment};
use crate::corpus_files::{corpus_files, is_parquet, list, name_of};
use crate::document::{Document, Qrels, Query, Run, ScoredDocument};
use crate::error::{Error, Result};
use crate::fault::Fault;
use crate::reader::Lines;
use crate::source::{EmptyDocuments, FieldNames, ParquetRows, Source};
use crate::writer::write_each;
use crate::{judgment, trec};

/// The files of a collection, by what is in them.
///
/// ```
/// use secateur_datasets::layout::{Collection, Layout};
///
/// let folder = tempfile::tempdir()?;
/// let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
/// write("collection.tsv", "7\tBees dance.\n8\tBread rises.\n")?;
/// write("queries.dev.tsv", "1\thow do bees talk\n")?;
/// write("qrels.dev.tsv", "1\t0\t7\t1\n")?;
/// let collection = Collection::find(folder.path())?;
/// let out = folder.path().join("beir");
/// let report = collection.convert(&out, Layout::Beir)?;
/// assert_eq!((report.documents, report.queries, report.judgments), (2, 1, 1));
/// let beir = secateur_datasets::beir::BeirFolder::open(&out)?;
/// assert_eq!(beir.qrels("dev")?["1"]["7"], 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collection {
    corpus: Vec<PathBuf>,
    queries: Vec<PathBuf>,
    /// The files of each split.
    qrels: BTreeMap<String, Vec<PathBuf>>,
    /// MS MARCO's candidates, by split.
    candidates: BTreeMap<String, PathBuf>,
}

/// A layout that collections are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// `corpus.jsonl`, `queries.jsonl`, `qrels/SPLIT.tsv`.
    Beir,
    /// `collection.tsv`, `queries.tsv`, `qrels.SPLIT.tsv`, as MS MARCO has them. Titles go before the texts, and
    /// metadata are left out.
    Tsv,
}

/// How much was converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Converted {
    /// Documents.
    pub documents: u64,
    /// Queries.
    pub queries: u64,
    /// Judgments of all splits.
    pub judgments: u64,
}

/// `dev` of `queries.dev.tsv`, of `qrels.dev.small.tsv` `dev.small`; `test` where nothing says more.
fn split_of(name: &str, stem: &str) -> String {
    let rest = name.strip_prefix(stem).unwrap_or(name);
    let rest = rest.trim_start_matches(['.', '-', '_']);
    // The hub numbers the parts of a split: test-00000-of-00001.parquet.
    let rest = rest.strip_suffix(".tsv").or_else(|| rest.strip_suffix(".parquet")).unwrap_or(rest);
    let rest = rest.strip_suffix(".txt").unwrap_or(rest);
    let rest = rest.split_once("-0").map_or(rest, |(split, _)| split);
    match rest {
        "" | "tsv" => "test".to_owned(),
        split => split.to_owned(),
    }
}

impl Collection {
    /// Finds the files of a collection in a folder.
    ///
    /// # Errors
    /// [`Error::UnknownLayout`] if there is no corpus of a known layout, [`Error::Io`].
    pub fn find(folder: &Path) -> Result<Collection> {
        let mut found = Collection {
            corpus: Vec::new(),
            queries: Vec::new(),
            qrels: BTreeMap::new(),
            candidates: BTreeMap::new(),
        };
        for path in list(folder)? {
            let corpus = corpus_files(path.clone())?;
            if !corpus.is_empty() {
                found.corpus.extend(corpus);
                continue;
            }
            let name = name_of(&path);
            match (path.is_dir(), name.as_str()) {
                (true, "queries") => {
                    found.queries.extend(list(&path)?.into_iter().filter(|path| is_parquet(path)))
                }
                (true, "qrels" | "default" | "data") => {
                    for path in list(&path)?.into_iter().filter(|path| !path.is_dir()) {
                        found.qrels.entry(split_of(&name_of(&path), "")).or_default().push(path);
                    }
                }
                (true, _) => {}
                (false, "queries.jsonl") => found.queries.push(path),
                (false, name)
                    if name.starts_with("queries") && (name.ends_with(".tsv") || is_parquet(&path)) =>
                {
                    found.queries.push(path)
                }
                (false, name) if name.starts_with("top1000") && name.ends_with(".tsv") => {
                    found.candidates.insert(split_of(name, "top1000"), path);
                }
                (false, name) if name.starts_with("qrels") => {
                    found.qrels.entry(split_of(name, "qrels")).or_default().push(path);
                }
                _ => {}
            }
        }
        match found.corpus.is_empty() {
            true => Err(Error::UnknownLayout { folder: folder.to_owned() }),
            false => Ok(found),
        }
    }

    /// The judgments of all splits.
    ///
    /// # Errors
    /// The first line or row that is no judgment; a pair of query and document with two relevances.
    pub fn qrels(&self) -> Result<BTreeMap<String, Qrels>> {
        let mut splits = BTreeMap::new();
        for (split, files) in &self.qrels {
            let qrels: &mut Qrels = splits.entry(split.clone()).or_default();
            for file in files {
                match is_parquet(file) {
                    true => read_parquet(file, qrels)?,
                    false => read_lines(file, qrels)?,
                }
            }
        }
        Ok(splits)
    }

    /// The queries of all files, each once.
    ///
    /// # Errors
    /// The first record without an id or a text.
    pub fn queries(&self) -> Result<Vec<Query>> {
        let names = |path: &PathBuf| -> Result<FieldNames> {
            // Some exports call a query's text `query`.
            let text = is_parquet(path).then(|| text_column(path)).transpose()?.flatten();
            Ok(FieldNames { text, ..FieldNames::default() })
        };
        let (mut seen, mut queries) = (BTreeSet::new(), Vec::new());
        for path in &self.queries {
            let source = Source::open(std::slice::from_ref(path), names(path)?)?;
            for item in source.documents(EmptyDocuments::Any).with_repeated_ids() {
                let (document, _) = item?;
                if seen.insert(document.id.clone()) {
                    queries.push(Query { id: document.id, text: document.text });
                }
            }
        }
        Ok(queries)
    }

    /// Writes the collection in another layout, to a folder that is made.
    ///
    /// # Errors
    /// The first bad record. [`Error::Unwritable`] if the layout cannot hold one, [`Error::Io`].
    pub fn convert(&self, out: &Path, layout: Layout) -> Result<Converted> {
        secateur_files::disk::create_folders(&out.join("qrels"))?;
        let corpus = Source::open(&self.corpus, FieldNames::default())?;
        let documents = corpus.documents(EmptyDocuments::Any).map(|item| item.map(|(document, _)| document));
        let queries = self.queries()?;
        let splits = self.qrels()?;
        let mut converted = Converted { queries: queries.len() as u64, ..Converted::default() };
        match layout {
            Layout::Beir => {
                converted.documents = beir::write_documents(&out.join("corpus.jsonl"), documents)? as u64;
                if !queries.is_empty() {
                    beir::write_queries(out.join("queries.jsonl"), &queries)?;
                }
            }
            Layout::Tsv => {
                converted.documents = write_tsv(
                    &out.join("collection.tsv"),
                    documents.map(|document| {
                        document.map(|document: Document| (document.passage(" "), document.id))
                    }),
                )? as u64;
                write_tsv(
                    &out.join("queries.tsv"),
                    queries.into_iter().map(|query| Ok((query.text, query.id))),
                )?;
            }
        }
        for (split, qrels) in &splits {
            converted.judgments += qrels.values().map(|judged| judged.len() as u64).sum::<u64>();
            match layout {
                Layout::Beir => beir::write_qrels(out.join(format!("qrels/{split}.tsv")), qrels)?,
                Layout::Tsv => trec::write_qrels(out.join(format!("qrels.{split}.tsv")), qrels)?,
            }
        }
        for (split, path) in &self.candidates {
            trec::write_run(out.join(format!("top1000.{split}.run")), &read_candidates(path)?, "candidates")?;
        }
        if layout == Layout::Tsv || splits.is_empty() {
            // Nothing is in it.
            secateur_files::disk::remove_folder(&out.join("qrels"))?;
        }
        Ok(converted)
    }
}

/// `query`, if a table has such a column and none of the usual ones.
fn text_column(path: &Path) -> Result<Option<String>> {
    let row = ParquetRows::open(path)?.next().transpose()?;
    let has = |name: &str| row.as_ref().is_some_and(|row| row.get(name).is_some());
    Ok((has("query") && !has("text")).then(|| "query".to_owned()))
}

/// Reads a file of judgments as BEIR has them, three fields with tabs and perhaps a header, or as TREC has them, four
/// fields.
///
/// ```
/// use secateur_datasets::layout::read_judgments;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("dev.tsv");
/// for text in ["query-id\tcorpus-id\tscore\nq1\td7\t2\n", "q1 0 d7 2\n"] {
///     std::fs::write(&path, text)?;
///     assert_eq!(read_judgments(&path)?["q1"]["d7"], 2);
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Line`] for the first line that is no judgment; a pair of query and document with two relevances.
pub fn read_judgments(path: impl AsRef<Path>) -> Result<Qrels> {
    let mut qrels = Qrels::new();
    read_lines(path.as_ref(), &mut qrels)?;
    Ok(qrels)
}

/// As [`read_judgments`], beside those that there are.
fn read_lines(path: &Path, qrels: &mut Qrels) -> Result<()> {
    let mut lines = Lines::open(path)?;
    let mut is_first = true;
    while let Some(line) = lines.next() {
        let (_, line) = line?;
        // trec_eval passes over comments. With tabs it may be an id.
        let is_comment = line.trim_ascii_start().starts_with('#') && !line.contains('\t');
        if is_comment || std::mem::take(&mut is_first) && judgment::is_header(line) {
            continue;
        }
        let fields: Vec<&str> = line.split_ascii_whitespace().collect();
        let judged = match fields[..] {
            // Two tabs are BEIR's, whose ids may have spaces.
            [query_id, _, doc_id, relevance] if line.matches('\t').count() != 2 => match relevance.parse() {
                Ok(relevance) => add(qrels, query_id, doc_id, relevance),
                Err(_) => Err(Fault::BadRelevance { got: relevance.to_owned() }),
            },
            _ if !line.contains('\t') => Err(Fault::FieldCount {
                expected: "3 tab-separated fields (query-id, corpus-id, score), or 4 fields (query-id, iteration, document-id, relevance)"
                    .into(),
                got: fields.len(),
            }),
            _ => judgment::parse_judgment(line)
                .and_then(|(query_id, doc_id, relevance)| add(qrels, &query_id, &doc_id, relevance)),
        };
        judged.map_err(|fault| lines.error(fault))?;
    }
    Ok(())
}

fn add(qrels: &mut Qrels, query_id: &str, doc_id: &str, relevance: i32) -> std::result::Result<(), Fault> {
    match insert_judgment(qrels, query_id, doc_id, relevance) {
        Some(fault @ Fault::DuplicateJudgment { .. }) => Err(fault),
        _ => Ok(()),
    }
}

/// Rows with `query-id`, `corpus-id` and `score`.
fn read_parquet(path: &Path, qrels: &mut Qrels) -> Result<()> {
    let mut rows = ParquetRows::open(path)?;
    while let Some(row) = rows.next() {
        let row = row?;
        let field = |names: &[&str]| names.iter().find_map(|name| row.get(*name));
        let id = |names: &[&str]| match field(names) {
            Some(Value::String(id)) => Ok(id.clone()),
            Some(Value::Number(id)) => Ok(id.to_string()),
            _ => Err(missing(names[0], &row)),
        };
        let relevance = match field(&["score", "relevance", "label"]) {
            Some(score) => score
                .as_f64()
                .filter(|score| score.fract() == 0.0 && score.abs() < f64::from(i32::MAX))
                .map(|score| score as i32)
                .ok_or_else(|| Fault::BadRelevance { got: score.to_string() }),
            None => Err(missing("score", &row)),
        };
        let judged = relevance.and_then(|relevance| {
            let query_id = id(&["query-id", "query_id", "qid"])?;
            add(qrels, &query_id, &id(&["corpus-id", "corpus_id", "doc_id", "docid", "pid"])?, relevance)
        });
        judged.map_err(|fault| rows.fault(fault))?;
    }
    Ok(())
}

fn missing(field: &str, row: &Value) -> Fault {
    let names = row.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    Fault::MissingField { field: field.to_owned(), found: names.collect::<Vec<_>>().join(", ") }
}

/// MS MARCO's candidates: query id, passage id, query, passage.
fn read_candidates(path: &Path) -> Result<Run> {
    let mut lines = Lines::open(path)?;
    let mut run = Run::new();
    while let Some(line) = lines.next() {
        let (_, line) = line?;
        let fields: Vec<&str> = line.splitn(4, '\t').collect();
        let [query_id, doc_id, _, _] = fields[..] else {
            let expected = "4 tab-separated fields (query-id, passage-id, query, passage)";
            let got = fields.len();
            return Err(lines.error(Fault::FieldCount { expected: expected.into(), got }));
        };
        let scored = ScoredDocument { doc_id: doc_id.to_owned(), score: 0.0 };
        run.entry(query_id.to_owned()).or_default().push(scored);
    }
    Ok(run)
}

/// Lines of an id and a text in which white space is one blank each.
fn write_tsv(path: &Path, pairs: impl Iterator<Item = Result<(String, String)>>) -> Result<usize> {
    write_each(path, pairs, |file, (text, id)| {
        if id.is_empty() || id.contains(['\t', '\n', '\r']) {
            return Err(Fault::NotOneField { field: "id", value: id }.into());
        }
        let text: Vec<&str> = text.split_whitespace().collect();
        Ok(writeln!(file, "{id}\t{}", text.join(" "))?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_named_by_files() {
        for (name, stem, expected) in [
            ("qrels.dev.small.tsv", "qrels", "dev.small"),
            ("qrels", "qrels", "test"),
            ("qrels.tsv", "qrels", "test"),
            ("test-00000-of-00001.parquet", "", "test"),
            ("dev.tsv", "", "dev"),
            ("top1000.dev.tsv", "top1000", "dev"),
        ] {
            assert_eq!(split_of(name, stem), expected, "{name}");
        }
    }

    /// From one layout to another and back: documents, queries and judgments stay.
    #[test]
    fn layouts_round_trip() {
        let mini = Path::new(env!("CARGO_MANIFEST_DIR")).join("mini");
        let folder = tempfile::tempdir().unwrap();
        let [tsv, beir, plain] = ["tsv", "beir", "plain"].map(|name| folder.path().join(name));
        let collection = Collection::find(&mini).unwrap();
        let report = collection.convert(&beir, Layout::Beir).unwrap();
        assert_eq!((report.documents, report.queries), (63, 12));
        let read = |path: &Path| {
            let folder = beir::BeirFolder::open(path).unwrap();
            let documents: Vec<Document> = folder.corpus().unwrap().map(|item| item.unwrap()).collect();
            let queries: Vec<Query> = folder.queries().unwrap().map(|item| item.unwrap()).collect();
            (documents, queries, folder.qrels("test").unwrap())
        };
        assert_eq!(read(&beir), read(&mini));

        assert_eq!(collection.convert(&tsv, Layout::Tsv).unwrap(), report);
        assert!(!tsv.join("qrels").exists());
        assert_eq!(Collection::find(&tsv).unwrap().convert(&plain, Layout::Beir).unwrap(), report);
        let ((documents, queries, qrels), (plain, plain_queries, plain_qrels)) = (read(&mini), read(&plain));
        assert_eq!((queries, qrels), (plain_queries, plain_qrels));
        for (document, plain) in documents.iter().zip(plain) {
            assert_eq!((&document.id, document.passage(" ")), (&plain.id, plain.text));
        }
    }

    /// A first line that is neither a header nor a judgment is not lost in silence.
    #[test]
    fn judgments_of_either_form_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("qrels.tsv");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_judgments(&path).map_err(|error| error.to_string())
        };
        let expected = read("a\td1\t1\na\td2\t0\n").unwrap();
        assert_eq!(expected["a"].len(), 2);
        for text in [
            "query-id\tcorpus-id\tscore\na\td1\t1\na\td2\t0\n",
            "a 0 d1 1\na 0 d2 0\n",
            "# a comment\na\tQ0\td1\t1\na\tQ0\td2\t0\n",
        ] {
            assert_eq!(read(text).unwrap(), expected, "{text}");
        }
        assert!(read("my query\td1\t1\n").unwrap().contains_key("my query"));
        assert_eq!(read("a\td1\t1\n  # a comment\na\td2\t0\n").unwrap(), expected);
        for (text, part) in [
            ("a d1 1\na\td2\t0\n", ":1: expected 3 tab-separated fields"),
            ("a 0 d1 1\na 0 d2\n", "or 4 fields (query-id, iteration, document-id, relevance), found 3"),
            ("a\td1\t0.5\n", ":1: relevance \"0.5\" is not an integer"),
            ("a\td1\t1\na\td2\tx\n", ":2: relevance \"x\" is not an integer"),
            ("a\td1\t1\na\td1\t2\n", ":2: "),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn candidates_become_a_run() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("collection.tsv", "7\tBees \"dance\".\n");
        write("top1000.dev.tsv", "1\t7\thow\tBees\n1\t8\thow\tBread\n");
        let out = folder.path().join("out");
        Collection::find(folder.path()).unwrap().convert(&out, Layout::Beir).unwrap();
        let run = std::fs::read_to_string(out.join("top1000.dev.run")).unwrap();
        assert_eq!(run, "1 Q0 8 1 0 candidates\n1 Q0 7 2 0 candidates\n");
        assert!(!out.join("queries.jsonl").exists());
        std::fs::create_dir(folder.path().join("empty")).unwrap();
        let error = Collection::find(&folder.path().join("empty")).unwrap_err().to_string();
        assert!(error.contains("holds no collection of a known layout"), "{error}");
    }
}
