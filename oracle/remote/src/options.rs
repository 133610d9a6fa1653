//! What a remote judge may do.

use std::time::Duration;

use plumbline_oracle::InvalidInput;

/// How a remote judge is reached, and what it may cost.
#[derive(Clone, PartialEq)]
pub struct RemoteOptions {
    /// Base address of the API, `http(s)://host[:port][/path]` without `/chat/completions`.
    pub url: String,
    /// Name of the model.
    pub model: String,
    /// Bearer key; none for an endpoint that asks for none.
    pub key: Option<String>,
    /// Longest one request may take, its retries not counted.
    pub timeout: Duration,
    /// Requests after one that failed in a way that may pass (no connection, 429, 5xx).
    pub retries: u32,
    /// Price of 1,000 tokens read or written, micro-credits, ≥ 0.
    pub price_per_1k_tokens_micro: i64,
    /// Most that may be spent in 24 hours, micro-credits; with a price of 0 it bounds nothing.
    pub budget_per_day_micro: i64,
    /// Most questions in 24 hours; retries are not counted.
    pub requests_per_day: u32,
    /// Failures in a row after which the endpoint is left alone.
    pub failures_to_open: u32,
    /// How long it is left alone; then one request tries again.
    pub open_for: Duration,
    /// Characters of evidence in one request; longer evidence is cut into sections, all of which are judged.
    pub section_chars: usize,
    /// Largest |ℓ − ℓ₀|, nats; > 0.
    pub log_odds_bound: f64,
    /// Standard error that is stated for an answer with log-probabilities, nats; > 0. Twice as much without them.
    pub standard_error: f64,
}

impl RemoteOptions {
    /// The defaults for an endpoint and a model.
    pub fn new(url: impl Into<String>, model: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            model: model.into(),
            key: None,
            timeout: Duration::from_secs(30),
            retries: 2,
            price_per_1k_tokens_micro: 0,
            budget_per_day_micro: 10_000_000,
            requests_per_day: 2_000,
            failures_to_open: 5,
            open_for: Duration::from_secs(60),
            section_chars: 24_000,
            log_odds_bound: 3.0,
            standard_error: 1.5,
        }
    }

    /// Checks what the fields say. Errors: [`InvalidInput::Malformed`] naming the field.
    pub fn validate(&self) -> Result<(), InvalidInput> {
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let host = ["http://", "https://"]
            .iter()
            .find_map(|scheme| self.url.strip_prefix(scheme));
        let checks = [
            (
                "url",
                host.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/')),
                "is not http:// or https:// and a host",
            ),
            (
                "url",
                !self.url.contains(['@', '?', '#', ' ']),
                "has a user, a query, a fragment or a space",
            ),
            ("model", !self.model.is_empty(), "is empty"),
            ("timeout", !self.timeout.is_zero(), "is zero"),
            (
                "price_per_1k_tokens_micro",
                self.price_per_1k_tokens_micro >= 0,
                "is below 0",
            ),
            (
                "section_chars",
                self.section_chars >= 1_000,
                "is below 1,000",
            ),
            (
                "log_odds_bound",
                positive(self.log_odds_bound),
                "is not > 0",
            ),
            (
                "standard_error",
                positive(self.standard_error),
                "is not > 0",
            ),
        ];
        for (field, holds, reason) in checks {
            if !holds {
                return Err(InvalidInput::Malformed { field, reason });
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for RemoteOptions {
    /// Everything but the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteOptions")
            .field("url", &self.url)
            .field("model", &self.model)
            .field("key", &self.key.as_ref().map(|_| "…"))
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_are_checked_and_the_key_is_not_shown() {
        for bad in [
            "",
            "ftp://host",
            "http://",
            "http:///v1",
            "https://a@b/v1",
            "http://h/v1?x=1",
        ] {
            assert!(RemoteOptions::new(bad, "m").validate().is_err(), "{bad}");
        }
        let options = RemoteOptions {
            key: Some("secret".to_owned()),
            ..RemoteOptions::new("http://127.0.0.1:1/v1", "m")
        };
        options.validate().unwrap();
        assert!(!format!("{options:?}").contains("secret"));
    }
}
