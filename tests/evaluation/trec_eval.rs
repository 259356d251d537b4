//! Equality with what trec_eval 9.0.8 printed: every line of a measure that secateur has, per query and in total.

use std::collections::BTreeMap;
use std::io::Read;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};

use secateur::eval::{Evaluation, Measure, MissingQueries, RuleSet, Rules, evaluate};
use secateur_datasets::beir::BeirFolder;
use secateur_datasets::{Qrels, trec};
use secateur_testkit::shared_data;

/// The measure that trec_eval prints under `name`, if secateur has it.
fn measure(name: &str) -> Option<Measure> {
    let field_name = match name {
        "map" => "MAP".to_owned(),
        "recip_rank" => "MRR".to_owned(),
        _ => {
            let (family, k) = name.rsplit_once('_')?;
            let family = match family {
                "ndcg_cut" => "nDCG",
                "map_cut" => "MAP",
                "recall" => "Recall",
                "P" => "P",
                _ => return None,
            };
            format!("{family}@{k}")
        }
    };
    Some(field_name.parse().expect("trec_eval's cutoffs are whole numbers"))
}

/// One printed line: measure, query id (or `all`), value to four decimals.
type Line = (Measure, String, String);

fn printed(path: &Path) -> (Vec<Line>, BTreeMap<String, String>) {
    let mut text = String::new();
    let mut file: Box<dyn Read> = Box::new(std::fs::File::open(path).unwrap());
    if path.extension().is_some_and(|extension| extension == "gz") {
        file = Box::new(flate2::read::GzDecoder::new(file));
    }
    file.read_to_string(&mut text).unwrap();
    let (mut lines, mut totals) = (Vec::new(), BTreeMap::new());
    for line in text.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [name, query_id, value] = fields[..] else { panic!("{}: {line:?}", path.display()) };
        match measure(name) {
            Some(measure) => lines.push((measure, query_id.to_owned(), value.to_owned())),
            None if query_id == "all" => drop(totals.insert(name.to_owned(), value.to_owned())),
            None => {}
        }
    }
    (lines, totals)
}

/// Compares each printed line, and returns how many there were.
fn compare(qrels: &Qrels, run: &Path, expected: &Path, rules: &Rules) -> (Evaluation, usize) {
    let run = trec::read_run(run).unwrap();
    let (lines, totals) = printed(expected);
    let mut measures: Vec<Measure> = lines.iter().map(|(measure, ..)| *measure).collect();
    measures.sort();
    measures.dedup();
    let evaluation = evaluate(qrels, &run, &measures, rules).unwrap();
    for (measure, query_id, value) in &lines {
        let ours = match query_id.as_str() {
            "all" => evaluation.mean(*measure),
            _ => evaluation.value(query_id, *measure),
        };
        let ours = ours.unwrap_or_else(|| panic!("{}: {query_id} does not count", expected.display()));
        assert_eq!(&format!("{ours:.4}"), value, "{} {measure} {query_id}", expected.display());
    }
    if let Some(num_q) = totals.get("num_q") {
        assert_eq!(num_q, &evaluation.counts.evaluated.to_string(), "{}", expected.display());
    }
    (evaluation, lines.len())
}

fn eval_refs(test: &str) -> Option<PathBuf> {
    shared_data(test, "eval-refs")
}

#[test]
fn runs_on_test_collections() {
    let test = "runs_on_test_collections";
    let Some(refs) = eval_refs(test) else { return };
    for (name, num_missing) in [
        ("scifact.bm25", 0),
        ("scifact.bm25-ties", 0),
        ("cranfield.bm25", 0),
        ("cranfield.bm25-ties", 0),
        ("nfcorpus.bm25", 15),
        ("npl-vaswani.bm25", 0),
    ] {
        let (data_set, _) = name.split_once('.').unwrap();
        let Some(folder) = shared_data(test, data_set) else { continue };
        let qrels = BeirFolder::open(folder).unwrap().qrels("test").unwrap();
        let run = refs.join(format!("runs/{name}.run.gz"));
        let expected = refs.join(format!("runs/{name}.trec_eval.txt.gz"));
        let (evaluation, num_lines) = compare(&qrels, &run, &expected, &RuleSet::TrecEval9.rules(false));
        assert_eq!(evaluation.counts.missing, num_missing, "{name}");
        // 14 measures for each query of the run, and in total.
        let found = evaluation.counts.judged - num_missing;
        assert_eq!(num_lines, 14 * (found + 1), "{name}");
        // Scores of four decimals are no nearer ties in f32 than in f64.
        let (_, same) = compare(&qrels, &run, &expected, &RuleSet::TrecEval.rules(false));
        assert_eq!(same, num_lines);
    }
}

#[test]
fn anserini_on_cacm() {
    let Some(refs) = eval_refs("anserini_on_cacm") else { return };
    let qrels = trec::read_qrels(refs.join("runs/cacm.anserini.qrels.gz")).unwrap();
    let run = refs.join("runs/cacm.anserini-bm25.run.gz");
    let expected = refs.join("runs/cacm.anserini-bm25.trec_eval.txt.gz");
    let (_, num_lines) = compare(&qrels, &run, &expected, &RuleSet::TrecEval9.rules(false));
    assert!(num_lines > 14 * 50, "{num_lines}");
    // Anserini's own test expects it.
    let p30: Measure = "P@30".parse().unwrap();
    let run = trec::read_run(&run).unwrap();
    let evaluation = evaluate(&qrels, &run, &[p30], &RuleSet::TrecEval.rules(false)).unwrap();
    assert_eq!(format!("{:.4}", evaluation.means[0]), "0.1942");
}

#[test]
fn the_tests_of_trec_eval() {
    let Some(refs) = eval_refs("the_tests_of_trec_eval") else { return };
    let folder = refs.join("trec_eval-tests");
    let complete = RuleSet::TrecEval9.rules(false);
    let plain = Rules { missing_queries: MissingQueries::Skip, ..complete };
    let first_hundred = Rules { depth: NonZeroUsize::new(100), ..complete };
    let from_two = Rules { relevance_level: NonZeroU32::new(2).unwrap(), ..plain };
    for (output, qrels, run, rules) in [
        ("out.test", "qrels.test", "results.test", plain),
        ("out.test.a", "qrels.test", "results.test", plain),
        ("out.test.aq", "qrels.test", "results.test", plain),
        ("out.test.aqc", "qrels.test", "results.trunc", complete),
        ("out.test.aqcM", "qrels.test", "results.trunc", first_hundred),
        ("out.test.aql", "qrels.rel_level", "results.test", from_two),
    ] {
        let qrels = trec::read_qrels(folder.join(qrels)).unwrap();
        let (_, num_lines) = compare(&qrels, &folder.join(run), &folder.join(output), &rules);
        // MAP, MRR and P at nine cutoffs at least.
        assert!(num_lines >= 11, "{output}: {num_lines}");
    }
}
