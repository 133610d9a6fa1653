//! A load generator: durable trades per second over HTTP.
//!
//! Every connection is a keep-alive TCP stream that posts one small trade
//! after another, alternately a purchase and the sale of the same shares, each
//! with its own `Idempotency-Key`. Requests are written from a prepared buffer
//! and answers are read with a minimal parser, because the generator shares
//! the machine with what it measures. The service answers a trade after it was
//! made durable, so each 2xx answer is a durable trade.
//!
//! It speaks plain HTTP/1.1 only; measure behind TLS with another tool.

mod connection;
mod readers;
mod subscribers;

use std::time::{Duration, Instant};

use reqwest::Url;
use serde::Serialize;
use thiserror::Error;
use tokio::task::JoinSet;

use connection::{Connection, Target};
pub use readers::{Answered, gets, gets_for, hold_streams};
pub use subscribers::{Arrivals, Subscribers};

/// Micro-shares bought and sold again by each pair of trades.
pub const SHARES_MICRO: i64 = 10_000;
/// Time before measuring starts, so that connections and caches are warm.
const WARM_UP: Duration = Duration::from_millis(500);

/// Why no measurement was made.
#[derive(Debug, Error)]
pub enum BenchError {
    /// The settings make no sense.
    #[error("{0}")]
    Settings(String),
    /// No connection could be made.
    #[error("cannot connect to {address}: {cause}")]
    Connect {
        /// Host and port.
        address: String,
        /// Why not.
        cause: std::io::Error,
    },
    /// Not one trade went through.
    #[error("no trade went through; the first answer was {0}")]
    Refused(String),
}

/// What each connection posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Trades; a 2xx answer is a durable trade.
    Trades,
    /// Quotes of the same orders, which change nothing.
    Quotes,
}

impl Load {
    /// Last part of the path.
    fn resource(self) -> &'static str {
        match self {
            Self::Trades => "trades",
            Self::Quotes => "quotes",
        }
    }
}

/// What was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TradesReport {
    /// Connections that posted at once.
    pub connections: usize,
    /// Seconds measured.
    pub seconds: f64,
    /// Trades (or quotes) acknowledged in that time.
    pub trades: u64,
    /// Acknowledged, hence durable, trades (or quotes) per second.
    pub durable_trades_per_s: f64,
    /// Median time from request to answer, milliseconds.
    pub p50_ms: f64,
    /// 99th percentile of it.
    pub p99_ms: f64,
    /// Longest of all.
    pub max_ms: f64,
    /// Answers other than 2xx and broken connections.
    pub errors: u64,
    /// The first of them, for people.
    pub first_error: Option<String>,
    /// Microseconds of each acknowledged request, ascending.
    #[serde(skip)]
    pub latencies_us: Vec<u32>,
}

/// What one connection saw.
#[derive(Debug, Default)]
struct Seen {
    /// Microseconds of each acknowledged trade.
    latencies: Vec<u32>,
    errors: u64,
    first_error: Option<String>,
}

/// Trades on `market_id` over `connections` connections for `seconds`.
///
/// Each connection trades for one of `tokens`, in turn; the accounts need the
/// scope `trade` and a balance of about the cost of [`SHARES_MICRO`] per
/// connection. `base_url` is plain `http://host:port`.
///
/// # Errors
/// [`BenchError`] when nothing could be measured.
pub async fn trades(
    base_url: &str,
    tokens: &[String],
    market_id: &str,
    connections: usize,
    seconds: f64,
) -> Result<TradesReport, BenchError> {
    load(
        base_url,
        tokens,
        market_id,
        Load::Trades,
        connections,
        seconds,
    )
    .await
}

/// As [`trades`], with a load of the caller's choice.
///
/// # Errors
/// [`BenchError`] when nothing could be measured.
pub async fn load(
    base_url: &str,
    tokens: &[String],
    market_id: &str,
    load: Load,
    connections: usize,
    seconds: f64,
) -> Result<TradesReport, BenchError> {
    if tokens.is_empty() || connections == 0 || !(seconds > 0.0 && seconds <= 86_400.0) {
        let what =
            "at least one token and one connection, and a time above 0 s, are needed".to_owned();
        return Err(BenchError::Settings(what));
    }
    let url = Url::parse(base_url)
        .map_err(|error| BenchError::Settings(format!("`{base_url}`: {error}")))?;
    let address = address_of(&url)?;
    let mut open = Vec::with_capacity(connections);
    for number in 0..connections {
        let target = Target {
            address: &address,
            load,
            market_id,
            token: &tokens[number % tokens.len()],
        };
        let made = Connection::open(&target, SHARES_MICRO).await;
        open.push(made.map_err(|cause| BenchError::Connect {
            address: address.clone(),
            cause,
        })?);
    }
    let start = Instant::now() + WARM_UP;
    let end = start + Duration::from_secs_f64(seconds);
    let mut running = JoinSet::new();
    for connection in open {
        running.spawn(post_until(connection, load, start, end));
    }
    let mut all = Seen::default();
    while let Some(seen) = running.join_next().await {
        let seen = seen
            .map_err(|error| BenchError::Settings(format!("a connection's task broke: {error}")))?;
        all.latencies.extend(seen.latencies);
        all.errors += seen.errors;
        all.first_error = all.first_error.or(seen.first_error);
    }
    if all.latencies.is_empty() {
        return Err(BenchError::Refused(
            all.first_error.unwrap_or_else(|| "none at all".to_owned()),
        ));
    }
    Ok(report(all, connections, seconds))
}

fn address_of(url: &Url) -> Result<String, BenchError> {
    let bare = matches!(url.path(), "" | "/");
    match (url.scheme(), url.host_str(), url.port_or_known_default()) {
        ("http", Some(host), Some(port)) if bare => Ok(format!("{host}:{port}")),
        _ => Err(BenchError::Settings(format!(
            "`{url}` is not of the form http://host:port"
        ))),
    }
}

/// Posts until `end`; answers that arrive between `start` and `end` count.
async fn post_until(mut connection: Connection, load: Load, start: Instant, end: Instant) -> Seen {
    let mut seen = Seen::default();
    let mut buy = true;
    while Instant::now() < end {
        let asked = Instant::now();
        let outcome = connection.post(buy).await;
        let answered = Instant::now();
        let counts = answered >= start && answered < end;
        let error = match outcome {
            Ok(status) if (200..300).contains(&status) => {
                if counts {
                    let micros = answered.duration_since(asked).as_micros();
                    seen.latencies
                        .push(u32::try_from(micros).unwrap_or(u32::MAX));
                }
                // A sale needs the purchase before it, so only success changes sides.
                buy = !buy || load == Load::Quotes;
                continue;
            }
            Ok(status) => format!("{status}: {}", connection.last_body()),
            Err(error) => {
                if let Err(cause) = connection.reopen().await {
                    tracing::debug!(%cause, "cannot connect again");
                }
                // Whether the lost trade happened is unknown; a purchase is safe in both cases.
                buy = true;
                error.to_string()
            }
        };
        seen.errors += u64::from(counts);
        seen.first_error.get_or_insert(error);
        // A refusing service is not to be hammered.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    seen
}

fn report(seen: Seen, connections: usize, seconds: f64) -> TradesReport {
    let part = TradesReport {
        connections,
        seconds,
        trades: 0,
        durable_trades_per_s: 0.0,
        p50_ms: 0.0,
        p99_ms: 0.0,
        max_ms: 0.0,
        errors: seen.errors,
        first_error: seen.first_error,
        latencies_us: seen.latencies,
    };
    part.and([])
}

impl TradesReport {
    /// One report of this measurement and others with as many connections.
    #[must_use]
    pub fn and(mut self, others: impl IntoIterator<Item = Self>) -> Self {
        for other in others {
            self.seconds += other.seconds;
            self.errors += other.errors;
            self.first_error = self.first_error.or(other.first_error);
            self.latencies_us.extend(other.latencies_us);
        }
        self.latencies_us.sort_unstable();
        self.trades = self.latencies_us.len() as u64;
        self.durable_trades_per_s = self.trades as f64 / self.seconds;
        self.p50_ms = percentile(&self.latencies_us, 0.50);
        self.p99_ms = percentile(&self.latencies_us, 0.99);
        self.max_ms = percentile(&self.latencies_us, 1.0);
        self
    }
}

/// Nearest-rank percentile of sorted microseconds, in milliseconds: the `⌈q·n⌉`-th smallest; 0 of nothing.
pub fn percentile(sorted: &[u32], q: f64) -> f64 {
    let rank = (q * sorted.len() as f64).ceil() as usize;
    let at = rank.clamp(1, sorted.len().max(1)) - 1;
    sorted
        .get(at)
        .map_or(0.0, |micros| f64::from(*micros) / 1_000.0)
}

#[cfg(test)]
mod tests;
