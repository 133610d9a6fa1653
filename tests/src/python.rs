//! Python with a package, for programs that must share nothing with ours.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program::root;

/// A Python 3 that can import `module`: the system's, else one in a virtual environment `target/NAME` that is made for
/// the tests with `package` in it, or several separated by spaces.
///
/// # Panics
/// When there is none and none can be made; with what the programs said.
#[must_use]
pub fn python_with(name: &str, module: &str, package: &str) -> PathBuf {
    let system = PathBuf::from("python3");
    if imports(&system, module) {
        return system;
    }
    let folder = root().join("target").join(name);
    let own = folder.join("bin").join("python3");
    if !imports(&own, module) {
        run_python(Command::new(&system).args(["-m", "venv"]).arg(&folder));
        let install = ["-m", "pip", "install", "--quiet"];
        run_python(Command::new(&own).args(install).args(package.split(' ')));
    }
    own
}

/// The one with the package that checks signatures.
///
/// # Panics
/// As [`python_with`].
#[must_use]
pub fn python() -> PathBuf {
    python_with("python", "cryptography", "cryptography")
}

fn imports(python: &Path, module: &str) -> bool {
    let probe = Command::new(python)
        // Alone, so that a folder here with the module's name is not taken for it.
        .args(["-I", "-c", &format!("import {module}")])
        .output();
    probe.is_ok_and(|output| output.status.success())
}

/// Runs a program of Python to its end; what it printed.
///
/// # Panics
/// When it cannot be started or fails; with what it said.
pub fn run_python(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| {
        panic!(
            "{command:?} cannot be started: {error}; this needs python3 with venv, and pip's index"
        )
    });
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{said}\n{complaint}");
    said
}
