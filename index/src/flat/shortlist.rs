//! The rows that may be among the k best of a query, while only their approximate scores are known.

use super::kth_best::KthBest;
use crate::topk::{Hit, RowId, TopK};

#[derive(Clone)]
pub(super) struct Shortlist {
    k: usize,
    /// What the scores are at least.
    lower: KthBest,
    candidates: Vec<Candidate>,
    /// The k best of the candidates compared again so far.
    best: TopK,
}

#[derive(Clone, Copy)]
struct Candidate {
    row: RowId,
    /// What its score is at most.
    upper: f32,
}

/// Candidates compared again between two looks at the k best.
const SETTLED: usize = 16;

impl Shortlist {
    pub fn new(k: usize) -> Shortlist {
        Shortlist { k, lower: KthBest::new(k), candidates: Vec::new(), best: TopK::new(k) }
    }

    /// A list of rows whose scores are known.
    pub fn known(best: TopK) -> Shortlist {
        let empty = Shortlist::new(best.k());
        Shortlist { best, ..empty }
    }

    /// k rows have at least this score.
    fn threshold(&self) -> f32 {
        self.lower.threshold().max(self.best.threshold())
    }

    /// A row with an approximate score below this, without the `term` of the query, is not among the k best.
    pub fn limit(&self, slack: f64, term: f64) -> f32 {
        round_down(f64::from(self.threshold()) - slack - term)
    }

    /// Adds a row whose score differs from `score` by at most `slack`. If one of the two is not a number, nothing is
    /// known of the score.
    pub fn push(&mut self, row: RowId, score: f64, slack: f64) {
        if score.is_finite() && slack.is_finite() {
            self.lower.push(round_down(score - slack));
            self.candidates.push(Candidate { row, upper: -round_down(-(score + slack)) });
        } else {
            self.candidates.push(Candidate { row, upper: f32::INFINITY });
        }
    }

    /// Bounds the memory: removes candidates that can no longer be among the best, and compares the rest if they are
    /// many.
    pub fn tidy(&mut self, compare: impl FnMut(&[RowId], &mut TopK)) {
        const SPARE: usize = 1024;
        let most = SPARE.saturating_add(self.k.saturating_mul(4));
        if self.candidates.len() < most {
            return;
        }
        let threshold = self.threshold();
        self.candidates.retain(|candidate| candidate.upper >= threshold);
        if self.candidates.len() > most / 2 {
            self.settle(compare);
        }
    }

    pub fn merge(mut self, other: Shortlist) -> Shortlist {
        self.lower = self.lower.merge(other.lower);
        self.best = self.best.merge(other.best);
        self.candidates.extend(other.candidates);
        self
    }

    /// Compares the candidates again, the most promising first, as long as one may be among the k best. `compare` adds
    /// the hits of rows to a selection.
    pub fn settle(&mut self, mut compare: impl FnMut(&[RowId], &mut TopK)) {
        self.lower.tighten();
        let threshold = self.threshold();
        self.candidates.retain(|candidate| candidate.upper >= threshold);
        self.candidates.sort_unstable_by(|a, b| b.upper.total_cmp(&a.upper).then(a.row.cmp(&b.row)));
        let mut rows = Vec::with_capacity(SETTLED);
        for candidates in self.candidates.chunks(SETTLED) {
            if candidates[0].upper < self.best.threshold() {
                break;
            }
            rows.clear();
            rows.extend(candidates.iter().map(|candidate| candidate.row));
            compare(&rows, &mut self.best);
        }
        self.candidates.clear();
    }

    /// The k best, best first, of a list that was settled.
    pub fn into_sorted(self) -> Vec<Hit> {
        self.best.into_sorted()
    }
}

/// The largest f32 that is not larger.
fn round_down(x: f64) -> f32 {
    let rounded = x as f32;
    if f64::from(rounded) > x { rounded.next_down() } else { rounded }
}
