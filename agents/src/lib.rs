//! Programs that take part through the public HTTP API: a client, the
//! reference adversary, the consumer side of allocation decisions, and a load
//! generator.
//!
//! | module | what it holds |
//! |---|---|
//! | [`client`] | typed calls with timeouts, bounded retries and idempotency keys |
//! | [`adversary`] | searches a run for a published behaviour, submits what it finds with a stake |
//! | [`enforce`] | verifies, orders and applies allocation decisions, and acknowledges them |
//! | [`mcp`] | a Model Context Protocol server, so that agents can take part |
//! | [`misleader`] | works against the truth, for benchmarks and drills |
//! | [`mod@bench`] | measures durable trades per second over HTTP |
//! | [`import`] | logs of Inspect, garak and promptfoo as exhibits |
//!
//! Invariant: nothing here shares memory, a database or a type with the
//! service. What a program in this crate can do, anybody with a token can do
//! from another machine; an allocation is acted on only after its signature
//! was verified.

pub mod adversary;
pub mod bench;
pub mod client;
pub mod enforce;
pub mod error;
pub mod import;
pub mod mcp;
pub mod misleader;

pub use client::Client;
pub use error::{ApiError, ClientError};

#[cfg(test)]
mod testing;
