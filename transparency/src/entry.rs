//! The bytes that stand for one event of the outbox.

/// What every entry begins with: no other kind of document can be taken for one.
const FORMAT: &str = "plumbline-log/v1";

/// An event as it goes into the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its number, from 1; its index in the log is one less.
    pub id: i64,
    /// When, milliseconds since 1970 in UTC.
    pub at: i64,
    /// What it is about; without line breaks.
    pub topic: &'a str,
    /// What happened; without line breaks.
    pub kind: &'a str,
    /// The details: one JSON object on one line, byte for byte as it was stored.
    pub payload: &'a str,
}

impl Event<'_> {
    /// Six lines, the last without an end: format, number, time, topic, kind, details.
    #[must_use]
    pub fn text(&self) -> String {
        format!(
            "{FORMAT}\n{}\n{}\n{}\n{}\n{}",
            self.id, self.at, self.topic, self.kind, self.payload
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_shows() {
        let event = Event {
            id: 7,
            at: 1_790_000_000_000,
            topic: "market:m",
            kind: "price",
            payload: "{\"a\":1}",
        };
        assert_eq!(
            event.text(),
            "plumbline-log/v1\n7\n1790000000000\nmarket:m\nprice\n{\"a\":1}"
        );
    }
}
