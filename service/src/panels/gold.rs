//! Cases with a known answer.
//!
//! A seat comes with one by chance, some time later, on a panel that looks like any other: its
//! juror cannot tell that the answer is known, and that nobody else sits there. Affirming and
//! denying cases are drawn equally often, so that no constant vote does better than a coin.

use plumbline_access::Action;
use plumbline_market::sortition::{Words, subseed};
use plumbline_oracle::claim::Claim;
use plumbline_store::gold::{self, GoldCase};
use plumbline_store::markets::{self, Market};
use plumbline_store::panels::{self, Panel as PanelRow};
use plumbline_store::{Tx, jobs, jurors};
use serde::{Deserialize, Serialize};

use super::convene::{Convene, may_sit, panel_id, seat, takes_part};
use super::snapshot::Snapshot;
use crate::accounts::account_of;
use crate::commands::CreateGoldCase;
use crate::context::Context;
use crate::jobs::GOLD_PANEL;
use crate::time::{Millis, rfc3339};
use crate::views::{CaseExhibit, GoldCaseView, Page};
use crate::{Result, Service, ServiceConfig, ServiceError, page};

/// Newest cases among which one is drawn.
const CHOICE: i64 = 200;
/// A known case comes within this many lengths of a panel.
const SPREAD: u64 = 2;
const MAX_EXHIBITS: usize = 32;
const MAX_TITLE: usize = 200;
const MAX_BODY: usize = 64 * 1024;

/// A known case that a juror will be given.
#[derive(Debug, Serialize, Deserialize)]
struct Gift {
    account_id: String,
    case_id: String,
    panel_id: String,
    size: usize,
    commit_ms: i64,
    reveal_ms: i64,
}

/// Draws who of a jury gets a known case, which, and when, and queues it.
pub(super) fn give_gold(
    tx: &mut Tx,
    config: &ServiceConfig,
    ask: &Convene,
    seed: &[u8; 32],
    jury: &[String],
) -> Result<()> {
    let mut words = Words::new(subseed(&[*seed], "gold"));
    for (ordinal, account_id) in jury.iter().enumerate() {
        if words.below(1_000_000) >= u64::from(config.panels.gold_probability_ppm) {
            continue;
        }
        let Some(case_id) = choose(tx, account_id, &mut words)? else {
            continue;
        };
        let length = u64::try_from(ask.commit_ms.saturating_add(ask.reveal_ms)).unwrap_or(0);
        let delay = words.below(length.saturating_mul(SPREAD).saturating_add(1));
        let run_at = ask.now.saturating_add(i64::try_from(delay).unwrap_or(0));
        let gift = Gift {
            account_id: account_id.clone(),
            panel_id: panel_id(run_at, seed, &format!("gold {ordinal}")),
            case_id,
            size: ask.size,
            commit_ms: ask.commit_ms,
            reveal_ms: ask.reveal_ms,
        };
        gold::mark_seen(tx, account_id, &gift.case_id)?;
        let payload = serde_json::to_string(&gift).map_err(ServiceError::internal)?;
        jobs::enqueue(tx, GOLD_PANEL, &gift.panel_id, &payload, run_at)?;
    }
    Ok(())
}

/// A case that the juror has not seen and has no part in; either answer equally often, or none
/// where only one answer is left.
fn choose(tx: &mut Tx, account_id: &str, words: &mut Words) -> Result<Option<String>> {
    let (deny, affirm) = (
        unseen(tx, account_id, false)?,
        unseen(tx, account_id, true)?,
    );
    if deny.is_empty() || affirm.is_empty() {
        return Ok(None);
    }
    let mut cases = if words.below(2) == 0 { deny } else { affirm };
    let chosen = words.below(cases.len() as u64);
    Ok(Some(
        cases.swap_remove(usize::try_from(chosen).unwrap_or(0)),
    ))
}

fn unseen(tx: &mut Tx, account_id: &str, affirms: bool) -> Result<Vec<String>> {
    let mut ids = Vec::new();
    for case in gold::in_use(tx, affirms, None, CHOICE)? {
        if gold::has_seen(tx, account_id, &case.id)? {
            continue;
        }
        let known = match &case.market_id {
            Some(market_id) => {
                let market = markets::get(tx, market_id)?;
                takes_part(tx, &market, account_id)?
            }
            None => case.author_id.as_deref() == Some(account_id),
        };
        if !known {
            ids.push(case.id);
        }
    }
    Ok(ids)
}

/// Makes a case of a market that was settled by its objective test alone: where jurors had a
/// say, the answer is theirs and no measure of them.
pub(super) fn keep_case(tx: &mut Tx, market: &Market, now: Millis) -> Result<()> {
    let Some(settlement) = market.settlement else {
        return Ok(());
    };
    let tested = market.settlement_method == "objective"
        && market.statistics.is_some()
        && !panels::any_on_settlement(tx, &market.id)?;
    let snapshot = Snapshot::of_market(tx, market)?;
    if !tested || snapshot.evidence.is_empty() {
        return Ok(());
    }
    let case = GoldCase {
        id: format!("gold-{}", market.id),
        snapshot: snapshot.json()?,
        pi: (settlement * 1e9).round() as i64,
        affirms: settlement >= 0.5,
        market_id: Some(market.id.clone()),
        author_id: None,
        created_at: now,
        retired: false,
    };
    Ok(gold::insert(tx, &case)?)
}

impl Service {
    /// The job: seats a juror before a known case. A juror who left or has too little free stake
    /// is spared.
    pub(crate) fn open_gold_panel(&self, payload: &str) -> Result<()> {
        let gift: Gift = serde_json::from_str(payload).map_err(ServiceError::internal)?;
        let config = self.config.clone();
        self.write_at(move |tx, now| book_gold(tx, &config, &gift, now))
    }

    /// Adds a case with a known answer; the operator's.
    pub fn create_gold_case(&self, ctx: &Context, cmd: &CreateGoldCase) -> Result<GoldCaseView> {
        self.allow(&ctx.actor, Action::CreateGoldCase)?;
        let author = account_of(&ctx.actor)?;
        let snapshot = check_case(cmd)?;
        let id = self.new_id();
        let pi = plumbline_market::Pi::new(cmd.pi)
            .map_err(|error| ServiceError::invalid("bad-pi", error.to_string()))?;
        self.write_once(ctx, move |tx, now| {
            let case = GoldCase {
                id,
                snapshot: snapshot.json()?,
                pi: i64::from(pi.billionths()),
                affirms: pi.get() >= 0.5,
                market_id: None,
                author_id: Some(author),
                created_at: now,
                retired: false,
            };
            gold::insert(tx, &case)?;
            gold_view(case)
        })
    }

    /// Cases in use, newest first, one kind of answer after the other; the operator's.
    pub fn gold_cases(
        &self,
        ctx: &Context,
        affirms: bool,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<GoldCaseView>> {
        self.allow(&ctx.actor, Action::ListGoldCases)?;
        let (before, limit) = (cursor.map(str::to_owned), page::bounded(limit));
        self.read(move |tx| {
            let rows = gold::in_use(tx, affirms, before.as_deref(), (limit + 1) as i64)?;
            let page = page::cut(rows, limit, |row| row.id.clone(), |row| row);
            let items = page
                .items
                .into_iter()
                .map(gold_view)
                .collect::<Result<_>>()?;
            Ok(Page {
                items,
                next_cursor: page.next_cursor,
            })
        })
    }

    /// Takes a case out of use; what was given out is still judged.
    pub fn retire_gold_case(&self, ctx: &Context, id: &str) -> Result<()> {
        self.allow(&ctx.actor, Action::RetireGoldCase)?;
        let id = id.to_owned();
        self.write(move |tx| Ok(gold::retire(tx, &id)?))
    }
}

fn book_gold(tx: &mut Tx, config: &ServiceConfig, gift: &Gift, now: Millis) -> Result<()> {
    let deposit = config.panels.seat_deposit_micro;
    let able = jurors::get(tx, &gift.account_id)?
        .filter(|juror| !juror.leaving && juror.stake_micro - juror.locked_micro >= deposit);
    let known = panels::get(tx, &gift.panel_id).is_ok();
    if able.is_none() || known || !may_sit(tx, config, &gift.account_id)? {
        return Ok(());
    }
    let case = gold::get(tx, &gift.case_id)?;
    let commit_by = now.saturating_add(gift.commit_ms);
    let row = PanelRow {
        id: gift.panel_id.clone(),
        subject: "gold".to_owned(),
        market_id: None,
        round: None,
        evidence_id: None,
        challenge_id: None,
        case_id: Some(case.id),
        snapshot: case.snapshot,
        shown_size: gift.size as i64,
        status: "committing".to_owned(),
        pi: None,
        drawn_at: now,
        commit_by,
        reveal_by: commit_by.saturating_add(gift.reveal_ms),
        reveal_ms: gift.reveal_ms,
        ended_at: None,
        settled_at: None,
        final_pi: None,
        public_seed: String::new(),
        secret_number: None,
        candidates: "[]".to_owned(),
        listed: false,
    };
    seat(tx, config, row, std::slice::from_ref(&gift.account_id), now)
}

fn check_case(cmd: &CreateGoldCase) -> Result<Snapshot> {
    Claim::new(&cmd.claim_kind, cmd.claim.trim(), &cmd.rubric)
        .map_err(|error| ServiceError::invalid("bad-claim", error.to_string()))?;
    let bad = |detail: &str| {
        Err(ServiceError::invalid(
            "bad-case",
            format!("exhibits: {detail}"),
        ))
    };
    if !(1..=MAX_EXHIBITS).contains(&cmd.exhibits.len()) {
        return bad("1 to 32 of them");
    }
    let fits = |one: &CaseExhibit| {
        let size = serde_json::to_string(&one.exhibits).map_or(usize::MAX, |text| text.len());
        one.title.len() <= MAX_TITLE && one.body.len() <= MAX_BODY && size <= MAX_BODY
    };
    if !cmd.exhibits.iter().all(fits) {
        return bad("a title has at most 200 bytes, a body and its exhibits 64 KiB each");
    }
    Ok(Snapshot::by_hand(
        cmd.claim.trim().to_owned(),
        cmd.claim_kind.clone(),
        cmd.rubric.clone(),
        cmd.exhibits.clone(),
    ))
}

fn gold_view(case: GoldCase) -> Result<GoldCaseView> {
    let snapshot = Snapshot::parse(&case.snapshot)?;
    Ok(GoldCaseView {
        id: case.id,
        claim: snapshot.claim,
        pi: case.pi as f64 / 1e9,
        market_id: case.market_id,
        retired: case.retired,
        created_at: rfc3339(case.created_at),
    })
}
