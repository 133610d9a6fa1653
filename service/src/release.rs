//! What a market still holds for people besides their positions, and gives back once it is
//! final or void: fees, bonds and reserved cash, each by a step of its own.

use plumbline_market::life::Status;
use plumbline_store::Tx;
use plumbline_store::markets::{self, Market};

use crate::evidence::release_evidence;
use crate::markets::life_of;
use crate::time::Millis;
use crate::{Result, Service, ServiceConfig, fees, orders, panels};

/// Whether a step has more to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing is left to give back.
    Done,
    /// One chunk was given back; call again.
    More,
}

/// Gives back one chunk in at most one transfer, named `transfer_id`. Repeating a step after a
/// crash, from any row, pays nobody twice.
pub(crate) type Step = fn(&mut Tx, &Market, transfer_id: &str, Millis) -> Result<Progress>;

/// Every step, in order.
const STEPS: [Step; 4] = [
    orders::release,
    fees::release,
    crate::settlement::release_bonds,
    release_evidence,
];

impl Service {
    /// The job: takes every step of a market that is final, paid or void.
    pub(crate) fn release_market(&self, market_id: &str) -> Result<()> {
        loop {
            let (id, transfer_id) = (market_id.to_owned(), self.new_id());
            let config = self.config.clone();
            let progress =
                self.write_at(move |tx, now| release_chunk(tx, &config, &id, &transfer_id, now))?;
            if progress == Progress::Done {
                return Ok(());
            }
        }
    }
}

fn release_chunk(
    tx: &mut Tx,
    config: &ServiceConfig,
    market_id: &str,
    transfer_id: &str,
    now: Millis,
) -> Result<Progress> {
    let market = markets::get(tx, market_id)?;
    let over = matches!(
        life_of(&market)?.status,
        Status::Final | Status::Paid | Status::Void
    );
    if over {
        // Not one of the steps, as it depends on the prices of jury duty.
        panels::release(tx, config, &market, now)?;
        for (number, step) in STEPS.iter().enumerate() {
            // A step may be done and have posted a transfer all the same: each has a name of its own.
            let transfer_id = format!("{transfer_id}-{number}");
            if step(tx, &market, &transfer_id, now)? == Progress::More {
                return Ok(Progress::More);
            }
        }
    }
    Ok(Progress::Done)
}
