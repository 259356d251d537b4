//! `secateur tune-fusion`: how a hybrid search weighs vectors and words.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use secateur::datasets::{Run, ScoredDocument};
use secateur::eval::{Measure, RuleSet};
use secateur::fusion::{Fusion, FusionPoint, RankedRuns, fusion_curve};
use secateur::report::{Align, Table, counted};
use secateur::search::{Place, Sides};
use secateur::{Hit, SearchMode, SearchParams};
use serde_json::json;

use super::encoder::{EncoderArguments, open_database};
use super::failure::{Code, Failure, Result};
use super::inputs::open_dataset;

/// Weights that are tried: steps of about one half, and words alone.
const WEIGHTS: [f64; 12] = [0.0, 0.05, 0.1, 0.15, 0.25, 0.4, 0.6, 1.0, 1.5, 2.5, 4.0, 10.0];

const EXAMPLES: &str = "\
Example:
  secateur tune-fusion scifact.db scifact --split train";

#[derive(Args)]
#[command(mut_arg("encoder", |encoder| encoder.help("Where the database's encoder is, if not where it was when the vectors were made")), after_help = EXAMPLES)]
pub struct Arguments {
    /// A database with vectors.
    database: PathBuf,
    /// A BEIR folder with queries and judgments, or the name of a downloaded data set.
    dataset: PathBuf,
    /// The judgments to measure against, such as train or dev: not those that results are reported on.
    #[arg(long)]
    split: String,
    /// Measure against judgments that results are reported on. Those of this database say little then.
    #[arg(long)]
    allow_evaluation_split: bool,
    /// Hits of each index that are fused: `search` fuses 100, `eval` as many as its -k.
    #[arg(long, value_name = "N", default_value = "100", value_parser = crate::cli::positive)]
    candidates: NonZeroUsize,
    /// What to measure.
    #[arg(long, default_value = "nDCG@10")]
    measure: Measure,
    /// The generation whose vectors are read [default: the one in use].
    #[arg(long, value_name = "NAME")]
    generation: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    encoder: EncoderArguments,
}

impl Arguments {
    pub fn run(self) -> Result<String> {
        let database = open_database(&self.database, self.generation.as_deref(), &self.encoder, true)?;
        let dataset = open_dataset(&self.dataset)?;
        if dataset.is_reported(&self.split) && !self.allow_evaluation_split {
            let message = format!(
                "results on {} are reported on its split {}, and would be too good with a weight chosen by it: name another with \
                 --split, or pass --allow-evaluation-split",
                dataset.name(),
                self.split
            );
            return Err(Failure::new(Code::Usage, message));
        }
        let qrels = dataset.qrels(&self.split)?;
        let queries = dataset.judged_queries(&qrels)?;
        let depth = self.candidates.get();
        // All that is fused, with both scores.
        let params = SearchParams {
            k: depth.saturating_mul(2),
            num_candidates: Some(depth),
            fusion: Some(Fusion::WeightedSum),
            dense_weight: Some(1.0),
            ..SearchParams::new(SearchMode::Hybrid)
        };
        let texts: Vec<&str> = queries.iter().map(|query| query.text.as_str()).collect();
        let found = database.search_sides(&texts, &params)?;
        let run = |side: fn(&Sides) -> Option<Place>| {
            let rankings = found.iter().map(|hits| ranking(hits, side));
            queries.iter().map(|query| query.id.clone()).zip(rankings).collect::<Run>()
        };
        let (dense, words) = (run(|sides| sides.dense), run(|sides| sides.bm25));
        let rules = RuleSet::TrecEval.rules(false);
        let runs = RankedRuns { dense: &dense, words: &words, depth };
        let curve = fusion_curve(runs, &qrels, &WEIGHTS, self.measure, &rules)?;
        // The first of the best: where nothing is gained, the plainest.
        let best =
            curve.iter().copied().reduce(|best, point| if point.value > best.value { point } else { best });
        let Some(best) = best.filter(|_| !queries.is_empty()) else {
            let message = format!("the split {} of {} has no judged queries", self.split, dataset.name());
            return Err(Failure::new(Code::Input, message));
        };
        let title = {
            let queries = counted(queries.len(), "query");
            format!("{} {}: {queries}, {}", dataset.name(), self.split, self.measure)
        };
        if self.json {
            return Ok(as_json(&curve, best));
        }
        let caution = format!(
            "the best of {} settings on {} is partly chance: measure it on other queries, beside the default",
            curve.len(),
            counted(queries.len(), "query")
        );
        Ok(format!("{}{caution}\n", as_text(&title, &curve, best)))
    }
}

/// The hits that are in one ranking, in its order and with its scores.
fn ranking(hits: &[(Hit, Sides)], side: fn(&Sides) -> Option<Place>) -> Vec<ScoredDocument> {
    let mut placed: Vec<(Place, &Hit)> =
        hits.iter().filter_map(|(hit, sides)| Some((side(sides)?, hit))).collect();
    placed.sort_by_key(|(place, _)| place.rank.unwrap_or(usize::MAX));
    let scored =
        |(place, hit): (Place, &Hit)| ScoredDocument { doc_id: hit.doc_id.clone(), score: place.score };
    placed.into_iter().map(scored).collect()
}

fn as_text(title: &str, curve: &[FusionPoint], best: FusionPoint) -> String {
    let columns = [("dense weight", Align::Right)].into_iter().map(|(name, align)| (name.to_owned(), align));
    let fusions = Fusion::ALL.map(|fusion| (fusion.to_string(), Align::Right));
    let mut table = Table::new(columns.chain(fusions));
    for weight in WEIGHTS {
        let points = curve.iter().filter(|point| point.dense_weight == weight);
        table.row([weight.to_string()].into_iter().chain(points.map(|point| format!("{:.4}", point.value))));
    }
    let FusionPoint { fusion, dense_weight, value } = best;
    format!("{title}\n\n{table}\nbest: --fusion {fusion} --dense-weight {dense_weight} ({value:.4})\n")
}

fn as_json(curve: &[FusionPoint], best: FusionPoint) -> String {
    let point = |point: &FusionPoint| {
        let FusionPoint { fusion, dense_weight, value } = point;
        json!({ "fusion": fusion.to_string(), "dense_weight": dense_weight, "value": value })
    };
    let points: Vec<_> = curve.iter().map(point).collect();
    format!("{:#}\n", json!({ "best": point(&best), "points": points }))
}
