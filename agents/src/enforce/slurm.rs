//! Enforcement on a Slurm cluster: a share of a partition is that share of its nodes, rounded down.
//!
//! A run's jobs are those of one name in the partition. Each look lists them, and does what the difference to
//! what is allowed asks for ([`plan`]): shrink or requeue what holds too many nodes, hold what may not start,
//! release what fits. Nothing is remembered between looks but when a checkpoint was asked for, so a restart, or
//! a person who releases a job by hand, is put right by the next one.
//!
//! Freeing nodes is `scontrol requeuehold` after a signal to save state, never `scontrol suspend`: a suspended
//! job keeps its accelerators, and resuming can put two jobs on the same processors.

mod jobs;
mod plan;

#[cfg(test)]
pub(super) mod sandbox;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use plumbline_governance::decision::DecisionTarget;
use plumbline_governance::{Action, Bps};
use uuid::Uuid;

use self::jobs::{FORMAT, Job, JobId, JobState};
use self::plan::{Act, Allowed, held_nodes, plan};
use super::command::{command, run};
use super::{Applied, EnforceError, Enforcer, Order};

/// Longest that one call of a Slurm program may take.
const LIMIT: Duration = Duration::from_secs(20);
/// Most jobs of one run that one look changes; the rest waits for the next.
const MOST_ACTS: usize = 256;

/// What is done about a running job that holds more nodes than its run may have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Resize {
    /// Nodes are taken from it while it runs; steps on them end. For elastic jobs.
    #[default]
    Live,
    /// It is requeued, and starts again with fewer nodes from its checkpoint.
    Restart,
    /// It is requeued, and waits until it fits.
    Never,
}

/// Settings of a [`SlurmEnforcer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlurmOptions {
    /// Partition whose nodes are the pool.
    pub partition: String,
    /// What is done about jobs that are too large.
    pub resize: Resize,
    /// Signal that tells a job to save its state, by name; sent to all of its processes.
    pub checkpoint: Option<String>,
    /// Configuration of the cluster, as `SLURM_CONF`; none: that of the environment or the usual place.
    pub conf: Option<PathBuf>,
    /// Folder in which they run. `scontrol` leaves a script there when it shrinks a job.
    pub folder: PathBuf,
}

/// Keeps the jobs of runs to their shares of a partition.
#[derive(Debug)]
pub struct SlurmEnforcer {
    options: SlurmOptions,
    runs: BTreeMap<Uuid, Controlled>,
}

#[derive(Debug)]
struct Controlled {
    job_name: String,
    /// Jobs that were asked for a checkpoint before a cut, and when.
    announced: BTreeMap<JobId, Instant>,
}

impl SlurmEnforcer {
    /// Controls the jobs of `runs`, by their names.
    ///
    /// # Errors
    /// When a name could be read as something else by Slurm: those have 1 to 128 letters, digits and `._-`.
    pub fn new(options: SlurmOptions, runs: BTreeMap<Uuid, String>) -> Result<Self, EnforceError> {
        for name in runs
            .values()
            .chain([&options.partition])
            .chain(&options.checkpoint)
        {
            let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
            if !(1..=128).contains(&name.len()) || name.starts_with('-') || !name.chars().all(plain)
            {
                return Err(EnforceError(format!(
                    "`{name}` is no plain name: letters, digits and ._- only"
                )));
            }
        }
        let controlled = |job_name| Controlled {
            job_name,
            announced: BTreeMap::new(),
        };
        let runs = runs.into_iter().map(|(uid, name)| (uid, controlled(name)));
        Ok(Self {
            options,
            runs: runs.collect(),
        })
    }

    async fn look(&mut self, order: &Order) -> Result<Applied, EnforceError> {
        let Some(controlled) = self.runs.get_mut(&order.target.uid) else {
            return Err(EnforceError("this run is not one of ours".to_owned()));
        };
        let total = self.options.nodes().await?;
        let allowed = allowed(order, total, self.options.resize);
        let jobs = self.options.jobs(&controlled.job_name).await?;
        let mut acts = plan(&jobs, allowed);
        acts.truncate(MOST_ACTS);
        controlled.forget_all_but(&acts);
        for act in &acts {
            if let Some(job) = act.cuts()
                && !controlled.may_cut(&self.options, order, job).await
            {
                continue;
            }
            self.options.carry_out(act, order.action).await?;
        }
        let jobs = if acts.is_empty() {
            jobs
        } else {
            self.options.jobs(&controlled.job_name).await?
        };
        Ok(report(&jobs, total))
    }
}

impl Enforcer for SlurmEnforcer {
    /// Short, as nodes are free only some time after they were asked for.
    const TRY_AGAIN: Duration = Duration::from_secs(1);

    async fn apply(&mut self, order: &Order) -> Result<Applied, EnforceError> {
        self.look(order).await
    }

    fn controls(&self, target: &DecisionTarget) -> bool {
        self.runs.contains_key(&target.uid)
    }

    /// Holding and releasing belong to every look; alone it comes when a lease is to be refreshed.
    async fn admission(&mut self, order: &Order) {
        if order.admit_new {
            return;
        }
        if let Err(error) = self.look(order).await {
            tracing::warn!(target = %order.target.uid, %error, "jobs were not held");
        }
    }
}

fn allowed(order: &Order, total: u32, resize: Resize) -> Allowed {
    let share = u64::from(order.share_bps.get());
    let open = matches!(order.action, Action::Allow | Action::Throttle);
    let nodes = u64::from(total) * share / 10_000;
    Allowed {
        nodes: if open {
            u32::try_from(nodes).unwrap_or(total)
        } else {
            0
        },
        admit_new: order.admit_new && open,
        resize,
    }
}

fn report(jobs: &[Job], total: u32) -> Applied {
    let held = held_nodes(jobs);
    let share = u64::from(held) * 10_000 / u64::from(total.max(1));
    let running = jobs.iter().filter(|job| job.state == JobState::Running);
    let ids: Vec<String> = running.map(|job| job.id.to_string()).take(20).collect();
    Applied {
        // More than the whole is possible when nodes went away under a job.
        actual_bps: Bps::saturating(u32::try_from(share).unwrap_or(u32::MAX)),
        method: format!("slurm: {held} of {total} nodes, jobs [{}]", ids.join(" ")),
    }
}

impl Controlled {
    /// Asks for a checkpoint once, and says whether the time for it is over.
    async fn may_cut(&mut self, options: &SlurmOptions, order: &Order, job: &JobId) -> bool {
        let Some(signal) = options
            .checkpoint
            .as_ref()
            .filter(|_| order.checkpoint_first)
        else {
            return true;
        };
        let grace = Duration::from_secs(order.grace_s);
        if let Some(since) = self.announced.get(job) {
            return since.elapsed() >= grace;
        }
        let id = job.to_string();
        if let Err(error) = options
            .call("scancel", &["--signal", signal, "--full", &id])
            .await
        {
            tracing::warn!(job = %id, %error, "a job could not be asked for a checkpoint");
        }
        self.announced.insert(job.clone(), Instant::now());
        grace.is_zero()
    }

    fn forget_all_but(&mut self, acts: &[Act]) {
        self.announced
            .retain(|job, _| acts.iter().any(|act| act.cuts() == Some(job)));
    }
}

impl SlurmOptions {
    /// Nodes of the partition, whatever their state.
    async fn nodes(&self) -> Result<u32, EnforceError> {
        let listed = self
            .call(
                "sinfo",
                &[
                    "--noheader",
                    "--partition",
                    &self.partition,
                    "--format",
                    "%D",
                ],
            )
            .await?;
        let numbers = listed.lines().map(|line| line.trim().parse::<u32>());
        let total: u32 = numbers
            .sum::<Result<u32, _>>()
            .map_err(|_| EnforceError(format!("sinfo printed `{}`", listed.trim())))?;
        if total == 0 {
            return Err(EnforceError(format!(
                "partition {} has no nodes",
                self.partition
            )));
        }
        Ok(total)
    }

    async fn jobs(&self, name: &str) -> Result<Vec<Job>, EnforceError> {
        let listed = self
            .call(
                "squeue",
                &[
                    "--noheader",
                    "--array",
                    "--all",
                    "--partition",
                    &self.partition,
                    "--name",
                    name,
                    "--format",
                    FORMAT,
                ],
            )
            .await?;
        jobs::parse(&listed).map_err(EnforceError)
    }

    async fn carry_out(&self, act: &Act, action: Action) -> Result<(), EnforceError> {
        tracing::info!(?act, "slurm");
        match act {
            Act::Requeue(id) if action == Action::Terminate => {
                self.call("scancel", &[&id.to_string()]).await?;
            }
            Act::Shrink(id, nodes) => {
                let (id, nodes) = (format!("JobId={id}"), format!("NumNodes={nodes}"));
                self.call("scontrol", &["update", &id, &nodes]).await?;
            }
            Act::Requeue(id) => {
                self.call("scontrol", &["requeuehold", &id.to_string()])
                    .await?;
            }
            Act::Hold(id) => {
                self.call("scontrol", &["hold", &id.to_string()]).await?;
            }
            Act::Release(id, nodes) => {
                let job = format!("JobId={id}");
                if let Some(nodes) = nodes {
                    let name = id.to_string();
                    let asked = ["show", "job", "--oneliner", &name];
                    let shown = self.call("scontrol", &asked).await?;
                    let size = jobs::scaled(&shown, *nodes).map_err(EnforceError)?;
                    let mut update = vec!["update", &job];
                    update.extend(size.iter().map(String::as_str));
                    self.call("scontrol", &update).await?;
                }
                self.call("scontrol", &["release", &id.to_string()]).await?;
                // A job that was requeued would wait two minutes more.
                self.call("scontrol", &["update", &job, "StartTime=now"])
                    .await?;
            }
        }
        Ok(())
    }

    async fn call(&self, program: &str, arguments: &[&str]) -> Result<String, EnforceError> {
        let mut command = command(program, arguments);
        command.current_dir(&self.folder);
        if let Some(conf) = &self.conf {
            command.env("SLURM_CONF", conf);
        }
        run(command, b"", LIMIT).await
    }
}
