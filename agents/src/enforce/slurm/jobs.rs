//! Jobs as `squeue` lists them.

use std::fmt;

/// What `squeue --format` is asked for: number, state, nodes, reason.
pub(super) const FORMAT: &str = "%i|%T|%D|%r";

/// Number of a job: digits, with `_` and digits for a member of an array.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct JobId {
    job: u64,
    member: Option<u64>,
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.member {
            None => write!(f, "{}", self.job),
            Some(member) => write!(f, "{}_{member}", self.job),
        }
    }
}

impl JobId {
    fn parse(text: &str) -> Option<Self> {
        let (job, member) = match text.split_once('_') {
            None => (text, None),
            Some((job, member)) => (job, Some(member.parse().ok()?)),
        };
        let job = job.parse().ok()?;
        Some(Self { job, member })
    }

    #[cfg(test)]
    pub(super) const fn of(job: u64) -> Self {
        Self { job, member: None }
    }
}

/// Where a job stands, as far as nodes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JobState {
    /// It has its nodes and works, or is about to.
    Running,
    /// It has its nodes and gives them back by itself.
    Ending,
    /// It waits, and may start at any moment.
    Pending,
    /// It waits, and does not start before it is released.
    Held,
}

/// One job of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) state: JobState,
    pub(super) nodes: u32,
}

impl Job {
    /// Whether nodes are taken by it now.
    pub(super) const fn has_nodes(&self) -> bool {
        matches!(self.state, JobState::Running | JobState::Ending)
    }
}

/// Reads what `squeue` printed in [`FORMAT`]. Jobs that are over are left out.
///
/// # Errors
/// The line that cannot be understood: a job that is overlooked could hold nodes.
pub(super) fn parse(output: &str) -> Result<Vec<Job>, String> {
    let lines = output.lines().filter(|line| !line.trim().is_empty());
    let jobs = lines.map(|line| job(line).ok_or_else(|| format!("squeue printed `{line}`")));
    let mut jobs: Vec<Job> = jobs
        .collect::<Result<Vec<Option<Job>>, _>>()?
        .into_iter()
        .flatten()
        .collect();
    jobs.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(jobs)
}

#[allow(clippy::option_option)]
fn job(line: &str) -> Option<Option<Job>> {
    let mut fields = line.splitn(4, '|').map(str::trim);
    let id = JobId::parse(fields.next()?)?;
    let state = fields.next()?;
    let nodes = fields.next()?.parse().ok()?;
    let reason = fields.next()?;
    let held = reason.contains("Held") || reason.contains("held");
    let state = match state {
        "RUNNING" | "CONFIGURING" | "SUSPENDED" | "STOPPED" | "SIGNALING" | "RESIZING"
        | "STAGE_OUT" => JobState::Running,
        "COMPLETING" => JobState::Ending,
        "PENDING" | "REQUEUE_HOLD" | "SPECIAL_EXIT" if held => JobState::Held,
        "REQUEUE_HOLD" | "SPECIAL_EXIT" => JobState::Held,
        "PENDING" | "REQUEUED" | "REQUEUE_FED" | "RESV_DEL_HOLD" => JobState::Pending,
        "COMPLETED" | "CANCELLED" | "FAILED" | "TIMEOUT" | "NODE_FAIL" | "PREEMPTED"
        | "BOOT_FAIL" | "DEADLINE" | "OUT_OF_MEMORY" | "REVOKED" => return Some(None),
        _ => return None,
    };
    Some(Some(Job { id, state, nodes }))
}

/// The settings of `scontrol update` that give a waiting job `nodes` nodes, with as many tasks and processors on
/// each as it had; from what `scontrol show job` printed.
///
/// # Errors
/// The size that the listing does not have.
pub(super) fn scaled(shown: &str, nodes: u32) -> Result<Vec<String>, String> {
    let before = size(shown, "NumNodes")?.max(1);
    let scale = |name| Ok((size(shown, name)? * u64::from(nodes) / before).max(u64::from(nodes)));
    let tasks: Result<u64, String> = scale("NumTasks");
    let processors: Result<u64, String> = scale("NumCPUs");
    Ok(vec![
        format!("NumNodes={nodes}-{nodes}"),
        format!("NumTasks={}", tasks?),
        format!("NumCPUs={}", processors?),
    ])
}

/// `NAME=3` or, of a waiting job, `NAME=3-5`: the least.
fn size(shown: &str, name: &str) -> Result<u64, String> {
    let fields = shown.split_ascii_whitespace();
    let mut values = fields.filter_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    let value = values
        .next()
        .and_then(|value| value.split('-').next()?.parse().ok());
    value.ok_or_else(|| format!("scontrol shows no {name} of the job"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_smaller_job_keeps_what_it_has_on_a_node() {
        let shown = "JobId=7 JobName=x NumNodes=3-3 NumCPUs=12 NumTasks=6 CPUs/Task=2";
        assert_eq!(
            scaled(shown, 2).unwrap(),
            ["NumNodes=2-2", "NumTasks=4", "NumCPUs=8"]
        );
        assert!(
            scaled("JobId=7 NumNodes=3", 2)
                .unwrap_err()
                .contains("NumTasks")
        );
    }

    #[test]
    fn a_listing_is_read_whole_or_refused() {
        let jobs = parse(
            "12|RUNNING|2|None\n4_3|PENDING|1|Resources\n 4_1|PENDING|1|JobHeldUser\n\
             13|PENDING|2|job requeued in held state\n14|COMPLETING|1|None\n15|COMPLETED|1|None\n",
        );
        let seen: Vec<_> = jobs
            .unwrap()
            .iter()
            .map(|job| (job.id.to_string(), job.state, job.nodes))
            .collect();
        let expected = [
            ("4_1", JobState::Held, 1),
            ("4_3", JobState::Pending, 1),
            ("12", JobState::Running, 2),
            ("13", JobState::Held, 2),
            ("14", JobState::Ending, 1),
        ];
        let expected: Vec<_> = expected
            .map(|(id, state, nodes)| (id.to_owned(), state, nodes))
            .into();
        assert_eq!(seen, expected);
        assert_eq!(parse("").unwrap(), []);
        for line in [
            "12",
            "x|RUNNING|1|None",
            "12|RUNNING|many|None",
            "12|NEW_STATE|1|None",
            "4_[1-3]|PENDING|1|None",
        ] {
            assert!(parse(line).unwrap_err().contains(line), "{line}");
        }
    }
}
