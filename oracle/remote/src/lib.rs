//! The `remote` judge: a language model behind an OpenAI-compatible endpoint, asked one question per section of the
//! evidence and answered by the odds that it gives to Yes over No.
//!
//! What it costs and how long it may take are bounded: a budget for each day, a timeout and few retries for each
//! request, and a circuit breaker that leaves an endpoint alone that keeps failing. A judgement that was paid for is
//! remembered by the hash of what was judged.
//!
//! Invariant: evidence is sent as quoted data behind a boundary that it cannot contain, one answer moves the judge by
//! no more than [`RemoteOptions::log_odds_bound`], and the key is sent to the configured endpoint only.

mod answer;
mod endpoint;
mod judge;
mod options;
mod prompt;

pub use judge::RemoteJudge;
pub use options::RemoteOptions;
