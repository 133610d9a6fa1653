//! Deadlines of panels: found by an index on every tick, so that a restart forgets none.

use plumbline_market::panel::{Event, SeatState, step};
use plumbline_store::markets;
use plumbline_store::{Tx, panels};
use serde_json::{Value, json};

use super::convene::takes_part;
use super::rows::Rows;
use super::{PanelOutcome, TOPIC, dispatch, panel_error, time};
use crate::events::publish;
use crate::time::Millis;
use crate::{Result, Service, ServiceConfig};

/// Panels moved on in one tick, of each phase.
const PER_TICK: i64 = 100;

impl Service {
    /// Moves every panel on whose deadline has passed. Called on every tick.
    pub(crate) fn advance_panels(&self) -> Result<()> {
        self.keep_draw_secrets()?;
        let now = self.now();
        let due = self.read(|tx| Ok(panels::due(tx, now, PER_TICK)?))?;
        for id in due {
            let config = self.config.clone();
            let panel = id.clone();
            if let Err(error) = self.write_at(move |tx, now| advance(tx, &config, &panel, now)) {
                // One panel that cannot go on must not hold up the others.
                tracing::warn!(panel = %id, %error, "cannot move the panel on");
            }
        }
        Ok(())
    }
}

fn advance(tx: &mut Tx, config: &ServiceConfig, id: &str, now: Millis) -> Result<()> {
    let mut rows = Rows::load(tx, id)?;
    let mut machine = rows.machine()?;
    if machine.is_over() {
        return Ok(());
    }
    for account in conflicted(tx, config, &rows)? {
        // At the time of the draw: the deadline itself is taken after.
        let event = Event::Conflict { account };
        machine = step(&machine, &event, time(rows.panel.drawn_at)).map_err(panel_error)?;
    }
    let next = step(&machine, &Event::Tick, time(now)).map_err(panel_error)?;
    rows.store(tx, &next, now)?;
    match next.ruling() {
        Some(ruling) => {
            let outcome = PanelOutcome::from(ruling);
            publish(tx, now, TOPIC, "panel-ended", &ended(&rows))?;
            dispatch::ruled(tx, config, &mut rows, outcome, now)
        }
        None => publish(tx, now, TOPIC, "panel-revealing", &json!({})),
    }
}

/// A known case stays its juror's private matter, so that it can be given to others.
fn ended(rows: &Rows) -> Value {
    let panel = &rows.panel;
    if rows.is_gold() {
        return json!({});
    }
    json!({
        "panel_id": panel.id,
        "status": panel.status,
        "pi": panel.pi.map(|pi| pi as f64 / 1e9),
        "market_id": panel.market_id,
        "evidence_id": panel.evidence_id,
    })
}

/// Jurors with a seat to lose who have taken a side in the case since the draw.
pub(super) fn conflicted(tx: &mut Tx, config: &ServiceConfig, rows: &Rows) -> Result<Vec<String>> {
    let Some(market_id) = rows.panel.market_id.as_deref() else {
        return Ok(Vec::new());
    };
    if !config.defences.conflict_bar {
        return Ok(Vec::new());
    }
    let market = markets::get(tx, market_id)?;
    let mut found = Vec::new();
    for seat in rows.machine()?.seats {
        let lost = matches!(seat.state, SeatState::Denounced(_) | SeatState::Conflicted);
        if !lost && takes_part(tx, &market, &seat.account)? {
            found.push(seat.account);
        }
    }
    Ok(found)
}
