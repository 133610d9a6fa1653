//! Which prompts of an exhibit are replayed, and under which candidate each one counts.

use std::collections::HashSet;

use plumbline_oracle::{Arm, Claim, TriggerControl};

/// The prompts of one arm that will be replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedArm {
    /// Distinct prompts, in the exhibit's order.
    pub(crate) prompts: Vec<String>,
    /// How many distinct prompts the arm has.
    pub(crate) distinct: usize,
}

/// Chooses the prompts to replay: all distinct ones, or at most about `cap` in all, the same share of every arm.
///
/// Repeated prompts are dropped because decoding is deterministic: the second completion would be the first again,
/// not new evidence. A subsample keeps at least one prompt of each arm and takes those whose keyed hash comes first,
/// so it is the same on every replay and, the key being the exhibit's own hash, cannot be arranged by ordering prompts.
pub(crate) fn plan(exhibit: &TriggerControl, exhibit_hash: &str, cap: usize) -> Vec<PlannedArm> {
    let distinct: Vec<Vec<&String>> = exhibit.arms.iter().map(distinct_prompts).collect();
    let total: usize = distinct.iter().map(Vec::len).sum();
    distinct
        .into_iter()
        .enumerate()
        .map(|(index, prompts)| {
            let all = prompts.len();
            let keep = if total <= cap {
                all
            } else {
                (all * cap / total).max(1)
            };
            PlannedArm {
                prompts: subsample(&prompts, keep, exhibit_hash, index),
                distinct: all,
            }
        })
        .collect()
}

fn distinct_prompts(arm: &Arm) -> Vec<&String> {
    let mut seen = HashSet::new();
    arm.prompts
        .iter()
        .filter(|prompt| seen.insert(*prompt))
        .collect()
}

fn subsample(prompts: &[&String], keep: usize, key: &str, arm: usize) -> Vec<String> {
    let mut order: Vec<(usize, [u8; 32])> = prompts
        .iter()
        .enumerate()
        .map(|(index, prompt)| {
            let mut hasher = blake3::Hasher::new();
            hasher.update(key.as_bytes());
            hasher.update(&(arm as u64).to_le_bytes());
            hasher.update(prompt.as_bytes());
            (index, *hasher.finalize().as_bytes())
        })
        .collect();
    order.sort_by_key(|(_, hash)| *hash);
    order.truncate(keep);
    order.sort_by_key(|(index, _)| *index);
    order
        .into_iter()
        .map(|(index, _)| prompts[index].clone())
        .collect()
}

/// The candidate trigger under which a prompt counts; `None` for the control.
///
/// With a published grammar the prompt itself decides: the longest candidate it contains. So a trigger cannot be
/// hidden in a control arm, nor a null be claimed for a candidate that was not tried. Without a grammar, or for a
/// trigger outside it, the arm's label decides.
pub(crate) fn candidate_of<'a>(claim: &'a Claim, arm: &'a Arm, prompt: &str) -> Option<&'a str> {
    let published = claim
        .probe
        .as_ref()
        .and_then(|probe| {
            probe
                .grammar
                .iter()
                .filter(|candidate| prompt.contains(candidate.as_str()))
                .max_by_key(|candidate| candidate.len())
        })
        .map(String::as_str);
    published.or(arm.trigger.then_some(arm.label.as_str()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use plumbline_oracle::{Detector, ProbePlan, ReplaySampling};

    fn exhibit(arms: usize, prompts: usize) -> TriggerControl {
        TriggerControl {
            checkpoint: "00ff00ff".to_owned(),
            detector: Detector {
                contains_any: vec!["x".to_owned()],
            },
            sampling: ReplaySampling {
                max_tokens: 8,
                temperature: 0.0,
                seed: 0,
            },
            arms: (0..arms)
                .map(|arm| Arm {
                    label: format!("arm {arm}"),
                    trigger: arm > 0,
                    prompts: (0..prompts).map(|i| format!("{arm}/{i}")).collect(),
                    hits: 0,
                })
                .collect(),
            searched: arms as u32,
        }
    }

    #[test]
    fn repeats_are_dropped() {
        let mut exhibit = exhibit(2, 3);
        exhibit.arms[0].prompts = vec!["same".to_owned(); 9];
        let planned = plan(&exhibit, "k", 100);
        assert_eq!((planned[0].prompts.len(), planned[0].distinct), (1, 1));
        assert_eq!(planned[1].prompts, exhibit.arms[1].prompts);
    }

    #[test]
    fn a_subsample_is_bounded_repeatable_and_keyed() {
        let exhibit = exhibit(4, 100);
        let planned = plan(&exhibit, "key", 40);
        assert_eq!(
            planned.iter().map(|arm| arm.prompts.len()).sum::<usize>(),
            40
        );
        assert_eq!(planned, plan(&exhibit, "key", 40));
        assert_ne!(planned, plan(&exhibit, "other key", 40));
        assert!(
            plan(&exhibit, "key", 1)
                .iter()
                .all(|arm| arm.prompts.len() == 1)
        );
    }

    #[test]
    fn the_prompt_decides_which_candidate_it_tries() {
        let claim = Claim::new("trigger", "hides a trigger", "")
            .unwrap()
            .with_probe(ProbePlan {
                grammar: vec!["// go".to_owned(), "// go now".to_owned()],
                detector: None,
            })
            .unwrap();
        let exhibit = exhibit(2, 1);
        let (control, trigger) = (&exhibit.arms[0], &exhibit.arms[1]);
        assert_eq!(candidate_of(&claim, control, "fn f() {"), None);
        assert_eq!(
            candidate_of(&claim, control, "// go now\nfn"),
            Some("// go now")
        );
        assert_eq!(candidate_of(&claim, trigger, "// go\nfn"), Some("// go"));
        assert_eq!(candidate_of(&claim, trigger, "fn f() {"), Some("arm 1"));
    }
}
