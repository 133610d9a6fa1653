//! What inference costs, and who pays it.
//!
//! Before a request is answered, as much as it may cost is set aside from the
//! caller's account. When its last text has ended, what was used goes to the
//! revenue and the rest back, in one transaction with the count of tokens. That
//! transaction is written by a thread of its own, so that nobody's tokens wait
//! for a disk. What a dead process had set aside goes back at the next start:
//! nobody is charged for what was not counted.

use std::ops::ControlFlow;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use plumbline_governance::policy::InferenceSettings;
use plumbline_store::accounts::AccountKind;
use plumbline_store::inference::{self, Reservation, Usage};
use plumbline_store::{Tx, accounts};

use crate::error::if_found;
use crate::host::{Ask, TextEvent, TextSink};
use crate::ledger::{ensure_account, post, system_account};
use crate::time::Millis;
use crate::{Inner, Result, Service, ServiceError};

/// Holds what is set aside for requests that are being answered.
pub(crate) const INFERENCE: &str = "inference";
/// Holds what inference earned until a period is closed.
pub(crate) const REVENUE: &str = "revenue";
/// Usage is added up by days, UTC.
pub(crate) const DAY: Millis = 86_400_000;
/// Reservations that are given back in one transaction at the start.
const RELEASE_CHUNK: i64 = 500;
/// Bills that are written in one transaction.
const BILLS_AT_ONCE: usize = 256;

/// Makes the accounts that inference is paid from and into.
pub(crate) fn ensure_accounts(tx: &mut Tx, now: Millis) -> Result<()> {
    for id in [INFERENCE, REVENUE] {
        let account = accounts::Account {
            handle: format!("system:{id}"),
            ..system_account(id, AccountKind::Escrow, now)
        };
        ensure_account(tx, &account)?;
    }
    Ok(())
}

/// Gives back what a process set aside that is no more: nothing of it was counted.
pub(crate) fn release_leftovers(tx: &mut Tx, now: Millis) -> Result<()> {
    loop {
        let left = inference::reservations(tx, RELEASE_CHUNK)?;
        for reservation in &left {
            settle(tx, reservation, 0, now)?;
        }
        if (left.len() as i64) < RELEASE_CHUNK {
            return Ok(());
        }
    }
}

/// Prices of 1,000 tokens, micro-credits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Price {
    prompt: u64,
    completion: u64,
}

impl Price {
    pub(crate) fn of(settings: Option<&InferenceSettings>) -> Self {
        settings.map_or_else(Self::default, |settings| Self {
            prompt: settings.prompt_price_micro,
            completion: settings.completion_price_micro,
        })
    }

    /// Micro-credits, rounded up.
    fn cost(self, prompt_tokens: u64, completion_tokens: u64) -> i64 {
        let prompts = u128::from(self.prompt) * u128::from(prompt_tokens);
        let completions = u128::from(self.completion) * u128::from(completion_tokens);
        let thousandths = prompts.saturating_add(completions);
        i64::try_from(thousandths.div_ceil(1_000)).unwrap_or(i64::MAX)
    }

    /// The most that texts may cost: a token has at least one byte.
    fn bound(self, asks: &[Ask]) -> i64 {
        let prompts = asks.iter().map(|ask| ask.prompt.len().max(1) as u64).sum();
        let completions = asks.iter().map(|ask| ask.sampling.max_tokens as u64).sum();
        self.cost(prompts, completions)
    }
}

/// Tokens of one request.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    texts: u64,
    prompt_tokens: u64,
    completion_tokens: u64,
}

/// A request whose texts have ended.
struct Bill {
    reservation: Reservation,
    price: Price,
    counts: Counts,
}

/// Counts one request's tokens; the bill goes out with the last that holds it.
pub(crate) struct Meter {
    reservation: Reservation,
    price: Price,
    counts: Mutex<Counts>,
    bills: Sender<Bill>,
}

impl Drop for Meter {
    fn drop(&mut self) {
        let bill = Bill {
            reservation: self.reservation.clone(),
            price: self.price,
            counts: *self.counts.lock().unwrap_or_else(PoisonError::into_inner),
        };
        // The service may be gone; then the next start gives back what is set aside.
        let _ = self.bills.send(bill);
    }
}

/// A sink that counts what `sink` hears. It holds the meter as long as texts are under way.
pub(crate) fn counted(sink: &TextSink, meter: Meter) -> TextSink {
    let sink = Arc::clone(sink);
    Arc::new(move |number, event| -> ControlFlow<()> {
        if let TextEvent::Finished(end) = &event {
            let mut counts = meter.counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.texts += 1;
            counts.prompt_tokens += end.prompt_tokens;
            counts.completion_tokens += end.completion_tokens;
        }
        sink(number, event)
    })
}

/// The thread that writes bills; started with the first.
#[derive(Default)]
pub(crate) struct Clerk(Mutex<Option<Sender<Bill>>>);

impl Clerk {
    fn bills(&self, service: &Arc<Inner>) -> Result<Sender<Bill>> {
        let mut sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = sender.as_ref() {
            return Ok(sender.clone());
        }
        let (bills, received) = channel();
        let service = Arc::downgrade(service);
        std::thread::Builder::new()
            .name("metering".to_owned())
            .spawn(move || write_bills(&service, &received))
            .map_err(ServiceError::internal)?;
        *sender = Some(bills.clone());
        Ok(bills)
    }
}

/// Writes what has come in, many bills in one transaction, until the service is gone.
fn write_bills(service: &Weak<Inner>, received: &Receiver<Bill>) {
    while let Ok(first) = received.recv() {
        let mut bills = vec![first];
        bills.extend(received.try_iter().take(BILLS_AT_ONCE - 1));
        let Some(service) = service.upgrade() else {
            return;
        };
        for bill in bills {
            // One bill that cannot be written must not keep the others from being: the writer batches them.
            let written = service.write_at(move |tx, now| book(tx, &bill, now));
            if let Err(error) = written {
                tracing::error!(%error, "tokens were not booked; what is set aside goes back at the next start");
            }
        }
    }
}

fn book(tx: &mut Tx, bill: &Bill, now: Millis) -> Result<()> {
    let Bill {
        reservation,
        counts,
        ..
    } = bill;
    let cost = bill
        .price
        .cost(counts.prompt_tokens, counts.completion_tokens)
        .min(reservation.reserved_micro);
    if reservation.reserved_micro > 0 {
        settle(tx, reservation, cost, now)?;
    }
    if counts.texts == 0 {
        return Ok(());
    }
    let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let usage = Usage {
        account_id: reservation.account_id.clone(),
        period: now - now.rem_euclid(DAY),
        run_id: reservation.run_id.clone(),
        texts: whole(counts.texts),
        prompt_tokens: whole(counts.prompt_tokens),
        completion_tokens: whole(counts.completion_tokens),
        charged_micro: cost,
    };
    Ok(inference::add_usage(tx, &usage)?)
}

/// `cost` of what was set aside is revenue, the rest goes back. Happens once: the reservation is forgotten with it.
fn settle(tx: &mut Tx, reservation: &Reservation, cost: i64, now: Millis) -> Result<()> {
    inference::release(tx, &reservation.id)?;
    let entries = vec![
        (INFERENCE.to_owned(), -reservation.reserved_micro),
        (
            reservation.account_id.clone(),
            reservation.reserved_micro - cost,
        ),
        (REVENUE.to_owned(), cost),
    ];
    let transfer_id = format!("{}-settle", reservation.id);
    post(
        tx,
        transfer_id,
        now,
        "inference-settle",
        &reservation.id,
        entries,
    )
}

impl Service {
    /// Sets aside what the texts may cost at the price in force, and counts them from here on.
    ///
    /// # Errors
    /// `insufficient-funds`.
    pub(crate) fn meter(&self, account_id: &str, run_id: &str, asks: &[Ask]) -> Result<Meter> {
        let policy = self.active_policy()?;
        let price = Price::of(policy.document().inference.as_ref());
        let (id, account_id) = (self.new_id(), account_id.to_owned());
        let (run_id, reserved_micro) = (run_id.to_owned(), price.bound(asks));
        let bills = self.clerk.bills(&self.inner)?;
        let wanted = move |created_at| Reservation {
            id,
            account_id,
            run_id,
            reserved_micro,
            created_at,
        };
        let reservation = match reserved_micro {
            // Nothing is written, so it waits for no turn.
            0 => wanted(self.now()),
            _ => self.write_at(move |tx, now| set_aside(tx, wanted(now)))?,
        };
        Ok(Meter {
            reservation,
            price,
            counts: Mutex::default(),
            bills,
        })
    }
}

fn set_aside(tx: &mut Tx, reservation: Reservation) -> Result<Reservation> {
    let account = if_found(accounts::get(tx, &reservation.account_id))?;
    let balance = account.map_or(0, |account| account.balance_micro);
    if balance < reservation.reserved_micro {
        return Err(ServiceError::refused(
            "insufficient-funds",
            format!(
                "the request may cost {} micro-credits, the account has {balance}; ask for fewer tokens",
                reservation.reserved_micro
            ),
        ));
    }
    inference::reserve(tx, &reservation)?;
    let entries = vec![
        (reservation.account_id.clone(), -reservation.reserved_micro),
        (INFERENCE.to_owned(), reservation.reserved_micro),
    ];
    let transfer_id = format!("{}-reserve", reservation.id);
    post(
        tx,
        transfer_id,
        reservation.created_at,
        "inference-reserve",
        &reservation.id,
        entries,
    )?;
    Ok(reservation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_rounded_up_and_never_overflow() {
        let price = Price {
            prompt: 10,
            completion: 250,
        };
        assert_eq!(price.cost(0, 0), 0);
        assert_eq!(price.cost(1, 0), 1);
        assert_eq!(price.cost(100, 4), 2);
        assert_eq!(price.cost(100, 5), 3);
        let dear = Price {
            prompt: u64::MAX,
            completion: u64::MAX,
        };
        assert_eq!(dear.cost(u64::MAX, u64::MAX), i64::MAX);
        assert_eq!(Price::default().cost(5, 5), 0);
    }
}
