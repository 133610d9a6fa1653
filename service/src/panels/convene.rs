//! Drawing a panel.

use std::collections::BTreeSet;

use plumbline_market::panel::Panel;
use plumbline_market::sortition::{self, Candidate, SortitionError};
use plumbline_market::{Digest, sortition::subseed};
use plumbline_store::accounts::AccountKind;
use plumbline_store::gold::{DrawSecret, unused_secrets, use_secret};
use plumbline_store::jurors::{self, Juror};
use plumbline_store::markets::Market;
use plumbline_store::panels::{self, Panel as PanelRow, Seat as SeatRow};
use plumbline_store::{Tx, accounts, evidence, gold as secrets, orders, positions, runs};
use serde_json::json;

use super::gold::give_gold;
use super::snapshot::{Snapshot, case_of};
use super::{Subject, TOPIC, panel_error, time};
use crate::events::publish;
use crate::time::Millis;
use crate::{Result, Service, ServiceConfig, ServiceError, notices};

/// Most jurors there can be, so that a draw stays one short transaction.
pub(super) const MAX_JURORS: i64 = 2_000;
/// Secrets that lie ready.
const READY_SECRETS: usize = 64;

/// A request for a panel.
#[derive(Debug, Clone)]
pub(crate) struct Convene {
    /// What it is asked about.
    pub(crate) subject: Subject,
    /// Seats.
    pub(crate) size: usize,
    /// Accounts that must not sit, beside those with a part in the market, who never do.
    pub(crate) barred: Vec<String>,
    /// Public part of the draw's seed; the service adds a secret that it committed before.
    pub(crate) seed: [u8; 32],
    /// Shown to the jurors with the case: what is contested, and why.
    pub(crate) note: Option<String>,
    /// The time.
    pub(crate) now: Millis,
    /// Window for commitments, milliseconds.
    pub(crate) commit_ms: i64,
    /// Window for reveals, milliseconds.
    pub(crate) reveal_ms: i64,
}

/// A panel on a market's settlement that no stage of the market's life asked for.
#[derive(Debug, Clone)]
pub struct StudyPanel {
    /// The market.
    pub market_id: String,
    /// A round that the market's own ladder does not reach.
    pub round: u32,
    /// Seats.
    pub size: usize,
    /// Account ids that must not sit.
    pub barred: Vec<String>,
    /// Public part of the draw's seed.
    pub seed: [u8; 32],
    /// Window for commitments, milliseconds.
    pub commit_ms: i64,
    /// Window for reveals, milliseconds.
    pub reveal_ms: i64,
}

/// Draws a panel, locks its deposits and opens the window for commitments; `None` where there
/// are not enough jurors without a part in the case. The panel's id comes back; it is not to be
/// published before the panel has ended.
///
/// # Errors
/// `draw-secrets-used-up` when more panels are drawn between two ticks than secrets lie ready:
/// try again; `not-found` for the market or the evidence.
pub(crate) fn convene(
    tx: &mut Tx,
    config: &ServiceConfig,
    ask: &Convene,
) -> Result<Option<String>> {
    let (market, snapshot) = case_of(tx, &ask.subject, ask.note.as_deref())?;
    let candidates = candidates(tx, config, &market, &ask.barred)?;
    let secret = next_secret(tx)?;
    let seed = draw_seed(&ask.seed, &secret.secret, &ask.subject.label())?;
    let drawn = match sortition::draw(&seed, &candidates, ask.size) {
        Ok(drawn) => drawn,
        Err(SortitionError::TooFew { .. }) => return Ok(None),
        Err(other) => return Err(ServiceError::internal(other)),
    };
    let jury: Vec<String> = drawn
        .into_iter()
        .map(|position| candidates[position].account.clone())
        .collect();
    let row = PanelRow {
        secret_number: Some(secret.number),
        candidates: serde_json::to_string(&candidates).map_err(ServiceError::internal)?,
        ..panel_row(ask, &market, &snapshot, &seed)?
    };
    let panel_id = row.id.clone();
    use_secret(tx, secret.number, &panel_id)?;
    seat(tx, config, row, &jury, ask.now)?;
    if config.defences.gold_cases {
        give_gold(tx, config, ask, &seed, &jury)?;
    }
    Ok(Some(panel_id))
}

/// Stores a panel with a seat for each account, its deposit locked.
pub(super) fn seat(
    tx: &mut Tx,
    config: &ServiceConfig,
    row: PanelRow,
    jury: &[String],
    now: Millis,
) -> Result<()> {
    let (commit_ms, reveal_ms) = (row.commit_by - now, row.reveal_ms);
    // The machine checks what it will later be asked to run.
    Panel::drawn(
        row.id.clone(),
        jury.to_vec(),
        time(now),
        commit_ms,
        reveal_ms,
    )
    .map_err(panel_error)?;
    let deposit_micro = config.panels.seat_deposit_micro;
    let mut seats = Vec::with_capacity(jury.len());
    for (ordinal, account_id) in (0_i64..).zip(jury) {
        let juror = jurors::get(tx, account_id)?
            .ok_or_else(|| ServiceError::internal("a candidate is no juror"))?;
        jurors::update(
            tx,
            &Juror {
                locked_micro: juror.locked_micro + deposit_micro,
                ..juror
            },
        )?;
        seats.push(waiting_seat(&row.id, account_id, ordinal, deposit_micro));
    }
    panels::insert(tx, &row, &seats)?;
    for account_id in jury {
        notices::tell_of_seat(tx, account_id, &row.id, row.commit_by, now)?;
    }
    // Named nothing: whoever knew who sits could buy them, and whoever could count a panel's
    // events could tell a known case by them.
    let told = if config.defences.secret_draw {
        json!({})
    } else {
        json!({"panel_id": row.id, "seats": jury})
    };
    publish(tx, now, TOPIC, "panel-convened", &told)
}

fn waiting_seat(panel_id: &str, account_id: &str, ordinal: i64, deposit_micro: i64) -> SeatRow {
    SeatRow {
        panel_id: panel_id.to_owned(),
        account_id: account_id.to_owned(),
        ordinal,
        deposit_micro,
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

fn panel_row(
    ask: &Convene,
    market: &Market,
    snapshot: &Snapshot,
    seed: &[u8; 32],
) -> Result<PanelRow> {
    let (mut round, mut evidence_id, mut challenge_id) = (None, None, None);
    match &ask.subject {
        Subject::Settlement { round: n, .. } => round = Some(i64::from(*n)),
        Subject::Exhibit {
            evidence_id: evidence,
            challenge_id: challenge,
        } => (evidence_id, challenge_id) = (Some(evidence.clone()), Some(challenge.clone())),
        Subject::Gold { .. } => {}
    }
    let commit_by = ask.now.saturating_add(ask.commit_ms);
    Ok(PanelRow {
        id: panel_id(ask.now, seed, "panel"),
        subject: ask.subject.kind().to_owned(),
        market_id: Some(market.id.clone()),
        round,
        evidence_id,
        challenge_id,
        case_id: None,
        snapshot: snapshot.json()?,
        shown_size: ask.size as i64,
        status: "committing".to_owned(),
        pi: None,
        drawn_at: ask.now,
        commit_by,
        reveal_by: commit_by.saturating_add(ask.reveal_ms),
        reveal_ms: ask.reveal_ms,
        ended_at: None,
        settled_at: None,
        final_pi: None,
        public_seed: Digest(ask.seed).to_string(),
        secret_number: None,
        candidates: "[]".to_owned(),
        listed: false,
    })
}

/// A UUID of version 7 whose random part follows from the draw's seed, which is secret as long
/// as the panel runs.
pub(super) fn panel_id(now: Millis, seed: &[u8; 32], purpose: &str) -> String {
    let random = subseed(&[*seed], purpose);
    let mut bytes = [0; 10];
    bytes.copy_from_slice(&random[..10]);
    let millis = u64::try_from(now).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &bytes)
        .into_uuid()
        .to_string()
}

/// The seed of a draw: public part, secret part, and what is drawn for.
pub(super) fn draw_seed(public: &[u8; 32], secret: &str, label: &str) -> Result<[u8; 32]> {
    let secret: Digest = secret.parse().map_err(ServiceError::internal)?;
    Ok(subseed(&[*public, secret.0], label))
}

fn next_secret(tx: &mut Tx) -> Result<DrawSecret> {
    unused_secrets(tx, 1)?.pop().ok_or_else(|| {
        ServiceError::refused(
            "draw-secrets-used-up",
            "no committed secret lies ready for a draw; the next tick commits more",
        )
    })
}

/// Who may be drawn, with their weights, in the order of their ids.
fn candidates(
    tx: &mut Tx,
    config: &ServiceConfig,
    market: &Market,
    barred: &[String],
) -> Result<Vec<Candidate>> {
    let barred: BTreeSet<&str> = barred.iter().map(String::as_str).collect();
    let mut found = Vec::new();
    for juror in jurors::sitting(tx, None, MAX_JURORS)? {
        let account = juror.account_id.as_str();
        let free = juror.stake_micro - juror.locked_micro;
        if free < config.panels.least_stake() || !may_sit(tx, config, account)? {
            continue;
        }
        let conflicted = barred.contains(account) || takes_part(tx, market, account)?;
        if config.defences.conflict_bar && conflicted {
            continue;
        }
        found.push(Candidate {
            weight: weight_of(config, &juror),
            account: juror.account_id,
        });
    }
    Ok(found)
}

/// Weight of a juror in a draw.
pub(super) fn weight_of(config: &ServiceConfig, juror: &Juror) -> u64 {
    let count = |n: i64| u64::try_from(n).unwrap_or(0);
    let (right, cases) = if config.defences.gold_cases {
        (count(juror.gold_right), count(juror.gold_cases))
    } else {
        (0, 0)
    };
    let cap = if config.defences.stake_cap {
        config.panels.stake_cap_micro
    } else {
        i64::MAX
    };
    let stake = if config.defences.stake_weight {
        juror.stake_micro
    } else {
        config.panels.least_stake()
    };
    sortition::weight(stake, cap, right, cases)
}

/// Whether an account may be a juror at all.
pub(super) fn may_sit(tx: &mut Tx, config: &ServiceConfig, account_id: &str) -> Result<bool> {
    let account = accounts::get(tx, account_id)?;
    let verified = account.roles.iter().any(|role| role == "juror");
    Ok(account.kind == AccountKind::User && (verified || open_to_all(config)))
}

/// Whether jurors need not be known to the operator.
pub(super) fn open_to_all(config: &ServiceConfig) -> bool {
    config.panels.open_juries || !config.defences.verified_jurors
}

/// Whether an account has a part in a market: a position, an open order, evidence, the run, or
/// its opening.
pub(super) fn takes_part(tx: &mut Tx, market: &Market, account_id: &str) -> Result<bool> {
    Ok(market.creator_id == account_id
        || positions::get(tx, &market.id, account_id)?.is_some()
        || !orders::open_of_owner(tx, &market.id, account_id)?.is_empty()
        || evidence::count_by_account(tx, &market.id, account_id)? > 0
        || runs::get(tx, &market.run_id)?.owner_id == account_id)
}

impl Service {
    /// Convenes a panel for programs that study juries by themselves; not reachable over HTTP.
    /// Its ruling goes on record and settles nothing.
    pub fn convene_study(&self, panel: &StudyPanel) -> Result<Option<String>> {
        let (config, panel) = (self.config.clone(), panel.clone());
        self.write_at(move |tx, now| {
            let ask = Convene {
                subject: Subject::Settlement {
                    market_id: panel.market_id,
                    round: panel.round,
                },
                size: panel.size,
                barred: panel.barred,
                seed: panel.seed,
                note: None,
                now,
                commit_ms: panel.commit_ms,
                reveal_ms: panel.reveal_ms,
            };
            convene(tx, &config, &ask)
        })
    }

    /// Commits secrets for draws to come, so that there are always some whose commitment is
    /// older than any case that will need one. Called on every tick.
    pub(crate) fn keep_draw_secrets(&self) -> Result<()> {
        let ready = self.read(|tx| Ok(unused_secrets(tx, READY_SECRETS as i64)?.len()))?;
        // Half used up, so that not every draw is followed by a commitment of one.
        if ready > READY_SECRETS / 2 {
            return Ok(());
        }
        let fresh = (ready..READY_SECRETS)
            .map(|_| self.random_seed())
            .collect::<Result<Vec<_>>>()?;
        self.write_at(move |tx, now| {
            let mut committed = Vec::with_capacity(fresh.len());
            for secret in &fresh {
                let commitment = sortition::commitment(secret).to_string();
                let number =
                    secrets::add_secret(tx, &commitment, &Digest(*secret).to_string(), now)?;
                committed.push(json!({"number": number, "commitment": commitment}));
            }
            publish(
                tx,
                now,
                TOPIC,
                "draws-committed",
                &json!({"secrets": committed}),
            )
        })
    }
}
