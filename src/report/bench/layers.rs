//! What is left of pruned encoders: the order in which sub-layers are dropped, and the widths of layers.

use std::fmt::Write;

use super::draw::legend;
use super::html::escaped;
use crate::bench::{BenchReport, DropOrder, EncoderFacts};

/// The style's color of what was taken out, of what stays, and of what is not there.
const GONE: usize = 0;
const KEPT: usize = 1;
const ABSENT: usize = 5;
/// Of an attention that is there.
const ATTENTION: usize = 2;

/// The sections on the encoders that were pruned, or scored.
pub(super) fn layers(report: &BenchReport) -> String {
    let mut text = String::new();
    for encoder in &report.encoders {
        if let Some(order) = &encoder.drop_order {
            text.push_str(&drop_order(encoder, order));
        }
        if is_pruned(encoder) {
            text.push_str(&widths(encoder));
        }
    }
    if text.is_empty() { text } else { format!("<h2>Where encoders were pruned</h2>\n{text}") }
}

/// Whether a layer lacks something.
fn is_pruned(encoder: &EncoderFacts) -> bool {
    let lacks = |width: Option<usize>| width.is_none() || width < encoder.full_width;
    encoder.full_width.is_some()
        && encoder.layers.iter().any(|layer| !layer.attention || lacks(layer.mlp_width))
}

/// A drawing of 720 units in width, with its title and legend.
fn drawing(title: &str, names: &[(usize, &str)], height: f64, body: &str) -> String {
    let title = escaped(title);
    let names = names.iter().map(|(color, name)| (*color, (*name).to_owned()));
    format!(
        "<h3>{title}</h3>\n<div class=wide><svg class=plot viewBox=\"0 0 720 {height}\" role=img aria-label=\"{title}\">\n{body}\
         </svg></div>\n{}",
        legend(names)
    )
}

fn text(x: f64, y: f64, anchor: &str, words: &str) -> String {
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor={anchor}>{}</text>\n", escaped(words))
}

/// Words from below to above, beside a vertical axis.
fn upright(x: f64, y: f64, words: &str) -> String {
    format!(
        "<text transform=\"translate({x:.1} {y:.1}) rotate(-90)\" text-anchor=middle>{}</text>\n",
        escaped(words)
    )
}

fn rectangle(x: f64, y: f64, [width, height]: [f64; 2], color: usize, hover: &str) -> String {
    format!(
        "<rect class=c{color} x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\"><title>{}</title></rect>\n",
        escaped(hover)
    )
}

/// Every layer where there are few, every fourth otherwise.
fn is_labelled(layer: usize, layers: usize) -> bool {
    layers <= 12 || layer.is_multiple_of(4)
}

/// Which layers go as more and more go (EffiR, Fig. 2a and 5).
fn drop_order(encoder: &EncoderFacts, order: &DropOrder) -> String {
    let (top, panel) = (24.0, 230.0);
    let layers = order.num_layers.max(1);
    let cell = (180.0 / layers as f64).min(16.0);
    let parts = [("attentions", &order.attention), ("MLPs", &order.mlp), ("blocks", &order.block)];
    let rows = parts.iter().map(|(_, order)| order.len()).max().unwrap_or(0);
    let mut body = String::new();
    for (number, (name, order)) in parts.into_iter().enumerate() {
        let left = 40.0 + panel * number as f64;
        let middle = left + cell * layers as f64 / 2.0;
        body.push_str(&text(middle, top - 8.0, "middle", name));
        for dropped in 1..=order.len() {
            let y = top + cell * (dropped - 1) as f64;
            for layer in 0..layers {
                let (color, word) = match order.iter().position(|other| *other == layer) {
                    None => (ABSENT, "was not there"),
                    Some(place) if place < dropped => (GONE, "dropped"),
                    Some(_) => (KEPT, "kept"),
                };
                let hover = format!("layer {layer}, {dropped} {name} dropped: {word}");
                let x = left + cell * layer as f64;
                body.push_str(&rectangle(x, y, [0.92 * cell, 0.92 * cell], color, &hover));
            }
            if is_labelled(dropped, order.len()) {
                body.push_str(&text(left - 4.0, y + cell * 0.8, "end", &dropped.to_string()));
            }
        }
        let below = top + cell * rows as f64;
        for layer in (0..layers).filter(|layer| is_labelled(*layer, layers)) {
            body.push_str(&text(
                left + cell * (layer as f64 + 0.5),
                below + 14.0,
                "middle",
                &layer.to_string(),
            ));
        }
        body.push_str(&text(middle, below + 30.0, "middle", "layer (number)"));
        body.push_str(&upright(left - 26.0, top + cell * rows as f64 / 2.0, "dropped (number)"));
    }
    let title = format!("{}: the order in which sub-layers of {} are dropped", encoder.name, order.model);
    let names = [(GONE, "dropped"), (KEPT, "kept"), (ABSENT, "was not there")];
    drawing(&title, &names, top + cell * rows as f64 + 40.0, &body)
}

/// What each layer keeps (EffiR, Fig. 2b).
fn widths(encoder: &EncoderFacts) -> String {
    let (left, top, width, height) = (60.0, 12.0, 620.0, 160.0);
    let full = encoder.full_width.unwrap_or(1).max(1) as f64;
    let step = (width / encoder.layers.len().max(1) as f64).min(60.0);
    let mut body = String::new();
    for share in [0.0, 0.5, 1.0] {
        let neurons = format!("{:.0}", share * full);
        body.push_str(&text(left - 6.0, top + height * (1.0 - share) + 4.0, "end", &neurons));
    }
    for (number, layer) in encoder.layers.iter().enumerate() {
        let x = left + step * number as f64;
        let kept = layer.mlp_width.unwrap_or(0);
        let part = height * kept as f64 / full;
        let attention = if layer.attention { "with attention" } else { "without attention" };
        let hover = format!("layer {number}: {kept} of {full:.0} neurons, {attention}");
        body.push_str(&rectangle(x, top, [0.85 * step, height - part], GONE, &hover));
        body.push_str(&rectangle(x, top + height - part, [0.85 * step, part], KEPT, &hover));
        if layer.attention {
            let _ = writeln!(
                body,
                "<circle class=c{ATTENTION} cx=\"{:.1}\" cy=\"{:.1}\" r=3><title>{}</title></circle>",
                x + 0.42 * step,
                top + height + 8.0,
                escaped(&hover)
            );
        }
        if is_labelled(number, encoder.layers.len()) {
            body.push_str(&text(x + 0.42 * step, top + height + 26.0, "middle", &number.to_string()));
        }
    }
    let middle = left + step * encoder.layers.len() as f64 / 2.0;
    body.push_str(&text(middle, top + height + 44.0, "middle", "layer (number)"));
    body.push_str(&upright(14.0, top + height / 2.0, "width of the MLP (neurons)"));
    let names = [(KEPT, "neurons left"), (GONE, "neurons gone"), (ATTENTION, "attention")];
    drawing(&format!("{}: what each layer keeps", encoder.name), &names, top + height + 52.0, &body)
}
