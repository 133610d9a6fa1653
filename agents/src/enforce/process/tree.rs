//! Processes as `/proc` shows them: who descends from whom, and how much processor time they have used.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// Clock ticks of `/proc/PID/stat` in a second (USER_HZ, 100 on every Linux architecture).
const TICKS: u64 = 100;

/// What is read of a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Process {
    parent: i32,
    /// `R`, `S`, `T`, `Z`, …
    pub(super) state: char,
    /// Processor time of all its threads, milliseconds.
    cpu_ms: u64,
    /// When it started, ticks since boot: with the number this names a process for good.
    pub(super) started: u64,
}

/// Reads one process; none when it is gone or a zombie.
pub(super) fn process(pid: i32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    parse(&stat).filter(|found| !matches!(found.state, 'Z' | 'X'))
}

/// The fields of proc(5) after the name, which stands in brackets and may hold anything.
fn parse(stat: &str) -> Option<Process> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Process {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        cpu_ms: (number(11)? + number(12)?) * 1000 / TICKS,
        started: number(19)?,
    })
}

/// `root` and everything that descends from it, living ones only.
pub(super) fn descendants(root: i32) -> BTreeSet<i32> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for pid in all() {
        if let Some(found) = process(pid) {
            children.entry(found.parent).or_default().push(pid);
        }
    }
    let mut found = BTreeSet::new();
    let mut open: Vec<i32> = process(root).map(|_| root).into_iter().collect();
    while let Some(pid) = open.pop() {
        if found.insert(pid) {
            open.extend(children.get(&pid).into_iter().flatten());
        }
    }
    found
}

fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Processor time of each of `pids` that lives, milliseconds.
pub(super) fn cpu_ms(pids: &BTreeSet<i32>) -> BTreeMap<i32, u64> {
    let used = |pid: &i32| Some((*pid, process(*pid)?.cpu_ms));
    pids.iter().filter_map(used).collect()
}

/// The numbers in a file of one number a line (`cgroup.procs`).
pub(super) fn numbers(path: &Path) -> BTreeSet<i32> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.trim().parse().ok())
        .collect()
}

/// Sends a signal to each; one that is gone needs none.
pub(super) fn signal(pids: &BTreeSet<i32>, signal: Signal) {
    for pid in pids.iter().filter_map(|pid| Pid::from_raw(*pid)) {
        if let Err(error) = kill_process(pid, signal) {
            tracing::debug!(%error, ?pid, ?signal, "a process could not be signalled");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_with_brackets_and_spaces_moves_no_field() {
        let fields = "1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 123456 1 2";
        let found = parse(&format!("42 (a) R (x y)) S {fields}")).unwrap();
        assert_eq!((found.state, found.parent), ('S', 1));
        assert_eq!((found.cpu_ms, found.started), (3000, 123_456));
        for broken in ["", "42 (a", "42 (a) S", "42 (a) S x y z"] {
            assert_eq!(parse(broken), None, "{broken:?}");
        }
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(process(own).unwrap().started > 0);
        assert!(descendants(own).contains(&own));
        assert!(descendants(i32::MAX).is_empty());
    }
}
