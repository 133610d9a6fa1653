//! Reading evidence.

use plumbline_access::Action;
use plumbline_market::probability::sigmoid;
use plumbline_store::evidence::{self, Evidence};
use plumbline_store::{accounts, markets};
use serde_json::Value;

use crate::context::Context;
use crate::time::rfc3339;
use crate::views::{EvidenceView, Page};
use crate::{Result, Service, ServiceError, page};

impl Service {
    /// A market's evidence, oldest first.
    pub fn evidence_list(
        &self,
        ctx: &Context,
        market_id: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<EvidenceView>> {
        self.allow(&ctx.actor, Action::ListEvidence)?;
        let (market_id, after, limit) = (
            market_id.to_owned(),
            cursor.map(str::to_owned),
            page::bounded(limit),
        );
        self.read(move |tx| {
            let market = markets::get(tx, &market_id)?;
            let rows = evidence::list(tx, &market_id, after.as_deref(), (limit + 1) as i64)?;
            let page = page::cut(rows, limit, |row| row.id.clone(), |row| row);
            let mut items = Vec::with_capacity(page.items.len());
            for row in page.items {
                let handle = accounts::get(tx, &row.account_id)?.handle;
                items.push(view_of(row, handle, market.settlement)?);
            }
            Ok(Page {
                items,
                next_cursor: page.next_cursor,
            })
        })
    }

    /// One submission.
    pub fn evidence(&self, ctx: &Context, id: &str) -> Result<EvidenceView> {
        self.allow(&ctx.actor, Action::ReadEvidence)?;
        let id = id.to_owned();
        self.read(move |tx| {
            let row = evidence::get(tx, &id)?;
            let settlement = markets::get(tx, &row.market_id)?.settlement;
            let handle = accounts::get(tx, &row.account_id)?.handle;
            view_of(row, handle, settlement)
        })
    }
}

pub(super) fn view_of(
    row: Evidence,
    handle: String,
    settlement: Option<f64>,
) -> Result<EvidenceView> {
    let read = |text: &str| serde_json::from_str::<Value>(text).map_err(ServiceError::internal);
    // What moved the price is settled, even where the exhibit was struck since.
    let judged = matches!(row.status.as_str(), "judged" | "struck");
    let in_bonds = matches!(row.status.as_str(), "pending" | "judged") && row.released_at.is_none();
    let held_bond = if in_bonds { row.bond_micro } else { 0 };
    let payoff = |pi: f64| {
        let value = row.yes_micro as f64 * pi + row.no_micro as f64 * (1.0 - pi);
        value.floor() as i64 - row.locked_micro
    };
    Ok(EvidenceView {
        exhibits: serde_json::from_str(&row.exhibits).map_err(ServiceError::internal)?,
        attachments: serde_json::from_str(&row.attachments).map_err(ServiceError::internal)?,
        judgements: serde_json::from_str(&row.judgements).map_err(ServiceError::internal)?,
        replay: row.replay.as_deref().map(read).transpose()?,
        payoff_micro: settlement.filter(|_| judged).map(payoff),
        oracle_version: row.oracle_version,
        id: row.id,
        market_id: row.market_id,
        account: handle,
        kind: row.kind,
        title: row.title,
        body: row.body,
        content_hash: row.content_hash,
        status: row.status,
        reason: row.reason,
        stake_micro: row.stake_micro,
        fee_micro: row.fee_micro,
        locked_micro: row.locked_micro,
        probability_before: row.log_odds_before.map(sigmoid),
        probability_after: row.log_odds_after.map(sigmoid),
        shift: row.shift,
        created_at: rfc3339(row.created_at),
        judged_at: row.judged_at.map(rfc3339),
        bond_micro: held_bond,
        priority_at: rfc3339(row.priority_at),
        commitment: row.commitment_id,
        held: row.held,
    })
}
