//! Which tables are exported, and which of their columns.

use super::Scope;

/// One exported table.
pub(super) struct Table {
    /// Its name, here and in the export.
    pub(super) name: &'static str,
    /// Columns or expressions with their names.
    columns: &'static str,
    /// Order of the rows; the primary key or an index.
    order: &'static str,
    /// Which rows there are to export at all.
    rows: &'static str,
    /// Which rows belong to the market `?1`; `None` keeps the table out of a market's export.
    of_market: Option<&'static str>,
}

impl Table {
    /// The statement that reads the scope's rows; it binds the market's id.
    pub(super) fn query(&self, scope: Scope<'_>) -> Option<String> {
        let filter = match scope {
            // Binds the parameter without using it, so that both scopes run alike.
            Scope::Everything => "?1 = ''",
            Scope::Market(_) => self.of_market?,
        };
        Some(format!(
            "SELECT {} FROM {} WHERE {filter} AND ({}) ORDER BY {}",
            self.columns, self.name, self.rows, self.order
        ))
    }
}

/// Every row.
const ALL: &str = "TRUE";

/// Transfers that touch an account of the market.
const TRANSFERS_OF_MARKET: &str = "seq IN (SELECT transfer_seq FROM entries WHERE account_id IN \
     ('escrow-' || ?1, 'fees-' || ?1, 'orders-' || ?1, 'bonds-' || ?1))";
const ENTRIES_OF_MARKET: &str = "transfer_seq IN (SELECT transfer_seq FROM entries WHERE account_id IN \
     ('escrow-' || ?1, 'fees-' || ?1, 'orders-' || ?1, 'bonds-' || ?1))";

/// Every exported table, in the order of export: what others refer to comes first.
pub(super) const TABLES: &[Table] = &[
    Table {
        name: "accounts",
        columns: "id, kind, handle, balance_micro, created_at",
        order: "id",
        rows: ALL,
        // People's balances are theirs to show.
        of_market: None,
    },
    Table {
        name: "transfers",
        columns: "seq, id, at, kind, reference",
        order: "seq",
        rows: ALL,
        of_market: Some(TRANSFERS_OF_MARKET),
    },
    Table {
        name: "entries",
        columns: "transfer_seq, ordinal, account_id, amount_micro",
        order: "transfer_seq, ordinal",
        rows: ALL,
        of_market: Some(ENTRIES_OF_MARKET),
    },
    Table {
        name: "runs",
        columns: "id, name, kind, owner_id, created_at",
        order: "id",
        rows: ALL,
        of_market: Some("id = (SELECT run_id FROM markets WHERE id = ?1)"),
    },
    Table {
        name: "markets",
        // A plan is a secret until the freeze.
        columns: "id, run_id, claim, claim_kind, rubric, status, log_odds, opening_log_odds, liquidity_micro, \
                  subsidy_micro, escrow_id, creator_id, settlement_method, \
                  CASE WHEN frozen_at IS NULL THEN NULL ELSE plan END AS plan, probe, \
                  CASE WHEN status = 'closing' THEN json_set(life, '$.stops_at', NULL) ELSE life END AS life, \
                  closes_at, \
                  closes_after_tokens, opened_at, frozen_at, frozen_checkpoint, net_shares_micro, settlement, \
                  settled_at, statistics, trades, evidence",
        order: "id",
        rows: ALL,
        of_market: Some("id = ?1"),
    },
    Table {
        name: "evidence",
        columns: "id, market_id, account_id, kind, title, body, exhibits, content_hash, stake_micro, fee_micro, \
                  status, shift, log_odds_before, log_odds_after, locked_micro, yes_micro, no_micro, created_at, \
                  judged_at, bond_micro, priority_at, commitment_id, released_at, struck_at",
        order: "market_id, id",
        rows: ALL,
        of_market: Some("market_id = ?1"),
    },
    Table {
        name: "commitments",
        columns: "id, market_id, account_id, commitment, bond_micro, status, created_at, reveal_by, evidence_id",
        order: "market_id, account_id, commitment",
        rows: ALL,
        of_market: Some("market_id = ?1"),
    },
    Table {
        name: "exhibit_challenges",
        columns: "id, evidence_id, market_id, account_id, bond_micro, status, decided_by, burnt_micro, created_at, \
                  decided_at",
        order: "market_id, status, id",
        rows: ALL,
        of_market: Some("market_id = ?1"),
    },
    Table {
        name: "trades",
        columns: "seq, id, market_id, account_id, at, outcome, yes_micro, no_micro, cost_micro, log_odds_before, \
                  log_odds_after, cause",
        order: "seq",
        rows: ALL,
        of_market: Some("market_id = ?1"),
    },
    Table {
        name: "prices",
        columns: "seq, market_id, at, log_odds, cause, reference",
        order: "seq",
        rows: ALL,
        of_market: Some("market_id = ?1"),
    },
    Table {
        name: "positions",
        columns: "market_id, account_id, yes_micro, no_micro, cost_micro, paid_micro, paid_at",
        order: "market_id, account_id",
        rows: ALL,
        of_market: Some("market_id = ?1"),
    },
    Table {
        name: "fees",
        columns: "market_id, account_id, trade_micro, creator_micro, returned_at",
        order: "market_id, account_id",
        rows: ALL,
        of_market: Some("market_id = ?1"),
    },
    Table {
        name: "orders",
        columns: "seq, id, market_id, account_id, outcome, side, limit_probability, budget_micro, shares_micro, \
                  remaining_micro, reserved_micro, filled_micro, cost_micro, fees_micro, status, created_at, \
                  expires_at, ended_at",
        order: "market_id, status, side, limit_probability, seq",
        rows: ALL,
        of_market: Some("market_id = ?1"),
    },
    Table {
        name: "order_fills",
        columns: "order_id, trade_id",
        order: "order_id, trade_id",
        rows: ALL,
        of_market: Some("order_id IN (SELECT id FROM orders WHERE market_id = ?1)"),
    },
    Table {
        name: "settlement_cases",
        // The stop moment and the seed are secrets until the freeze.
        columns: "market_id, terms, CASE WHEN frozen IS NULL THEN NULL ELSE closing END AS closing, frozen, \
                  CASE WHEN frozen IS NULL THEN NULL ELSE (SELECT seed FROM settlement_seeds AS seeds \
                  WHERE seeds.market_id = settlement_cases.market_id) END AS seed",
        order: "market_id",
        rows: ALL,
        of_market: Some("market_id = ?1"),
    },
    Table {
        name: "settlement_claims",
        columns: "market_id, round, kind, source, account_id, pi_billionths, bond_micro, paid_micro, disputes, \
                  jurors, at",
        order: "market_id, round",
        rows: ALL,
        of_market: Some("market_id = ?1"),
    },
    Table {
        name: "frozen_exhibits",
        columns: "market_id, ordinal, evidence_id, content_hash",
        order: "market_id, ordinal",
        rows: ALL,
        of_market: Some("market_id = ?1"),
    },
    Table {
        name: "jurors",
        columns: "account_id, stake_micro",
        order: "account_id",
        rows: ALL,
        of_market: None,
    },
    Table {
        name: "panels",
        // Who sits, and on what, is a secret until the panel is published; what it cost is not.
        columns: "id, subject, market_id, round, evidence_id, challenge_id, case_id, status, pi, final_pi, \
                  CASE listed WHEN 1 THEN public_seed ELSE '' END AS public_seed, \
                  CASE listed WHEN 1 THEN secret_number END AS secret_number, \
                  CASE listed WHEN 1 THEN candidates ELSE '[]' END AS candidates, listed",
        order: "id",
        rows: ALL,
        of_market: None,
    },
    Table {
        name: "panel_seats",
        // Votes and verdicts are published with the panel; money moves in the open.
        columns: "panel_id, account_id, ordinal, deposit_micro, state, \
                  iif((SELECT listed FROM panels WHERE id = panel_id), commitment, NULL) AS commitment, \
                  iif((SELECT listed FROM panels WHERE id = panel_id), vote_bps, NULL) AS vote_bps, \
                  iif((SELECT listed FROM panels WHERE id = panel_id), nonce, NULL) AS nonce, \
                  iif((SELECT listed FROM panels WHERE id = panel_id), justification, NULL) AS justification, \
                  denounced_by, iif((SELECT listed FROM panels WHERE id = panel_id), verdict, NULL) AS verdict, \
                  paid_micro, slashed_micro",
        order: "panel_id, account_id",
        // Who sits is a secret while the panel does.
        rows: "denounced_by IS NOT NULL OR EXISTS (SELECT 1 FROM panels WHERE id = panel_id \
               AND (listed = 1 OR settled_at IS NOT NULL))",
        of_market: None,
    },
    Table {
        name: "draw_secrets",
        columns: "number, commitment, CASE WHEN (SELECT listed FROM panels WHERE panels.id = panel_id) = 1 \
                  THEN secret END AS secret",
        order: "number",
        rows: ALL,
        of_market: None,
    },
    Table {
        name: "market_outcomes",
        columns: "market_id, ordinal, name, opening_price, shares_micro, pi_billionths",
        order: "market_id, ordinal",
        rows: ALL,
        of_market: Some("market_id = ?1"),
    },
    Table {
        name: "outcome_trades",
        columns: "seq, id, market_id, account_id, at, ordinal, shares_micro, sets_micro, cost_micro, price_before, \
                  price_after, prices",
        order: "seq",
        rows: ALL,
        of_market: Some("market_id = ?1"),
    },
    Table {
        name: "outcome_holdings",
        columns: "market_id, account_id, ordinal, shares_micro",
        order: "market_id, account_id, ordinal",
        rows: ALL,
        of_market: Some("market_id = ?1"),
    },
    Table {
        name: "stakes",
        columns: "account_id, stake_micro, earned_micro",
        order: "account_id",
        rows: ALL,
        of_market: None,
    },
    Table {
        name: "node_stakes",
        columns: "id, run_id, node_key, account_id, stake_micro, slashed_micro, status, created_at, closed_at, ban",
        order: "run_id, id",
        rows: ALL,
        of_market: None,
    },
    Table {
        name: "proposals",
        columns: "id, track, author_id, action, terms, state, tally, created_at, voting_at, ended_at",
        order: "id",
        rows: ALL,
        of_market: None,
    },
    Table {
        name: "proposal_deposits",
        columns: "proposal_id, account_id, amount_micro, status",
        order: "proposal_id, account_id",
        rows: ALL,
        of_market: None,
    },
    Table {
        name: "revenue_shares",
        columns: "id, proposal_id, period, account_id, weight, amount_micro, created_at, claimed_at",
        order: "id",
        rows: ALL,
        of_market: None,
    },
    Table {
        name: "proposal_electors",
        columns: "proposal_id, account_id, stake_micro, delegate_id, conviction",
        order: "proposal_id, account_id",
        rows: ALL,
        of_market: None,
    },
    Table {
        name: "proposal_votes",
        columns: "proposal_id, account_id, side, conviction, at",
        order: "proposal_id, account_id",
        rows: ALL,
        of_market: None,
    },
    Table {
        name: "outbox",
        columns: "id, at, topic, kind, payload",
        order: "id",
        rows: ALL,
        of_market: None,
    },
    Table {
        name: "log_checkpoints",
        columns: "size, note",
        order: "size",
        rows: ALL,
        of_market: None,
    },
    Table {
        name: "signing_keys",
        columns: "key_id, public_key, owner_id, epoch, not_before, not_after, statement",
        order: "key_id",
        rows: ALL,
        of_market: None,
    },
    Table {
        name: "decisions",
        columns: "version, decision_id, target_uid, epoch, generation, share_bps, action, created_at, payload, \
                  envelope",
        order: "version",
        rows: ALL,
        of_market: None,
    },
    Table {
        name: "decision_signatures",
        columns: "decision_id, key_id, signature, at",
        order: "decision_id, key_id",
        rows: ALL,
        of_market: None,
    },
];
