//! What must hold after every death, and at the end.

use std::collections::{BTreeMap, BTreeSet};

use plumbline_audit::record::Export;
use plumbline_store::{
    StoreError, Tx, accounts, claims, commitments, evidence, exhibit_challenges, jobs, ledger,
    markets, orders, outcome_trades, panels, trades,
};

use crate::SimulationError;
use crate::play::{Play, Told};

/// Statuses of markets that are not over.
const LIVING: [&str; 7] = [
    "open",
    "closing",
    "frozen",
    "auditing",
    "settling",
    "challenged",
    "final",
];

fn trade_of(tx: &mut Tx<'_>, id: &str) -> Result<(), StoreError> {
    match trades::seq_of(tx, id) {
        // Markets of several outcomes keep theirs by themselves.
        Err(StoreError::NotFound { .. }) => outcome_trades::seq_of(tx, id).map(|_| ()),
        found => found.map(|_| ()),
    }
}

fn claims_of(tx: &mut Tx<'_>, market: &str, count: usize) -> Result<(), StoreError> {
    if claims::list(tx, market)?.len() >= count {
        return Ok(());
    }
    Err(missing("claim", market))
}

fn vote_of(tx: &mut Tx<'_>, panel: &str, account: &str) -> Result<(), StoreError> {
    let seats = panels::seats(tx, panel)?;
    let voted = |seat: &panels::Seat| seat.account_id == account && seat.commitment.is_some();
    if seats.iter().any(voted) {
        return Ok(());
    }
    Err(missing("vote", panel))
}

fn missing(what: &'static str, id: &str) -> StoreError {
    StoreError::NotFound {
        what,
        id: id.to_owned(),
    }
}

/// What the end of a seed leaves.
pub(crate) struct Audited {
    pub(crate) text: Vec<u8>,
    pub(crate) checked: BTreeMap<&'static str, u64>,
    pub(crate) profits: BTreeMap<&'static str, Vec<i64>>,
}

impl Play {
    /// After a death: whatever somebody was told is there, and the ledger is sound.
    pub(crate) fn look_for_what_was_told(&mut self) -> Result<(), SimulationError> {
        let told = std::mem::take(&mut self.told);
        let looked = self.world.store()?.read::<_, StoreError, _>(|tx| {
            let mut lost = Vec::new();
            for one in told {
                let found = match &one {
                    Told::Account(id) => accounts::get(tx, id).map(|_| ()),
                    Told::Market(id) => markets::get(tx, id).map(|_| ()),
                    Told::Trade(id) => trade_of(tx, id),
                    Told::Evidence(id) => evidence::get(tx, id).map(|_| ()),
                    Told::Order(id) => orders::get(tx, id).map(|_| ()),
                    Told::Commitment(id) => commitments::get(tx, id).map(|_| ()),
                    Told::Dispute(id) => exhibit_challenges::get(tx, id).map(|_| ()),
                    Told::Claims(market, count) => claims_of(tx, market, *count),
                    Told::Vote(panel, account) => vote_of(tx, panel, account),
                };
                match found {
                    Err(StoreError::NotFound { .. }) => lost.push(one),
                    other => other?,
                }
            }
            Ok((lost, ledger::sum(tx)?))
        });
        match looked {
            Ok((lost, sum)) => {
                for one in lost {
                    self.found(format!("a death lost what was acknowledged: {one:?}"));
                }
                if sum != 0 {
                    self.found(format!("after a death the ledger sums to {sum}"));
                }
            }
            Err(error) => self.found(format!("what a death left cannot be read: {error}")),
        }
        Ok(())
    }

    /// What is not over yet: markets that are neither paid nor void, and jobs.
    pub(crate) fn what_goes_on(&mut self) -> Result<Vec<String>, SimulationError> {
        let open = self.world.store()?.read::<_, StoreError, _>(|tx| {
            let mut open = Vec::new();
            for status in LIVING {
                for market in markets::in_status(tx, status)? {
                    open.push(format!("market {} is {status}", market.id));
                }
            }
            for status in ["queued", "running"] {
                for job in jobs::list(tx, Some(status), 10)? {
                    let error = job.last_error.unwrap_or_default();
                    open.push(format!("job {} is {status}: {error}", job.key));
                }
            }
            Ok(open)
        });
        match open {
            Ok(open) => Ok(open),
            Err(error) => {
                self.found(format!("the end cannot be seen: {error}"));
                Ok(Vec::new())
            }
        }
    }

    /// The last word: the auditor on a real export, and what only the simulation knows.
    pub(crate) fn audit(&mut self) -> Result<Audited, SimulationError> {
        let mut text = Vec::new();
        self.world
            .service()?
            .export_books(&mut text)
            .map_err(|error| SimulationError::service("exported", error))?;
        let mut audited = Audited {
            text,
            checked: BTreeMap::new(),
            profits: BTreeMap::new(),
        };
        let export = match plumbline_audit::read(audited.text.as_slice()) {
            Ok(export) => export,
            Err(error) => {
                self.found(format!("the export cannot be read: {error}"));
                return Ok(audited);
            }
        };
        let report = plumbline_audit::check(&export);
        for violation in &report.violations {
            self.found(format!("auditor: {}: {}", violation.place, violation.what));
        }
        audited.checked = report.checked;
        audited.profits = self.profits(&export);
        self.compare_trades(&export);
        self.look_for_failed_jobs()?;
        Ok(audited)
    }

    /// Every trade that somebody was told of is there once, and no other but those of clients who
    /// gave up.
    fn compare_trades(&mut self, export: &Export) {
        // Runs of resting orders happen in the requests of others; nobody is told of them.
        let runs: BTreeSet<&str> = export
            .order_fills
            .iter()
            .map(|fill| fill.trade_id.as_str())
            .collect();
        let asked: BTreeSet<&str> = export
            .trades
            .iter()
            .filter(|trade| trade.cause == "trade" && !runs.contains(trade.id.as_str()))
            .map(|trade| trade.id.as_str())
            .chain(export.outcome_trades.iter().map(|trade| trade.id.as_str()))
            .collect();
        let lost = self
            .trades
            .iter()
            .filter(|id| !asked.contains(id.as_str()))
            .count();
        let others = asked.len() - (self.trades.len() - lost);
        if lost > 0 {
            self.found(format!("{lost} acknowledged trades are missing in the end"));
        }
        if others as u64 > self.abandoned {
            self.found(format!(
                "{others} trades were booked that nobody was told of; {} were given up",
                self.abandoned
            ));
        }
    }

    fn look_for_failed_jobs(&mut self) -> Result<(), SimulationError> {
        let failed = self
            .world
            .store()?
            .read::<_, StoreError, _>(|tx| jobs::list(tx, Some("failed"), 10));
        match failed {
            Ok(failed) => {
                for job in failed {
                    let why = job.last_error.unwrap_or_default();
                    self.found(format!("job {} failed for good: {why}", job.key));
                }
            }
            Err(error) => self.found(format!("the jobs cannot be read: {error}")),
        }
        Ok(())
    }

    /// What everybody made: the balance at the end, with what is staked as a juror, less the grant at
    /// the start.
    fn profits(&self, export: &Export) -> BTreeMap<&'static str, Vec<i64>> {
        let mut granted: BTreeMap<&str, i64> = BTreeMap::new();
        let grants: BTreeSet<i64> = export
            .transfers
            .iter()
            .filter(|transfer| transfer.kind == "grant")
            .map(|transfer| transfer.seq)
            .collect();
        for entry in &export.entries {
            if grants.contains(&entry.transfer_seq) {
                *granted.entry(&entry.account_id).or_default() += entry.amount_micro;
            }
        }
        let balances: BTreeMap<&str, i64> = export
            .accounts
            .iter()
            .map(|account| (account.id.as_str(), account.balance_micro))
            .collect();
        let stakes: BTreeMap<&str, i64> = export
            .jurors
            .iter()
            .map(|juror| (juror.account_id.as_str(), juror.stake_micro))
            .collect();
        let mut profits: BTreeMap<&'static str, Vec<i64>> = BTreeMap::new();
        for actor in &self.actors {
            let of =
                |amounts: &BTreeMap<&str, i64>| amounts.get(actor.account()).copied().unwrap_or(0);
            let made = of(&balances) + of(&stakes) - of(&granted);
            profits.entry(actor.kind.as_str()).or_default().push(made);
        }
        profits
    }
}
