//! Stakes, proposals, delegations, seals and simulations as the API gives them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A stake for voting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StakeView {
    /// Handle.
    pub account: String,
    /// Stake.
    pub stake_micro: i64,
    /// Part of it that gives weight: what was earned here, not granted.
    pub voting_micro: i64,
    /// It cannot be taken back before.
    pub locked_until: Option<String>,
    /// Delegations that the account has made.
    pub delegations: Vec<DelegationView>,
    /// Delegations to the account, at most 100.
    pub delegators: Vec<DelegationView>,
}

/// A delegation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DelegationView {
    /// Handle of who delegates.
    pub account: String,
    /// Track.
    pub track: String,
    /// Handle of the delegate.
    pub delegate: String,
    /// Level of conviction.
    pub conviction: i64,
    /// Since when.
    pub since: String,
}

/// What a track asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TrackView {
    /// Its name.
    pub track: String,
    /// Deposit before voting starts.
    pub deposit_micro: u64,
    /// Time to collect it, seconds.
    pub deposit_s: u64,
    /// Least stake for or abstaining, of all stake when the vote began.
    pub quorum_bps: u16,
    /// Agreement needed at the start of the vote.
    pub approval_start_bps: u16,
    /// Agreement needed at its end.
    pub approval_end_bps: u16,
    /// Length of the vote, seconds.
    pub voting_s: u64,
    /// Time for which it must stay approved, seconds.
    pub confirm_s: u64,
    /// Time lock, seconds.
    pub delay_s: u64,
    /// Time in which it can be executed after that, seconds.
    pub expiry_s: u64,
    /// A late swing extends the vote by as much, seconds.
    pub swing_s: u64,
}

/// A count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TallyView {
    /// Stake for.
    pub for_micro: u64,
    /// Stake against.
    pub against_micro: u64,
    /// Stake abstaining.
    pub abstain_micro: u64,
    /// All stake when the vote began.
    pub electorate_micro: u64,
    /// Share of the decided weight that is for; weight is stake × conviction.
    pub approval_bps: u16,
    /// What is needed now.
    pub needed_bps: u16,
    /// Stake for or abstaining, of all.
    pub support_bps: u16,
    /// Quorum.
    pub quorum_bps: u16,
    /// Accounts counted.
    pub counted: u32,
    /// Those of them counted by a delegate's ballot.
    pub delegated: u32,
}

/// A moment in a proposal's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StepView {
    /// State entered.
    pub state: String,
    /// More about it.
    pub note: String,
    /// When.
    pub at: String,
}

/// A fact about an effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EffectFact {
    /// What.
    pub name: String,
    /// How much, or which.
    pub value: String,
}

/// What one run would be granted at the next look.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunEffect {
    /// The run.
    pub run_id: String,
    /// Its name.
    pub name: String,
    /// Price that the policy reads; absent without one.
    pub price: Option<f64>,
    /// Upper credible bound.
    pub upper: f64,
    /// Action without it.
    pub action: String,
    /// Share without it.
    pub share_bps: u16,
    /// Action with it.
    pub then_action: String,
    /// Share with it.
    pub then_share_bps: u16,
    /// Share that it would come to with time, if nothing else changed.
    pub then_target_bps: u16,
    /// Reason, stable.
    pub reason: String,
    /// Reason, for people.
    pub explanation: String,
}

/// A decision that would have been another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DifferenceView {
    /// The decision.
    pub decision_id: String,
    /// Name of its run.
    pub run: String,
    /// When it was made.
    pub at: String,
    /// What it said.
    pub action: String,
    /// Its share.
    pub share_bps: u16,
    /// What it would have said.
    pub then_action: String,
    /// The share that it would have had.
    pub then_share_bps: u16,
    /// Why, stable.
    pub reason: String,
    /// Why, for people.
    pub explanation: String,
}

/// Shares of a run at a moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplayPoint {
    /// When.
    pub at: String,
    /// As decided.
    pub share_bps: u16,
    /// As it would have been.
    pub then_share_bps: u16,
}

/// One run over the replayed time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RunReplayView {
    /// The run.
    pub run_id: String,
    /// Its name.
    pub name: String,
    /// Mean share as decided, basis points.
    pub mean_share_bps: f64,
    /// Mean share as it would have been, basis points.
    pub then_mean_share_bps: f64,
    /// Decisions that would have granted less.
    pub tighter: u32,
    /// Decisions that would have granted more.
    pub looser: u32,
    /// Where shares change.
    pub points: Vec<ReplayPoint>,
}

/// What a policy would have decided on the recorded history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ReplayView {
    /// First recorded moment.
    pub from: Option<String>,
    /// Last recorded moment.
    pub to: Option<String>,
    /// Moments at which the candidate was asked.
    pub moments: u32,
    /// Decisions compared.
    pub compared: u32,
    /// Those that would have been others.
    pub different: u32,
    /// The first 200 of them.
    pub differences: Vec<DifferenceView>,
    /// Every run.
    pub runs: Vec<RunReplayView>,
    /// The record was longer than a replay takes: only its newest part was replayed.
    pub cut: bool,
}

/// What a proposal would do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EffectView {
    /// When this was computed.
    pub at: String,
    /// In a sentence.
    pub summary: String,
    /// Before and after, in figures.
    pub facts: Vec<EffectFact>,
    /// Runs whose grant would change at the next look.
    pub runs: Vec<RunEffect>,
    /// For a policy: its replay on the recorded history.
    pub replay: Option<ReplayView>,
}

/// `POST /policy/simulate`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SimulationView {
    /// Name of the candidate.
    pub name: String,
    /// Its version.
    pub version: u32,
    /// Its hash.
    pub hash: String,
    /// `enforce` or `shadow`.
    pub mode: String,
    /// What it would grant now, or with the prices assumed; every run.
    pub runs: Vec<RunEffect>,
    /// Its replay; absent where prices are assumed.
    pub replay: Option<ReplayView>,
}

/// A proposal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProposalView {
    /// Proposal id.
    pub id: String,
    /// Track.
    pub track: String,
    /// One line.
    pub title: String,
    /// Why; empty in lists.
    pub body: String,
    /// Handle of its author.
    pub author: String,
    /// What it does; absent in lists.
    pub action: Option<crate::commands::ProposedAction>,
    /// `draft`, `deposit`, `voting`, `confirming`, `queued`, `executed`, `expired`, `rejected` or `cancelled`.
    pub state: String,
    /// Why it ended as it did.
    pub ended_by: Option<String>,
    /// Deposit so far.
    pub deposit_paid_micro: i64,
    /// What its track asked for when it was written.
    pub terms: TrackView,
    /// When the vote began.
    pub voting_since: Option<String>,
    /// When the vote ends.
    pub voting_until: Option<String>,
    /// Times that a late swing extended it.
    pub extensions: u8,
    /// When the next thing happens by itself.
    pub due_at: Option<String>,
    /// The count; absent before the vote.
    pub tally: Option<TallyView>,
    /// What it would do, as computed when it was written; absent in lists.
    pub effect: Option<EffectView>,
    /// What it did, or why it could not.
    #[schema(value_type = Option<Object>)]
    pub outcome: Option<serde_json::Value>,
    /// Its life so far; empty in lists.
    pub steps: Vec<StepView>,
    /// The caller's own ballot and weight; absent in lists and for visitors.
    pub own: Option<OwnVote>,
    /// When it was written.
    pub created_at: String,
    /// When it ended.
    pub ended_at: Option<String>,
}

/// The caller's part in a vote.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OwnVote {
    /// Stake that counts in it.
    pub stake_micro: i64,
    /// Delegate who votes with it until the caller does.
    pub delegate: Option<String>,
    /// `for`, `against` or `abstain`.
    pub side: Option<String>,
    /// Level of conviction.
    pub conviction: Option<i64>,
}

/// A ballot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct VoteView {
    /// Handle.
    pub account: String,
    /// `for`, `against` or `abstain`.
    pub side: String,
    /// Level of conviction.
    pub conviction: i64,
    /// Own stake that counts, delegations not included.
    pub stake_micro: i64,
    /// When.
    pub at: String,
}

/// A seal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SealView {
    /// Seal id.
    pub id: String,
    /// Name.
    pub title: String,
    /// The proposal that made it.
    pub proposal_id: String,
    /// `ready`, `signing`, `used` or `expired`.
    pub status: String,
    /// Handles of its guardians.
    pub guardians: Vec<String>,
    /// How many of them use it together.
    pub threshold: u8,
    /// Handles of those who have signed, with the runs that they want capped.
    pub signed: Vec<SealSignature>,
    /// Names of the runs that it covers; all where there are none.
    pub runs: Vec<String>,
    /// The cap that it puts in force.
    pub cap_bps: u16,
    /// For how long, seconds.
    pub term_s: u64,
    /// It can be used before.
    pub expires_at: String,
    /// When it was used.
    pub used_at: Option<String>,
    /// The proposal about its use.
    pub vote_id: Option<String>,
    /// What it put in force.
    pub order: Option<OrderInForce>,
}

/// A guardian's signature on the use of a seal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SealSignature {
    /// Handle.
    pub guardian: String,
    /// Name of the run.
    pub run: String,
}

/// What a vote or a seal put on a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OrderInForce {
    /// Name of the run.
    pub run: String,
    /// `cap`, `pause` or `permit`.
    pub kind: String,
    /// The share; absent for a pause.
    pub bps: Option<u16>,
    /// `proposal` or `seal`.
    pub source: String,
    /// Which one.
    pub source_id: String,
    /// In force from then.
    pub from: String,
    /// In force before then.
    pub until: String,
}
