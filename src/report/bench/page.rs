//! A bench as one HTML page: no script, no file beside it, for light and dark screens of any width.

use crate::bench::{BenchReport, Cell, STAGES, System};

const COLORS: [&str; 6] = ["#4c78a8", "#f58518", "#54a24b", "#b279a2", "#e45756", "#9d755d"];

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--faint:#8a929b;--line:#d8dee4}\
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--paper:#0d1117;--faint:#8b949e;--line:#30363d}}\
*{box-sizing:border-box}body{margin:0 auto;max-width:70rem;padding:1rem;background:var(--paper);color:var(--ink);\
font:15px/1.45 system-ui,sans-serif;overflow-wrap:anywhere}h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}\
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}\
th,td{padding:.2rem .6rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}\
th:first-child,td:first-child,th:nth-child(2),td:nth-child(2){text-align:left}\
svg{width:100%;max-width:46rem;height:auto;font:12px system-ui,sans-serif}svg text{fill:var(--ink)}\
svg .axis{stroke:var(--faint)}svg .front{stroke:var(--faint);fill:none;stroke-dasharray:4 3}p.note{color:var(--faint)}";

/// The whole page.
pub fn bench_page(report: &BenchReport) -> String {
    let mut body = format!("<h1>Bench</h1>\n<p><strong>{}</strong></p>\n", escaped(&report.summary.sentence));
    body.push_str(&cells(report));
    let by_latency = |system: &System| Some(system.p50);
    let by_size = |system: &System| system.parameters.map(|count| count as f64 / 1e6);
    body.push_str(&scatter(report, "Quality and latency", "median query, milliseconds", &by_latency, &|s| {
        s.is_on_latency_front
    }));
    body.push_str(&scatter(report, "Quality and size", "parameters, millions", &by_size, &|s| {
        s.is_on_size_front
    }));
    body.push_str(&breakdown(report));
    body.push_str(&losses(report));
    for environment in &report.environments {
        body.push_str(&format!(
            "<p class=note>{}, {} threads, {}, {}, secateur {}{}.</p>\n",
            escaped(&environment.processor),
            environment.threads,
            escaped(&environment.system),
            escaped(&environment.started),
            escaped(&environment.program.version),
            if environment.program.is_optimised { "" } else { " (a debug build: its times say little)" }
        ));
    }
    format!(
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width,initial-scale=1\"><title>Bench</title>\
         <style>{STYLE}</style></head>\n<body>\n{body}</body></html>\n"
    )
}

/// A number as people read it, with all its digits for programs and for whoever points at it.
fn number(value: f64, decimals: usize) -> String {
    format!("<td data-value=\"{value}\" title=\"{value}\">{value:.decimals$}</td>")
}

fn optional(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "<td></td>".to_owned(), |value| number(value, decimals))
}

fn cells(report: &BenchReport) -> String {
    let mut rows = String::new();
    for cell in &report.cells {
        let estimate = |name: &str| cell.quality.as_ref().and_then(|quality| quality.means.get(name));
        let mean = |name: &str| estimate(name).map(|estimate| estimate.mean);
        let interval = estimate("nDCG@10").and_then(|estimate| estimate.interval);
        let latency = cell.closed.first().map(|load| load.latency);
        let rate = cell.closed.last().map(|load| load.queries_per_second);
        rows.push_str(&format!(
            "<tr><td>{}</td><td>{}</td>",
            escaped(&cell.key.dataset),
            escaped(&cell.key.system())
        ));
        rows.push_str(&optional(mean("nDCG@10"), 4));
        rows.push_str(&optional(interval.map(|interval| interval.low), 3));
        rows.push_str(&optional(interval.map(|interval| interval.high), 3));
        rows.push_str(&optional(mean("Recall@100"), 4));
        rows.push_str(&optional(mean("MRR@10"), 4));
        rows.push_str(&optional(latency.map(|latency| latency.p50), 2));
        rows.push_str(&optional(latency.map(|latency| latency.p95), 2));
        rows.push_str(&optional(latency.map(|latency| latency.p99), 2));
        rows.push_str(&optional(rate, 0));
        rows.push_str(&optional(cell.recall, 4));
        rows.push_str("</tr>\n");
    }
    format!(
        "<h2>All combinations</h2>\n<div class=wide><table><tr><th>data set<th>system<th>nDCG@10<th>from<th>to<th>Recall@100\
         <th>MRR@10<th>p50 ms<th>p95 ms<th>p99 ms<th>queries/s<th>recall</tr>\n{rows}</table></div>\n\
         <p class=note>From and to are the 95% bootstrap interval of nDCG@10. Times are of one client, queries a second of \
         several.</p>\n"
    )
}

/// Points of systems: nDCG@10 against what a system costs, with those joined that no other is better than.
fn scatter(
    report: &BenchReport,
    title: &str,
    axis: &str,
    cost: &dyn Fn(&System) -> Option<f64>,
    is_on_front: &dyn Fn(&System) -> bool,
) -> String {
    let systems = report.summary.systems.iter();
    let points: Vec<(&System, f64, f64)> =
        systems.filter_map(|system| Some((system, cost(system)?, system.score()?))).collect();
    if points.is_empty() {
        return String::new();
    }
    let (left, top, width, height) = (60.0, 20.0, 620.0, 300.0);
    let most_x = points.iter().map(|(_, x, _)| *x).fold(f64::MIN_POSITIVE, f64::max) * 1.05;
    let most_y = points.iter().map(|(_, _, y)| *y).fold(0.05, f64::max) * 1.08;
    let at = |x: f64, y: f64| (left + width * x / most_x, top + height * (1.0 - y / most_y));
    let total = top + height + 60.0 + 18.0 * points.len() as f64;
    let mut svg = format!("<svg viewBox=\"0 0 720 {total}\" role=img><title>{}</title>\n", escaped(title));
    svg.push_str(&format!(
        "<path class=axis fill=none d=\"M{left} {top}V{}H{}\"/>\n",
        top + height,
        left + width
    ));
    for share in [0.0, 0.5, 1.0] {
        let (x, y) = at(share * most_x, share * most_y);
        svg.push_str(&format!(
            "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=middle>{:.2}</text>\
             <text x=\"{:.1}\" y=\"{y:.1}\" text-anchor=end>{:.2}</text>\n",
            top + height + 16.0,
            share * most_x,
            left - 6.0,
            share * most_y
        ));
    }
    svg.push_str(&format!(
        "<text x=\"{}\" y=\"{}\" text-anchor=middle>{}</text><text x=\"{left}\" y=\"12\">nDCG@10</text>\n",
        left + width / 2.0,
        top + height + 34.0,
        escaped(axis)
    ));
    let mut front: Vec<(f64, f64)> =
        points.iter().filter(|(system, _, _)| is_on_front(system)).map(|(_, x, y)| at(*x, *y)).collect();
    front.sort_by(|a, b| a.0.total_cmp(&b.0));
    let line: Vec<String> = front.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    svg.push_str(&format!("<polyline class=front points=\"{}\"/>\n", line.join(" ")));
    for (place, (system, x, y)) in points.iter().enumerate() {
        let color = COLORS[place % COLORS.len()];
        let ((cx, cy), name) = (at(*x, *y), escaped(&system.name));
        let below = top + height + 56.0 + 18.0 * place as f64;
        svg.push_str(&format!(
            "<circle cx=\"{cx:.1}\" cy=\"{cy:.1}\" r=5 fill=\"{color}\"><title>{name}: nDCG@10 {y:.4}, {axis} {x:.3}</title>\
             </circle><rect x=\"{left}\" y=\"{:.1}\" width=10 height=10 fill=\"{color}\"/>\
             <text x=\"{:.1}\" y=\"{below:.1}\">{name}</text>\n",
            below - 10.0,
            left + 16.0
        ));
    }
    format!(
        "<h2>{}</h2>\n{svg}</svg>\n<p class=note>The broken line joins those that no other beats.</p>\n",
        escaped(title)
    )
}

/// Where a query's time goes: a bar a combination.
fn breakdown(report: &BenchReport) -> String {
    let bars: Vec<(&Cell, Vec<f64>)> = report
        .cells
        .iter()
        .filter_map(|cell| {
            let stages = &cell.closed.first()?.stages;
            Some((
                cell,
                STAGES.iter().map(|name| stages.get(*name).map_or(0.0, |stage| stage.mean)).collect(),
            ))
        })
        .collect();
    let most = bars.iter().map(|(_, parts)| parts.iter().sum::<f64>()).fold(f64::MIN_POSITIVE, f64::max);
    let (width, row) = (680.0, 38.0);
    let total = 50.0 + row * bars.len() as f64;
    let mut svg = format!("<svg viewBox=\"0 0 720 {total}\" role=img><title>Where the time goes</title>\n");
    for (place, name) in STAGES.iter().enumerate() {
        let x = 10.0 + 110.0 * place as f64;
        svg.push_str(&format!(
            "<rect x=\"{x}\" y=4 width=10 height=10 fill=\"{}\"/><text x=\"{}\" y=14>{name}</text>\n",
            COLORS[place],
            x + 15.0
        ));
    }
    for (place, (cell, parts)) in bars.iter().enumerate() {
        let y = 36.0 + row * place as f64;
        let sum: f64 = parts.iter().sum();
        svg.push_str(&format!(
            "<text x=10 y=\"{y}\">{}, {}: {sum:.3} ms</text>\n",
            escaped(&cell.key.dataset),
            escaped(&cell.key.system())
        ));
        let mut x = 10.0;
        for (stage, time) in parts.iter().enumerate() {
            let part = width * time / most;
            svg.push_str(&format!(
                "<rect x=\"{x:.1}\" y=\"{}\" width=\"{part:.1}\" height=12 fill=\"{}\"><title>{}: {time} ms</title></rect>\n",
                y + 4.0,
                COLORS[stage],
                STAGES[stage]
            ));
            x += part;
        }
    }
    format!("<h2>Where the time goes</h2>\n{svg}</svg>\n<p class=note>Mean milliseconds of one client.</p>\n")
}

/// What the answers of each encoder lost to those of the first.
fn losses(report: &BenchReport) -> String {
    let mut rows = String::new();
    for cell in &report.cells {
        for loss in cell.agreement.iter().flat_map(|agreement| &agreement.losses) {
            rows.push_str(&format!(
                "<tr><td>{}, {}</td><td>{}</td>{}{}</tr>\n",
                escaped(&cell.key.dataset),
                escaped(&cell.key.system()),
                escaped(&loss.query),
                number(loss.before, 3),
                number(loss.after, 3)
            ));
        }
    }
    if rows.is_empty() {
        return rows;
    }
    format!(
        "<h2>What was lost, query by query</h2>\n<div class=wide><table><tr><th>system<th>query<th>before<th>after</tr>\n\
         {rows}</table></div>\n<p class=note>nDCG@10 with the first encoder and with this one; without judgments, overlap.</p>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
