//! Thousands of schedulers that wait for decisions: half of them by long polls, half by a stream; each for those on one
//! run, or for all.
//!
//! Every one is a TCP connection of its own that notes when it had read a decision to the end. They take
//! no more of the machine than they must, as what they measure runs beside them.

use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::connection::{connect, parse_head, unexpected};
use super::{BenchError, address_of};

/// Connections that are opened at once.
const OPENING: usize = 128;
/// From the last request written to when all of them wait.
const SETTLING: Duration = Duration::from_millis(1_500);
/// Longest message that is taken.
const MAX_MESSAGE: usize = 64 * 1024 * 1024;
/// Longest wait of a poll, seconds.
const WAIT_S: u32 = 60;

/// When decisions were read, unix microseconds, by version, in order of time.
pub type Arrivals = BTreeMap<i64, Vec<u64>>;

/// Who waits, and for what.
#[derive(Debug, Clone)]
pub struct Subscribers {
    /// `http://host:port`.
    pub base_url: String,
    /// Bearer token with the scope `read`.
    pub token: String,
    /// How many.
    pub count: usize,
    /// Version of the allocations that they have.
    pub since: i64,
    /// The runs that they follow, one each and in turns; all of them when there are none.
    pub runs: Vec<String>,
}

impl Subscribers {
    /// Waits for decisions from when `ready` is called until `stop`; when each was read, and how many
    /// subscribers gave up.
    ///
    /// # Errors
    /// [`BenchError`] when not all can connect.
    pub async fn wait(
        &self,
        ready: impl FnOnce(),
        stop: impl Future<Output = ()>,
    ) -> Result<(Arrivals, u64), BenchError> {
        let url = reqwest::Url::parse(&self.base_url)
            .map_err(|error| BenchError::Settings(format!("`{}`: {error}", self.base_url)))?;
        let address = address_of(&url)?;
        let (arrivals, opening) = (Arc::default(), Arc::new(Semaphore::new(OPENING)));
        let mut opened = JoinSet::new();
        for number in 0..self.count {
            let (address, opening) = (address.clone(), Arc::clone(&opening));
            opened.spawn(async move {
                let _permit = opening.acquire_owned().await;
                (number, connect(&address).await)
            });
        }
        let mut waiting = JoinSet::new();
        while let Some(one) = opened.join_next().await {
            let (number, stream) = one.map_err(|error| BenchError::Settings(error.to_string()))?;
            let stream = stream.map_err(|cause| BenchError::Connect {
                address: address.clone(),
                cause,
            })?;
            let one = Subscriber {
                stream,
                host: address.clone(),
                token: self.token.clone(),
                run: (!self.runs.is_empty()).then(|| self.runs[number % self.runs.len()].clone()),
                version: self.since,
                read: Vec::with_capacity(8 * 1024),
                arrivals: Arc::clone(&arrivals),
            };
            // Whoever follows the same run does it in both ways.
            let runs = self.runs.len().max(1);
            if (number / runs + number % runs).is_multiple_of(2) {
                waiting.spawn(one.poll());
            } else {
                waiting.spawn(one.follow());
            }
        }
        tokio::time::sleep(SETTLING).await;
        ready();
        stop.await;
        let mut lost = 0;
        // Whoever has ended before it was told to has failed.
        while let Some(ended) = waiting.try_join_next() {
            lost += 1;
            if let Ok(Err(error)) = ended {
                tracing::warn!(%error, "a subscriber gave up");
            }
        }
        waiting.abort_all();
        let mut arrivals: Arrivals =
            std::mem::take(&mut *arrivals.lock().unwrap_or_else(PoisonError::into_inner));
        arrivals
            .values_mut()
            .for_each(|times| times.sort_unstable());
        Ok((arrivals, lost))
    }
}

struct Subscriber {
    stream: TcpStream,
    host: String,
    token: String,
    /// The run that it follows; all of them otherwise.
    run: Option<String>,
    /// What it has.
    version: i64,
    read: Vec<u8>,
    arrivals: Arc<Mutex<Arrivals>>,
}

impl Subscriber {
    async fn ask(&mut self, path: &str) -> Result<(), Error> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\r\n",
            self.host, self.token
        );
        self.stream.write_all(request.as_bytes()).await
    }

    /// Asks for what is new again and again.
    async fn poll(mut self) -> Result<(), Error> {
        loop {
            let path = format!(
                "/api/v1/allocations?since={}&wait={WAIT_S}&changes=true{}",
                self.version,
                self.of()
            );
            self.ask(&path).await?;
            self.read.clear();
            let head = loop {
                if let Some(head) = parse_head(&self.read)? {
                    break head;
                }
                self.fill().await?;
            };
            while self.read.len() < head.length + head.body {
                self.fill().await?;
            }
            match head.status {
                304 => {}
                200 => {
                    let list = version_of(&self.read[head.length..])?;
                    if self.run.is_some() {
                        for version in items_of(&self.read[head.length..])? {
                            self.noted([version]);
                        }
                        self.version = list;
                    } else {
                        self.note(list);
                    }
                }
                status => return Err(unexpected(&format!("status {status}"))),
            }
        }
    }

    /// Reads one answer that does not end.
    async fn follow(mut self) -> Result<(), Error> {
        let path = format!(
            "/api/v1/allocations/stream?since={}{}",
            self.version,
            self.of()
        );
        self.ask(&path).await?;
        loop {
            self.fill().await?;
            while let Some(end) = find(&self.read, b"\n\n") {
                match (id_of(&self.read[..end]), &self.run) {
                    (Some(version), Some(_)) => self.noted([version]),
                    (Some(version), None) => self.note(version),
                    (None, _) => {}
                }
                self.read.drain(..end + 2);
            }
        }
    }

    async fn fill(&mut self) -> Result<(), Error> {
        if self.read.len() > MAX_MESSAGE {
            return Err(unexpected("a message that is too long"));
        }
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(Error::new(
                ErrorKind::UnexpectedEof,
                "the connection was closed",
            )),
            _ => Ok(()),
        }
    }

    /// The parameter with its run.
    fn of(&self) -> String {
        let run = self.run.as_ref();
        run.map_or_else(String::new, |run| format!("&targets={run}"))
    }

    /// Every version up to this one has been read now.
    fn note(&mut self, version: i64) {
        self.noted(self.version + 1..=version);
        self.version = self.version.max(version);
    }

    /// These versions have been read now.
    fn noted(&self, versions: impl IntoIterator<Item = i64>) {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = elapsed.map_or(0, |elapsed| elapsed.as_micros());
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        for read in versions {
            arrivals.entry(read).or_default().push(now);
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// The number after `"version":`, which a list begins with.
fn version_of(body: &[u8]) -> Result<i64, Error> {
    number_after(body, b"{\"version\":").ok_or_else(|| unexpected("a list without a version"))
}

/// The versions of the decisions in a list.
fn items_of(body: &[u8]) -> Result<Vec<i64>, Error> {
    #[derive(serde::Deserialize)]
    struct List {
        items: Vec<Item>,
    }
    #[derive(serde::Deserialize)]
    struct Item {
        version: i64,
    }
    let list: List =
        serde_json::from_slice(body).map_err(|error| unexpected(&error.to_string()))?;
    Ok(list.items.into_iter().map(|item| item.version).collect())
}

/// The number of a frame with an `id` line and a decision; comments have none.
fn id_of(frame: &[u8]) -> Option<i64> {
    let at = find(frame, b"id: ")?;
    find(frame, b"\"envelope\"")?;
    number_after(&frame[at..], b"id: ")
}

fn number_after(bytes: &[u8], what: &[u8]) -> Option<i64> {
    let rest = bytes.strip_prefix(what)?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn versions_are_found_in_lists_and_frames() {
        assert_eq!(version_of(b"{\"version\":17,\"items\":[]}").unwrap(), 17);
        assert!(version_of(b"{}").is_err());
        let list = br#"{"version":17,"items":[{"version":3,"acks":[]},{"version":9}]}"#;
        assert_eq!(items_of(list).unwrap(), [3, 9]);
        let frame = b"1f4\r\nid: 9\ndata: {\"version\":9,\"envelope\":{}}";
        assert_eq!(id_of(frame), Some(9));
        assert_eq!(id_of(b"retry: 2000\n: connected"), None);
    }
}
