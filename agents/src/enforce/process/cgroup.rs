//! Control groups: a quota of processor time that the kernel keeps, also while no enforcer runs.
//!
//! Version 2: `cpu.max` and `cgroup.freeze`. Version 1: `cpu.cfs_quota_us`, and signals for a stop, as the
//! freezer is another hierarchy there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use super::tree;
use crate::enforce::EnforceError;

/// Microseconds over which a quota counts; the longer one is for quotas under the kernel's least.
const PERIODS_US: [u64; 2] = [100_000, 1_000_000];
/// Least quota that the kernel takes, microseconds.
const LEAST_QUOTA_US: u64 = 1_000;

/// One control group with a quota of processor time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cgroup {
    path: PathBuf,
    unified: bool,
}

impl Cgroup {
    /// A group that is there already.
    ///
    /// # Errors
    /// When it has no quota of processor time.
    pub(super) fn open(path: &Path) -> Result<Self, EnforceError> {
        let unified = path.join("cpu.max").exists();
        if !unified && !path.join("cpu.cfs_quota_us").exists() {
            return Err(EnforceError(format!(
                "{} is no control group with a quota of processor time (neither cpu.max nor cpu.cfs_quota_us)",
                path.display()
            )));
        }
        Ok(Self {
            path: path.to_owned(),
            unified,
        })
    }

    /// Makes the group `name` where this machine keeps such groups.
    ///
    /// # Errors
    /// When there is no place for it, or this process may not make it.
    pub(super) fn make(name: &str) -> Result<Self, EnforceError> {
        let roots = roots(&fs::read_to_string("/proc/mounts").unwrap_or_default());
        let mut why = "this machine mounts no control groups with processor time".to_owned();
        for root in roots {
            let path = root.join(name);
            let made = fs::create_dir(&path);
            match made {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    why = format!("cannot make {}: {error}", path.display());
                }
                _ => match Self::open(&path) {
                    Ok(group) => return Ok(group),
                    Err(error) => why = error.0,
                },
            }
        }
        Err(EnforceError(why))
    }

    /// Moves processes into the group.
    pub(super) fn take(&self, pids: &BTreeSet<i32>) -> Result<(), EnforceError> {
        let inside = self.members();
        for pid in pids.difference(&inside) {
            let moved = fs::write(self.path.join("cgroup.procs"), pid.to_string());
            // One that has just ended needs no quota.
            if let (Err(error), Some(_)) = (moved, tree::process(*pid)) {
                return Err(EnforceError(format!(
                    "cannot move process {pid} into {}: {error}",
                    self.path.display()
                )));
            }
        }
        Ok(())
    }

    /// Removes the group if nothing is in it any more.
    pub(super) fn remove(self) {
        if let Err(error) = fs::remove_dir(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "a control group stays");
        }
    }

    /// Processes in the group.
    pub(super) fn members(&self) -> BTreeSet<i32> {
        tree::numbers(&self.path.join("cgroup.procs"))
    }

    /// Lets the group use at most `milli_cores` thousandths of a core; 0 stops it.
    pub(super) fn limit(&self, milli_cores: u64) -> Result<(), EnforceError> {
        if milli_cores == 0 {
            return self.stop(true);
        }
        let (quota, period) = quota(milli_cores);
        if self.unified {
            self.write("cpu.max", &format!("{quota} {period}"))?;
        } else {
            // The quota may not be written while it is above what the new period allows: lift it first.
            self.write("cpu.cfs_quota_us", "-1")?;
            self.write("cpu.cfs_period_us", &period.to_string())?;
            self.write("cpu.cfs_quota_us", &quota.to_string())?;
        }
        self.stop(false)
    }

    /// The quota in force, thousandths of a core rounded up; none without a quota.
    pub(super) fn in_force(&self) -> Option<u64> {
        let read = |name: &str| fs::read_to_string(self.path.join(name)).ok();
        let text = if self.unified {
            read("cpu.max")?
        } else {
            format!(
                "{} {}",
                read("cpu.cfs_quota_us")?.trim(),
                read("cpu.cfs_period_us")?.trim()
            )
        };
        let mut numbers = text.split_ascii_whitespace().map(str::parse::<u64>);
        let (quota, period) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        (period > 0).then(|| (quota * 1000).div_ceil(period))
    }

    fn stop(&self, stop: bool) -> Result<(), EnforceError> {
        if self.unified {
            return self.write("cgroup.freeze", if stop { "1" } else { "0" });
        }
        tree::signal(
            &self.members(),
            if stop { Signal::STOP } else { Signal::CONT },
        );
        Ok(())
    }

    fn write(&self, name: &str, value: &str) -> Result<(), EnforceError> {
        let path = self.path.join(name);
        fs::write(&path, value)
            .map_err(|error| EnforceError(format!("cannot write {}: {error}", path.display())))
    }
}

/// Microseconds of processor time in how many of time: never more than asked for.
fn quota(milli_cores: u64) -> (u64, u64) {
    let of = |period: u64| milli_cores * period / 1000;
    let period = PERIODS_US
        .into_iter()
        .find(|period| of(*period) >= LEAST_QUOTA_US)
        .unwrap_or(PERIODS_US[1]);
    (of(period).max(LEAST_QUOTA_US), period)
}

/// Where groups with processor time can be made, version 2 first.
fn roots(mounts: &str) -> Vec<PathBuf> {
    let mut roots = Vec::new();
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(path), Some(kind), Some(options)) = (fields.next(), fields.next(), fields.next())
        else {
            continue;
        };
        match kind {
            "cgroup2" => roots.insert(0, PathBuf::from(path)),
            "cgroup" if options.split(',').any(|option| option == "cpu") => {
                roots.push(PathBuf::from(path));
            }
            _ => {}
        }
    }
    roots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_never_above_what_was_asked_for_down_to_the_kernels_least() {
        assert_eq!(quota(800), (80_000, 100_000));
        assert_eq!(quota(10), (1_000, 100_000));
        assert_eq!(quota(7), (7_000, 1_000_000));
        assert_eq!(quota(1), (1_000, 1_000_000));
        for milli in 1..5_000 {
            let (quota, period) = quota(milli);
            assert!(
                quota >= LEAST_QUOTA_US && quota * 1000 <= milli * period,
                "{milli}"
            );
        }
    }

    #[test]
    fn places_for_groups_are_found_in_either_version() {
        let mounts = "proc /proc proc rw 0 0\n\
            cgroup /sys/fs/cgroup/cpuset cgroup rw,cpuset 0 0\n\
            cgroup /sys/fs/cgroup/cpu cgroup rw,relatime,cpu 0 0\n\
            cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\nodd\n";
        let found = roots(mounts);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], Path::new("/sys/fs/cgroup/unified"));
        assert_eq!(found[1], Path::new("/sys/fs/cgroup/cpu"));
    }
}
