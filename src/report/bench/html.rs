//! Pieces of HTML.

use std::fmt::Write;

use crate::number::three_digits;

/// The style of a page: dark and light, wide and narrow. The colors of `c0` and the rest are told apart by people who
/// see no red or no green, on either ground.
pub(super) const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--paper:#fff;--faint:#59636e;--line:#d1d9e0;\
--c0:#3b6fb6;--c1:#b85c00;--c2:#2f855a;--c3:#8e4ec6;--c4:#c53030;--c5:#7a5c3e}\
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--paper:#0d1117;--faint:#9198a1;--line:#3d444d;\
--c0:#79aef0;--c1:#f0a14b;--c2:#6fcf97;--c3:#c9a0f0;--c4:#ff8a80;--c5:#c8aa88}}\
*{box-sizing:border-box}body{margin:0 auto;max-width:72rem;padding:1rem;background:var(--paper);color:var(--ink);\
font:15px/1.45 system-ui,sans-serif;overflow-wrap:anywhere}h1{font-size:1.5rem}h2{font-size:1.15rem;margin:2rem 0 .5rem}\
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}\
th,td{padding:.2rem .6rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap;vertical-align:top}\
th.text,td.text{text-align:left}td.long{text-align:left;white-space:normal;min-width:16rem;overflow-wrap:anywhere}\
p.note,p.axis-name{color:var(--faint);margin:.3rem 0}p.axis-name{text-align:center}\
svg.plot{display:block;width:100%;min-width:34rem;max-width:46rem;height:auto;font:12px system-ui,sans-serif}\
svg text{fill:var(--ink)}svg .grid{stroke:var(--line);fill:none}\
svg .front{stroke:var(--faint);fill:none;stroke-dasharray:4 3}svg .line{fill:none;stroke-width:1.5}\
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;margin:.4rem 0;padding:0}\
svg.mark{width:.9em;height:.9em;margin-right:.35em;vertical-align:-.08em}\
svg.bar{display:block;width:100%;height:.8rem;border-left:1px solid var(--faint)}svg.bar rect{stroke:none}\
.bars{max-width:46rem}.bars p{margin:.5rem 0 .1rem}.ticks{display:flex;justify-content:space-between;font-size:12px}\
details{margin:.4rem 0}ol.answer{margin:0;padding-left:1.4rem}\
.c0{fill:var(--c0);stroke:var(--c0)}.c1{fill:var(--c1);stroke:var(--c1)}.c2{fill:var(--c2);stroke:var(--c2)}\
.c3{fill:var(--c3);stroke:var(--c3)}.c4{fill:var(--c4);stroke:var(--c4)}.c5{fill:var(--c5);stroke:var(--c5)}";

/// A page without scripts or other files.
pub(super) fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>\
         <meta name=viewport content=\"width=device-width,initial-scale=1\"><title>{}</title>\
         <style>{STYLE}</style></head>\n<body>\n{body}</body></html>\n",
        escaped(title)
    )
}

/// A number as people read it, with all its digits for programs and for whoever points at it.
pub(super) fn datum(tag: &str, value: f64, shown: &str) -> String {
    format!("<{tag} data-value=\"{value}\" title=\"{value}\">{shown}</{tag}>")
}

/// A table that scrolls where it is too wide.
pub(super) struct HtmlTable {
    head: String,
    rows: String,
}

impl HtmlTable {
    /// The names of the columns, those of words first.
    pub fn new(words: &[&str], numbers: &[&str]) -> HtmlTable {
        let mut head = String::new();
        for name in words {
            let _ = write!(head, "<th class=text>{}", escaped(name));
        }
        for name in numbers {
            let _ = write!(head, "<th>{}", escaped(name));
        }
        HtmlTable { head, rows: String::new() }
    }

    /// Begins a row.
    pub fn row(&mut self) -> &mut HtmlTable {
        self.rows.push_str("\n<tr>");
        self
    }

    /// A cell of words.
    pub fn words(&mut self, text: &str) -> &mut HtmlTable {
        let _ = write!(self.rows, "<td class=text>{}</td>", escaped(text));
        self
    }

    /// A cell of many words.
    pub fn long(&mut self, html: &str) -> &mut HtmlTable {
        let _ = write!(self.rows, "<td class=long>{html}</td>");
        self
    }

    /// A cell of a number as `show` writes it, or an empty one.
    pub fn shown(&mut self, value: Option<f64>, show: impl FnOnce(f64) -> String) -> &mut HtmlTable {
        let cell = value.map(|value| datum("td", value, &show(value)));
        self.rows.push_str(cell.as_deref().unwrap_or("<td></td>"));
        self
    }

    /// A cell of a number with so many decimals, or an empty one.
    pub fn number(&mut self, value: impl Into<Option<f64>>, decimals: usize) -> &mut HtmlTable {
        self.shown(value.into(), |value| format!("{value:.decimals$}"))
    }

    /// A cell of a measured number with three significant digits, or an empty one.
    pub fn measured(&mut self, value: impl Into<Option<f64>>) -> &mut HtmlTable {
        self.scaled(value, 1.0)
    }

    /// The same, of the number's multiple; programs read the number itself.
    pub fn scaled(&mut self, value: impl Into<Option<f64>>, scale: f64) -> &mut HtmlTable {
        self.shown(value.into(), |value| three_digits(value * scale))
    }

    /// The table.
    pub fn html(&self) -> String {
        format!("<div class=wide><table><tr>{}{}\n</table></div>\n", self.head, self.rows)
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
