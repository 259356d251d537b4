//! Clients that ask queries: closed loops, in which each waits for its answer, and open ones, in which queries arrive.
//!
//! Each client is a thread, as the callers of a server are. They are the only threads that this library starts;
//! searches compute on the global rayon pool.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use secateur_random::SplitMix64;

use super::pipeline::{Pipeline, STAGES};
use super::result::{Load, Percentiles};
use crate::error::Result;
use crate::statistics::{quantile, quantile_of};

/// The longest that an open loop sends queries, in seconds.
const MAX_OPEN_SECONDS: f64 = 60.0;

/// The queries that are timed, in an order of its own for each repetition.
pub(super) struct Schedule<'a> {
    queries: Vec<&'a str>,
    repetitions: usize,
}

/// The time of one query.
struct Sample {
    /// Its place in the schedule.
    place: usize,
    latency: Duration,
    stages: [Duration; STAGES.len()],
}

impl<'a> Schedule<'a> {
    /// At most `count` of the texts, drawn and ordered by `seed`, `repetitions` times.
    pub fn new(texts: &[&'a str], count: usize, repetitions: usize, seed: u64) -> Schedule<'a> {
        let mut random = SplitMix64::keyed(&[seed, 1]);
        let mut drawn = texts.to_vec();
        shuffle(&mut drawn, &mut random);
        drawn.truncate(count);
        let mut queries = Vec::with_capacity(drawn.len() * repetitions);
        for _ in 0..repetitions {
            shuffle(&mut drawn, &mut random);
            queries.extend_from_slice(&drawn);
        }
        Schedule { queries, repetitions }
    }

    /// Answers the first `count` queries, again from the start if they are fewer, untimed.
    pub fn warm_up(&self, pipeline: Pipeline<'_>, count: usize) -> Result<()> {
        self.queries.iter().cycle().take(if self.queries.is_empty() { 0 } else { count }).try_for_each(
            |query| {
                pipeline.answer(query)?;
                Ok(())
            },
        )
    }

    /// `clients` that each ask the next query as soon as they have the answer to their last one.
    pub fn closed(&self, pipeline: Pipeline<'_>, clients: usize) -> Result<Load> {
        let (samples, seconds) = answer(pipeline, &self.queries, clients, None)?;
        Ok(self.load(samples, seconds, clients, None))
    }

    /// Queries arrive at equal distances, `rate` of them a second, and wait for one of `clients`. Latency counts from
    /// a query's arrival, so that one slow answer is felt by all queries behind it (no coordinated omission).
    pub fn open(&self, pipeline: Pipeline<'_>, clients: usize, rate: f64) -> Result<Load> {
        let count = self.queries.len().min((rate * MAX_OPEN_SECONDS).ceil() as usize);
        let (samples, seconds) = answer(pipeline, &self.queries[..count], clients, Some(rate))?;
        Ok(self.load(samples, seconds, clients, Some(rate)))
    }

    fn load(&self, samples: Vec<Sample>, seconds: f64, concurrency: usize, rate: Option<f64>) -> Load {
        let of = |part: &dyn Fn(&Sample) -> Duration| {
            percentiles(samples.iter().map(|sample| milliseconds(part(sample))).collect())
        };
        let length = self.queries.len() / self.repetitions.max(1);
        let medians = (0..self.repetitions).filter_map(|repetition| {
            let of_it = samples.iter().filter(|sample| sample.place / length.max(1) == repetition);
            let times: Vec<f64> = of_it.map(|sample| milliseconds(sample.latency)).collect();
            (!times.is_empty()).then(|| quantile_of(&times, 0.5))
        });
        let medians: Vec<f64> = medians.collect();
        let stages = STAGES.iter().enumerate();
        let stages: BTreeMap<String, Percentiles> =
            stages.map(|(number, name)| ((*name).to_owned(), of(&|sample| sample.stages[number]))).collect();
        Load {
            concurrency,
            rate,
            num_queries: samples.len(),
            seconds,
            queries_per_second: if seconds > 0.0 { samples.len() as f64 / seconds } else { 0.0 },
            latency: of(&|sample| sample.latency),
            stage_sum: stages.values().map(|stage| stage.mean).sum(),
            stages,
            median_range: [quantile_of(&medians, 0.0), quantile_of(&medians, 1.0)],
        }
    }
}

/// Answers queries with some clients; gives the samples and the seconds that all of it took.
fn answer(
    pipeline: Pipeline<'_>,
    queries: &[&str],
    clients: usize,
    rate: Option<f64>,
) -> Result<(Vec<Sample>, f64)> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let start = Instant::now();
    let client = || -> Result<Vec<Sample>> {
        let mut samples = Vec::with_capacity(queries.len() / clients + 1);
        while !failed.load(Ordering::Relaxed) {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(query) = queries.get(place) else { break };
            let begins = match rate {
                Some(rate) => {
                    let due = start + Duration::from_secs_f64(place as f64 / rate);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                    due
                }
                None => Instant::now(),
            };
            let answer = pipeline.answer(query).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
            samples.push(Sample { place, latency: begins.elapsed(), stages: answer.stages });
        }
        Ok(samples)
    };
    let all = std::thread::scope(|scope| -> Result<Vec<Sample>> {
        let started: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        let mut all = Vec::with_capacity(queries.len());
        for client in started {
            match client.join() {
                Ok(samples) => all.extend(samples?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(all)
    })?;
    Ok((all, start.elapsed().as_secs_f64()))
}

fn milliseconds(duration: Duration) -> f64 {
    1000.0 * duration.as_secs_f64()
}

/// The percentiles of times in milliseconds; zeros of none.
pub(crate) fn percentiles(mut times: Vec<f64>) -> Percentiles {
    times.sort_unstable_by(f64::total_cmp);
    let [p50, p95, p99, max] = [0.5, 0.95, 0.99, 1.0].map(|q| quantile(&times, q));
    Percentiles { mean: times.iter().sum::<f64>() / times.len().max(1) as f64, p50, p95, p99, max }
}

/// Fisher and Yates.
pub(crate) fn shuffle<T>(items: &mut [T], random: &mut SplitMix64) {
    for end in (1..items.len()).rev() {
        items.swap(end, random.below(end as u64 + 1) as usize);
    }
}
