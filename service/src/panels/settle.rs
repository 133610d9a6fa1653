//! Paying and slashing jurors once their case is final.

use plumbline_market::panel::{Bill, Event, Line, Verdict, settle, step};
use plumbline_market::probability::Pi;
use plumbline_store::Tx;
use plumbline_store::jurors::{self, Juror};
use plumbline_store::markets::Market;
use plumbline_store::panels::{self, Panel as PanelRow, Seat as SeatRow};
use serde_json::json;

use super::dispatch::subject_of;
use super::gold::keep_case;
use super::rows::Rows;
use super::{JURY, Subject, TOPIC, panel_error, terms, time};
use crate::events::publish;
use crate::ledger::{TREASURY, post};
use crate::markets::life_of;
use crate::time::Millis;
use crate::{Result, ServiceConfig, ServiceError};

/// Settles every panel of a case whose settlement is final, or `None` where it was called off:
/// all rounds of a market's settlement, or the panels of one challenge of an exhibit. Those
/// that still run are withdrawn. Repeating it changes nothing.
pub(crate) fn settle_jurors(
    tx: &mut Tx,
    config: &ServiceConfig,
    subject: &Subject,
    final_pi: Option<Pi>,
    now: Millis,
) -> Result<()> {
    let market_id = match subject {
        Subject::Settlement { market_id, .. } => market_id.clone(),
        Subject::Exhibit { evidence_id, .. } => {
            plumbline_store::evidence::get(tx, evidence_id)?.market_id
        }
        // Settled by its own end.
        Subject::Gold { .. } => return Ok(()),
    };
    for panel in panels::unsettled(tx, &market_id)? {
        let mut rows = Rows::of(tx, panel)?;
        let same = match (subject, subject_of(&rows)?) {
            (Subject::Settlement { .. }, Subject::Settlement { .. }) => true,
            (wanted, found) => *wanted == found,
        };
        if same {
            settle_panel(tx, config, &mut rows, final_pi, now)?;
        }
    }
    Ok(())
}

/// The step of a market that is over: pays the jurors of its settlement, gives the deposits of
/// exhibits' panels back that nobody settled, and keeps a tested market as a known case.
pub(crate) fn release(
    tx: &mut Tx,
    config: &ServiceConfig,
    market: &Market,
    now: Millis,
) -> Result<()> {
    let settlement = life_of(market)?.settlement();
    let case = Subject::Settlement {
        market_id: market.id.clone(),
        round: 0,
    };
    settle_jurors(tx, config, &case, settlement, now)?;
    for panel in panels::unsettled(tx, &market.id)? {
        let mut rows = Rows::of(tx, panel)?;
        settle_panel(tx, config, &mut rows, None, now)?;
    }
    keep_case(tx, market, now)
}

/// Settles one panel, in one transfer that carries its name: a second one would be refused.
pub(super) fn settle_panel(
    tx: &mut Tx,
    config: &ServiceConfig,
    rows: &mut Rows,
    final_pi: Option<Pi>,
    now: Millis,
) -> Result<()> {
    if rows.panel.settled_at.is_some() {
        return Ok(());
    }
    let mut machine = rows.machine()?;
    if !machine.is_over() {
        // At the time of the draw, so that a deadline that nobody has taken yet stays untaken.
        machine =
            step(&machine, &Event::Withdraw, time(rows.panel.drawn_at)).map_err(panel_error)?;
        rows.store(tx, &machine, now)?;
    }
    let deposit = rows.seats.first().map_or(0, |seat| seat.deposit_micro);
    let prices = terms(config, deposit, rows.is_gold());
    let bill = settle(&machine, final_pi, &prices).map_err(panel_error)?;
    let mut entries = entries_of(&bill);
    for line in &bill.lines {
        let left = book_line(tx, rows, line)?;
        entries.extend([(JURY.to_owned(), -left), (line.account.clone(), left)]);
    }
    let name = format!("jury-{}", rows.panel.id);
    post(tx, name, now, "jury", &rows.panel.id, entries)?;
    let row = PanelRow {
        settled_at: Some(now),
        final_pi: final_pi.map(|pi| i64::from(pi.billionths())),
        ..rows.panel.clone()
    };
    panels::update(tx, &row)?;
    rows.panel = row;
    publish(tx, now, TOPIC, "jurors-paid", &json!({}))
}

/// Slashes leave the jury's account; what is not shared and what the fees cost is the treasury's.
fn entries_of(bill: &Bill) -> Vec<(String, i64)> {
    let mut entries = vec![(TREASURY.to_owned(), bill.burnt.get())];
    for line in &bill.lines {
        entries.extend([
            (JURY.to_owned(), -line.slashed.get()),
            (line.account.clone(), line.fee.get() + line.share.get()),
            (TREASURY.to_owned(), -line.fee.get()),
        ]);
    }
    entries
}

/// Unlocks one seat, and books what became of it. What a leaving juror gets back comes back.
fn book_line(tx: &mut Tx, rows: &mut Rows, line: &Line) -> Result<i64> {
    let gold = rows.is_gold();
    let seat = rows.seat_mut(&line.account)?;
    // A denounced seat has lost its deposit before.
    let unlocked = if line.verdict == Verdict::Denounced {
        0
    } else {
        seat.deposit_micro
    };
    let row = SeatRow {
        verdict: Some(line.verdict.as_str().to_owned()),
        paid_micro: line.fee.get() + line.share.get(),
        slashed_micro: seat.slashed_micro + line.slashed.get(),
        ..seat.clone()
    };
    panels::update_seat(tx, &row)?;
    *seat = row;
    let juror = jurors::get(tx, &line.account)?
        .ok_or_else(|| ServiceError::internal("a seat without a juror"))?;
    let juror = scored(juror, line.verdict, gold);
    let juror = Juror {
        locked_micro: juror.locked_micro - unlocked,
        stake_micro: juror.stake_micro - line.slashed.get(),
        ..juror
    };
    let (juror, left) = paid_out(juror);
    jurors::update(tx, &juror)?;
    Ok(left)
}

fn scored(juror: Juror, verdict: Verdict, gold: bool) -> Juror {
    let right = i64::from(verdict == Verdict::Coherent);
    match (gold, verdict) {
        (_, Verdict::Unjudged) => juror,
        (true, _) => Juror {
            gold_cases: juror.gold_cases + 1,
            gold_right: juror.gold_right + right,
            ..juror
        },
        (false, _) => Juror {
            seats: juror.seats + 1,
            coherent: juror.coherent + right,
            ..juror
        },
    }
}

/// Takes out of a leaving juror's stake what no seat locks.
pub(super) fn paid_out(juror: Juror) -> (Juror, i64) {
    let free = juror.stake_micro - juror.locked_micro;
    if !juror.leaving || free <= 0 {
        return (juror, 0);
    }
    let left = Juror {
        stake_micro: juror.locked_micro,
        ..juror
    };
    (left, free)
}
