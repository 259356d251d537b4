//! `secateur demo`: the whole way on the bundled collection.

use std::path::{Path, PathBuf};

use clap::Args;
use secateur::bench::{BenchEncoder, BenchOptions, run};
use secateur::database::EncoderSource;
use secateur::datasets::beir::BeirFolder;
use secateur::encode::DEFAULT_ENCODER;
use secateur::eval::{Measure, RuleSet, evaluate};
use secateur::report::{bench_page, bench_text, counted};
use secateur::{Database, LoadOptions, SearchMode, SearchParams, report};
use secateur_files::Durable;

use super::bench::program;
use super::encoder::{ENCODER_OR_DEFAULT, EncoderArguments, located};
use super::failure::{Failure, Result};
use super::hits::{Look, as_text, found};

/// datasets/mini, in the program, so that the demonstration runs from any folder.
const MINI: [(&str, &str); 3] = [
    ("corpus.jsonl", include_str!("../../datasets/mini/corpus.jsonl")),
    ("queries.jsonl", include_str!("../../datasets/mini/queries.jsonl")),
    ("qrels/test.tsv", include_str!("../../datasets/mini/qrels/test.tsv")),
];

/// How many queries are answered before the evaluation.
const SHOWN_QUERIES: usize = 2;

#[derive(Args)]
#[command(mut_arg("encoder", |encoder| encoder.help(ENCODER_OR_DEFAULT)), after_help = "\
Examples:
  secateur demo
  secateur demo --encoder sentence-transformers/all-MiniLM-L6-v2")]
pub struct Arguments {
    /// Which index answers [default: hybrid with an encoder, bm25 without].
    #[arg(long)]
    mode: Option<SearchMode>,
    #[command(flatten)]
    encoder: EncoderArguments,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let folder = tempfile::tempdir().map_err(|source| Failure::write(&std::env::temp_dir(), &source))?;
        let mini = folder.path().join("mini");
        for (name, content) in MINI {
            let path = mini.join(name);
            let parent = path.parent().unwrap_or(&mini);
            std::fs::create_dir_all(parent)
                .and_then(|()| std::fs::write(&path, content))
                .map_err(|source| Failure::write(&path, &source))?;
        }
        let dataset = BeirFolder::open(&mini)?;
        let mut builder = Database::builder(folder.path().join("db"));
        let arguments = self.encoder.or_named(Some(DEFAULT_ENCODER))?;
        if let Some(encoder) = arguments.load()? {
            builder = builder.encoder(encoder);
        }
        let database = builder.build_from(dataset.corpus()?, |_| {})?;

        let qrels = dataset.qrels("test")?;
        let queries = dataset.judged_queries(&qrels)?;
        let params = |k| SearchParams { k, mode: self.mode, ..SearchParams::default() };
        let (shown, all) = (params(3), params(1000));
        let mut text = format!(
            "indexed datasets/mini: {}; answers by {}\n",
            counted(database.len(), "document"),
            database.mode(&shown)
        );
        for query in queries.iter().take(SHOWN_QUERIES) {
            text.push_str(&format!(
                "\n{}\n{}",
                query.text,
                as_text(&found(&database, &query.text, &shown)?, &query.text, &Look::of_stdout(&database))
            ));
        }
        let run = database.run(&queries, &all)?;
        let evaluation = evaluate(&qrels, &run, &Measure::DEFAULT, &RuleSet::TrecEval.rules(false))?;
        text.push_str(&format!("\n{}", report::table(&evaluation)));
        if self.encoder.encoder.is_none() {
            text.push_str(
                "\nVectors are those of the small encoder in the box. A better one is as good as named:\n  \
                 secateur demo --encoder sentence-transformers/all-MiniLM-L6-v2\n",
            );
        }
        drop(database);
        text.push_str(&bench(arguments.source(), &mini, &folder.path().join("bench"))?);
        Ok(text)
    }
}

/// Ways to search the collection side by side, and the page of it, which stays.
fn bench(encoder: Option<EncoderSource>, mini: &Path, out: &Path) -> Result<String> {
    let source = encoder.unwrap_or_else(|| EncoderSource {
        model: DEFAULT_ENCODER.to_owned(),
        options: LoadOptions::default(),
    });
    let source = located(&source)?;
    let name = Path::new(&source.model).file_name().map(|name| name.to_string_lossy().into_owned());
    let options = BenchOptions {
        datasets: vec![mini.to_owned().into()],
        encoders: vec![BenchEncoder { name: name.unwrap_or_else(|| source.model.clone()), source }],
        indexes: ["flat", "hnsw"].iter().filter_map(|name| name.parse().ok()).collect(),
        warm_up: 3,
        repetitions: 1,
        command: "secateur demo".to_owned(),
        program: program(),
        ..BenchOptions::default()
    };
    let bench = run(&options, out, &mut |_| {})?;
    let page = kept_page()?;
    Durable::write(&page, |file| file.write_all(bench_page(&bench).as_bytes()))?;
    Ok(format!(
        "\nThe same collection in every mode, each query asked once (`secateur bench` measures in earnest):\n\n{}\nreport: {}\n",
        bench_text(&bench),
        page.display()
    ))
}

/// A page in a folder of its own among the temporary files, which nobody removes but the system.
fn kept_page() -> Result<PathBuf> {
    let folder = tempfile::Builder::new().prefix("secateur-demo-").tempdir();
    let folder = folder.map_err(|source| Failure::write(&std::env::temp_dir(), &source))?;
    Ok(folder.keep().join("report.html"))
}
