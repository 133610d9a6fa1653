//! Python with the one package that checks signatures, for programs that must share nothing with ours.

use std::path::PathBuf;
use std::process::Command;

use crate::program::root;

/// A Python 3 that has `cryptography`: the system's, else one in a virtual environment that is made for the tests.
///
/// # Panics
/// When there is none and none can be made; with what the programs said.
#[must_use]
pub fn python() -> PathBuf {
    let has_package = |python: &PathBuf| {
        let probe = Command::new(python)
            .args(["-c", "import cryptography"])
            .output();
        probe.is_ok_and(|output| output.status.success())
    };
    let system = PathBuf::from("python3");
    if has_package(&system) {
        return system;
    }
    let folder = root().join("target").join("python");
    let own = folder.join("bin").join("python3");
    if !has_package(&own) {
        let folder = folder.to_str().expect("the workspace has a plain name");
        let pip = [
            own.to_str().unwrap_or_default(),
            "-m",
            "pip",
            "install",
            "--quiet",
            "cryptography",
        ];
        for command in [&["python3", "-m", "venv", folder][..], &pip[..]] {
            let output = Command::new(command[0]).args(&command[1..]).output();
            let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
            assert!(
                output.status.success(),
                "{command:?}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
    own
}
