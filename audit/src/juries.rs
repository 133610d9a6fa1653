//! Juries: who was drawn, what they voted, what the panel ruled, and what jurors were paid.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::draws::Bytes;
use crate::hashes;
use crate::ledger::{self, Balances};
use crate::record::{Export, Panel, Seat};
use crate::report::Report;

/// Account that holds jurors' stakes.
pub(crate) const JURY: &str = "jury";
/// Votes further apart than this, basis points, have no middle.
const GULF: i64 = 1_000;
/// A vote this near to the settlement is coherent, billionths.
const COHERENT: i64 = 250_000_000;
/// Billionths in a basis point.
const BASIS_POINT: i64 = 100_000;

/// What transfers moved, by kind and the fact that they name.
type Moved = BTreeMap<(&'static str, String), BTreeMap<String, i128>>;

/// One who could be drawn.
#[derive(Debug, Deserialize)]
struct Candidate {
    account: String,
    weight: u64,
}

/// Checks the panels, and that every juror's stake is what was put in less what was lost and
/// taken out.
pub(crate) fn check(export: &Export, moved: &Moved, balances: &Balances, report: &mut Report) {
    // The export of one market has no jurors: their stakes are theirs to show.
    if export.market.is_some() {
        return;
    }
    let mut seats: BTreeMap<&str, Vec<&Seat>> = BTreeMap::new();
    for seat in &export.panel_seats {
        seats.entry(&seat.panel_id).or_default().push(seat);
    }
    let mut stakes: BTreeMap<&str, i128> = BTreeMap::new();
    if let Some(moves) = moved.get(&("juror-stake", JURY.to_owned())) {
        for (account, amount) in moves.iter().filter(|(account, _)| *account != JURY) {
            *stakes.entry(account).or_default() -= amount;
        }
    }
    let numbers = export.draw_secrets.iter().map(|secret| secret.number);
    ledger::check_sequence(export, "draw_secrets", numbers, report);
    for panel in &export.panels {
        report.count("panels");
        let seats = seats.remove(panel.id.as_str()).unwrap_or_default();
        check_panel(export, panel, &seats, report);
        check_pay(panel, &seats, moved, &mut stakes, report);
    }
    for panel in seats.keys() {
        report.violation(format!("panel_seats {panel}"), "belongs to no panel");
    }
    let mut sum = 0;
    for juror in &export.jurors {
        report.count("jurors");
        let place = format!("jurors {}", juror.account_id);
        let due = stakes.remove(juror.account_id.as_str()).unwrap_or(0);
        report.agree(&place, "the stake", i128::from(juror.stake_micro), due);
        sum += i128::from(juror.stake_micro);
    }
    for (account, stake) in stakes.into_iter().filter(|(_, stake)| *stake != 0) {
        report.violation(
            format!("jurors {account}"),
            format!("staked {stake} and is no juror"),
        );
    }
    let held = i128::from(balances.get(JURY).copied().unwrap_or(0));
    report.agree("accounts jury", "the stakes held", held, sum);
}

/// Draw, votes and ruling of a panel that is over and published.
fn check_panel(export: &Export, panel: &Panel, seats: &[&Seat], report: &mut Report) {
    let place = format!("panels {}", panel.id);
    if panel.listed == 0 {
        return;
    }
    for seat in seats {
        check_vote(panel, seat, report);
    }
    let ended = !matches!(
        panel.status.as_str(),
        "committing" | "revealing" | "withdrawn"
    );
    if ended {
        let ruling = ruling(seats);
        let stated = (panel.status.as_str(), panel.pi);
        report.agree(&place, "the ruling", stated, ruling);
    }
    let secret = export
        .draw_secrets
        .iter()
        .find(|secret| Some(secret.number) == panel.secret_number);
    if let Some(secret) = secret
        && let Some(bytes) = secret.secret.as_deref().and_then(hashes::parse)
    {
        report.agree(
            &place,
            "the secret's commitment",
            &secret.commitment,
            &hashes::hex(&bytes),
        );
        if let Some(public) = hashes::parse(&panel.public_seed) {
            check_draw(
                panel,
                seats,
                &subseed(&[public, bytes], &label(panel)),
                report,
            );
        }
    }
}

/// What the panel was drawn for, as it goes into the seed.
fn label(panel: &Panel) -> String {
    let or_empty = |text: &Option<String>| text.clone().unwrap_or_default();
    match panel.subject.as_str() {
        "settlement" => {
            let round = panel.round.unwrap_or(0);
            format!("settlement:{}:{round}", or_empty(&panel.market_id))
        }
        "exhibit" => format!(
            "exhibit:{}:{}",
            or_empty(&panel.evidence_id),
            or_empty(&panel.challenge_id)
        ),
        _ => format!("gold:{}", or_empty(&panel.case_id)),
    }
}

/// `BLAKE3("plumbline subseed v1" ‖ n ‖ seed₁ ‖ … ‖ seed_n ‖ purpose)`.
fn subseed(seeds: &[Bytes], purpose: &str) -> Bytes {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"plumbline subseed v1");
    hasher.update(&[seeds.len() as u8]);
    for seed in seeds {
        hasher.update(seed);
    }
    hasher.update(purpose.as_bytes());
    *hasher.finalize().as_bytes()
}

/// Draws again, by weight and without replacement, from the published list.
fn check_draw(panel: &Panel, seats: &[&Seat], seed: &Bytes, report: &mut Report) {
    let place = format!("panels {}", panel.id);
    let Ok(mut left) = serde_json::from_str::<Vec<Candidate>>(&panel.candidates) else {
        report.violation(place, "its candidates cannot be read");
        return;
    };
    let sorted = left
        .windows(2)
        .all(|pair| pair[0].account < pair[1].account);
    report.require(sorted, &place, || {
        "its candidates are not in order".to_owned()
    });
    let mut words = (0_u64..).map(|index| {
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"plumbline sortition v1");
        hasher.update(seed);
        hasher.update(&index.to_le_bytes());
        let mut first = [0; 8];
        first.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        u64::from_le_bytes(first)
    });
    let mut drawn = Vec::new();
    while drawn.len() < seats.len() {
        let total: u128 = left.iter().map(|one| u128::from(one.weight)).sum();
        if total == 0 {
            break;
        }
        let even = (1_u128 << 64) - (1_u128 << 64) % total;
        let Some(word) = words.find(|word| u128::from(*word) < even) else {
            break;
        };
        let mut x = u128::from(word) % total;
        let found = left.iter().position(|one| {
            let here = x < u128::from(one.weight);
            if !here {
                x -= u128::from(one.weight);
            }
            here
        });
        if let Some(at) = found {
            drawn.push(left.remove(at).account);
        }
    }
    let mut seated: Vec<&Seat> = seats.to_vec();
    seated.sort_by_key(|seat| seat.ordinal);
    let seated: Vec<&str> = seated.iter().map(|seat| seat.account_id.as_str()).collect();
    report.count("jury draws");
    report.agree(
        &place,
        "the jury",
        seated,
        drawn.iter().map(String::as_str).collect(),
    );
}

/// A revealed vote opens its commitment.
fn check_vote(panel: &Panel, seat: &Seat, report: &mut Report) {
    if seat.state != "revealed" {
        return;
    }
    report.count("votes");
    let place = format!("panel_seats {}/{}", panel.id, seat.account_id);
    let nonce = seat.nonce.as_deref().and_then(hashes::parse);
    let vote = seat
        .vote_bps
        .map_or(u16::MAX, |bps| u16::try_from(bps).unwrap_or(u16::MAX - 1));
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"plumbline panel vote v1");
    for text in [&panel.id, &seat.account_id] {
        hasher.update(&(text.len() as u32).to_be_bytes());
        hasher.update(text.as_bytes());
    }
    hasher.update(&vote.to_be_bytes());
    hasher.update(&nonce.unwrap_or([0; 32]));
    let words = seat.justification.as_deref().unwrap_or_default();
    hasher.update(blake3::hash(words.as_bytes()).as_bytes());
    let opened = hashes::text(hasher.finalize().as_bytes());
    report.agree(
        &place,
        "the commitment",
        seat.commitment.as_deref(),
        Some(opened.as_str()),
    );
    let (Some(bps), Some(pi)) = (seat.vote_bps, panel.final_pi) else {
        return;
    };
    let near = (bps * BASIS_POINT - pi).abs() <= COHERENT;
    let due = if near { "coherent" } else { "incoherent" };
    report.agree(&place, "the verdict", seat.verdict.as_deref(), Some(due));
}

/// The median of the votes when they make the quorum of two thirds; a tie when the middle two are
/// too far apart.
fn ruling(seats: &[&Seat]) -> (&'static str, Option<i64>) {
    let votes = seats.iter().filter(|seat| seat.state == "revealed");
    let mut votes: Vec<i64> = votes.filter_map(|seat| seat.vote_bps).collect();
    votes.sort_unstable();
    if votes.is_empty() || votes.len() < (2 * seats.len()).div_ceil(3) {
        return ("no_quorum", None);
    }
    let (low, high) = (votes[(votes.len() - 1) / 2], votes[votes.len() / 2]);
    if high - low > GULF {
        return ("tie", None);
    }
    ("ruled", Some((low + high) * BASIS_POINT / 2))
}

/// What a panel's jurors lost and were paid, against the transfers that name it.
fn check_pay<'a>(
    panel: &Panel,
    seats: &[&'a Seat],
    moved: &Moved,
    stakes: &mut BTreeMap<&'a str, i128>,
    report: &mut Report,
) {
    let place = format!("panels {}", panel.id);
    let empty = BTreeMap::new();
    let of = |kind| moved.get(&(kind, panel.id.clone())).unwrap_or(&empty);
    let (settled, denounced) = (of("jury"), of("denouncement"));
    let (mut taken, mut out) = (0_i128, 0_i128);
    for seat in seats {
        let slashed = i128::from(seat.slashed_micro);
        report.require(
            (0..=seat.deposit_micro).contains(&seat.slashed_micro),
            &place,
            || {
                format!(
                    "{} loses {slashed} of {}",
                    seat.account_id, seat.deposit_micro
                )
            },
        );
        let stake = stakes.entry(&seat.account_id).or_default();
        *stake -= slashed;
        if seat.denounced_by.is_some() {
            taken += slashed;
            continue;
        }
        // What a leaving juror gets back with the pay comes out of the stake too.
        let got = settled.get(&seat.account_id).copied().unwrap_or(0);
        let back = got - i128::from(seat.paid_micro);
        report.require(back >= 0, &place, || {
            format!(
                "{} is paid {} and got {got}",
                seat.account_id, seat.paid_micro
            )
        });
        *stake -= back;
        out += slashed + back;
    }
    let jury = |moves: &BTreeMap<String, i128>| moves.get(JURY).copied().unwrap_or(0);
    report.agree(&place, "what denouncements took", -jury(denounced), taken);
    report.agree(&place, "what left the stakes", -jury(settled), out);
    let strangers = settled
        .keys()
        .filter(|account| *account != JURY && *account != "treasury")
        .any(|account| seats.iter().all(|seat| seat.account_id != **account));
    report.require(!strangers, &place, || {
        "paid somebody without a seat".to_owned()
    });
}
