//! Which layers are dropped as more and more are dropped (paper, Fig. 2a and 5).

use secateur_encoders::prune::{Scores, SubLayer};

use super::svg::{Anchor, Svg};

const CELL: f64 = 14.0;
const LEFT: f64 = 56.0;
const TOP: f64 = 72.0;
const GAP: f64 = 48.0;
const BOTTOM: f64 = 40.0;
/// The paper's colors: blue for dropped, orange for kept. Grey is a sub-layer that was absent before.
const DROPPED: &str = "#4c78a8";
const KEPT: &str = "#f58518";
const ABSENT: &str = "#dddddd";

/// The drop order of attention, MLP and blocks as heat maps side by side. A column is a layer, and a row is a number
/// of dropped sub-layers. A cell is blue if the layer's sub-layer is dropped at that number.
pub fn drop_order(scores: &Scores) -> Svg {
    let layers = scores.importance.attention.len();
    let panel = LEFT + layers as f64 * CELL;
    let orders = SubLayer::ALL.map(|kind| (kind, scores.importance.drop_order(kind)));
    let rows = orders.iter().map(|(_, order)| order.len()).max().unwrap_or(0);
    let width = 3.0 * panel + 2.0 * GAP + 16.0;
    let mut svg = Svg::new(width, TOP + rows as f64 * CELL + BOTTOM);
    svg.text(
        width / 2.0,
        16.0,
        Anchor::Middle,
        &format!("{}: the order in which sub-layers are dropped", scores.model),
    );
    legend(&mut svg, width, [(DROPPED, "dropped"), (KEPT, "kept"), (ABSENT, "was not there")]);
    for (number, (part, order)) in orders.iter().enumerate() {
        let left = LEFT + number as f64 * (panel + GAP);
        let middle = left + layers as f64 * CELL / 2.0;
        svg.text(middle, TOP - 14.0, Anchor::Middle, part.name());
        for dropped in 1..=order.len() {
            let y = TOP + (dropped - 1) as f64 * CELL;
            for layer in 0..layers {
                let color = match order.iter().position(|other| *other == layer) {
                    None => ABSENT,
                    Some(place) if place < dropped => DROPPED,
                    Some(_) => KEPT,
                };
                // A thin white line separates the cells.
                svg.rectangle(left + layer as f64 * CELL, y, CELL - 1.0, CELL - 1.0, color);
            }
            if is_labelled(dropped, order.len()) {
                svg.text(left - 6.0, y + 10.0, Anchor::End, &dropped.to_string());
            }
        }
        let bottom = TOP + order.len() as f64 * CELL;
        for layer in (0..layers).filter(|layer| is_labelled(*layer, layers - 1)) {
            svg.text(left + (layer as f64 + 0.5) * CELL, bottom + 12.0, Anchor::Middle, &layer.to_string());
        }
        svg.text(middle, bottom + 28.0, Anchor::Middle, "layer (number)");
        let y = TOP + order.len() as f64 * CELL / 2.0;
        svg.rotated_text(left - 32.0, y, Anchor::Middle, -90.0, "sub-layers dropped (number)");
    }
    svg
}

/// What the colors mean, in a line below the title.
fn legend(svg: &mut Svg, width: f64, entries: [(&str, &str); 3]) {
    const ENTRY: f64 = 100.0;
    let left = (width - ENTRY * entries.len() as f64) / 2.0;
    for (number, (color, word)) in entries.into_iter().enumerate() {
        let x = left + ENTRY * number as f64;
        svg.rectangle(x, 26.0, 10.0, 10.0, color);
        svg.text(x + 15.0, 35.0, Anchor::Start, word);
    }
}

/// Every fourth number, and all of them where there are few.
fn is_labelled(number: usize, last: usize) -> bool {
    last <= 12 || number.is_multiple_of(4)
}
