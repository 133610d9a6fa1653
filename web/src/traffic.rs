//! How many requests there were, how long they took, and which of them took long.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use plumbline_service::exposition::Exposition;

/// Upper bounds of the histogram's buckets, seconds.
const BOUNDS: [f64; 10] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];
/// From how long on a request is worth a note.
const SLOW: Duration = Duration::from_millis(250);
/// Notes kept, the latest.
const KEPT: usize = 50;
/// What waits because it was asked to.
const PATIENT: [&str; 2] = ["/api/v1/allocations", "/api/v1/events"];

/// Requests of one kind.
type Kind = (&'static str, String, &'static str);

#[derive(Debug, Clone, Default)]
struct Histogram {
    buckets: [u64; BOUNDS.len()],
    count: u64,
    seconds: f64,
}

/// A request that took long.
#[derive(Debug, Clone)]
pub(crate) struct SlowRequest {
    /// Its name in the log.
    pub(crate) id: String,
    /// Its method and the pattern of its path.
    pub(crate) route: String,
    /// What was answered.
    pub(crate) status: u16,
    /// How long it took.
    pub(crate) took: Duration,
    /// When it ended.
    pub(crate) at: SystemTime,
}

/// The requests since the process started. Patterns of paths are few, so this is bounded.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    kinds: Mutex<BTreeMap<Kind, Histogram>>,
    slow: Mutex<VecDeque<SlowRequest>>,
}

impl Traffic {
    /// Counts a request; `pattern` is none where no route matched.
    pub(crate) fn count(
        &self,
        id: &str,
        method: &str,
        pattern: Option<String>,
        status: u16,
        took: Duration,
    ) {
        let pattern = pattern.unwrap_or_else(|| "unmatched".to_owned());
        let class = ["1xx", "2xx", "3xx", "4xx", "5xx"][usize::from(status / 100).clamp(1, 5) - 1];
        // Methods are whatever a client writes.
        let known = ["GET", "POST", "DELETE", "HEAD", "PUT", "PATCH"];
        let method = known.into_iter().find(|one| *one == method);
        let method = method.unwrap_or("other");
        if took >= SLOW && !PATIENT.contains(&pattern.as_str()) {
            self.note(SlowRequest {
                id: id.to_owned(),
                route: format!("{method} {pattern}"),
                status,
                took,
                at: SystemTime::now(),
            });
        }
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        kinds.entry((method, pattern, class)).or_default().add(took);
    }

    fn note(&self, request: SlowRequest) {
        let mut slow = self.slow.lock().unwrap_or_else(PoisonError::into_inner);
        if slow.len() == KEPT {
            slow.pop_front();
        }
        slow.push_back(request);
    }

    /// The latest slow requests, latest first.
    pub(crate) fn slow(&self) -> Vec<SlowRequest> {
        let slow = self.slow.lock().unwrap_or_else(PoisonError::into_inner);
        slow.iter().rev().cloned().collect()
    }

    /// Writes the histogram of every kind.
    pub(crate) fn write(&self, text: &mut Exposition) {
        let kinds = self
            .kinds
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let name = "plumbline_http_request_seconds";
        text.family(
            name,
            "histogram",
            "Time to answer, by route and class of status.",
        );
        for ((method, route, class), histogram) in &kinds {
            let labels = [
                ("method", *method),
                ("route", route.as_str()),
                ("status", class),
            ];
            histogram.write(text, name, &labels);
        }
    }
}

impl Histogram {
    fn add(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        for (count, bound) in self.buckets.iter_mut().zip(BOUNDS) {
            *count += u64::from(seconds <= bound);
        }
        self.count += 1;
        self.seconds += seconds;
    }

    fn write(&self, text: &mut Exposition, name: &str, labels: &[(&str, &str); 3]) {
        let [method, route, status] = *labels;
        let bucket = format!("{name}_bucket");
        for (count, bound) in self.buckets.iter().zip(BOUNDS) {
            let bound = bound.to_string();
            let labels = [method, route, status, ("le", bound.as_str())];
            text.sample(&bucket, &labels, *count as f64);
        }
        let labels = [method, route, status, ("le", "+Inf")];
        text.sample(&bucket, &labels, self.count as f64);
        let labels = [method, route, status];
        text.sample(&format!("{name}_sum"), &labels, self.seconds);
        text.sample(&format!("{name}_count"), &labels, self.count as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_counted_by_route_and_class() {
        let traffic = Traffic::default();
        let took = Duration::from_millis(2);
        traffic.count("a", "GET", Some("/markets/{id}".to_owned()), 200, took);
        traffic.count("b", "GET", Some("/markets/{id}".to_owned()), 204, took * 10);
        traffic.count("c", "BREW", None, 404, took);
        let mut text = Exposition::default();
        traffic.write(&mut text);
        let text = text.finish();
        let line = |le: &str, count: u32| {
            format!(
                "_bucket{{method=\"GET\",route=\"/markets/{{id}}\",status=\"2xx\",le=\"{le}\"}} {count}\n"
            )
        };
        for expected in [
            line("0.001", 0),
            line("0.003", 1),
            line("0.03", 2),
            line("+Inf", 2),
        ] {
            assert!(text.contains(&expected), "{expected}\n{text}");
        }
        assert!(text.contains("method=\"other\",route=\"unmatched\",status=\"4xx\""));
        assert!(traffic.slow().is_empty());
    }

    #[test]
    fn what_was_asked_to_wait_is_not_slow() {
        let traffic = Traffic::default();
        let took = Duration::from_secs(20);
        traffic.count(
            "a",
            "GET",
            Some("/api/v1/allocations".to_owned()),
            200,
            took,
        );
        for number in 0..KEPT + 1 {
            traffic.count(&number.to_string(), "GET", Some("/".to_owned()), 200, took);
        }
        let slow = traffic.slow();
        assert_eq!(slow.len(), KEPT);
        assert_eq!(
            (slow[0].id.as_str(), slow[0].route.as_str()),
            ("50", "GET /")
        );
    }
}
