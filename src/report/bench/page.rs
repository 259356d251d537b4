//! A bench as one HTML page: no script, no file beside it, for light and dark screens of any width. Every number of it
//! is in results.json.

use super::draw::{axis_below, bar, figure, legend};
use super::html::{HtmlTable, datum, escaped, page};
use super::layers::layers;
use super::systems::SystemTable;
use crate::bench::{BenchReport, Cell, STAGES};
use crate::compare::{Answer, MovedQuery};
use crate::number::three_digits;

/// The whole page.
pub fn bench_page(report: &BenchReport) -> String {
    let mut body = format!("<h1>Bench</h1>\n<p><strong>{}</strong></p>\n", escaped(&report.summary.sentence));
    body.push_str(&systems(report));
    body.push_str(&cells(report));
    report.summary.plots.iter().for_each(|plot| body.push_str(&figure(plot)));
    body.push_str(&breakdown(report));
    body.push_str(&encoders(report));
    body.push_str(&layers(report));
    body.push_str(&builds(report));
    body.push_str(&losses(report));
    body.push_str(&machines(report));
    page("Bench", &body)
}

/// The combinations side by side, a row a data set, as the paper has it.
fn systems(report: &BenchReport) -> String {
    let Some(systems) = SystemTable::of(report) else { return String::new() };
    let mut table = HtmlTable::new(&[""], &systems.columns.iter().map(String::as_str).collect::<Vec<&str>>());
    for row in &systems.rows {
        table.row().words(&row.name);
        for value in &row.values {
            table.shown(*value, |value| row.shown(value));
        }
    }
    format!(
        "<h2>Quality, size and speed-up</h2>\n{}<p class=note>nDCG@10 in hundredths. Speed-ups are of the encoder alone, \
         against {}.</p>\n",
        table.html(),
        escaped(&systems.first)
    )
}

/// The words that tell which combination a row is of.
fn key(table: &mut HtmlTable, report: &BenchReport, environment: usize, names: &[&str]) {
    table.row();
    if let Some(name) = report.machine(environment) {
        table.words(&name);
    }
    for name in names {
        table.words(name);
    }
}

/// A table whose rows [`key`] begins.
fn keyed(report: &BenchReport, words: &[&str], numbers: &[&str]) -> HtmlTable {
    let machine = report.machine(0).map(|_| "machine");
    HtmlTable::new(&machine.into_iter().chain(words.iter().copied()).collect::<Vec<&str>>(), numbers)
}

fn cells(report: &BenchReport) -> String {
    let numbers = [
        "nDCG@10",
        "from",
        "to",
        "Recall@100",
        "MRR@10",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "queries/s",
        "open p99 ms",
        "recall",
        "agreement",
    ];
    let mut table = keyed(report, &["data set", "system"], &numbers);
    for cell in &report.cells {
        let estimate = |name: &str| cell.quality.as_ref().and_then(|quality| quality.means.get(name));
        let mean = |name: &str| estimate(name).map(|estimate| estimate.mean);
        let interval = estimate("nDCG@10").and_then(|estimate| estimate.interval);
        let latency = cell.closed.first().map(|load| load.latency);
        key(&mut table, report, cell.environment, &[&cell.key.dataset, &cell.key.system()]);
        table
            .number(mean("nDCG@10"), 4)
            .number(interval.map(|interval| interval.low), 3)
            .number(interval.map(|interval| interval.high), 3)
            .number(mean("Recall@100"), 4)
            .number(mean("MRR@10"), 4)
            .measured(latency.map(|latency| latency.p50))
            .measured(latency.map(|latency| latency.p95))
            .measured(latency.map(|latency| latency.p99))
            .measured(cell.closed.last().map(|load| load.queries_per_second))
            .measured(cell.open.latency.p99)
            .number(cell.recall, 4)
            .number(cell.agreement.as_ref().map(|agreement| agreement.overlap_at_10), 3);
    }
    format!(
        "<h2>All combinations</h2>\n{}<p class=note>From and to are the 95% bootstrap interval of nDCG@10. Percentiles are of \
         one client, queries a second of several, and open is with queries that arrive at a fixed rate. Recall is against the \
         exact search. Agreement is the share of the first ten that the first encoder finds, too.</p>\n",
        table.html()
    )
}

/// Where a query's time goes: a bar a combination.
fn breakdown(report: &BenchReport) -> String {
    let axis = &report.summary.breakdown;
    let mut bars = String::new();
    for cell in &report.cells {
        let Some(load) = cell.closed.first() else { continue };
        let parts = STAGES.map(|name| (name, load.stages.get(name).map_or(0.0, |stage| stage.mean)));
        bars.push_str(&format!(
            "<p>{}: {} ms</p>{}\n",
            escaped(&called(report, cell)),
            datum("span", load.stage_sum, &three_digits(load.stage_sum)),
            bar(axis, &parts)
        ));
    }
    let names = STAGES.iter().enumerate().map(|(place, name)| (place, (*name).to_owned()));
    format!(
        "<h2>Where the time goes</h2>\n{}<div class=bars>{bars}{}</div>\n",
        legend(names),
        axis_below(axis)
    )
}

/// What a combination is called where it stands alone.
fn called(report: &BenchReport, cell: &Cell) -> String {
    let machine = report.machine(cell.environment).map_or_else(String::new, |name| format!("{name}: "));
    format!("{machine}{}, {}", cell.key.dataset, cell.key.system())
}

/// What encoders are, and what a corpus took.
fn encoders(report: &BenchReport) -> String {
    let mut table = HtmlTable::new(
        &["encoder", "family", "computed on"],
        &["parameters, millions", "of them embeddings", "GFLOP/token", "MB", "dimension", "most tokens"],
    );
    for encoder in &report.encoders {
        table
            .row()
            .words(&encoder.name)
            .words(&encoder.family)
            .words(&format!("{}, {}", encoder.computes_on, encoder.precision))
            .scaled(encoder.parameters as f64, 1e-6)
            .scaled(encoder.embedding_parameters as f64, 1e-6)
            .measured(encoder.gflop_per_token)
            .scaled(encoder.model_bytes as f64, 1e-6)
            .number(encoder.dim as f64, 0)
            .number(encoder.max_length as f64, 0);
    }
    if table.is_empty() {
        return String::new();
    }
    let mut corpora = keyed(
        report,
        &["data set", "encoder"],
        &[
            "documents/s",
            "tokens/s",
            "padding ratio",
            "tokens a document",
            "cut documents",
            "cut queries",
            "isotropy",
        ],
    );
    for facts in &report.encodings {
        key(&mut corpora, report, facts.environment, &[&facts.dataset, &facts.encoder]);
        corpora
            .measured(facts.documents_per_second)
            .measured(facts.tokens_per_second)
            .number(facts.padding_ratio, 3)
            .number(facts.mean_tokens, 1)
            .number(facts.cut_documents as f64, 0)
            .number(facts.cut_queries as f64, 0)
            .number(facts.isotropy, 4);
    }
    format!("<h2>Encoders</h2>\n{}<h2>Encoding</h2>\n{}", table.html(), corpora.html())
}

fn builds(report: &BenchReport) -> String {
    let mut table = keyed(
        report,
        &["data set", "encoder", "index"],
        &["build, seconds", "MB", "vectors, MB", "graph, MB"],
    );
    for build in &report.builds {
        let [encoder, index] = [&build.encoder, &build.index].map(|name| name.as_deref().unwrap_or("words"));
        key(&mut table, report, build.environment, &[&build.dataset, encoder, index]);
        let of = |kind: &str| build.bytes_by_kind.get(kind).map(|bytes| *bytes as f64);
        table
            .measured(build.seconds)
            .scaled(build.bytes as f64, 1e-6)
            .scaled(of("vectors"), 1e-6)
            .scaled(of("graph"), 1e-6);
    }
    format!("<h2>Indexes</h2>\n{}", table.html())
}

/// What the answers of each encoder lost to those of the first.
fn losses(report: &BenchReport) -> String {
    let mut text = String::new();
    for cell in &report.cells {
        let Some(agreement) = cell.agreement.as_ref().filter(|agreement| !agreement.losses.is_empty()) else {
            continue;
        };
        let with = escaped(&agreement.with);
        let own = escaped(cell.key.encoder.as_deref().unwrap_or_default());
        let mut table = HtmlTable::new(&["query", &with, &own], &["before", "after"]);
        for loss in &agreement.losses {
            table.row().long(&escaped(loss.text.as_deref().unwrap_or(&loss.query_id)));
            for answers in &loss.answers {
                table.long(&answered(loss, answers));
            }
            table.number(loss.values[0], 3).number(loss.values[1], 3);
        }
        text.push_str(&format!(
            "<details><summary>{}</summary>{}</details>\n",
            escaped(&called(report, cell)),
            table.html()
        ));
    }
    if text.is_empty() {
        return text;
    }
    format!(
        "<h2>What was lost, query by query</h2>\n<p class=note>nDCG@10 with the first encoder and with this one, of the \
         queries that lost most; without judgments, the share of the first ten that stays. In brackets is the judged \
         relevance.</p>\n{text}"
    )
}

fn answered(moved: &MovedQuery, answers: &[Answer]) -> String {
    let item = |answer: &Answer| {
        let relevance = answer.relevance.map_or_else(String::new, |relevance| {
            format!("[{}] ", datum("span", f64::from(relevance), &relevance.to_string()))
        });
        let title = answer.title.as_ref().filter(|title| !title.is_empty()).unwrap_or(&answer.doc_id);
        format!("<li>{relevance}{}</li>", escaped(title))
    };
    let items: String = answers.iter().map(item).collect();
    match items.is_empty() {
        true => format!("no answer to {}", escaped(&moved.query_id)),
        false => format!("<ol class=answer>{items}</ol>"),
    }
}

fn machines(report: &BenchReport) -> String {
    let mut text = String::from("<h2>Measured on</h2>\n");
    for (place, environment) in report.environments.iter().enumerate() {
        let name = report.machine(place).map_or_else(String::new, |name| format!("{name}: "));
        text.push_str(&format!(
            "<p class=note>{name}{}, {} threads, {}, {}, secateur {}{}.</p>\n",
            escaped(&environment.processor),
            datum("span", environment.threads as f64, &environment.threads.to_string()),
            escaped(&environment.system),
            escaped(&environment.started),
            escaped(&environment.program.version),
            if environment.program.is_optimised { "" } else { " (a debug build: its times say little)" }
        ));
    }
    report
        .notes
        .iter()
        .for_each(|note| text.push_str(&format!("<p class=note>Note: {}</p>\n", escaped(note))));
    text
}
