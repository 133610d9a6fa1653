//! Settings of the adversary.

use std::time::Duration;

use super::belief::BeliefModel;
use super::search::SearchSettings;
use crate::client::Market;

/// Which markets the adversary works on; absent fields select everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only markets of the run with this id or name.
    pub run: Option<String>,
    /// Only this market.
    pub market: Option<String>,
}

impl Selection {
    /// Whether the market is one to work on.
    #[must_use]
    pub fn includes(&self, market: &Market) -> bool {
        self.run
            .as_ref()
            .is_none_or(|run| *run == market.run_id || *run == market.run_name)
            && self.market.as_ref().is_none_or(|id| *id == market.id)
    }
}

/// How hard the gateway is asked. Probing shares the machine with training, so it is slow on purpose.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProbeSettings {
    /// What is asked of a checkpoint.
    pub search: SearchSettings,
    /// Most prompts per request, 1 to 512.
    pub batch: usize,
    /// Share of the time in which a request may be in flight, in (0, 1].
    pub duty: f64,
    /// Least time between two searches of the same market.
    pub interval: Duration,
    /// Most tokens per completion, whatever the plan says.
    pub max_tokens: u32,
}

impl Default for ProbeSettings {
    fn default() -> Self {
        Self {
            search: SearchSettings::default(),
            batch: 64,
            duty: 0.25,
            interval: Duration::from_secs(15),
            max_tokens: 64,
        }
    }
}

/// When and how much to stake.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StakeSettings {
    /// Fraction of the Kelly stake, in (0, 1].
    pub kelly_fraction: f64,
    /// Change of the belief in log-odds since the last submission that counts as something new.
    pub material_shift: f64,
    /// Expected gain must exceed the expected fee this many times.
    pub gain_over_fee: f64,
    /// Fee expected for a first submission; later ones are expected to cost twice the last.
    pub first_fee_micro: i64,
    /// Stakes below this are not worth a submission.
    pub least_stake_micro: i64,
    /// Whether it commits to evidence before it shows it.
    pub commits: bool,
    /// Whether it also trades towards its belief; its token needs the scope `trade` then.
    pub trades: bool,
    /// Distance of a price from the belief, in log-odds, from which it trades.
    pub trade_shift: f64,
}

impl Default for StakeSettings {
    fn default() -> Self {
        Self {
            kelly_fraction: 0.5,
            material_shift: 0.7,
            gain_over_fee: 2.0,
            first_fee_micro: 100_000,
            least_stake_micro: 10_000,
            commits: true,
            trades: false,
            trade_shift: 0.3,
        }
    }
}

/// When the adversary ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopConditions {
    /// In any case after this long.
    pub after: Option<Duration>,
    /// After this many completions.
    pub probes: Option<usize>,
    /// When no selected market has shown up for this long.
    pub without_market: Duration,
    /// After the last market has closed, wait this long for its settlement, so that the report can say what was earned.
    pub for_settlement: Duration,
    /// After contact with the service was lost for this long.
    pub unreachable: Duration,
    /// Never end because every market has closed: wait for new ones.
    pub linger: bool,
}

impl Default for StopConditions {
    fn default() -> Self {
        Self {
            after: None,
            probes: None,
            without_market: Duration::from_secs(60),
            for_settlement: Duration::from_secs(60),
            unreachable: Duration::from_secs(120),
            linger: false,
        }
    }
}

/// Everything that one session of the adversary needs.
#[derive(Debug, Clone, PartialEq)]
pub struct AdversaryConfig {
    /// Where the service is, for example `http://127.0.0.1:8600`.
    pub base_url: String,
    /// Token with the scopes `read` and `evidence`.
    pub token: String,
    /// Which markets to work on.
    pub select: Selection,
    /// Most that may be locked, paid in fees and for trades together, micro-credits.
    pub budget_micro: i64,
    /// How hard to probe.
    pub probe: ProbeSettings,
    /// When and how much to stake.
    pub stake: StakeSettings,
    /// Prior beliefs.
    pub belief: BeliefModel,
    /// Seed of every choice.
    pub seed: u64,
    /// When to end.
    pub stop: StopConditions,
}

impl AdversaryConfig {
    /// The default settings for a service, token and budget.
    #[must_use]
    pub fn new(base_url: impl Into<String>, token: impl Into<String>, budget_micro: i64) -> Self {
        Self {
            base_url: base_url.into(),
            token: token.into(),
            select: Selection::default(),
            budget_micro,
            probe: ProbeSettings::default(),
            stake: StakeSettings::default(),
            belief: BeliefModel::default(),
            seed: 0,
            stop: StopConditions::default(),
        }
    }
}
