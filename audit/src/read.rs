//! From text to rows, with the digest that the text ends with.

use std::io::BufRead;

use crate::record::{Export, FORMAT, Header, Record, Trailer, VERSION};

/// Longest line that is read: the largest evidence that the service takes, and room.
const LONGEST_LINE: u64 = 64 * 1024 * 1024;

/// Why a text is not an export that can be checked.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The text could not be read.
    #[error("cannot read the export: {0}")]
    Io(#[from] std::io::Error),
    /// A line is not what it should be.
    #[error("line {line} of the export is not understood: {why}")]
    Line {
        /// Its number, from one.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
    /// It is of another format or version.
    #[error("not an export of format {FORMAT}, version {VERSION}")]
    Format,
    /// There is no last line with the digest.
    #[error("the export is cut short: its last line, with the digest, is missing")]
    CutShort,
    /// The text is not the one that was exported.
    #[error("the export was changed: its bytes do not have the digest that it ends with")]
    Changed,
}

/// Reads a whole export and checks its digest.
pub(crate) fn read(mut text: impl BufRead) -> Result<Export, ReadError> {
    let mut lines = Lines {
        text: &mut text,
        number: 0,
    };
    let mut digest = blake3::Hasher::new();
    let first = lines.next()?.ok_or(ReadError::CutShort)?;
    let header: Header = serde_json::from_str(&first).map_err(|_| ReadError::Format)?;
    if header.format != FORMAT || header.version != VERSION {
        return Err(ReadError::Format);
    }
    digest.update(first.as_bytes());
    let mut export = Export {
        market: header.market,
        exported_at: header.exported_at,
        ..Export::default()
    };
    let mut rows = 0;
    loop {
        let line = lines.next()?.ok_or(ReadError::CutShort)?;
        if let Ok(trailer) = serde_json::from_str::<Trailer>(&line) {
            let whole = lines.next()?.is_none();
            let same = digest.finalize().to_hex().as_str() == trailer.blake3;
            if !whole || !same || trailer.rows != rows {
                return Err(ReadError::Changed);
            }
            return Ok(export);
        }
        let record: Record = serde_json::from_str(&line).map_err(|error| ReadError::Line {
            line: lines.number,
            why: error.to_string(),
        })?;
        digest.update(line.as_bytes());
        export.add(record);
        rows += 1;
    }
}

struct Lines<'a, R> {
    text: &'a mut R,
    number: u64,
}

impl<R: BufRead> Lines<'_, R> {
    /// The next line with its end, or `None` at the end of the text.
    fn next(&mut self) -> Result<Option<String>, ReadError> {
        let mut line = String::new();
        let length = std::io::Read::take(&mut *self.text, LONGEST_LINE).read_line(&mut line)?;
        if length == 0 {
            return Ok(None);
        }
        self.number += 1;
        if !line.ends_with('\n') {
            return Err(ReadError::CutShort);
        }
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sealed(body: &str) -> String {
        let rows = body.lines().count() - 1;
        let digest = blake3::hash(body.as_bytes()).to_hex();
        format!("{body}{{\"blake3\":\"{digest}\",\"rows\":{rows}}}\n")
    }

    const HEADER: &str =
        "{\"format\":\"plumbline-audit\",\"version\":1,\"market\":null,\"exported_at\":0}\n";
    const ROW: &str = "{\"table\":\"entries\",\"row\":{\"transfer_seq\":1,\"ordinal\":0,\"account_id\":\"a\",\"amount_micro\":5}}\n";

    #[test]
    fn an_export_is_read_whole() {
        let text = sealed(&format!("{HEADER}{ROW}"));
        let export = read(text.as_bytes()).unwrap();
        assert_eq!(export.entries.len(), 1);
        assert_eq!(export.entries[0].amount_micro, 5);
    }

    #[test]
    fn whatever_is_changed_or_missing_is_noticed() {
        let text = sealed(&format!("{HEADER}{ROW}"));
        for at in 0..text.len() {
            let mut other = text.clone().into_bytes();
            other[at] ^= 1;
            assert!(read(other.as_slice()).is_err(), "byte {at}");
            assert!(read(&text.as_bytes()[..at]).is_err(), "cut at {at}");
        }
        assert!(read(format!("{text}{ROW}").as_bytes()).is_err());
        for odd in [
            "{\"table\":\"secrets\",\"row\":{}}\n",
            "{\"table\":\"entries\",\"row\":{}}\n",
            "nonsense\n",
        ] {
            assert!(matches!(
                read(sealed(&format!("{HEADER}{odd}")).as_bytes()),
                Err(ReadError::Line { line: 2, .. })
            ));
        }
        let newer = HEADER.replace("\"version\":1", "\"version\":2");
        assert!(matches!(
            read(sealed(&newer).as_bytes()),
            Err(ReadError::Format)
        ));
    }
}
