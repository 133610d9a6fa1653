//! Harness of the workspace's system tests: it starts the real binary on a free
//! port with a data folder of its own, and talks to it as anybody would.
//!
//! # Invariant
//! Nothing here links the service: whatever a test sees, it sees over HTTP, on
//! the standard streams of the program, or in the files that the program keeps.
//! A test that fails says what the program had written.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

pub mod browser;
pub mod docs_text;
pub mod fixture;
pub mod gallery;
pub mod http;
pub mod program;
pub mod python;
pub mod typed;

pub use browser::Browser;
pub use fixture::Site;
pub use gallery::Gallery;
pub use http::{Answer, Call, EventStream, Http};
pub use program::{Finished, Program, Server};
pub use typed::Typed;

use std::fs::File;
use std::time::{Duration, Instant};

/// One credit in micro-credits.
pub const CREDIT: i64 = 1_000_000;

/// Held by a test that needs the machine's cores for itself; others of its kind
/// wait, also those of other test programs.
#[derive(Debug)]
pub struct HeavyLock {
    _file: File,
}

impl HeavyLock {
    /// Waits for the lock; the system lets it go when the test ends, however it ends.
    #[must_use]
    pub fn take() -> Self {
        let path = std::env::temp_dir().join("plumbline-heavy-tests.lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .expect("the folder of temporary files can be written");
        file.lock().expect("a local file can be locked");
        Self { _file: file }
    }
}

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none after `limit`; the message says what was waited for.
pub fn until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            Instant::now() < deadline,
            "waited {} s in vain for {what}",
            limit.as_secs()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}
