//! What to do with a run's jobs so that they hold no more nodes than the run may have. Pure.

use super::Resize;
use super::jobs::{Job, JobId, JobState};

/// What a run may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Allowed {
    /// Nodes at most.
    pub(super) nodes: u32,
    /// Whether jobs may be started.
    pub(super) admit_new: bool,
    /// What is done about a job that is too large.
    pub(super) resize: Resize,
}

/// One change. Applying the plan of what came of a plan changes nothing more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// Takes nodes from a running job and leaves it as many as this.
    Shrink(JobId, u32),
    /// Stops a running job, frees its nodes, and keeps it from starting.
    Requeue(JobId),
    /// Keeps a waiting job from starting.
    Hold(JobId),
    /// Lets a held job start, with another number of nodes if one is given.
    Release(JobId, Option<u32>),
}

impl Act {
    /// The running job that it takes nodes from.
    pub(super) const fn cuts(&self) -> Option<&JobId> {
        match self {
            Self::Shrink(id, _) | Self::Requeue(id) => Some(id),
            Self::Hold(_) | Self::Release(..) => None,
        }
    }
}

/// The changes that bring `jobs`, oldest first, within what is allowed. The oldest jobs keep their nodes,
/// and jobs start in their order.
pub(super) fn plan(jobs: &[Job], allowed: Allowed) -> Vec<Act> {
    let mut acts = Vec::new();
    // Whoever is giving nodes back still has them, so nobody else may take them yet.
    let ending: u32 = nodes(jobs, JobState::Ending);
    let mut free = allowed.nodes;
    for job in jobs.iter().filter(|job| job.state == JobState::Running) {
        if job.nodes <= free {
            free -= job.nodes;
        } else if free > 0 && allowed.resize == Resize::Live {
            acts.push(Act::Shrink(job.id.clone(), free));
            free = 0;
        } else {
            acts.push(Act::Requeue(job.id.clone()));
        }
    }
    // What is cut is free only when it has been given back: starting jobs waits for the next look.
    free = if acts.is_empty() {
        free.saturating_sub(ending)
    } else {
        0
    };
    for job in jobs.iter().filter(|job| job.state == JobState::Pending) {
        if allowed.admit_new && job.nodes <= free {
            free -= job.nodes;
        } else {
            acts.push(Act::Hold(job.id.clone()));
        }
    }
    if allowed.admit_new {
        for job in jobs.iter().filter(|job| job.state == JobState::Held) {
            let Some(resized) = fitted(job, free, allowed) else {
                continue;
            };
            let taken = resized.unwrap_or(job.nodes);
            free -= taken;
            acts.push(Act::Release(job.id.clone(), resized));
        }
    }
    acts
}

/// The size that a held job can start with: its own (`Some(None)`), a smaller one, or none.
#[allow(clippy::option_option)]
fn fitted(job: &Job, free: u32, allowed: Allowed) -> Option<Option<u32>> {
    if job.nodes <= free {
        return Some(None);
    }
    // A job is made smaller only when it could not start otherwise, whoever ends.
    let never_fits = job.nodes > allowed.nodes && free == allowed.nodes;
    (free > 0 && never_fits && allowed.resize != Resize::Never).then_some(Some(free))
}

fn nodes(jobs: &[Job], state: JobState) -> u32 {
    let those = jobs.iter().filter(|job| job.state == state);
    those.map(|job| job.nodes).sum()
}

/// Nodes that the jobs hold now.
pub(super) fn held_nodes(jobs: &[Job]) -> u32 {
    let those = jobs.iter().filter(|job| job.has_nodes());
    those.map(|job| job.nodes).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn job(id: u64, state: JobState, nodes: u32) -> Job {
        Job {
            id: JobId::of(id),
            state,
            nodes,
        }
    }

    fn allowed(nodes: u32, admit_new: bool, resize: Resize) -> Allowed {
        Allowed {
            nodes,
            admit_new,
            resize,
        }
    }

    fn check(jobs: &[Job], allowed: Allowed, expected: &[Act]) {
        assert_eq!(plan(jobs, allowed), expected, "{jobs:?} {allowed:?}");
    }

    #[test]
    fn a_cut_takes_from_the_youngest() {
        use JobState::{Pending, Running};
        let (id, live) = (JobId::of, Resize::Live);
        let two = [job(1, Running, 2)];
        check(&two, allowed(2, true, live), &[]);
        check(&two, allowed(1, true, live), &[Act::Shrink(id(1), 1)]);
        let requeued = [Act::Requeue(id(1))];
        check(&two, allowed(1, true, Resize::Restart), &requeued);
        check(&two, allowed(0, false, live), &requeued);
        let three = [job(1, Running, 1), job(2, Running, 2), job(3, Pending, 1)];
        let cut = [Act::Requeue(id(2)), Act::Hold(id(3))];
        check(&three, allowed(2, true, Resize::Never), &cut);
        let waiting = [job(1, Running, 1), job(2, Pending, 1)];
        check(&waiting, allowed(2, false, live), &[Act::Hold(id(2))]);
    }

    #[test]
    fn the_oldest_that_fit_start_first() {
        use JobState::{Ending, Held, Running};
        let (id, live) = (JobId::of, Resize::Live);
        let large = [job(1, Held, 2)];
        check(&large, allowed(1, true, Resize::Never), &[]);
        let smaller = [Act::Release(id(1), Some(1))];
        check(&large, allowed(1, true, Resize::Restart), &smaller);
        // It fits as soon as the other is done: no reason to make it smaller.
        let soon = [job(1, Running, 1), job(2, Held, 2)];
        check(&soon, allowed(2, true, Resize::Restart), &[]);
        // Nodes that are being given back are nobody's yet.
        let ending = [job(1, Ending, 2), job(2, Held, 1)];
        check(&ending, allowed(2, true, live), &[]);
        let queue = [1, 2, 3, 4].map(|id| job(id, if id == 1 { Running } else { Held }, 1));
        let first = [Act::Release(id(2), None), Act::Release(id(3), None)];
        check(&queue, allowed(3, true, live), &first);
    }

    fn some_jobs() -> impl Strategy<Value = Vec<Job>> {
        let state = prop_oneof![
            Just(JobState::Running),
            Just(JobState::Ending),
            Just(JobState::Pending),
            Just(JobState::Held)
        ];
        let jobs = prop::collection::vec((state, 1_u32..6), 0..12);
        jobs.prop_map(|jobs| {
            let numbered = (1..).zip(jobs);
            numbered
                .map(|(id, (state, nodes))| job(id, state, nodes))
                .collect()
        })
    }

    /// What Slurm makes of the acts, with every job that waits started at once.
    fn after(jobs: &[Job], acts: &[Act]) -> Vec<Job> {
        let mut jobs = jobs.to_vec();
        jobs.retain(|job| job.state != JobState::Ending);
        for job in &mut jobs {
            for act in acts {
                match act {
                    Act::Shrink(id, nodes) if *id == job.id => job.nodes = *nodes,
                    Act::Requeue(id) | Act::Hold(id) if *id == job.id => job.state = JobState::Held,
                    Act::Release(id, nodes) if *id == job.id => {
                        job.state = JobState::Running;
                        job.nodes = nodes.unwrap_or(job.nodes);
                    }
                    _ => {}
                }
            }
            if job.state == JobState::Pending {
                job.state = JobState::Running;
            }
        }
        jobs
    }

    proptest! {
        #[test]
        fn whatever_starts_the_run_holds_no_more_than_it_may_and_a_second_look_ends(
            jobs in some_jobs(), most in 0_u32..12, admit_new: bool,
            resize in prop_oneof![Just(Resize::Live), Just(Resize::Restart), Just(Resize::Never)],
        ) {
            let allowed = allowed(most, admit_new, resize);
            let acts = plan(&jobs, allowed);
            let mut now = after(&jobs, &acts);
            prop_assert!(held_nodes(&now) <= most);
            if !admit_new {
                let starts = acts.iter().any(|act| matches!(act, Act::Release(..)));
                prop_assert!(!starts);
            }
            // Each look may release what the last one freed; then nothing is left to do.
            for _ in 0..3 {
                now = after(&now, &plan(&now, allowed));
                prop_assert!(held_nodes(&now) <= most);
            }
            prop_assert_eq!(plan(&now, allowed), vec![]);
        }
    }
}
