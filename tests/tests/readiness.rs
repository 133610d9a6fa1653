//! Readiness is about work: a service whose disk is full says so, reads on, and comes back by itself.
#![allow(clippy::unwrap_used)]
#![cfg(target_os = "linux")]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use plumbline_tests::program::binary;
use plumbline_tests::{Call, Http};

/// How long a step may take on a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);

/// Ends the process whatever happens.
struct Owned(Child);

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until(http: &Http, path: &str, status: u16) {
    let start = Instant::now();
    loop {
        let answer = http.try_send(&Call::get(path));
        if answer
            .as_ref()
            .is_some_and(|answer| answer.status == status)
        {
            return;
        }
        assert!(start.elapsed() < LIMIT, "{path} never answered {status}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The largest file that the process may write, bytes: what a full disk does to it.
fn bound_files(process: u32, bytes: &str) {
    let pid = process.to_string();
    let limit = format!("--fsize={bytes}:unlimited");
    let done = Command::new("prlimit")
        .args(["--pid", &pid, &limit])
        .status()
        .unwrap();
    assert!(done.success());
}

#[test]
fn a_service_that_cannot_write_is_not_ready_until_it_can() {
    let folder = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    // A write past the limit fails instead of ending the process: the signal is ignored, as an inherited setting.
    let script = "trap '' XFSZ; exec \"$0\" \"$@\"";
    let child = Command::new("sh")
        .args(["-c", script])
        .arg(binary())
        .args(["serve", "--listen", &port.to_string(), "--data-dir"])
        .arg(folder.path().join("data"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let server = Owned(child);
    let http = Http::new(&format!("http://{port}"));
    until(&http, "/readyz", 200);
    bound_files(server.0.id(), "4096");
    until(&http, "/readyz", 503);
    // It lives and reads all the same.
    until(&http, "/healthz", 200);
    until(&http, "/api/v1/markets", 200);
    bound_files(server.0.id(), "unlimited");
    until(&http, "/readyz", 200);
}
