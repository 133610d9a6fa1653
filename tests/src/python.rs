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

/// The one with the generator of clients from an OpenAPI document, whose program lies beside it. Pinned, because what is
/// generated is the generator's choice.
///
/// # Panics
/// As [`python_with`].
#[must_use]
pub fn openapi_client() -> PathBuf {
    let package = "openapi-python-client==0.29.1";
    python_with("openapi-client", "openapi_python_client", package)
}

/// The one with OpenAI's own client, as it is published.
///
/// # Panics
/// As [`python_with`].
#[must_use]
pub fn openai_client() -> PathBuf {
    python_with("openai-client", "openai", "openai>=1.50,<3")
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
