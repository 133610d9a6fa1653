//! Real Slurm daemons on loopback, started by `scripts/slurm-sandbox.sh`.

#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

/// A cluster of four nodes in partition `main`; gone when dropped.
pub(in crate::enforce) struct Sandbox(TempDir);

impl Sandbox {
    /// # Panics
    /// When the daemons cannot be started: this machine cannot run the tests of this enforcer.
    pub(in crate::enforce) fn start() -> Self {
        let sandbox = Self(tempfile::tempdir().unwrap());
        let started = sandbox.script("start");
        let why = String::from_utf8_lossy(&started.stderr);
        assert!(started.status.success(), "Slurm did not start: {why}");
        sandbox
    }

    fn script(&self, verb: &str) -> Output {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/slurm-sandbox.sh");
        let mut command = Command::new(script);
        command.arg(verb).arg(self.0.path()).output().unwrap()
    }

    pub(in crate::enforce) fn conf(&self) -> PathBuf {
        self.0.path().join("slurm.conf")
    }

    /// Runs one of Slurm's programs.
    pub(in crate::enforce) fn call(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(self.0.path());
        let output = command.env("SLURM_CONF", self.conf()).output().unwrap();
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {why}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Submits a job that can be requeued; its number.
    pub(in crate::enforce) fn submit(&self, name: &str, nodes: u32, script: &str) -> String {
        let nodes = format!("--nodes={nodes}");
        let name = format!("--job-name={name}");
        let arguments = [
            "--parsable",
            "--requeue",
            "--output=%j.out",
            &nodes,
            &name,
            "--wrap",
            script,
        ];
        self.call("sbatch", &arguments).trim().to_owned()
    }

    pub(in crate::enforce) fn squeue(&self) -> String {
        self.call("squeue", &["--noheader", "--format", "%j %i %T %D %r"])
    }

    /// Nodes that the jobs of a name hold.
    pub(in crate::enforce) fn nodes(&self, name: &str) -> u32 {
        let listed = self.squeue();
        let lines = listed
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>());
        let holding = lines.filter(|job| {
            job[0] == name && matches!(job[2], "RUNNING" | "COMPLETING" | "CONFIGURING")
        });
        holding.map(|job| job[3].parse::<u32>().unwrap()).sum()
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.script("stop");
    }
}
