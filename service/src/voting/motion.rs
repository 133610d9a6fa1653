//! A proposal at a step of its life, and what follows from the step.

use plumbline_governance::voting::proposal::{Effect, Event, ProposalError, State, step};
use plumbline_governance::voting::tally::Tally;
use plumbline_governance::voting::tracks::TrackTerms;
use plumbline_store::proposals::{self, Deposit, Proposal};
use plumbline_store::{Tx, accounts};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::ballots::fix_electorate;
use super::{DEPOSITS, TOPIC};
use crate::commands::ProposedAction;
use crate::events::publish;
use crate::ledger::{TREASURY, post};
use crate::policy::timestamp;
use crate::time::Millis;
use crate::{Result, ServiceConfig, ServiceError};

/// Looks at a vote in one voting period, so that it confirms soon after the curve lets it.
const LOOKS: u64 = 200;

/// A proposal inside one transaction.
pub(super) struct Motion {
    pub(super) row: Proposal,
    pub(super) terms: TrackTerms,
    pub(super) state: State,
    pub(super) tally: Tally,
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(ServiceError::internal)
}

pub(super) fn as_json(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(ServiceError::internal)
}

impl From<ProposalError> for ServiceError {
    fn from(error: ProposalError) -> Self {
        Self::refused(error.code(), error.to_string())
    }
}

impl Motion {
    pub(super) fn load(tx: &mut Tx, id: &str) -> Result<Self> {
        Self::of(proposals::get(tx, id)?)
    }

    pub(super) fn of(row: Proposal) -> Result<Self> {
        Ok(Self {
            terms: read(&row.terms)?,
            state: read(&row.machine)?,
            tally: read(&row.tally)?,
            row,
        })
    }

    pub(super) fn action(&self) -> Result<ProposedAction> {
        read(&self.row.action)
    }

    /// Takes a step and does what follows from it, execution aside; whether that is due comes back.
    pub(super) fn step(
        &mut self,
        tx: &mut Tx,
        config: &ServiceConfig,
        event: &Event,
        now: Millis,
    ) -> Result<bool> {
        let (next, effects) = step(&self.state, event, &self.terms, timestamp(now)?)?;
        let moved = next.as_str() != self.state.as_str();
        self.state = next;
        let mut execute = false;
        for effect in effects {
            match effect {
                Effect::FixElectorate => {
                    self.row.voting_at = Some(now);
                    fix_electorate(tx, config, &self.row)?;
                    self.tally = super::ballots::count(tx, config, &self.row.id)?;
                }
                Effect::ReturnDeposits => self.let_deposits_go(tx, "returned", now)?,
                Effect::ForfeitDeposits if config.defences.deposit_forfeit => {
                    self.let_deposits_go(tx, "forfeited", now)?;
                }
                Effect::ForfeitDeposits => self.let_deposits_go(tx, "returned", now)?,
                Effect::Execute => execute = true,
            }
        }
        if moved {
            self.note(tx, "", now)?;
        }
        Ok(execute)
    }

    /// Adds to the record of the proposal's life, and tells those who follow.
    pub(super) fn note(&mut self, tx: &mut Tx, note: &str, now: Millis) -> Result<()> {
        let state = self.state.as_str();
        proposals::add_step(tx, &self.row.id, state, note, now)?;
        let told = json!({"proposal_id": self.row.id, "track": self.row.track, "state": state});
        publish(tx, now, TOPIC, "proposal", &told)
    }

    /// Takes in a payment that has been checked.
    pub(super) fn pay(
        &mut self,
        tx: &mut Tx,
        account: &str,
        amount_micro: i64,
        transfer_id: String,
        now: Millis,
    ) -> Result<()> {
        let paid = proposals::deposits(tx, &self.row.id)?;
        let before = paid.iter().find(|row| row.account_id == account);
        if before.is_none() && paid.len() >= MAX_DEPOSITORS {
            return Err(ServiceError::refused(
                "too-many-depositors",
                "a deposit is paid by fifty accounts at most",
            ));
        }
        let row = Deposit {
            proposal_id: self.row.id.clone(),
            account_id: account.to_owned(),
            amount_micro: before.map_or(0, |row| row.amount_micro) + amount_micro,
            status: "held".to_owned(),
        };
        proposals::put_deposit(tx, &row)?;
        let entries = vec![
            (account.to_owned(), -amount_micro),
            (DEPOSITS.to_owned(), amount_micro),
        ];
        post(
            tx,
            transfer_id,
            now,
            "proposal-deposit",
            &self.row.id,
            entries,
        )
    }

    /// Gives all deposits back, or moves them to the treasury; one transfer, once.
    fn let_deposits_go(&self, tx: &mut Tx, status: &str, now: Millis) -> Result<()> {
        let mut entries = Vec::new();
        for row in proposals::deposits(tx, &self.row.id)? {
            if row.status != "held" {
                continue;
            }
            let to = if status == "returned" {
                row.account_id.clone()
            } else {
                TREASURY.to_owned()
            };
            entries.push((DEPOSITS.to_owned(), -row.amount_micro));
            entries.push((to, row.amount_micro));
            let status = status.to_owned();
            proposals::put_deposit(tx, &Deposit { status, ..row })?;
        }
        let id = format!("{}-deposits", self.row.id);
        post(
            tx,
            id,
            now,
            &format!("deposit-{status}"),
            &self.row.id,
            entries,
        )
    }

    /// Writes the proposal back; the last thing done with it.
    pub(super) fn save(mut self, tx: &mut Tx, now: Millis) -> Result<Proposal> {
        self.row.state = self.state.as_str().to_owned();
        self.row.machine = as_json(&self.state)?;
        self.row.tally = as_json(&self.tally)?;
        self.row.due_at = self.due(now);
        if self.state.is_over() && self.row.ended_at.is_none() {
            self.row.ended_at = Some(now);
        }
        proposals::update(tx, &self.row)?;
        Ok(self.row)
    }

    fn due(&self, now: Millis) -> Option<Millis> {
        let deadline = self.state.deadline()?.as_millisecond();
        // An execution that failed is tried again later.
        let deadline = match self.state {
            State::Queued { .. } if self.row.outcome.is_some() => deadline.max(now + RETRY_MS),
            _ => deadline,
        };
        let State::Voting(_) = self.state else {
            return Some(deadline);
        };
        let pause = (self.terms.voting_s.saturating_mul(1_000) / LOOKS).max(1_000);
        let next = now.saturating_add(i64::try_from(pause).unwrap_or(i64::MAX));
        Some(deadline.min(next))
    }
}

/// Accounts that pay for one proposal, at most.
const MAX_DEPOSITORS: usize = 50;
/// Between two attempts at an execution that failed.
const RETRY_MS: Millis = 60_000;

/// The person of that handle; accounts without a password belong to the service.
pub(super) fn person(tx: &mut Tx, handle: &str) -> Result<accounts::Account> {
    accounts::by_handle(tx, handle)?
        .filter(|account| account.password_hash.is_some())
        .ok_or_else(|| ServiceError::not_found("account", handle))
}
