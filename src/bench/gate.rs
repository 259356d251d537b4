//! A gate: whether a bench is no worse than an earlier one.

use std::collections::BTreeSet;

use super::environment::Environment;
use super::options::BenchOptions;
use super::result::{BenchReport, Cell};
use crate::error::{Error, Result};
use crate::number::three_digits;
use crate::options::gate_limits;

/// Missing combinations that are named.
const TOLD: usize = 3;

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
    /// Refuses limits that mean nothing, and an earlier bench that cannot tell whether they hold: before hours of work.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`]: a limit is no number that it can be. No combination was measured before, or none was
    /// judged, or none was timed on a machine like this one in the same way.
    pub fn fits(&self, baseline: &BenchReport, here: &Environment, options: &BenchOptions) -> Result<()> {
        gate_limits(self.max_ndcg_drop, self.max_latency_ratio)?;
        if baseline.cells.is_empty() {
            return Err(Error::option("baseline", "it has no combination to compare with: measure one"));
        }
        if self.max_ndcg_drop.is_some() && baseline.cells.iter().all(|cell| score(cell).is_none()) {
            let problem = "the baseline was measured without judgments, so there is no nDCG to compare with: leave it out";
            return Err(Error::option("max-ndcg-drop", problem));
        }
        if self.max_latency_ratio.is_none() {
            return Ok(());
        }
        if !baseline.environments.iter().any(|there| there.is_alike(here)) {
            let told: Vec<String> = baseline.environments.iter().map(machine).collect();
            let problem = format!(
                "the baseline was timed on {}, and this is {}: measure the baseline here, or leave the ratio out",
                told.join(" and on "),
                machine(here)
            );
            return Err(Error::option("max-latency-ratio", problem));
        }
        let (before, now) = (baseline.timing.k, options.k);
        if before != now {
            let problem = format!("the baseline's searches asked for {before} documents: say -k {before}");
            return Err(Error::option("max-latency-ratio", problem));
        }
        Ok(())
    }

    /// Compares the combinations that both benches have. One of the earlier bench that is missing is a breach. So is a
    /// data set or a measure that is another one now. Latency is compared on machines that are alike.
    pub fn check(&self, baseline: &BenchReport, report: &BenchReport) -> Verdict {
        let mut verdict = Verdict::default();
        let mut missing: Vec<String> = Vec::new();
        let mut changed: BTreeSet<&str> = BTreeSet::new();
        for before in &baseline.cells {
            let name = format!("{}, {}", before.key.dataset, before.key.system());
            let Some(after) = report.cells.iter().find(|cell| cell.key == before.key) else {
                missing.push(name);
                continue;
            };
            let [old, new] = [baseline, report].map(|report| fingerprint(report, &before.key.dataset));
            if old != new {
                if changed.insert(&before.key.dataset) {
                    verdict.breaches.push(format!(
                        "{}: its documents, queries or judgments are others than before, so nothing compares",
                        before.key.dataset
                    ));
                }
                continue;
            }
            verdict.compared += 1;
            let is_alike = |cell: &Cell| {
                let machines =
                    (baseline.environments.get(cell.environment), report.environments.get(after.environment));
                matches!(machines, (Some(there), Some(here)) if there.is_alike(here))
            };
            let are_alike = is_alike(before);
            // A page of several machines has a combination once for each of them.
            let is_timed_alike = baseline.cells.iter().any(|cell| cell.key == before.key && is_alike(cell));
            if self.max_latency_ratio.is_some() && !is_timed_alike {
                verdict.breaches.push(format!(
                    "{name}: it was timed on another machine before, so its latency does not compare"
                ));
            }
            self.compare(&name, [before, after], are_alike, &mut verdict.breaches);
        }
        let others = match missing.len().checked_sub(TOLD) {
            Some(others @ 1..) => format!(", and {others} others"),
            _ => String::new(),
        };
        if !missing.is_empty() {
            let told: Vec<&str> = missing.iter().map(String::as_str).take(TOLD).collect();
            let told = told.join("; ");
            verdict.breaches.push(format!("measured before, and not now: {told}{others}"));
        }
        verdict
    }

    fn compare(&self, name: &str, [before, after]: [&Cell; 2], are_alike: bool, breaches: &mut Vec<String>) {
        if let Some(most) = self.max_ndcg_drop {
            let rules = |cell: &Cell| cell.quality.as_ref().map(|quality| quality.rules.clone());
            match (score(before), score(after)) {
                (Some(_), Some(_)) if rules(before) != rules(after) => {
                    breaches.push(format!("{name}: it is judged by other rules than before"));
                }
                (Some(old), Some(new)) if old - new > most => {
                    breaches
                        .push(format!("{name}: nDCG@10 fell from {old:.4} to {new:.4}, by more than {most}"));
                }
                _ => {}
            }
        }
        let median = |cell: &Cell| cell.closed.first().map(|load| load.latency.p50);
        if let (Some(most), Some(old), Some(new)) = (self.max_latency_ratio, median(before), median(after))
            && are_alike
            && new > old * most
        {
            breaches.push(format!(
                "{name}: a median query takes {} ms, more than {most} times the {} ms of before",
                three_digits(new),
                three_digits(old)
            ));
        }
    }
}

fn score(cell: &Cell) -> Option<f64> {
    Some(cell.quality.as_ref()?.means.get("nDCG@10")?.mean)
}

fn fingerprint<'r>(report: &'r BenchReport, dataset: &str) -> Option<&'r str> {
    let known = report.datasets.iter().find(|known| known.name == dataset)?;
    Some(&known.fingerprint)
}

fn machine(of: &Environment) -> String {
    let optimised = if of.program.is_optimised { "" } else { ", not optimised" };
    format!("{} with {} threads{optimised}", of.processor, of.threads)
}
