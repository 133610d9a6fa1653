//! What becomes of the bonds once a market is final or void.

use plumbline_market::bonds::{Claim as Bonded, distribute};
use plumbline_market::life::Life;
use plumbline_market::money::Micro;
use plumbline_market::probability::Pi;
use plumbline_store::Tx;
use plumbline_store::claims::{self, Claim};
use plumbline_store::markets::Market;

use super::matter::{Matter, bonds_account};
use crate::ledger::{TREASURY, post};
use crate::release::Progress;
use crate::time::Millis;
use crate::{Result, ServiceError};

/// Gives all bonds of a case out in one transfer: by [`distribute`] when the market is final,
/// back to whoever put them up when it is void. Doing it again does nothing.
pub(crate) fn release_bonds(
    tx: &mut Tx,
    market: &Market,
    transfer_id: &str,
    now: Millis,
) -> Result<Progress> {
    let matter = Matter::load(tx, &market.id)?;
    let held: Vec<&Claim> = matter
        .record
        .iter()
        .filter(|claim| claim.bond_micro > 0)
        .collect();
    if held.iter().all(|claim| claim.paid_micro.is_some()) {
        return Ok(Progress::Done);
    }
    let burn_bps = matter.terms()?.map_or(0, |terms| terms.burn_bps);
    let (paid, burnt) = match final_pi(&matter.life) {
        Some(pi) => given_out(&matter.record, pi, burn_bps)?,
        None => (
            matter.record.iter().map(|claim| claim.bond_micro).collect(),
            0,
        ),
    };
    let total: i64 = held.iter().map(|claim| claim.bond_micro).sum();
    let mut entries = vec![
        (bonds_account(&market.id), -total),
        (TREASURY.to_owned(), burnt),
    ];
    for (claim, amount) in matter.record.iter().zip(&paid) {
        let Some(account) = claim.account_id.as_ref().filter(|_| claim.bond_micro > 0) else {
            continue;
        };
        claims::mark_paid(tx, &market.id, claim.round, *amount)?;
        entries.push((account.clone(), *amount));
    }
    let sum: i64 = entries.iter().map(|(_, amount)| amount).sum();
    if sum != 0 {
        return Err(ServiceError::internal(format!(
            "bonds of market {} leave {sum} micro-credits over",
            market.id
        )));
    }
    post(
        tx,
        transfer_id.to_owned(),
        now,
        "bond-release",
        &market.id,
        entries,
    )?;
    Ok(Progress::More)
}

fn final_pi(life: &Life) -> Option<Pi> {
    life.settlement()
}

/// What each claim gets, and what the treasury does.
fn given_out(record: &[Claim], pi: Pi, burn_bps: u16) -> Result<(Vec<i64>, i64)> {
    let bonded = |claim: &Claim| {
        let billionths = claim.pi_billionths.unwrap_or(0);
        Ok(Bonded {
            pi: Pi::new(billionths as f64 / f64::from(Pi::SCALE))
                .map_err(ServiceError::internal)?,
            bond: Micro(claim.bond_micro),
            disputes: claim.disputes.and_then(|round| usize::try_from(round).ok()),
        })
    };
    let rows = record.iter().map(bonded).collect::<Result<Vec<_>>>()?;
    let plan = distribute(&rows, pi, burn_bps).map_err(ServiceError::internal)?;
    let paid = plan.claims.iter().map(|(_, amount)| amount.get()).collect();
    Ok((paid, plan.burnt.get()))
}
