//! The widths of a pruned model's MLPs, by layer (paper, Fig. 2b).

use secateur_encoders::prune::NeuronMask;

use super::svg::{Anchor, Svg};

const BAR: f64 = 14.0;
const LEFT: f64 = 56.0;
const TOP: f64 = 56.0;
const HEIGHT: f64 = 200.0;
const BOTTOM: f64 = 40.0;
const KEPT: &str = "#f58518";
const MASKED: &str = "#4c78a8";
const ABSENT: &str = "#dddddd";

/// One bar a layer. The orange share of the MLP's neurons stays, the blue share above it is removed. A grey bar is a
/// dropped MLP.
///
/// ```
/// use secateur::prune::{MaskedMlp, NeuronMask};
/// let mask = NeuronMask { layers: vec![Some(MaskedMlp { width: 4, masked: vec![1, 3] }), None] };
/// let drawing = secateur::report::widths("tiny", &mask).to_string();
/// assert!(drawing.contains("tiny: 50.0 % of the neurons stay"));
/// ```
pub fn widths(model: &str, mask: &NeuronMask) -> Svg {
    let layers = mask.layers.len();
    let width = LEFT + layers as f64 * BAR + 24.0;
    let title = format!("{model}: {:.1} % of the neurons stay", 100.0 * (1.0 - mask.sparsity()));
    // The words are wider than a few bars.
    let mut svg =
        Svg::new(width.max(LEFT + 200.0).max(LEFT + 7.0 * title.len() as f64), TOP + HEIGHT + BOTTOM);
    svg.text(LEFT, 16.0, Anchor::Start, &title);
    for (number, (color, word)) in
        [(KEPT, "stays"), (MASKED, "goes"), (ABSENT, "no MLP")].into_iter().enumerate()
    {
        let x = LEFT + 64.0 * number as f64;
        svg.rectangle(x, 28.0, 10.0, 10.0, color);
        svg.text(x + 15.0, 37.0, Anchor::Start, word);
    }
    for (layer, mlp) in mask.layers.iter().enumerate() {
        let x = LEFT + layer as f64 * BAR;
        match mlp {
            None => svg.rectangle(x, TOP, BAR - 1.0, HEIGHT, ABSENT),
            Some(mlp) => {
                let masked = HEIGHT * mlp.masked.len() as f64 / mlp.width.max(1) as f64;
                svg.rectangle(x, TOP, BAR - 1.0, masked, MASKED);
                svg.rectangle(x, TOP + masked, BAR - 1.0, HEIGHT - masked, KEPT);
            }
        }
        if layers <= 12 || layer % 4 == 0 {
            svg.text(x + BAR / 2.0, TOP + HEIGHT + 12.0, Anchor::Middle, &layer.to_string());
        }
    }
    for (share, word) in [(0.0, "0 %"), (0.5, "50 %"), (1.0, "100 %")] {
        svg.text(LEFT - 6.0, TOP + HEIGHT * (1.0 - share) + 4.0, Anchor::End, word);
    }
    svg.text(LEFT + layers as f64 * BAR / 2.0, TOP + HEIGHT + 28.0, Anchor::Middle, "layer (number)");
    svg.rotated_text(14.0, TOP + HEIGHT / 2.0, Anchor::Middle, -90.0, "neurons of the MLP (%)");
    svg
}
