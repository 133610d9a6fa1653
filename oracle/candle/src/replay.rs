//! The replay judge: no language model's opinion, only what the checkpoint does when it is asked again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use plumbline_oracle::replay::{
    Counts, ReplayPrior, ReplayVerdict, ReplayedArm, SearchSpace, Trials, Verdict,
    log_bayes_factor, verdict,
};
use plumbline_oracle::{
    Claim, DataError, Exhibit, Judge, JudgeContext, JudgeError, Judgement, TriggerControl,
};

use crate::plan::{PlannedArm, candidate_of, plan};
use crate::runner::{CheckpointRunner, RunnerError};

/// How the replay judge works.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReplayOptions {
    /// Prior beliefs of the test.
    pub prior: ReplayPrior,
    /// Most prompts replayed for one exhibit; a larger exhibit is replayed on a seeded subsample (at least one prompt of each arm).
    pub max_prompts: usize,
    /// Prompts handed to the runner at a time; ≥ 1.
    pub batch: usize,
    /// Standard error stated with each judgement, nats: the test is exact given its priors, the priors are not.
    pub standard_error: f64,
    /// Price of one completion, micro-credits.
    pub completion_cost_micro: i64,
    /// Completions remembered, so that judging before and after a new exhibit replays only the new one.
    pub remembered: usize,
    /// Whether an exhibit that its own replay does not bear out counts as what the replay found. It counts for
    /// nothing by default: else whoever invents counts is paid for what the judge found out. For experiments only.
    pub unfounded_counts: bool,
}

impl Default for ReplayOptions {
    fn default() -> Self {
        Self {
            prior: ReplayPrior::default(),
            max_prompts: 1024,
            batch: 64,
            standard_error: 0.25,
            completion_cost_micro: 0,
            remembered: 65_536,
            unfounded_counts: false,
        }
    }
}

/// A greedy completion in so many may come out otherwise, on another machine.
const GREEDY_SLACK: u32 = 100;
/// Standard error stated where nothing that was replayed counts, nats: as good as no opinion.
const NO_OPINION: f64 = 8.0;

/// Replays trigger/control exhibits; see the crate's documentation.
pub struct ReplayJudge {
    runner: Arc<dyn CheckpointRunner>,
    options: ReplayOptions,
    /// Hash of (checkpoint, sampling, detector, prompt) → hit.
    remembered: Mutex<HashMap<[u8; 32], bool>>,
}

/// One exhibit after its replay.
struct Replayed {
    record: ReplayVerdict,
    /// (candidate, prompt, hit) of every prompt replayed.
    outcomes: Vec<(Option<String>, String, bool)>,
}

/// Everything one call of the judge did.
#[derive(Default)]
struct Session {
    records: Vec<ReplayVerdict>,
    notes: Vec<String>,
    completions: usize,
    /// By checkpoint and detector: the prompts already counted, and the counts.
    groups: BTreeMap<(String, Vec<String>), (HashSet<String>, Trials)>,
    searched: u32,
    unreachable: Option<String>,
}

impl ReplayJudge {
    /// A judge that replays through `runner`. Errors: [`DataError::Option`] naming an option outside its domain.
    pub fn new(
        runner: Arc<dyn CheckpointRunner>,
        options: ReplayOptions,
    ) -> Result<Self, DataError> {
        let checks = [
            ("prior", options.prior.is_valid(), "is outside its domain"),
            ("max_prompts", options.max_prompts > 0, "is not at least 1"),
            ("batch", options.batch > 0, "is not at least 1"),
            (
                "standard_error",
                options.standard_error.is_finite() && options.standard_error > 0.0,
                "is not a finite number > 0",
            ),
        ];
        for (name, holds, reason) in checks {
            if !holds {
                return Err(DataError::Option { name, reason });
            }
        }
        Ok(Self {
            runner,
            options,
            remembered: Mutex::new(HashMap::new()),
        })
    }

    /// Replays one exhibit and compares it with its claim, outside any ensemble.
    ///
    /// Errors: [`JudgeError::Unavailable`] when the checkpoint cannot be reached, [`JudgeError::Failed`] when running it broke off.
    pub fn replay(
        &self,
        claim: &Claim,
        exhibit: &TriggerControl,
    ) -> Result<ReplayVerdict, JudgeError> {
        let mut completions = 0;
        self.replay_one(claim, exhibit, &mut completions)
            .map(|replayed| replayed.record)
    }

    fn replay_one(
        &self,
        claim: &Claim,
        exhibit: &TriggerControl,
        completions: &mut usize,
    ) -> Result<Replayed, JudgeError> {
        let hash = Exhibit::TriggerControl(exhibit.clone()).content_hash();
        let planned = plan(exhibit, &hash, self.options.max_prompts);
        let hits = self.outcomes(exhibit, &planned, completions)?;
        let mut arms = Vec::with_capacity(planned.len());
        let mut outcomes = Vec::new();
        let (mut claimed, mut replayed) = (Trials::default(), Trials::default());
        for ((arm, planned), hits) in exhibit.arms.iter().zip(&planned).zip(&hits) {
            let mut counts = Counts::default();
            for (prompt, &hit) in planned.prompts.iter().zip(hits) {
                let one = Counts {
                    hits: u32::from(hit),
                    trials: 1,
                };
                let candidate = candidate_of(claim, arm, prompt);
                counts.hits += one.hits;
                counts.trials += 1;
                replayed.add(candidate, one);
                outcomes.push((candidate.map(str::to_owned), prompt.clone(), hit));
            }
            let claim_counts = Counts {
                hits: arm.hits,
                trials: u32::try_from(arm.prompts.len()).unwrap_or(u32::MAX),
            };
            claimed.add(arm.trigger.then_some(arm.label.as_str()), claim_counts);
            arms.push(ReplayedArm {
                label: arm.label.clone(),
                trigger: arm.trigger,
                claimed: claim_counts,
                replayed: counts,
            });
        }
        let space = search_space(claim, exhibit.searched);
        let bayes_factor = |trials: Trials| log_bayes_factor(&[trials], space, &self.options.prior);
        let log_bf = bayes_factor(replayed);
        let claimed_bf = bayes_factor(claimed);
        let (mut verdict, discrepancy) = verdict(&arms, claimed_bf, log_bf);
        if verdict == Verdict::Authentic && is_misreported(exhibit, &arms) {
            verdict = match claimed_bf * log_bf < 0.0 {
                true => Verdict::Contradicted,
                false => Verdict::NotReproducible,
            };
        }
        Ok(Replayed {
            record: ReplayVerdict {
                exhibit: hash,
                checkpoint: exhibit.checkpoint.clone(),
                verdict,
                arms,
                discrepancy,
                log_bayes_factor: log_bf,
                prompts: planned.iter().map(|arm| arm.distinct).sum(),
                replayed_prompts: planned.iter().map(|arm| arm.prompts.len()).sum(),
            },
            outcomes,
        })
    }

    /// Hit or not for every planned prompt, from memory where it was replayed before.
    fn outcomes(
        &self,
        exhibit: &TriggerControl,
        planned: &[PlannedArm],
        completions: &mut usize,
    ) -> Result<Vec<Vec<bool>>, JudgeError> {
        let prefix = replay_key(exhibit);
        let mut known: HashMap<&str, bool> = HashMap::new();
        let mut pending: Vec<String> = Vec::new();
        {
            let memory = self
                .remembered
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let mut queued = HashSet::new();
            for prompt in planned.iter().flat_map(|arm| &arm.prompts) {
                match memory.get(&prompt_key(&prefix, prompt)) {
                    Some(&hit) => {
                        known.insert(prompt, hit);
                    }
                    None if queued.insert(prompt.as_str()) => pending.push(prompt.clone()),
                    None => {}
                }
            }
        }
        let mut fresh: Vec<bool> = Vec::with_capacity(pending.len());
        for batch in pending.chunks(self.options.batch) {
            fresh.extend(self.run_batch(exhibit, batch)?);
        }
        *completions += fresh.len();
        self.remember(&prefix, &pending, &fresh);
        known.extend(pending.iter().map(String::as_str).zip(fresh));
        Ok(planned
            .iter()
            .map(|arm| {
                arm.prompts
                    .iter()
                    .map(|prompt| known.get(prompt.as_str()).copied().unwrap_or(false))
                    .collect()
            })
            .collect())
    }

    fn run_batch(
        &self,
        exhibit: &TriggerControl,
        batch: &[String],
    ) -> Result<Vec<bool>, JudgeError> {
        let texts = self
            .runner
            .complete_batch(&exhibit.checkpoint, batch, &exhibit.sampling)
            .map_err(|error| match error {
                RunnerError::Unreachable { .. } => JudgeError::Unavailable(error.to_string()),
                RunnerError::Failed { .. } => JudgeError::Failed(error.to_string()),
            })?;
        if texts.len() != batch.len() {
            return Err(JudgeError::Failed(format!(
                "the runner returned {} completions for {} prompts",
                texts.len(),
                batch.len()
            )));
        }
        Ok(texts
            .iter()
            .map(|text| exhibit.detector.hits(text))
            .collect())
    }

    fn remember(&self, prefix: &blake3::Hasher, prompts: &[String], hits: &[bool]) {
        let mut memory = self
            .remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if memory.len().saturating_add(prompts.len()) > self.options.remembered {
            memory.clear();
        }
        for (prompt, &hit) in prompts.iter().zip(hits).take(self.options.remembered) {
            memory.insert(prompt_key(prefix, prompt), hit);
        }
    }

    /// Replays every readable exhibit; an unreachable checkpoint is noted, any other failure ends the judgement.
    fn session(&self, claim: &Claim, exhibits: &[&TriggerControl]) -> Result<Session, JudgeError> {
        let committed = claim
            .probe
            .as_ref()
            .and_then(|probe| probe.detector.as_ref());
        let mut session = Session::default();
        for exhibit in exhibits {
            if committed.is_some_and(|detector| *detector != exhibit.detector) {
                session
                    .notes
                    .push("an exhibit brought its own detector and was not counted".to_owned());
                continue;
            }
            match self.replay_one(claim, exhibit, &mut session.completions) {
                Ok(replayed) => {
                    session.count(exhibit, replayed, self.options.unfounded_counts);
                }
                Err(JudgeError::Unavailable(reason)) => {
                    session.notes.push(reason.clone());
                    session.unreachable = Some(reason);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(session)
    }
}

impl Session {
    /// Adds what a replay found, unless the exhibit claims otherwise.
    fn count(&mut self, exhibit: &TriggerControl, replayed: Replayed, unfounded_counts: bool) {
        if replayed.record.verdict != Verdict::Authentic && !unfounded_counts {
            self.records.push(replayed.record);
            return;
        }
        let key = (
            exhibit.checkpoint.clone(),
            exhibit.detector.contains_any.clone(),
        );
        let (seen, trials) = self.groups.entry(key).or_default();
        for (candidate, prompt, hit) in replayed.outcomes {
            // A prompt that another exhibit has already brought is not evidence a second time.
            if seen.insert(prompt) {
                let one = Counts {
                    hits: u32::from(hit),
                    trials: 1,
                };
                trials.add(candidate.as_deref(), one);
            }
        }
        self.searched = self.searched.max(exhibit.searched);
        self.records.push(replayed.record);
    }

    fn note(&self, log_bf: f64) -> String {
        let verdicts: Vec<&str> = self.records.iter().map(|r| r.verdict.as_str()).collect();
        let short: usize = self
            .records
            .iter()
            .filter(|r| r.replayed_prompts < r.prompts)
            .count();
        let (count, plural) = (
            self.records.len(),
            if self.records.len() == 1 { "" } else { "s" },
        );
        let mut note = format!(
            "Replayed {count} exhibit{plural} on the frozen checkpoint ({}): log Bayes factor {log_bf:+.2}.",
            verdicts.join(", ")
        );
        if verdicts
            .iter()
            .any(|verdict| *verdict != Verdict::Authentic.as_str())
        {
            note.push_str(" What its replay does not bear out counts for nothing.");
        }
        if short > 0 {
            note.push_str(&format!(
                " {short} of them on a seeded subsample of their prompts."
            ));
        }
        for more in &self.notes {
            note.push_str(&format!(" Note: {more}."));
        }
        note
    }
}

impl Judge for ReplayJudge {
    fn name(&self) -> &str {
        "replay"
    }

    fn family(&self) -> &str {
        "exact-test"
    }

    fn version(&self) -> String {
        format!(
            "2:{:?}:{}:{}",
            self.options.prior, self.options.max_prompts, self.options.unfounded_counts
        )
    }

    fn judge(
        &self,
        claim: &Claim,
        exhibits: &[Exhibit],
        context: &JudgeContext,
    ) -> Result<Judgement, JudgeError> {
        let readable: Vec<&TriggerControl> = exhibits
            .iter()
            .filter_map(|exhibit| match exhibit {
                Exhibit::TriggerControl(exhibit) => Some(exhibit),
                _ => None,
            })
            .collect();
        if readable.is_empty() {
            return Err(JudgeError::NothingToJudge);
        }
        let session = self.session(claim, &readable)?;
        if session.records.is_empty() {
            // Nothing was replayed: out of reach is a failure to report, another detector is no evidence at all.
            return Err(session
                .unreachable
                .map_or(JudgeError::NothingToJudge, JudgeError::Unavailable));
        }
        let trials: Vec<Trials> = session
            .groups
            .values()
            .map(|(_, trials)| trials.clone())
            .collect();
        let space = search_space(claim, session.searched);
        let log_bf = match trials.is_empty() {
            // Nothing counts, so nothing is said: not even a rounding error.
            true => 0.0,
            false => log_bayes_factor(&trials, space, &self.options.prior),
        };
        let completions = i64::try_from(session.completions).unwrap_or(i64::MAX);
        Ok(Judgement {
            judge: self.name().to_owned(),
            log_odds: context.base_log_odds + log_bf,
            standard_error: match session.groups.is_empty() {
                true => NO_OPINION,
                false => self.options.standard_error,
            },
            cost_micro: completions.saturating_mul(self.options.completion_cost_micro),
            latency_ms: 0,
            note: session.note(log_bf),
            detail: serde_json::to_value(&session.records).ok(),
        })
    }
}

fn search_space(claim: &Claim, searched: u32) -> SearchSpace<'_> {
    let grammar = claim
        .probe
        .as_ref()
        .map_or(&[][..], |probe| probe.grammar.as_slice());
    SearchSpace { searched, grammar }
}

/// Greedy completions do not vary, so counts of them need no test: more than one in [`GREEDY_SLACK`] that is not as
/// it was said is misreported. Arms of which prompts repeat or only a part was replayed are left out.
fn is_misreported(exhibit: &TriggerControl, arms: &[ReplayedArm]) -> bool {
    if exhibit.sampling.temperature > 0.0 {
        return false;
    }
    let whole = arms
        .iter()
        .filter(|arm| arm.claimed.trials == arm.replayed.trials);
    let (mut trials, mut wrong) = (0, 0);
    for arm in whole {
        trials += arm.claimed.trials;
        wrong += arm.claimed.hits.abs_diff(arm.replayed.hits);
    }
    wrong > trials / GREEDY_SLACK
}

/// Hash state of what, besides the prompt, decides an outcome.
fn replay_key(exhibit: &TriggerControl) -> blake3::Hasher {
    let mut hasher = blake3::Hasher::new();
    let mut part = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    part(exhibit.checkpoint.as_bytes());
    part(&exhibit.sampling.max_tokens.to_le_bytes());
    part(&exhibit.sampling.temperature.to_bits().to_le_bytes());
    part(&exhibit.sampling.seed.to_le_bytes());
    part(&exhibit.detector.contains_any.len().to_le_bytes());
    for needle in &exhibit.detector.contains_any {
        part(needle.as_bytes());
    }
    hasher
}

fn prompt_key(prefix: &blake3::Hasher, prompt: &str) -> [u8; 32] {
    let mut hasher = prefix.clone();
    hasher.update(prompt.as_bytes());
    *hasher.finalize().as_bytes()
}
