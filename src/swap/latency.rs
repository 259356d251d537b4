//! The latencies of two generations, measured in turns.

use secateur_random::SplitMix64;

use super::SwapOptions;
use crate::bench::{Percentiles, Pipeline, percentiles, shuffle};
use crate::error::Result;
use crate::progress::Progress;

/// Queries that are answered before any is timed.
const WARM_UP: usize = 10;

impl SwapOptions {
    /// One client asks either pipeline all timed queries, then the other one, as often as there are repetitions. Which
    /// one begins alternates, so that what slows the machine for a while slows both.
    pub(super) fn latencies(
        &self,
        pipelines: [Pipeline<'_>; 2],
        texts: &[&str],
        on: &mut dyn FnMut(Progress<'_>),
    ) -> Result<[Percentiles; 2]> {
        let mut random = SplitMix64::keyed(&[self.seed, 1]);
        let mut drawn = texts.to_vec();
        shuffle(&mut drawn, &mut random);
        drawn.truncate(self.timed_queries);
        for pipeline in pipelines {
            for query in drawn.iter().take(WARM_UP) {
                pipeline.answer(query)?;
            }
        }
        let rounds = 2 * self.repetitions;
        on(Progress::Begins { what: "timing", unit: "round", total: &|| Some(rounds as u64) });
        let mut times: [Vec<f64>; 2] = Default::default();
        for round in 0..rounds {
            if round % 2 == 0 {
                shuffle(&mut drawn, &mut random);
            }
            // Old, new, new, old, and so on.
            let side = (round + round / 2) % 2;
            for query in &drawn {
                times[side].push(1000.0 * pipelines[side].answer(query)?.total.as_secs_f64());
            }
            on(Progress::Done(round + 1));
        }
        Ok(times.map(percentiles))
    }
}
