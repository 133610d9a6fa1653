//! What the operator may choose about the HTTP side.

use std::net::{Ipv4Addr, SocketAddr};

/// Settings of the HTTP server.
#[derive(Debug, Clone, PartialEq)]
pub struct WebConfig {
    /// Address to listen on; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Whether cookies carry `Secure`; set it where TLS ends in front of the server.
    pub secure_cookies: bool,
    /// Largest request body, bytes.
    pub body_limit: usize,
    /// Most event streams open at once.
    pub max_streams: usize,
    /// Most completion requests answered at once; past that they are refused. Their texts share batches, and wait for
    /// seats in them.
    pub max_completions: usize,
    /// Event-loop threads.
    pub workers: usize,
    /// Per-client limits.
    pub limits: RateLimits,
}

/// Token buckets: one for each address, and one for each account whatever its credentials and addresses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateLimits {
    /// Requests of any kind per second, sustained; twice as many in a burst. 0 switches the limit off.
    pub requests_per_second: f64,
    /// As [`RateLimits::requests_per_second`], for an account.
    pub account_requests_per_second: f64,
    /// Attempts at passwords and codes per minute, for an address and for a handle; as many in a burst. 0 switches the limit off.
    pub credentials_per_minute: f64,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self {
            requests_per_second: 1_000.0,
            account_requests_per_second: 1_000.0,
            credentials_per_minute: 60.0,
        }
    }
}

impl Default for WebConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8600)),
            secure_cookies: false,
            body_limit: 4 * 1024 * 1024,
            max_streams: 512,
            max_completions: 128,
            workers: 2,
            limits: RateLimits::default(),
        }
    }
}
