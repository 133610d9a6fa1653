//! Where a service is and who asks, and how people read and write amounts: shared by the
//! subcommands that act for a person over the public API.

use std::future::Future;
use std::path::Path;

use anyhow::{Context, Result};
use clap::Args;
use plumbline_agents::Client;
use serde_json::Value;

/// Micro-credits in a credit, micro-shares in a share.
const MICRO: i64 = 1_000_000;

#[derive(Debug, Args)]
pub struct Access {
    /// Where the service is
    #[arg(long, default_value = "http://127.0.0.1:8600", env = "PLUMBLINE_URL")]
    url: String,
    /// API token; made on the page /account
    #[arg(long, env = "PLUMBLINE_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl Access {
    pub fn client(&self) -> Result<Client> {
        Ok(Client::new(&self.url, self.token.clone())?)
    }
}

/// Access, and whether to print what the service said instead of a summary.
#[derive(Debug, Args)]
pub struct Desk {
    #[command(flatten)]
    pub access: Access,
    /// Print the service's answer as JSON
    #[arg(long)]
    pub json: bool,
}

impl Desk {
    /// Prints a document: as it is, or as `line` puts it.
    pub fn print(&self, document: &Value, line: impl Fn(&Value) -> String) -> Result<()> {
        if self.json {
            println!("{}", serde_json::to_string(document)?);
        } else {
            println!("{}", line(document));
        }
        Ok(())
    }

    /// Prints a list: as one JSON array, or a line for each, or `none` where there is nothing.
    pub fn print_all(
        &self,
        documents: &[Value],
        none: &str,
        line: impl Fn(&Value) -> String,
    ) -> Result<()> {
        if self.json {
            println!("{}", serde_json::to_string(documents)?);
        } else if documents.is_empty() {
            println!("{none}");
        } else {
            documents.iter().for_each(|one| println!("{}", line(one)));
        }
        Ok(())
    }
}

pub fn block_on(work: impl Future<Output = Result<()>>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(work)
}

/// A whole number of micro-credits or micro-shares from decimals with at most six places.
pub fn micro(text: &str) -> Result<i64, String> {
    let bad = || format!("'{text}' is no amount: digits, with at most six after the point");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > 6 {
        return Err(bad());
    }
    let whole: i64 = whole.parse().map_err(|_| bad())?;
    let part: i64 = format!("{part:0<6}").parse().map_err(|_| bad())?;
    whole
        .checked_mul(MICRO)
        .and_then(|micro| micro.checked_add(part))
        .ok_or_else(bad)
}

/// The same, for people: at most six places, no needless zeros.
pub fn credits(micro: i64) -> String {
    let (sign, size) = (if micro < 0 { "-" } else { "" }, micro.unsigned_abs());
    let unit = MICRO.unsigned_abs();
    let part = format!("{:06}", size % unit);
    match part.trim_end_matches('0') {
        "" => format!("{sign}{}", size / unit),
        part => format!("{sign}{}.{part}", size / unit),
    }
}

/// A string of a document; empty where there is none.
pub fn text<'a>(document: &'a Value, name: &str) -> &'a str {
    document[name].as_str().unwrap_or_default()
}

/// An amount of a document, for people.
pub fn amount(document: &Value, name: &str) -> String {
    document[name]
        .as_i64()
        .map_or_else(|| "?".to_owned(), credits)
}

/// A probability of a document, for people.
pub fn price(document: &Value, name: &str) -> String {
    document[name]
        .as_f64()
        .map_or_else(|| "?".to_owned(), |price| format!("{price:.4}"))
}

/// Text from the service as it may go to a terminal: on one line, without control characters.
pub fn plain(text: &str) -> String {
    let safe = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(safe).collect()
}

/// Reads a JSON file of at most `limit` bytes, or standard input for `-`.
pub fn read_json(path: &Path, limit: u64) -> Result<Value> {
    let bytes = read_bounded(path, limit)?;
    serde_json::from_slice(&bytes).with_context(|| format!("{} is no JSON", path.display()))
}

/// Reads a file of at most `limit` bytes, or standard input for `-`.
pub fn read_bounded(path: &Path, limit: u64) -> Result<Vec<u8>> {
    use std::io::Read;
    let source: Box<dyn Read> = if path.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        let file = std::fs::File::open(path);
        Box::new(file.with_context(|| format!("cannot read {}", path.display()))?)
    };
    let mut bytes = Vec::new();
    source.take(limit + 1).read_to_end(&mut bytes)?;
    anyhow::ensure!(
        bytes.len() as u64 <= limit,
        "{} has more than {limit} bytes",
        path.display()
    );
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly_and_written_shortly() {
        let table = [
            ("10", 10 * MICRO, "10"),
            ("0.5", 500_000, "0.5"),
            ("0.000001", 1, "0.000001"),
            ("9223372036854.775807", i64::MAX, "9223372036854.775807"),
        ];
        for (text, value, short) in table {
            assert_eq!(micro(text), Ok(value));
            assert_eq!(credits(value), short);
        }
        for bad in [
            "",
            ".5",
            "-1",
            "1e3",
            "0.0000001",
            "1,5",
            "9223372036854.775808",
        ] {
            assert!(micro(bad).is_err(), "{bad}");
        }
        assert_eq!(credits(-1_500_000), "-1.5");
    }
}
