//! What the unit tests of this crate start from.

#![allow(clippy::unwrap_used)]

use tempfile::TempDir;

use crate::accounts::{self, Account, AccountKind};
use crate::evidence::Evidence;
use crate::gold::GoldCase;
use crate::jurors::Juror;
use crate::ledger::{self, Transfer};
use crate::market_outcomes::{self, MarketOutcome};
use crate::markets::{self, Market};
use crate::panels::{Panel, Seat};
use crate::proposals::Proposal;
use crate::runs::{self, Run, RunKind};
use crate::standing::StandingOrder;
use crate::{Store, StoreError, StoreOptions, Tx};

/// Money that each of the accounts `ada` and `bob` starts with, micro-credits.
pub(crate) const GRANT: i64 = 1_000_000;

/// An empty store in a folder that goes away with the test.
pub(crate) fn empty() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("plumbline.db"), StoreOptions::default()).unwrap();
    (folder, store)
}

/// A store with a treasury, an escrow, `ada` and `bob` with [`GRANT`] each, a run and a market `m1`.
pub(crate) fn seeded() -> (TempDir, Store) {
    let (folder, store) = empty();
    store.write(seed).unwrap();
    (folder, store)
}

/// Runs `f` as one write of a seeded store.
pub(crate) fn within<T: Send + 'static>(
    f: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let (_folder, store) = seeded();
    store.write(f)
}

pub(crate) fn seed(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    accounts::insert(tx, &account("treasury", AccountKind::Treasury))?;
    accounts::insert(tx, &account("escrow", AccountKind::Escrow))?;
    for name in ["ada", "bob"] {
        accounts::insert(tx, &account(name, AccountKind::User))?;
        ledger::post(
            tx,
            &transfer(
                &format!("grant-{name}"),
                &[("treasury", -GRANT), (name, GRANT)],
            ),
        )?;
    }
    runs::insert(tx, &run("r1", "sleeper"))?;
    markets::insert(tx, &market("m1"))
}

/// A market `m2` with room for three outcomes, of which `a` and `b` are there.
pub(crate) fn seed_outcomes(tx: &mut Tx<'_>) -> Result<(), StoreError> {
    markets::insert(
        tx,
        &Market {
            outcome_count: 3,
            ..market("m2")
        },
    )?;
    for (ordinal, name) in (0..).zip(["a", "b"]) {
        market_outcomes::insert(
            tx,
            &MarketOutcome {
                market_id: "m2".to_owned(),
                ordinal,
                name: name.to_owned(),
                opening_price: 0.5,
                shares_micro: 0,
                pi_billionths: None,
            },
        )?;
    }
    Ok(())
}

pub(crate) fn account(id: &str, kind: AccountKind) -> Account {
    Account {
        id: id.to_owned(),
        kind,
        handle: id.to_owned(),
        password_hash: None,
        roles: Vec::new(),
        balance_micro: 0,
        created_at: 1,
    }
}

pub(crate) fn transfer(id: &str, entries: &[(&str, i64)]) -> Transfer {
    Transfer {
        id: id.to_owned(),
        at: 1,
        kind: "test".to_owned(),
        reference: "none".to_owned(),
        entries: entries
            .iter()
            .map(|(account, amount)| ((*account).to_owned(), *amount))
            .collect(),
    }
}

pub(crate) fn run(id: &str, name: &str) -> Run {
    Run {
        id: id.to_owned(),
        name: name.to_owned(),
        kind: RunKind::Embedded,
        owner_id: "ada".to_owned(),
        status: "running".to_owned(),
        base_model: None,
        parameters: 870_000,
        tokens: 0,
        created_at: 1,
    }
}

pub(crate) fn market(id: &str) -> Market {
    Market {
        id: id.to_owned(),
        run_id: "r1".to_owned(),
        claim: "claim".to_owned(),
        claim_kind: "backdoor".to_owned(),
        rubric: "rubric".to_owned(),
        status: "open".to_owned(),
        log_odds: 0.0,
        opening_log_odds: 0.0,
        liquidity_micro: 100_000_000,
        subsidy_micro: 69_314_719,
        escrow_id: "escrow".to_owned(),
        creator_id: "ada".to_owned(),
        settlement_method: "objective".to_owned(),
        plan: Some("{}".to_owned()),
        probe: None,
        life: "{}".to_owned(),
        closes_at: 1_000,
        closes_after_tokens: None,
        opened_at: 1,
        frozen_at: None,
        frozen_checkpoint: None,
        net_shares_micro: 0,
        settlement: None,
        settled_at: None,
        statistics: None,
        interval_low: 0.2,
        interval_high: 0.8,
        n_eff: 1.5,
        assessment: None,
        trades: 0,
        evidence: 0,
        version: 0,
        outcome_count: 0,
    }
}

pub(crate) fn evidence(id: &str, content_hash: &str) -> Evidence {
    Evidence {
        id: id.to_owned(),
        market_id: "m1".to_owned(),
        account_id: "ada".to_owned(),
        kind: "transcript".to_owned(),
        title: "title".to_owned(),
        body: "body".to_owned(),
        exhibits: "[]".to_owned(),
        content_hash: content_hash.to_owned(),
        stake_micro: 10,
        fee_micro: 1,
        status: "pending".to_owned(),
        shift: 0.0,
        log_odds_before: None,
        log_odds_after: None,
        locked_micro: 0,
        yes_micro: 0,
        no_micro: 0,
        judgements: "[]".to_owned(),
        replay: None,
        reason: None,
        created_at: 1,
        judged_at: None,
        bond_micro: 0,
        priority_at: 1,
        priority_id: id.to_owned(),
        commitment_id: None,
        attachments: "[]".to_owned(),
        held: false,
        released_at: None,
        struck_at: None,
        oracle_version: None,
    }
}

pub(crate) fn juror(account_id: &str) -> Juror {
    Juror {
        account_id: account_id.to_owned(),
        stake_micro: 100,
        locked_micro: 0,
        gold_cases: 0,
        gold_right: 0,
        seats: 0,
        coherent: 0,
        leaving: false,
        joined_at: 1,
    }
}

pub(crate) fn gold_case(id: &str) -> GoldCase {
    GoldCase {
        id: id.to_owned(),
        snapshot: "{}".to_owned(),
        pi: 1_000_000_000,
        affirms: true,
        market_id: None,
        author_id: None,
        created_at: 1,
        retired: false,
    }
}

/// A panel on market `m1` that takes commitments until 10 and reveals until 15.
pub(crate) fn panel(id: &str) -> Panel {
    Panel {
        id: id.to_owned(),
        subject: "settlement".to_owned(),
        market_id: Some("m1".to_owned()),
        round: Some(1),
        evidence_id: None,
        challenge_id: None,
        case_id: None,
        snapshot: "{}".to_owned(),
        shown_size: 3,
        status: "committing".to_owned(),
        pi: None,
        drawn_at: 1,
        commit_by: 10,
        reveal_by: 15,
        reveal_ms: 5,
        ended_at: None,
        settled_at: None,
        final_pi: None,
        public_seed: "00".to_owned(),
        secret_number: None,
        candidates: "[]".to_owned(),
        listed: false,
    }
}

pub(crate) fn seat(panel_id: &str, account_id: &str, ordinal: i64) -> Seat {
    Seat {
        panel_id: panel_id.to_owned(),
        account_id: account_id.to_owned(),
        ordinal,
        deposit_micro: 20,
        state: "waiting".to_owned(),
        commitment: None,
        committed_at: None,
        vote_bps: None,
        nonce: None,
        justification: None,
        revealed_at: None,
        denounced_by: None,
        verdict: None,
        paid_micro: 0,
        slashed_micro: 0,
    }
}

pub(crate) fn proposal(id: &str) -> Proposal {
    Proposal {
        id: id.to_owned(),
        track: "treasury".to_owned(),
        title: "title".to_owned(),
        body: String::new(),
        author_id: "ada".to_owned(),
        action: "{}".to_owned(),
        subject: None,
        terms: "{}".to_owned(),
        state: "draft".to_owned(),
        machine: "{}".to_owned(),
        due_at: None,
        tally: "{}".to_owned(),
        simulated: "{}".to_owned(),
        outcome: None,
        created_at: 1,
        voting_at: None,
        ended_at: None,
    }
}

pub(crate) fn standing_order(id: &str, until_at: i64) -> StandingOrder {
    StandingOrder {
        id: id.to_owned(),
        run_id: "r1".to_owned(),
        source_kind: "proposal".to_owned(),
        source_id: "p1".to_owned(),
        effect: "{}".to_owned(),
        from_at: 1,
        until_at,
        before_bps: None,
        created_at: 1,
    }
}
