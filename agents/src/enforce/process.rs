//! Enforcement on processes of this machine: a quota of processor time, in a control group where this
//! machine has them, else by stopping and continuing the processes.
//!
//! A share of the pool is that share of the cores given in the options. Share 0 stops the processes and leaves
//! them in memory; `terminate` ends them.

mod cgroup;
mod duty;
mod tree;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

use plumbline_governance::decision::DecisionTarget;
use plumbline_governance::{Action, Bps};
use uuid::Uuid;

use self::cgroup::Cgroup;
use self::duty::Duty;
use super::{Applied, EnforceError, Enforcer, Order};

/// Where a run's processes are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// `pid:N`: this process and what descends from it. It is taken for gone when the number belongs to
    /// a process that started at another time.
    Pid {
        /// Its number.
        pid: i32,
        /// When it started, as `/proc` counts it.
        started: u64,
    },
    /// `pidfile:PATH`: the process that the file names at the moment, and what descends from it.
    PidFile(PathBuf),
    /// `cgroup:PATH`: whatever is in this control group, which somebody else made.
    Cgroup(PathBuf),
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, value) = text.split_once(':').unwrap_or((text, ""));
        match kind {
            "pid" => {
                let pid = value
                    .parse()
                    .map_err(|_| format!("`{value}` is no process number"))?;
                let found =
                    tree::process(pid).ok_or_else(|| format!("there is no process {pid}"))?;
                Ok(Self::Pid {
                    pid,
                    started: found.started,
                })
            }
            "pidfile" if !value.is_empty() => Ok(Self::PidFile(value.into())),
            "cgroup" if !value.is_empty() => Ok(Self::Cgroup(value.into())),
            _ => Err(format!(
                "`{text}` is none of pid:N, pidfile:PATH, cgroup:PATH"
            )),
        }
    }
}

/// How a share is held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Method {
    /// In a control group if one can be made, else by signals.
    #[default]
    Auto,
    /// In a control group; fails where none can be made.
    Cgroup,
    /// By stopping and continuing.
    Signal,
}

/// A signal that tells a process to save its state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(rustix::process::Signal);

impl FromStr for Signal {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        use rustix::process::Signal as Known;
        match name.strip_prefix("SIG").unwrap_or(name) {
            "USR1" => Ok(Self(Known::USR1)),
            "USR2" => Ok(Self(Known::USR2)),
            "HUP" => Ok(Self(Known::HUP)),
            "INT" => Ok(Self(Known::INT)),
            "TERM" => Ok(Self(Known::TERM)),
            _ => Err(format!("`{name}` is none of USR1, USR2, HUP, INT, TERM")),
        }
    }
}

/// Settings of a [`ProcessEnforcer`].
#[derive(Debug, Clone, PartialEq)]
pub struct ProcessOptions {
    /// Cores that a share of 10,000 bps stands for, above 0.
    pub cores: f64,
    /// How a share is held.
    pub method: Method,
    /// Sent before a stop, when the decision asks for a checkpoint.
    pub checkpoint: Option<Signal>,
}

/// Keeps processes to their runs' shares.
#[derive(Debug)]
pub struct ProcessEnforcer {
    options: ProcessOptions,
    runs: BTreeMap<Uuid, Controlled>,
}

#[derive(Debug)]
struct Controlled {
    selector: Selector,
    control: Option<(Option<i32>, Control)>,
    /// The decision whose stop was announced, and when.
    announced: Option<(Uuid, Instant)>,
}

#[derive(Debug)]
enum Control {
    Group(Cgroup),
    Duty(Duty),
}

impl ProcessEnforcer {
    /// Controls the processes of `runs`.
    #[must_use]
    pub fn new(options: ProcessOptions, runs: BTreeMap<Uuid, Selector>) -> Self {
        let controlled = |selector| Controlled {
            selector,
            control: None,
            announced: None,
        };
        let runs = runs
            .into_iter()
            .map(|(uid, selector)| (uid, controlled(selector)));
        Self {
            options,
            runs: runs.collect(),
        }
    }
}

#[cfg(test)]
impl ProcessEnforcer {
    /// Thousandths of a core that bind a process of a run now, whoever set them: 0 when it is stopped, none when it
    /// is gone or its group has no quota, `u64::MAX` where there are no groups and it is not stopped.
    pub(super) fn in_force(pid: i32, uid: Uuid) -> Option<u64> {
        let found = tree::process(pid)?;
        if matches!(found.state, 'T' | 't') {
            return Some(0);
        }
        Cgroup::make(&format!("plumbline-{uid}")).map_or(Some(u64::MAX), |group| group.in_force())
    }
}

impl Enforcer for ProcessEnforcer {
    /// Short, as a stop waits for the grace of its checkpoint.
    const TRY_AGAIN: Duration = Duration::from_millis(500);

    async fn apply(&mut self, order: &Order) -> Result<Applied, EnforceError> {
        let Some(run) = self.runs.get_mut(&order.target.uid) else {
            return Err(EnforceError("this run is not one of ours".to_owned()));
        };
        run.apply(&self.options, order)
    }

    fn controls(&self, target: &DecisionTarget) -> bool {
        self.runs.contains_key(&target.uid)
    }

    /// Processes take on work by themselves; the share is all there is to hold.
    async fn admission(&mut self, _order: &Order) {}
}

impl Controlled {
    fn apply(&mut self, options: &ProcessOptions, order: &Order) -> Result<Applied, EnforceError> {
        let root = self.root()?;
        if root.is_none() && !matches!(self.selector, Selector::Cgroup(_)) {
            // Whatever ran has ended, and with it what it used.
            if let Some((_, Control::Group(group))) = self.control.take() {
                group.remove();
            }
            return Ok(Applied {
                actual_bps: Bps::ZERO,
                method: "no process".to_owned(),
            });
        }
        self.attach(options, root, order.target.uid)?;
        let share = match order.action {
            Action::Allow | Action::Throttle => order.share_bps,
            Action::Pause | Action::Drain | Action::Terminate => Bps::ZERO,
        };
        if share == Bps::ZERO && !self.may_stop(options, order) {
            return Ok(Applied {
                actual_bps: Bps::saturating(10_000),
                method: "waiting for the checkpoint".to_owned(),
            });
        }
        if order.action == Action::Terminate {
            return Ok(self.terminate(order));
        }
        self.limit(options, share)
    }

    /// The process whose tree is meant; none when it is gone.
    fn root(&self) -> Result<Option<i32>, EnforceError> {
        match &self.selector {
            Selector::Cgroup(_) => Ok(None),
            Selector::Pid { pid, started } => {
                let same = tree::process(*pid).filter(|found| found.started == *started);
                Ok(same.map(|_| *pid))
            }
            Selector::PidFile(path) => {
                let text = match std::fs::read_to_string(path) {
                    Ok(text) => text,
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
                    Err(error) => {
                        return Err(EnforceError(format!(
                            "cannot read {}: {error}",
                            path.display()
                        )));
                    }
                };
                let pid = text.trim().parse::<i32>().ok().filter(|pid| *pid > 1);
                let pid = pid.ok_or_else(|| {
                    EnforceError(format!("{} holds no process number", path.display()))
                })?;
                Ok(tree::process(pid).map(|_| pid))
            }
        }
    }

    /// Has the control in place that the options ask for.
    fn attach(
        &mut self,
        options: &ProcessOptions,
        root: Option<i32>,
        uid: Uuid,
    ) -> Result<(), EnforceError> {
        if self.control.as_ref().is_none_or(|(of, _)| *of != root) {
            self.control = None;
            self.control = Some((root, self.control_of(options, root, uid)?));
        }
        if let (Some((_, Control::Group(group))), Some(root)) = (&self.control, root) {
            group.take(&tree::descendants(root))?;
        }
        Ok(())
    }

    fn control_of(
        &self,
        options: &ProcessOptions,
        root: Option<i32>,
        uid: Uuid,
    ) -> Result<Control, EnforceError> {
        let root = match (&self.selector, root) {
            (Selector::Cgroup(path), _) => return Cgroup::open(path).map(Control::Group),
            (_, Some(root)) => root,
            (_, None) => return Err(EnforceError("the process is gone".to_owned())),
        };
        let duty = || {
            Duty::start(root)
                .map(Control::Duty)
                .map_err(|error| EnforceError(format!("cannot watch process {root}: {error}")))
        };
        if options.method == Method::Signal {
            return duty();
        }
        match Cgroup::make(&format!("plumbline-{uid}")) {
            Ok(group) => Ok(Control::Group(group)),
            Err(error) if options.method == Method::Cgroup => Err(error),
            Err(error) => {
                tracing::warn!(%error, "no control group; processes are stopped and continued instead");
                duty()
            }
        }
    }

    /// Announces a stop once, and says whether its grace is over.
    fn may_stop(&mut self, options: &ProcessOptions, order: &Order) -> bool {
        let Some(Signal(signal)) = options.checkpoint.filter(|_| order.checkpoint_first) else {
            return true;
        };
        let since = match self.announced {
            Some((decision, since)) if decision == order.decision_id => since,
            _ => {
                tree::signal(&self.members(), signal);
                let now = Instant::now();
                self.announced = Some((order.decision_id, now));
                now
            }
        };
        since.elapsed() >= Duration::from_secs(order.grace_s)
    }

    fn members(&self) -> BTreeSet<i32> {
        match &self.control {
            Some((_, Control::Group(group))) => group.members(),
            Some((Some(root), Control::Duty(_))) => tree::descendants(*root),
            _ => BTreeSet::new(),
        }
    }

    fn terminate(&mut self, order: &Order) -> Applied {
        let members = self.members();
        // A process that is stopped takes no notice of a signal to end; one that cannot be caught it does.
        tree::signal(&members, rustix::process::Signal::KILL);
        let left = members.iter().any(|pid| tree::process(*pid).is_some());
        Applied {
            actual_bps: if left {
                order.share_bps.max(Bps::saturating(1))
            } else {
                Bps::ZERO
            },
            method: "killed".to_owned(),
        }
    }

    fn limit(&self, options: &ProcessOptions, share: Bps) -> Result<Applied, EnforceError> {
        let whole = options.cores * 1000.0;
        let milli_cores = (whole * f64::from(share.get()) / 10_000.0).floor() as u64;
        let (in_force, method) = match &self.control {
            Some((_, Control::Group(group))) => {
                group.limit(milli_cores)?;
                let in_force = if milli_cores == 0 {
                    Some(0)
                } else {
                    group.in_force()
                };
                (in_force, "cgroup quota of processor time")
            }
            Some((_, Control::Duty(duty))) => {
                duty.limit(milli_cores);
                let stopped = milli_cores > 0 || duty::all_stopped(&self.members());
                (
                    stopped.then_some(milli_cores),
                    "stopped and continued by signals",
                )
            }
            None => return Err(EnforceError("the process is gone".to_owned())),
        };
        let actual = in_force.map_or(10_000.0, |milli| (milli as f64 / whole * 10_000.0).floor());
        Ok(Applied {
            actual_bps: Bps::saturating(actual as u32),
            method: method.to_owned(),
        })
    }
}
