//! The similarity of a query and documents, layer by layer (paper, Fig. 6 and 7).

use secateur_encoders::prune::TracePoint;

use super::svg::{Anchor, Svg};

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 200.0;
const LEFT: f64 = 56.0;
const TOP: f64 = 36.0;
const GAP: f64 = 24.0;
/// Colors of documents that answer the query, and of those that do not.
const RELEVANT: [&str; 3] = ["#4c78a8", "#54a24b", "#72b7b2"];
const OTHER: [&str; 3] = ["#f58518", "#e45756", "#b279a2"];

/// A document that is compared with the query: its text, and whether it answers the query.
pub type SimilarDocument<'a> = (&'a str, bool);

/// One panel a model, with a title of its own. It has the cosine of a query and each document after the embeddings,
/// after each layer, and of the final vectors.
///
/// ```
/// use secateur::prune::TracePoint;
/// let point = |stage: &str, layer, cosine| TracePoint { stage: stage.to_owned(), layer, cosines: vec![cosine] };
/// let points = [point("embeddings", None, 0.5), point("layer", Some(0), 0.7), point("vector", None, 0.7)];
/// let drawing = secateur::report::layer_similarity("roses?", &[("Roses.", true)], &[("tiny".to_owned(), &points)]);
/// let drawing = drawing.to_string();
/// assert!(drawing.contains("cosine with the query") && drawing.contains("positive: Roses."));
/// ```
pub fn layer_similarity(
    query: &str,
    documents: &[SimilarDocument<'_>],
    models: &[(String, &[TracePoint])],
) -> Svg {
    let panels = models.len().max(1) as f64;
    let legend = 18.0 * (documents.len() + 1) as f64;
    let width = LEFT + panels * (WIDTH + GAP);
    let mut svg = Svg::new(width, TOP + HEIGHT + 52.0 + legend);
    let cosines = models.iter().flat_map(|(_, points)| *points).flat_map(|point| &point.cosines);
    // All panels have one axis, in tenths.
    let least = (10.0 * cosines.copied().fold(0.0, f64::min)).floor() / 10.0;
    let at = |panel: f64, place: usize, places: usize, cosine: f64| {
        let x = LEFT + panel * (WIDTH + GAP) + WIDTH * place as f64 / places.saturating_sub(1).max(1) as f64;
        (x, TOP + HEIGHT * (1.0 - (cosine - least) / (1.0 - least)))
    };
    for step in 0..=5 {
        let cosine = least + (1.0 - least) * f64::from(step) / 5.0;
        let (x, y) = at(0.0, 0, 2, cosine);
        svg.text(x - 8.0, y + 4.0, Anchor::End, &format!("{cosine:.2}"));
        for panel in 0..models.len() {
            svg.line(at(panel as f64, 0, 2, cosine), at(panel as f64, 1, 2, cosine), "#dddddd", 1.0);
        }
    }
    svg.rotated_text(14.0, TOP + HEIGHT / 2.0, Anchor::Middle, -90.0, "cosine with the query");
    for (panel, (title, points)) in models.iter().enumerate() {
        let panel = panel as f64;
        let middle = LEFT + panel * (WIDTH + GAP) + WIDTH / 2.0;
        svg.text(middle, 18.0, Anchor::Middle, title);
        let places = points.len();
        let every = places.div_ceil(16);
        for (place, point) in points.iter().enumerate() {
            let is_labelled =
                point.layer.is_some_and(|layer| layer.is_multiple_of(every)) || point.layer.is_none();
            if is_labelled {
                let (x, _) = at(panel, place, places, least);
                svg.text(x, TOP + HEIGHT + 16.0, Anchor::Middle, &label(point));
            }
        }
        let axis = "after the layer of this number (E: embeddings, V: final vectors)";
        svg.text(middle, TOP + HEIGHT + 34.0, Anchor::Middle, axis);
        for (number, color) in colors(documents).into_iter().enumerate() {
            let line: Vec<(f64, f64)> = points
                .iter()
                .enumerate()
                .map(|(place, point)| at(panel, place, places, point.cosines[number]))
                .collect();
            svg.polyline(&line, color, 2.0);
            line.iter().for_each(|(x, y)| svg.circle(*x, *y, 2.5, color));
        }
    }
    let below = TOP + HEIGHT + 60.0;
    let room = ((width - LEFT) / 6.5) as usize;
    svg.text(LEFT, below, Anchor::Start, &shortened(&format!("query: {query}"), room));
    for (number, color) in colors(documents).into_iter().enumerate() {
        let y = below + 18.0 * (number + 1) as f64;
        let (text, is_relevant) = documents[number];
        let kind = if is_relevant { "positive" } else { "negative" };
        svg.rectangle(LEFT, y - 9.0, 10.0, 10.0, color);
        svg.text(LEFT + 16.0, y, Anchor::Start, &shortened(&format!("{kind}: {text}"), room));
    }
    svg
}

/// The color of each document.
fn colors(documents: &[SimilarDocument<'_>]) -> Vec<&'static str> {
    let mut seen = [0, 0];
    let color = |(_, is_relevant): &SimilarDocument<'_>| {
        let (palette, seen) = if *is_relevant { (RELEVANT, &mut seen[0]) } else { (OTHER, &mut seen[1]) };
        *seen += 1;
        palette[(*seen - 1) % palette.len()]
    };
    documents.iter().map(color).collect()
}

fn label(point: &TracePoint) -> String {
    match point.layer {
        Some(layer) => layer.to_string(),
        None if point.stage == "embeddings" => "E".to_owned(),
        None => "V".to_owned(),
    }
}

/// A text that fits into a line.
fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
