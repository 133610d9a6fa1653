//! One keep-alive HTTP/1.1 connection that posts prepared trades.

use std::io::{Error, ErrorKind};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use uuid::{Builder, Uuid};

use super::Load;

/// Largest answer taken.
const MAX_ANSWER: usize = 1024 * 1024;
/// Longest wait for one answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Length of a UUID in its usual text form.
const KEY_LENGTH: usize = 36;
/// Longest piece of an answer's body shown in an error, characters.
const EXCERPT: usize = 200;

/// Where a connection goes and for whom it trades.
pub(super) struct Target<'a> {
    /// `host:port`.
    pub(super) address: &'a str,
    /// What is posted.
    pub(super) load: Load,
    /// Market to trade on.
    pub(super) market_id: &'a str,
    /// Bearer token.
    pub(super) token: &'a str,
}

/// A request in which only the idempotency key changes.
#[derive(Debug)]
struct Prepared {
    bytes: Vec<u8>,
    key_at: usize,
    /// Random; what makes a key unique beside its time.
    tail: u128,
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    address: String,
    stream: TcpStream,
    buy: Prepared,
    sell: Prepared,
    read: Vec<u8>,
    body_at: usize,
}

impl Prepared {
    fn new(target: &Target<'_>, shares_micro: i64) -> Self {
        let body = format!(r#"{{"outcome":"yes","shares_micro":{shares_micro}}}"#);
        let head = format!(
            "POST /api/v1/markets/{}/{} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nidempotency-key: ",
            target.market_id,
            target.load.resource(),
            target.address,
            target.token,
            body.len(),
        );
        let key_at = head.len();
        let bytes = format!("{head}{}\r\n\r\n{body}", "0".repeat(KEY_LENGTH)).into_bytes();
        let tail = Uuid::now_v7().as_u128();
        Self {
            bytes,
            key_at,
            tail,
        }
    }

    /// The request with a key never used before: a UUIDv7 that costs no call for randomness.
    fn fresh(&mut self) -> &[u8] {
        let slot = &mut self.bytes[self.key_at..self.key_at + KEY_LENGTH];
        self.tail = self.tail.wrapping_add(1);
        let [_, _, _, _, _, _, tail @ ..] = self.tail.to_be_bytes();
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = elapsed.map_or(0, |elapsed| elapsed.as_millis());
        Builder::from_unix_timestamp_millis(u64::try_from(millis).unwrap_or(0), &tail)
            .into_uuid()
            .hyphenated()
            .encode_lower(slot);
        &self.bytes
    }
}

impl Connection {
    /// Connects and prepares the purchase and the sale of `shares_micro` YES micro-shares.
    pub(super) async fn open(target: &Target<'_>, shares_micro: i64) -> Result<Self, Error> {
        let printable =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !printable(target.market_id)
            || !printable(target.token)
            || target.market_id.contains('/')
        {
            return Err(Error::new(
                ErrorKind::InvalidInput,
                "market and token must be plain identifiers",
            ));
        }
        Ok(Self {
            address: target.address.to_owned(),
            stream: connect(target.address).await?,
            buy: Prepared::new(target, shares_micro),
            sell: Prepared::new(target, -shares_micro),
            read: Vec::with_capacity(16 * 1024),
            body_at: 0,
        })
    }

    /// Connects anew after an error.
    pub(super) async fn reopen(&mut self) -> Result<(), Error> {
        self.stream = connect(&self.address).await?;
        Ok(())
    }

    /// Asks for one path and returns the status of its answer.
    pub(super) async fn get(&mut self, path: &str, token: &str) -> Result<u16, Error> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {token}\r\n\r\n",
            self.address
        );
        self.stream.write_all(request.as_bytes()).await?;
        let answered = timeout(PATIENCE, self.answer()).await;
        answered.map_err(|_| Error::new(ErrorKind::TimedOut, "no answer in time"))?
    }

    /// Posts one order and returns the status of its answer.
    pub(super) async fn post(&mut self, buy: bool) -> Result<u16, Error> {
        let request = if buy {
            self.buy.fresh()
        } else {
            self.sell.fresh()
        };
        self.stream.write_all(request).await?;
        let answered = timeout(PATIENCE, self.answer()).await;
        answered.map_err(|_| Error::new(ErrorKind::TimedOut, "no answer in time"))?
    }

    /// The beginning of the last answer's body.
    pub(super) fn last_body(&self) -> String {
        let body = self.read.get(self.body_at..).unwrap_or_default();
        String::from_utf8_lossy(body)
            .chars()
            .filter(|letter| !letter.is_control())
            .take(EXCERPT)
            .collect()
    }

    /// Reads exactly one answer; nothing may follow it, because requests are not pipelined.
    async fn answer(&mut self) -> Result<u16, Error> {
        self.read.clear();
        self.body_at = 0;
        loop {
            if let Some(head) = parse_head(&self.read)? {
                self.body_at = head.length;
                let whole = head.length + head.body;
                while self.read.len() < whole {
                    self.fill().await?;
                }
                if self.read.len() > whole {
                    return Err(unexpected("bytes after the answer"));
                }
                return Ok(head.status);
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<(), Error> {
        if self.read.len() > MAX_ANSWER {
            return Err(unexpected("an answer that is too long"));
        }
        match self.stream.read_buf(&mut self.read).await? {
            0 => Err(Error::new(
                ErrorKind::UnexpectedEof,
                "the connection was closed",
            )),
            _ => Ok(()),
        }
    }
}

pub(super) async fn connect(address: &str) -> Result<TcpStream, Error> {
    let stream = TcpStream::connect(address).await?;
    // Requests are one small write each: waiting to merge them would measure the wait.
    stream.set_nodelay(true)?;
    Ok(stream)
}

pub(super) fn unexpected(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, format!("{what} came"))
}

/// What the head of an answer says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) status: u16,
    /// Bytes of the head with its empty line.
    pub(super) length: usize,
    /// Bytes of the body.
    pub(super) body: usize,
}

/// Parses the head once it is complete. Only bodies with a `Content-Length` are known.
pub(super) fn parse_head(bytes: &[u8]) -> Result<Option<Head>, Error> {
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(None);
    };
    let text =
        std::str::from_utf8(&bytes[..end]).map_err(|_| unexpected("a head that is not text"))?;
    let mut lines = text.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 "))
        .and_then(|line| line.get(..3));
    let status = status
        .and_then(|code| code.parse().ok())
        .ok_or_else(|| unexpected("no HTTP/1.1 status"))?;
    let header = |wanted: &str| {
        let mut named = text
            .split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(':'));
        named
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value.trim())
    };
    let body = match header("content-length") {
        Some(length) => length
            .parse()
            .map_err(|_| unexpected("a content-length that is no number"))?,
        None if status == 204 || status == 304 => 0,
        None => return Err(unexpected("an answer without content-length")),
    };
    Ok(Some(Head {
        status,
        length: end + 4,
        body,
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn heads_are_read_when_they_are_whole() {
        let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 12\r\nx: y\r\n\r\n{";
        for cut in 0..answer.len() - 1 {
            assert_eq!(parse_head(&answer[..cut]).unwrap(), None, "{cut}");
        }
        let head = Head {
            status: 201,
            length: answer.len() - 1,
            body: 12,
        };
        assert_eq!(parse_head(answer).unwrap(), Some(head));
        for bad in [
            "HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n",
            "hello\r\n\r\n",
        ] {
            assert!(parse_head(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_the_key_changes() {
        let target = Target {
            address: "h:1",
            load: Load::Trades,
            market_id: "m",
            token: "t",
        };
        let mut prepared = Prepared::new(&target, -5);
        let first = String::from_utf8(prepared.fresh().to_vec()).unwrap();
        let second = String::from_utf8(prepared.fresh().to_vec()).unwrap();
        assert_ne!(first, second);
        assert!(first.ends_with("\r\n\r\n{\"outcome\":\"yes\",\"shares_micro\":-5}"));
        let length: usize = first.split("content-length: ").nth(1).unwrap()[..2]
            .parse()
            .unwrap();
        assert_eq!(first.split("\r\n\r\n").nth(1).unwrap().len(), length);
        let key =
            |text: &str| text.split("idempotency-key: ").nth(1).unwrap()[..KEY_LENGTH].to_owned();
        assert!(Uuid::parse_str(&key(&first)).is_ok());
        assert_eq!(
            first.replace(&key(&first), ""),
            second.replace(&key(&second), "")
        );
    }
}
