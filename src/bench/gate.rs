//! A gate: whether a bench is no worse than an earlier one.

use super::result::{BenchReport, Cell};

/// How much worse a bench may be than an earlier one, in each combination that both have.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Gate {
    /// The most that nDCG@10 may fall.
    pub max_ndcg_drop: Option<f64>,
    /// The most that the median latency of one client may be, as a multiple of the earlier one.
    pub max_latency_ratio: Option<f64>,
}

/// What a gate found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Combinations that both benches have.
    pub compared: usize,
    /// What is worse than allowed, a sentence each.
    pub breaches: Vec<String>,
}

impl Gate {
    /// Compares the combinations that both benches have. One of the earlier bench that is missing is a breach.
    pub fn check(&self, baseline: &BenchReport, report: &BenchReport) -> Verdict {
        let mut verdict = Verdict::default();
        for before in &baseline.cells {
            let name = format!("{}, {}", before.key.dataset, before.key.system());
            match report.cells.iter().find(|cell| cell.key == before.key) {
                None => verdict.breaches.push(format!("{name}: it was measured before, and is not now")),
                Some(after) => {
                    verdict.compared += 1;
                    self.compare(&name, before, after, &mut verdict.breaches);
                }
            }
        }
        verdict
    }

    fn compare(&self, name: &str, before: &Cell, after: &Cell, breaches: &mut Vec<String>) {
        let score = |cell: &Cell| Some(cell.quality.as_ref()?.means.get("nDCG@10")?.mean);
        if let (Some(most), Some(old), Some(new)) = (self.max_ndcg_drop, score(before), score(after))
            && old - new > most
        {
            breaches.push(format!("{name}: nDCG@10 fell from {old:.4} to {new:.4}, by more than {most}"));
        }
        let median = |cell: &Cell| cell.closed.first().map(|load| load.latency.p50);
        if let (Some(most), Some(old), Some(new)) = (self.max_latency_ratio, median(before), median(after))
            && new > old * most
        {
            breaches.push(format!(
                "{name}: a median query takes {new:.3} ms, more than {most} times the {old:.3} ms of before"
            ));
        }
    }
}
