//! The rows of an export, as JSON holds them.
//!
//! An export is text, one JSON object a line. The first line is a [`Header`], the last a
//! [`Trailer`], and each line between them `{"table": name, "row": {…}}`. Amounts are integers in
//! millionths of a credit or of a share, times are milliseconds since 1970 in UTC. Doubles are in
//! quotes, with all the digits that make them exact, because many readers of JSON round numbers. Unknown tables and columns are refused: what
//! is not known is not checked.

mod juries;
mod log;
mod voting;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

pub use juries::{DrawSecret, Juror, Panel, Seat};
pub use log::{Decision, DecisionSignature, Event, LogCheckpoint, LogRows, SigningKey};
pub use voting::{Ballot, Deposit, Elector, NodeStake, Proposal, RevenueShare, Stake};

/// What the first line must name.
pub const FORMAT: &str = "plumbline-audit";
/// The version of the format that is understood.
pub const VERSION: u32 = 1;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub format: String,
    /// [`VERSION`].
    pub version: u32,
    /// The market whose public part this is; absent for the whole books.
    pub market: Option<String>,
    /// When it was taken.
    pub exported_at: i64,
}

/// The last line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trailer {
    /// BLAKE3 of every byte before this line, hexadecimal.
    pub blake3: String,
    /// Lines between header and trailer.
    pub rows: u64,
}

/// One line between header and trailer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "table", content = "row", rename_all = "snake_case")]
pub enum Record {
    /// An account of the ledger.
    Accounts(Account),
    /// A transfer.
    Transfers(Transfer),
    /// One entry of a transfer.
    Entries(Entry),
    /// A governed run.
    Runs(Run),
    /// A market.
    Markets(Box<Market>),
    /// A submission of evidence.
    Evidence(Box<Evidence>),
    /// A commitment to evidence.
    Commitments(Commitment),
    /// A dispute about evidence.
    ExhibitChallenges(ExhibitChallenge),
    /// A trade.
    Trades(Trade),
    /// A point of a price history.
    Prices(Price),
    /// What an account holds in a market.
    Positions(Position),
    /// What an account paid in fees in a market.
    Fees(Fee),
    /// A resting order.
    Orders(Box<Order>),
    /// A run of an order.
    OrderFills(OrderFill),
    /// How a market came to its end.
    SettlementCases(Case),
    /// A proposal, challenge or ruling on a settlement.
    SettlementClaims(Claim),
    /// An exhibit that a freeze fixed.
    FrozenExhibits(FrozenExhibit),
    /// A juror.
    Jurors(Juror),
    /// A panel of jurors.
    Panels(Box<Panel>),
    /// A seat of a panel.
    PanelSeats(Box<Seat>),
    /// A committed secret of a draw.
    DrawSecrets(DrawSecret),
    /// An outcome of a market that has several.
    MarketOutcomes(MarketOutcome),
    /// A trade of one of several outcomes.
    OutcomeTrades(OutcomeTrade),
    /// What an account holds of one of several outcomes.
    OutcomeHoldings(OutcomeHolding),
    /// A stake for voting.
    Stakes(Stake),
    /// A stake for a node's work.
    NodeStakes(NodeStake),
    /// A proposal.
    Proposals(Box<Proposal>),
    /// What somebody paid for one.
    ProposalDeposits(Deposit),
    /// What one gave of revenue.
    RevenueShares(RevenueShare),
    /// Somebody who could vote on one.
    ProposalElectors(Elector),
    /// A ballot on one.
    ProposalVotes(Ballot),
    /// An event.
    Outbox(Event),
    /// A checkpoint of the log.
    LogCheckpoints(LogCheckpoint),
    /// A key.
    SigningKeys(SigningKey),
    /// A decision.
    Decisions(Box<Decision>),
    /// A further signature of one.
    DecisionSignatures(DecisionSignature),
}

/// Every row, by table, in the order of the export.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Export {
    /// The market whose public part this is; `None` for the whole books.
    pub market: Option<String>,
    /// When it was taken.
    pub exported_at: i64,
    /// Accounts.
    pub accounts: Vec<Account>,
    /// Transfers.
    pub transfers: Vec<Transfer>,
    /// Entries.
    pub entries: Vec<Entry>,
    /// Runs.
    pub runs: Vec<Run>,
    /// Markets.
    pub markets: Vec<Market>,
    /// Evidence.
    pub evidence: Vec<Evidence>,
    /// Commitments to evidence.
    pub commitments: Vec<Commitment>,
    /// Disputes about evidence.
    pub exhibit_challenges: Vec<ExhibitChallenge>,
    /// Trades.
    pub trades: Vec<Trade>,
    /// Prices.
    pub prices: Vec<Price>,
    /// Positions.
    pub positions: Vec<Position>,
    /// Fees.
    pub fees: Vec<Fee>,
    /// Resting orders.
    pub orders: Vec<Order>,
    /// Runs of orders.
    pub order_fills: Vec<OrderFill>,
    /// Cases.
    pub cases: Vec<Case>,
    /// Records of the cases.
    pub claims: Vec<Claim>,
    /// Exhibits that freezes fixed.
    pub exhibits: Vec<FrozenExhibit>,
    /// Jurors.
    pub jurors: Vec<Juror>,
    /// Panels.
    pub panels: Vec<Panel>,
    /// Their seats.
    pub panel_seats: Vec<Seat>,
    /// Secrets of draws.
    pub draw_secrets: Vec<DrawSecret>,
    /// Outcomes of markets that have several.
    pub outcomes: Vec<MarketOutcome>,
    /// Trades of them.
    pub outcome_trades: Vec<OutcomeTrade>,
    /// Holdings of them.
    pub outcome_holdings: Vec<OutcomeHolding>,
    /// Stakes for voting.
    pub stakes: Vec<Stake>,
    /// Stakes for nodes' work.
    pub node_stakes: Vec<NodeStake>,
    /// Proposals.
    pub proposals: Vec<Proposal>,
    /// What was paid for them.
    pub deposits: Vec<Deposit>,
    /// What they gave of revenue.
    pub revenue_shares: Vec<RevenueShare>,
    /// Who could vote on them.
    pub electors: Vec<Elector>,
    /// Who did.
    pub ballots: Vec<Ballot>,
    /// The transparency log and what is signed.
    pub log: LogRows,
}

impl Export {
    /// Adds one record to its table.
    pub(crate) fn add(&mut self, record: Record) {
        match record {
            Record::Accounts(row) => self.accounts.push(row),
            Record::Transfers(row) => self.transfers.push(row),
            Record::Entries(row) => self.entries.push(row),
            Record::Runs(row) => self.runs.push(row),
            Record::Markets(row) => self.markets.push(*row),
            Record::Evidence(row) => self.evidence.push(*row),
            Record::Commitments(row) => self.commitments.push(row),
            Record::ExhibitChallenges(row) => self.exhibit_challenges.push(row),
            Record::Trades(row) => self.trades.push(row),
            Record::Prices(row) => self.prices.push(row),
            Record::Positions(row) => self.positions.push(row),
            Record::Fees(row) => self.fees.push(row),
            Record::Orders(row) => self.orders.push(*row),
            Record::OrderFills(row) => self.order_fills.push(row),
            Record::SettlementCases(row) => self.cases.push(row),
            Record::SettlementClaims(row) => self.claims.push(row),
            Record::FrozenExhibits(row) => self.exhibits.push(row),
            Record::Jurors(row) => self.jurors.push(row),
            Record::Panels(row) => self.panels.push(*row),
            Record::PanelSeats(row) => self.panel_seats.push(*row),
            Record::DrawSecrets(row) => self.draw_secrets.push(row),
            Record::MarketOutcomes(row) => self.outcomes.push(row),
            Record::OutcomeTrades(row) => self.outcome_trades.push(row),
            Record::OutcomeHoldings(row) => self.outcome_holdings.push(row),
            Record::Stakes(row) => self.stakes.push(row),
            Record::NodeStakes(row) => self.node_stakes.push(row),
            Record::Proposals(row) => self.proposals.push(*row),
            Record::ProposalDeposits(row) => self.deposits.push(row),
            Record::RevenueShares(row) => self.revenue_shares.push(row),
            Record::ProposalElectors(row) => self.electors.push(row),
            Record::ProposalVotes(row) => self.ballots.push(row),
            Record::Outbox(row) => self.log.events.push(row),
            Record::LogCheckpoints(row) => self.log.checkpoints.push(row),
            Record::SigningKeys(row) => self.log.keys.push(row),
            Record::Decisions(row) => self.log.decisions.push(*row),
            Record::DecisionSignatures(row) => self.log.signatures.push(row),
        }
    }
}

/// An account of the ledger.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct Account {
    pub id: String,
    pub kind: String,
    pub handle: String,
    pub balance_micro: i64,
    pub created_at: i64,
}

/// A transfer of money.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct Transfer {
    pub seq: i64,
    pub id: String,
    pub at: i64,
    pub kind: String,
    pub reference: String,
}

/// One entry of a transfer.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct Entry {
    pub transfer_seq: i64,
    pub ordinal: i64,
    pub account_id: String,
    pub amount_micro: i64,
}

/// A governed run.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct Run {
    pub id: String,
    pub name: String,
    pub kind: String,
    pub owner_id: String,
    pub created_at: i64,
}

/// A market.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct Market {
    pub id: String,
    pub run_id: String,
    pub claim: String,
    pub claim_kind: String,
    pub rubric: String,
    pub status: String,
    #[serde(deserialize_with = "double")]
    pub log_odds: f64,
    #[serde(deserialize_with = "double")]
    pub opening_log_odds: f64,
    pub liquidity_micro: i64,
    pub subsidy_micro: i64,
    pub escrow_id: String,
    pub creator_id: String,
    pub settlement_method: String,
    pub plan: Option<String>,
    pub probe: Option<String>,
    pub life: String,
    pub closes_at: i64,
    pub closes_after_tokens: Option<i64>,
    pub opened_at: i64,
    pub frozen_at: Option<i64>,
    pub frozen_checkpoint: Option<String>,
    pub net_shares_micro: i64,
    #[serde(deserialize_with = "maybe_double")]
    pub settlement: Option<f64>,
    pub settled_at: Option<i64>,
    pub statistics: Option<String>,
    pub trades: i64,
    pub evidence: i64,
}

/// A submission of evidence.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct Evidence {
    pub id: String,
    pub market_id: String,
    pub account_id: String,
    pub kind: String,
    pub title: String,
    pub body: String,
    pub exhibits: String,
    pub content_hash: String,
    pub stake_micro: i64,
    pub fee_micro: i64,
    pub status: String,
    #[serde(deserialize_with = "double")]
    pub shift: f64,
    #[serde(deserialize_with = "maybe_double")]
    pub log_odds_before: Option<f64>,
    #[serde(deserialize_with = "maybe_double")]
    pub log_odds_after: Option<f64>,
    pub locked_micro: i64,
    pub yes_micro: i64,
    pub no_micro: i64,
    pub created_at: i64,
    pub judged_at: Option<i64>,
    pub bond_micro: i64,
    pub priority_at: i64,
    pub commitment_id: Option<String>,
    pub released_at: Option<i64>,
    pub struck_at: Option<i64>,
}

/// A commitment to evidence.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct Commitment {
    pub id: String,
    pub market_id: String,
    pub account_id: String,
    pub commitment: String,
    pub bond_micro: i64,
    pub status: String,
    pub created_at: i64,
    pub reveal_by: i64,
    pub evidence_id: Option<String>,
}

/// A dispute on whether evidence is what it says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct ExhibitChallenge {
    pub id: String,
    pub evidence_id: String,
    pub market_id: String,
    pub account_id: String,
    pub bond_micro: i64,
    pub status: String,
    pub decided_by: Option<String>,
    pub burnt_micro: Option<i64>,
    pub created_at: i64,
    pub decided_at: Option<i64>,
}

/// A trade; those booked for evidence among them.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct Trade {
    pub seq: i64,
    pub id: String,
    pub market_id: String,
    pub account_id: String,
    pub at: i64,
    pub outcome: String,
    pub yes_micro: i64,
    pub no_micro: i64,
    pub cost_micro: i64,
    #[serde(deserialize_with = "double")]
    pub log_odds_before: f64,
    #[serde(deserialize_with = "double")]
    pub log_odds_after: f64,
    pub cause: String,
}

/// A point of a price history.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct Price {
    pub seq: i64,
    pub market_id: String,
    pub at: i64,
    #[serde(deserialize_with = "double")]
    pub log_odds: f64,
    pub cause: String,
    pub reference: Option<String>,
}

/// What an account holds in a market.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct Position {
    pub market_id: String,
    pub account_id: String,
    pub yes_micro: i64,
    pub no_micro: i64,
    pub cost_micro: i64,
    pub paid_micro: Option<i64>,
    pub paid_at: Option<i64>,
}

/// An outcome of a market that has several.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct MarketOutcome {
    pub market_id: String,
    pub ordinal: i64,
    pub name: String,
    #[serde(deserialize_with = "double")]
    pub opening_price: f64,
    pub shares_micro: i64,
    pub pi_billionths: Option<i64>,
}

/// A trade of one of several outcomes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct OutcomeTrade {
    pub seq: i64,
    pub id: String,
    pub market_id: String,
    pub account_id: String,
    pub at: i64,
    pub ordinal: i64,
    pub shares_micro: i64,
    pub sets_micro: i64,
    pub cost_micro: i64,
    #[serde(deserialize_with = "double")]
    pub price_before: f64,
    #[serde(deserialize_with = "double")]
    pub price_after: f64,
    pub prices: String,
}

/// What an account holds of one of several outcomes.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct OutcomeHolding {
    pub market_id: String,
    pub account_id: String,
    pub ordinal: i64,
    pub shares_micro: i64,
}

/// What an account paid in fees in a market.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct Fee {
    pub market_id: String,
    pub account_id: String,
    pub trade_micro: i64,
    pub creator_micro: i64,
    pub returned_at: Option<i64>,
}

/// A resting order.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct Order {
    pub seq: i64,
    pub id: String,
    pub market_id: String,
    pub account_id: String,
    pub outcome: String,
    pub side: String,
    #[serde(deserialize_with = "double")]
    pub limit_probability: f64,
    pub budget_micro: i64,
    pub shares_micro: i64,
    pub remaining_micro: i64,
    pub reserved_micro: i64,
    pub filled_micro: i64,
    pub cost_micro: i64,
    pub fees_micro: i64,
    pub status: String,
    pub created_at: i64,
    pub expires_at: Option<i64>,
    pub ended_at: Option<i64>,
}

/// A run of an order.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct OrderFill {
    pub order_id: String,
    pub trade_id: String,
}

/// How a market came to its end.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct Case {
    pub market_id: String,
    pub terms: String,
    pub closing: Option<String>,
    pub frozen: Option<String>,
    pub seed: Option<String>,
}

/// A proposal, challenge or ruling on a settlement.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct Claim {
    pub market_id: String,
    pub round: i64,
    pub kind: String,
    pub source: String,
    pub account_id: Option<String>,
    pub pi_billionths: Option<i64>,
    pub bond_micro: i64,
    pub paid_micro: Option<i64>,
    pub disputes: Option<i64>,
    pub jurors: Option<i64>,
    pub at: i64,
}

/// An exhibit that a freeze fixed.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "named as in docs/audit.md")]
pub struct FrozenExhibit {
    pub market_id: String,
    pub ordinal: i64,
    pub evidence_id: String,
    pub content_hash: String,
}

fn double<'de, D: Deserializer<'de>>(source: D) -> Result<f64, D::Error> {
    let text = String::deserialize(source)?;
    let number: f64 = text.parse().map_err(D::Error::custom)?;
    if number.is_finite() {
        Ok(number)
    } else {
        Err(D::Error::custom("a double is finite"))
    }
}

fn maybe_double<'de, D: Deserializer<'de>>(source: D) -> Result<Option<f64>, D::Error> {
    #[derive(Deserialize)]
    struct Wrapped(#[serde(deserialize_with = "double")] f64);
    Ok(Option::<Wrapped>::deserialize(source)?.map(|Wrapped(number)| number))
}
