//! What the server counts, in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Upper bounds in seconds.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Upper bounds of numbers of things, and of tokens.
const COUNTS: [f64; 12] =
    [1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0, 65536.0];

/// How many values fell under each bound.
pub struct Histogram {
    bounds: &'static [f64; 12],
    counts: [u64; 12],
    count: u64,
    sum: f64,
}

impl Histogram {
    fn new(bounds: &'static [f64; 12]) -> Histogram {
        Histogram { bounds, counts: [0; 12], count: 0, sum: 0.0 }
    }

    fn add(&mut self, value: f64) {
        for (count, bound) in self.counts.iter_mut().zip(self.bounds) {
            *count += u64::from(value <= *bound);
        }
        self.count += 1;
        self.sum += value;
    }

    fn write(&self, out: &mut String, name: &str, labels: &str) {
        // Writing to a string does not fail.
        for (count, bound) in self.counts.iter().zip(self.bounds) {
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound}\"}} {count}");
        }
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", self.count);
        let _ = writeln!(out, "{name}_sum{{{labels}}} {}", self.sum);
        let _ = writeln!(out, "{name}_count{{{labels}}} {}", self.count);
    }
}

/// What is counted of one queue.
pub struct QueueMetrics {
    /// Items that wait or are computed.
    pub waiting: AtomicUsize,
    /// Requests that found no room.
    pub refused: AtomicU64,
    batches: Mutex<[Histogram; 3]>,
}

impl QueueMetrics {
    fn new() -> QueueMetrics {
        QueueMetrics {
            waiting: AtomicUsize::new(0),
            refused: AtomicU64::new(0),
            batches: Mutex::new([Histogram::new(&COUNTS), Histogram::new(&COUNTS), Histogram::new(&SECONDS)]),
        }
    }

    /// A batch of so many items, of this cost in all, was computed.
    pub fn batch(&self, items: usize, cost: usize, time: Duration) {
        let mut batches = locked(&self.batches);
        for (histogram, value) in batches.iter_mut().zip([items as f64, cost as f64, time.as_secs_f64()]) {
            histogram.add(value);
        }
    }
}

/// All that is counted.
pub struct Metrics {
    start: Instant,
    requests: Mutex<BTreeMap<(String, String, u16), u64>>,
    durations: Mutex<BTreeMap<String, Histogram>>,
    queues: Mutex<BTreeMap<&'static str, Arc<QueueMetrics>>>,
    /// Open connections.
    pub connections: AtomicUsize,
    /// Connections that were refused because too many were open.
    pub refused_connections: AtomicU64,
    /// Bytes of bodies and of large answers that are held.
    pub held_bytes: AtomicUsize,
    /// Bodies and answers that were refused because too many bytes were held.
    pub refused_bytes: AtomicU64,
    /// Tokens that were embedded.
    pub tokens: AtomicU64,
    /// New states of the database that were taken up while serving.
    pub reloads: AtomicU64,
}

impl Metrics {
    pub fn new() -> Metrics {
        Metrics {
            start: Instant::now(),
            requests: Mutex::default(),
            durations: Mutex::default(),
            queues: Mutex::default(),
            connections: AtomicUsize::new(0),
            refused_connections: AtomicU64::new(0),
            held_bytes: AtomicUsize::new(0),
            refused_bytes: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
            reloads: AtomicU64::new(0),
        }
    }

    /// A request was answered.
    pub fn request(&self, method: &str, route: &str, status: u16, time: Duration) {
        let key = (route.to_owned(), method.to_owned(), status);
        *locked(&self.requests).entry(key).or_default() += 1;
        let mut durations = locked(&self.durations);
        durations.entry(route.to_owned()).or_insert_with(|| Histogram::new(&SECONDS)).add(time.as_secs_f64());
    }

    /// What is counted of the queue of this name.
    pub fn queue(&self, name: &'static str) -> Arc<QueueMetrics> {
        let mut queues = locked(&self.queues);
        Arc::clone(queues.entry(name).or_insert_with(|| Arc::new(QueueMetrics::new())))
    }

    /// Everything, in Prometheus' text format.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let head = |out: &mut String, name: &str, kind: &str, help: &str| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
        };
        head(&mut out, "secateur_requests_total", "counter", "Requests that were answered.");
        for ((route, method, status), count) in locked(&self.requests).iter() {
            let labels = format!("route=\"{route}\",method=\"{method}\",status=\"{status}\"");
            let _ = writeln!(out, "secateur_requests_total{{{labels}}} {count}");
        }
        head(
            &mut out,
            "secateur_request_duration_seconds",
            "histogram",
            "From a request's head to its answer's.",
        );
        for (route, histogram) in locked(&self.durations).iter() {
            histogram.write(&mut out, "secateur_request_duration_seconds", &format!("route=\"{route}\""));
        }
        let queues = locked(&self.queues).clone();
        head(&mut out, "secateur_queue_items", "gauge", "Items that wait or are computed.");
        for (name, queue) in &queues {
            let waiting = queue.waiting.load(Ordering::Relaxed);
            let _ = writeln!(out, "secateur_queue_items{{queue=\"{name}\"}} {waiting}");
        }
        head(&mut out, "secateur_queue_refused_total", "counter", "Requests that found no room in a queue.");
        for (name, queue) in &queues {
            let refused = queue.refused.load(Ordering::Relaxed);
            let _ = writeln!(out, "secateur_queue_refused_total{{queue=\"{name}\"}} {refused}");
        }
        let histograms = [
            ("secateur_batch_items", "Items of a batch."),
            (
                "secateur_batch_tokens",
                "Tokens of a batch; of pairs an estimate, and of searches their number.",
            ),
            ("secateur_batch_duration_seconds", "Computing a batch."),
        ];
        for (number, (metric, help)) in histograms.into_iter().enumerate() {
            head(&mut out, metric, "histogram", help);
            for (name, queue) in &queues {
                locked(&queue.batches)[number].write(&mut out, metric, &format!("queue=\"{name}\""));
            }
        }
        let connections = self.connections.load(Ordering::Relaxed) as f64;
        let single = [
            ("secateur_connections", "gauge", "Open connections.", connections),
            (
                "secateur_connections_refused_total",
                "counter",
                "Connections that were refused because too many were open.",
                self.refused_connections.load(Ordering::Relaxed) as f64,
            ),
            (
                "secateur_held_bytes",
                "gauge",
                "Bytes of bodies and of large answers that are held.",
                self.held_bytes.load(Ordering::Relaxed) as f64,
            ),
            (
                "secateur_held_bytes_refused_total",
                "counter",
                "Bodies and answers that were refused because too many bytes were held.",
                self.refused_bytes.load(Ordering::Relaxed) as f64,
            ),
            (
                "secateur_tokens_total",
                "counter",
                "Tokens that were embedded.",
                self.tokens.load(Ordering::Relaxed) as f64,
            ),
            (
                "secateur_reloads_total",
                "counter",
                "New states of the database that were taken up while serving.",
                self.reloads.load(Ordering::Relaxed) as f64,
            ),
            (
                "secateur_uptime_seconds",
                "gauge",
                "Since the server started.",
                self.start.elapsed().as_secs_f64(),
            ),
        ];
        for (name, kind, help, value) in single {
            head(&mut out, name, kind, help);
            let _ = writeln!(out, "{name} {value}");
        }
        out
    }
}

/// A counter is right whatever a thread died of that held it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_told() {
        let metrics = Metrics::new();
        metrics.request("GET", "/health", 200, Duration::from_millis(2));
        metrics.request("GET", "/health", 200, Duration::from_secs(60));
        metrics.queue("embed").batch(3, 5000, Duration::from_millis(30));
        metrics.queue("embed").refused.fetch_add(1, Ordering::Relaxed);
        let text = metrics.text();
        for line in [
            "secateur_requests_total{route=\"/health\",method=\"GET\",status=\"200\"} 2",
            "secateur_request_duration_seconds_bucket{route=\"/health\",le=\"0.001\"} 0",
            "secateur_request_duration_seconds_bucket{route=\"/health\",le=\"0.0025\"} 1",
            "secateur_request_duration_seconds_bucket{route=\"/health\",le=\"+Inf\"} 2",
            "secateur_batch_items_bucket{queue=\"embed\",le=\"4\"} 1",
            "secateur_batch_tokens_sum{queue=\"embed\"} 5000",
            "secateur_queue_refused_total{queue=\"embed\"} 1",
        ] {
            assert!(text.lines().any(|other| other == line), "{line} is not in\n{text}");
        }
        let of_type = |name: &str| text.matches(&format!("# TYPE {name} ")).count();
        assert_eq!(of_type("secateur_batch_items"), 1);
    }
}
