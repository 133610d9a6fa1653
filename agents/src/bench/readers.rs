//! Readers: many connections that ask for one path, and many that hold an event stream open.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reqwest::Url;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::connection::{Connection, Target, connect};
use super::{BenchError, Load, SHARES_MICRO, address_of};

/// Connections that are opened at once.
const OPENING: usize = 128;
/// Longest wait for the first bytes of a stream.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was answered over some connections.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// Answers per second.
    pub per_s: f64,
    /// Microseconds of each, ascending.
    pub latencies_us: Vec<u32>,
}

/// Asks for `path` over `connections` connections for `seconds`, each one request after the other.
///
/// # Errors
/// [`BenchError`] when a connection fails or an answer is not 2xx.
pub async fn gets_for(
    base_url: &str,
    token: &str,
    path: &str,
    connections: usize,
    seconds: f64,
) -> Result<Answered, BenchError> {
    let address = host_of(base_url)?;
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    let mut readers = JoinSet::new();
    for _ in 0..connections {
        let (address, token, path) = (address.clone(), token.to_owned(), path.to_owned());
        readers.spawn(async move { read_until(&address, &token, &path, until).await });
    }
    let mut latencies_us = Vec::new();
    while let Some(one) = readers.join_next().await {
        let one = one.map_err(|error| BenchError::Settings(error.to_string()))?;
        latencies_us.extend(one?);
    }
    latencies_us.sort_unstable();
    Ok(Answered {
        per_s: latencies_us.len() as f64 / seconds,
        latencies_us,
    })
}

async fn read_until(
    address: &str,
    token: &str,
    path: &str,
    until: Instant,
) -> Result<Vec<u32>, BenchError> {
    let mut reader = Reader::open(address, token).await?;
    let mut latencies = Vec::new();
    while Instant::now() < until {
        latencies.push(reader.get(path).await?);
    }
    Ok(latencies)
}

/// Asks for `path` `count` times, one after the other on one connection; microseconds of each, ascending.
///
/// # Errors
/// [`BenchError`] for an answer other than 2xx, or none.
pub async fn gets(
    base_url: &str,
    token: &str,
    path: &str,
    count: usize,
) -> Result<Vec<u32>, BenchError> {
    let mut reader = Reader::open(&host_of(base_url)?, token).await?;
    let mut latencies = Vec::with_capacity(count);
    for _ in 0..count {
        latencies.push(reader.get(path).await?);
    }
    latencies.sort_unstable();
    Ok(latencies)
}

/// One connection that asks for paths.
struct Reader {
    connection: Connection,
    address: String,
    token: String,
}

impl Reader {
    async fn open(address: &str, token: &str) -> Result<Self, BenchError> {
        let target = Target {
            address,
            load: Load::Quotes,
            market_id: "none",
            token,
        };
        let connection = Connection::open(&target, SHARES_MICRO).await;
        Ok(Self {
            connection: connection.map_err(|cause| lost(address, cause))?,
            address: address.to_owned(),
            token: token.to_owned(),
        })
    }

    /// Microseconds that an answer took.
    async fn get(&mut self, path: &str) -> Result<u32, BenchError> {
        let asked = Instant::now();
        let answered = self.connection.get(path, &self.token).await;
        let status = answered.map_err(|cause| lost(&self.address, cause))?;
        if !(200..300).contains(&status) {
            let what = format!("{status}: {}", self.connection.last_body());
            return Err(BenchError::Refused(what));
        }
        Ok(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX))
    }
}

fn lost(address: &str, cause: std::io::Error) -> BenchError {
    BenchError::Connect {
        address: address.to_owned(),
        cause,
    }
}

/// Holds `count` event streams on `path` open from when `ready` is called, once each has said something, until
/// `stop`; how many were still open then, and the bytes that came.
///
/// # Errors
/// [`BenchError`] when not all can be opened.
pub async fn hold_streams(
    base_url: &str,
    token: &str,
    path: &str,
    count: usize,
    ready: impl FnOnce(),
    stop: impl Future<Output = ()>,
) -> Result<(usize, usize), BenchError> {
    let address = host_of(base_url)?;
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\r\n");
    let (opening, bytes) = (
        Arc::new(Semaphore::new(OPENING)),
        Arc::<AtomicUsize>::default(),
    );
    let mut opened = JoinSet::new();
    for _ in 0..count {
        let (address, request) = (address.clone(), request.clone());
        let opening = Arc::clone(&opening);
        opened.spawn(async move {
            let _permit = opening.acquire_owned().await;
            let mut stream = connect(&address).await?;
            stream.write_all(request.as_bytes()).await?;
            let mut first = [0; 1024];
            let read = tokio::time::timeout(PATIENCE, stream.read(&mut first)).await??;
            let is_good = first[..read].starts_with(b"HTTP/1.1 200");
            let refused = || std::io::Error::other(String::from_utf8_lossy(&first[..read]));
            is_good.then_some(stream).ok_or_else(refused)
        });
    }
    let mut held = JoinSet::new();
    while let Some(one) = opened.join_next().await {
        let one = one.map_err(|error| BenchError::Settings(error.to_string()))?;
        let mut stream = one.map_err(|cause| BenchError::Connect {
            address: address.clone(),
            cause,
        })?;
        let bytes = Arc::clone(&bytes);
        held.spawn(async move {
            let mut piece = [0; 512];
            while let Ok(read @ 1..) = stream.read(&mut piece).await {
                bytes.fetch_add(read, Ordering::Relaxed);
            }
        });
    }
    ready();
    stop.await;
    let mut ended = 0;
    while held.try_join_next().is_some() {
        ended += 1;
    }
    held.abort_all();
    Ok((count - ended, bytes.load(Ordering::Relaxed)))
}

fn host_of(base_url: &str) -> Result<String, BenchError> {
    let url = Url::parse(base_url)
        .map_err(|error| BenchError::Settings(format!("`{base_url}`: {error}")))?;
    address_of(&url)
}
