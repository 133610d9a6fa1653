//! The defences against known attacks, each with a switch.
//!
//! A running service has them all. The switches exist so that an attack can be run
//! against a service without one of them: only an attack that pays there, and does not
//! pay here, shows that the defence is what stops it. No option of a running service reaches them.

/// Which defences stand. [`Defences::default`] is all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defences {
    /// Orders stop at a drawn moment inside the announced window, not at its start.
    pub random_close: bool,
    /// Exhibits close to earlier ones move nothing.
    pub novelty: bool,
    /// The fee of a submission grows with each one by the same account in the same market.
    pub escalating_fees: bool,
    /// A submission waits for older commitments, so that the first to commit is the first judged.
    pub commit_priority: bool,
    /// Cases are drawn for the strongest method whatever the cheap one says.
    pub audit_draw: bool,
    /// Accounts with a stake in a case never sit on its panel.
    pub conflict_bar: bool,
    /// Part of a losing bond is burnt to the treasury, so that disputing with oneself never pays.
    pub bond_burn: bool,
    /// A juror who commits and does not reveal loses part of the deposit.
    pub reveal_slash: bool,
    /// Jurors are drawn by their accuracy on cases with a known answer.
    pub gold_cases: bool,
    /// Whoever shows a juror's secret vote before the reveal takes the juror's seat deposit.
    pub denouncement: bool,
    /// Nobody learns who sits on a panel before it has ended.
    pub secret_draw: bool,
    /// A revealed vote is the one that was committed.
    pub vote_commitments: bool,
    /// What a jury or a test found can be challenged before a larger jury.
    pub appeals: bool,
    /// Stake above a cap adds no weight to the draw of jurors.
    pub stake_cap: bool,
    /// Jurors are drawn by their stake, so that splitting it over accounts gains nothing.
    pub stake_weight: bool,
    /// Only accounts that the operator knows as jurors are drawn, unless juries are open to all.
    pub verified_jurors: bool,
    /// The settlement plan is shown by its hash alone until the freeze.
    pub held_out_plan: bool,
    /// The policy reads an average of the price over a window, not the last price.
    pub price_window: bool,
    /// The pool counts correlated judges as the few votes that they are worth.
    pub effective_judges: bool,
    /// A vote counts the stakes that there were when it began.
    pub stake_snapshot: bool,
    /// A delegated stake is not counted again when its owner votes.
    pub single_count: bool,
    /// A ballot that turns the outcome round at the last moment extends the vote.
    pub late_swing: bool,
    /// The deposit of a proposal that nobody turned out for is forfeit.
    pub deposit_forfeit: bool,
    /// Granted credits give no weight in votes.
    pub earned_weight: bool,
    /// Only the scheduler that registered a run reports on decisions about it.
    pub bound_schedulers: bool,
    /// A node's stake is held for a while after it left, so that it answers for work that is still looked at.
    pub node_unbonding: bool,
    /// A one-time code is taken once.
    pub code_once: bool,
    /// After wrong one-time codes in a row the next has to wait.
    pub code_waits: bool,
    /// A passkey whose device counts fewer sign-ins than before is a copy, and is refused.
    pub passkey_counter: bool,
}

impl Default for Defences {
    fn default() -> Self {
        Self {
            random_close: true,
            novelty: true,
            escalating_fees: true,
            commit_priority: true,
            audit_draw: true,
            conflict_bar: true,
            bond_burn: true,
            reveal_slash: true,
            gold_cases: true,
            denouncement: true,
            secret_draw: true,
            vote_commitments: true,
            appeals: true,
            stake_cap: true,
            stake_weight: true,
            verified_jurors: true,
            held_out_plan: true,
            price_window: true,
            effective_judges: true,
            stake_snapshot: true,
            single_count: true,
            late_swing: true,
            deposit_forfeit: true,
            earned_weight: true,
            bound_schedulers: true,
            node_unbonding: true,
            code_once: true,
            code_waits: true,
            passkey_counter: true,
        }
    }
}

macro_rules! by_name {
    ($($name:ident),+ $(,)?) => {
        impl Defences {
            /// The names of all, as [`Defences::switch_off`] takes them.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),+];

            /// Switches the named defence off; false when there is none of that name.
            pub fn switch_off(&mut self, name: &str) -> bool {
                match name {
                    $(stringify!($name) => self.$name = false,)+
                    _ => return false,
                }
                true
            }
        }
    };
}

by_name!(
    random_close,
    novelty,
    escalating_fees,
    commit_priority,
    audit_draw,
    conflict_bar,
    bond_burn,
    reveal_slash,
    gold_cases,
    denouncement,
    secret_draw,
    vote_commitments,
    appeals,
    stake_cap,
    stake_weight,
    verified_jurors,
    held_out_plan,
    price_window,
    effective_judges,
    stake_snapshot,
    single_count,
    late_swing,
    deposit_forfeit,
    earned_weight,
    bound_schedulers,
    node_unbonding,
    code_once,
    code_waits,
    passkey_counter,
);
