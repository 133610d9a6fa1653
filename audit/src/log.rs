//! The transparency log: its leaves again from the events, its roots again from the leaves, the signatures
//! of its checkpoints and of the decisions, and that the facts say what their entries say.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::merkle::{Growing, Hash, leaf, sha256};
use crate::record::{Decision, Event, Export, LogRows};
use crate::report::Report;
use crate::signatures::{DECISION, KEY, Key, envelope, note};

/// The bytes of an entry.
fn text_of(event: &Event) -> String {
    let Event {
        id,
        at,
        topic,
        kind,
        payload,
    } = event;
    format!("plumbline-log/v1\n{id}\n{at}\n{topic}\n{kind}\n{payload}")
}

/// The leaves in order; a number without an event is a leaf without bytes. `None`, and a violation, where
/// the numbers do not grow.
fn leaves(log: &LogRows, report: &mut Report) -> Option<Vec<Hash>> {
    let mut leaves: Vec<Hash> = Vec::with_capacity(log.events.len());
    // A number far beyond the rows would be a claim of so many gaps, not a log.
    let most = (log.events.len() as i64) * 2 + 1_000;
    for event in &log.events {
        report.count("log entries");
        if event.id <= leaves.len() as i64 || event.id > most {
            report.violation(
                format!("outbox {}", event.id),
                "its number does not follow the one before",
            );
            return None;
        }
        while (leaves.len() as i64) < event.id - 1 {
            leaves.push(leaf(b""));
        }
        leaves.push(leaf(text_of(event).as_bytes()));
    }
    Some(leaves)
}

/// Checks everything that is signed or logged.
pub(crate) fn check(export: &Export, report: &mut Report) {
    if export.market.is_some() {
        return;
    }
    let log = &export.log;
    let keys = keys(log, report);
    if let Some(leaves) = leaves(log, report) {
        checkpoints(log, &leaves, &keys, report);
    }
    let told = Told::read(log, report);
    windows(log, &told, report);
    statements(log, &keys, report);
    decisions(log, &told, &keys, report);
    trades(export, &told, report);
    votes(export, &told, report);
    settlements(export, &told, report);
}

fn keys<'a>(log: &'a LogRows, report: &mut Report) -> BTreeMap<&'a str, Key<'a>> {
    let mut keys = BTreeMap::new();
    for row in &log.keys {
        report.count("keys");
        match Key::of(row) {
            Some(key) => {
                keys.insert(row.key_id.as_str(), key);
            }
            None => report.violation(
                format!("signing_keys {}", row.key_id),
                "is no key, or has the name of another",
            ),
        }
    }
    keys
}

fn checkpoints(
    log: &LogRows,
    leaves: &[Hash],
    keys: &BTreeMap<&str, Key<'_>>,
    report: &mut Report,
) {
    let (mut tree, mut rest) = (Growing::default(), leaves.iter());
    let mut origin = None;
    let mut before = 0;
    let time = |event: &Event| Some((usize::try_from(event.id).ok()?, event.at));
    let times: BTreeMap<usize, i64> = log.events.iter().filter_map(time).collect();
    for row in &log.checkpoints {
        report.count("checkpoints");
        let place = format!("log_checkpoints {}", row.size);
        let Some(note) = note(&row.note) else {
            report.violation(place, "is no signed note");
            continue;
        };
        report.agree(&place, "its size", row.size, note.size as i64);
        report.require(row.size > before, &place, || {
            "is not larger than the one before it".to_owned()
        });
        before = row.size;
        let of = *origin.get_or_insert(note.origin);
        report.require(of == note.origin, &place, || "is of another log".to_owned());
        // When it was signed at the earliest: it is over what happened then.
        let last = usize::try_from(note.size).unwrap_or(0);
        let at = times.range(..=last).next_back().map_or(0, |(_, at)| *at);
        let signed = keys.values().any(|key| {
            let by = |line: &&str| key.signed_note(note.origin, note.text, line);
            key.is_own() && key.counts(at) && note.lines.iter().any(by)
        });
        report.require(signed, &place, || {
            "no key of the service that counts then signed it".to_owned()
        });
        while tree.size() < note.size {
            match rest.next() {
                Some(leaf) => tree.push(*leaf),
                None => break,
            }
        }
        let same = tree.size() == note.size && tree.root() == note.root;
        report.require(same, &place, || {
            "its root is not the one of the entries before it".to_owned()
        });
    }
}

/// What the entries say, by what they are about.
#[derive(Default)]
struct Told {
    decided: BTreeMap<String, (i64, Value)>,
    moved: BTreeMap<String, Value>,
    voted: BTreeMap<(String, String), Value>,
    settled: BTreeMap<String, Value>,
    cosigned: BTreeMap<(String, String), (i64, Value)>,
    added: BTreeMap<String, Value>,
    ended: BTreeMap<String, Value>,
}

impl Told {
    fn read(log: &LogRows, report: &mut Report) -> Self {
        let mut told = Self::default();
        for event in &log.events {
            let Ok(value) = serde_json::from_str::<Value>(&event.payload) else {
                report.violation(format!("outbox {}", event.id), "its details are no JSON");
                continue;
            };
            let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
            match event.kind.as_str() {
                // Older entries do not hold what they are about in full.
                "decided" if value["payload_sha256"].is_string() => {
                    let id = text("decision_id");
                    let place = format!("outbox {}", event.id);
                    let known = told.decided.insert(id, (event.at, value));
                    report.require(known.is_none(), &place, || {
                        "tells of a decision for a second time".to_owned()
                    });
                }
                "price" if value["account_id"].is_string() => {
                    told.moved.insert(text("ref"), value);
                }
                "voted" if value["account_id"].is_string() => {
                    let key = (text("proposal_id"), text("account_id"));
                    told.voted.insert(key, value);
                }
                "cosigned" => {
                    let key = (text("decision_id"), text("key_id"));
                    told.cosigned.insert(key, (event.at, value));
                }
                "key-added" => {
                    told.added.insert(text("key_id"), value);
                }
                "key-ended" => {
                    told.ended.insert(text("key_id"), value);
                }
                "settled" => {
                    told.settled.insert(text("market_id"), value);
                }
                _ => {}
            }
        }
        told
    }
}

/// Every signature of a statement that vouches for a key is one, by a key of the table.
fn statements(log: &LogRows, keys: &BTreeMap<&str, Key<'_>>, report: &mut Report) {
    for row in &log.keys {
        let Some(text) = &row.statement else {
            continue;
        };
        report.count("key statements");
        let place = format!("signing_keys {}", row.key_id);
        let Some((payload, signatures)) = envelope(text, KEY) else {
            report.violation(place, "its statement cannot be read");
            continue;
        };
        let good = |(id, signature): &(String, String)| {
            keys.get(id.as_str())
                .is_some_and(|key| key.signed_envelope(KEY, &payload, signature))
        };
        let all = !signatures.is_empty() && signatures.iter().all(good);
        report.require(all, &place, || {
            "a signature of its statement is none".to_owned()
        });
        let said: Value = serde_json::from_slice(&payload).unwrap_or(Value::Null);
        let about = keys.get(row.key_id.as_str()).map(Key::base64);
        report.agree(
            &place,
            "the key of its statement",
            about.as_deref(),
            said["public_key"].as_str(),
        );
    }
}

/// Whose a key is and when it may sign is as the log says.
fn windows(log: &LogRows, told: &Told, report: &mut Report) {
    for row in &log.keys {
        let place = format!("signing_keys {}", row.key_id);
        let Some(entry) = told.added.get(&row.key_id) else {
            report.violation(place, "has no entry in the log");
            continue;
        };
        let ended = told.ended.get(&row.key_id);
        let stated = (
            entry["public_key"].as_str().unwrap_or_default(),
            entry["owner_id"].as_str(),
            entry["epoch"].as_i64(),
            entry["not_before"].as_i64(),
            ended.and_then(|entry| entry["not_after"].as_i64()),
        );
        let there = (
            row.public_key.as_str(),
            row.owner_id.as_deref(),
            Some(row.epoch),
            Some(row.not_before),
            row.not_after,
        );
        report.agree(&place, "the key", there, stated);
    }
    let known: BTreeSet<&str> = log.keys.iter().map(|row| row.key_id.as_str()).collect();
    report.agree("signing_keys", "their number", log.keys.len(), known.len());
    for id in told.added.keys() {
        report.require(known.contains(id.as_str()), "signing_keys", || {
            format!("{id} is in the log and not in the table")
        });
    }
}

fn decisions(log: &LogRows, told: &Told, keys: &BTreeMap<&str, Key<'_>>, report: &mut Report) {
    let mut there: BTreeMap<&str, &Decision> = BTreeMap::new();
    for (position, row) in (1..).zip(&log.decisions) {
        report.count("decisions");
        let place = format!("decisions {}", row.decision_id);
        report.agree(&place, "its position", row.version, position);
        let new = there.insert(&row.decision_id, row).is_none();
        report.require(new, &place, || "is there twice".to_owned());
        decision(row, keys, &place, report);
        // A decision without an entry is older than the log, as long as no later one has one.
        if let Some((at, entry)) = told.decided.get(&row.decision_id) {
            report.agree(&place, "when it was made", row.created_at, *at);
            let digest = sha256(row.payload.as_bytes());
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            report.agree(
                &place,
                "the digest in its entry",
                entry["payload_sha256"].as_str().unwrap_or_default(),
                digest.as_str(),
            );
        } else {
            let logged = told.decided.values().map(|(at, _)| *at).min();
            let before = logged.is_none_or(|first| row.created_at < first);
            report.require(before, &place, || "has no entry in the log".to_owned());
        }
    }
    for id in told.decided.keys() {
        let kept = there.contains_key(id.as_str());
        report.require(kept, &format!("decisions {id}"), || {
            "is in the log and not in the table".to_owned()
        });
    }
    for row in &log.signatures {
        report.count("signatures");
        let place = format!("decision_signatures {}/{}", row.decision_id, row.key_id);
        let key = keys.get(row.key_id.as_str());
        let decision = there.get(row.decision_id.as_str());
        let good = key.zip(decision).is_some_and(|(key, decision)| {
            key.counts(row.at)
                && key.signed_envelope(DECISION, decision.payload.as_bytes(), &row.signature)
        });
        report.require(good, &place, || {
            "is no signature by that key over that decision".to_owned()
        });
        let key = (row.decision_id.clone(), row.key_id.clone());
        let stated = told.cosigned.get(&key);
        let stated = stated.map(|(at, entry)| (*at, entry["signature"].as_str()));
        let there = Some((row.at, Some(row.signature.as_str())));
        report.agree(&place, "what the log says of it", there, stated);
    }
    let rows = log.signatures.len();
    report.agree(
        "decision_signatures",
        "their number",
        rows,
        told.cosigned.len(),
    );
}

/// One decision: its row says what its payload says, and a key of the service signed exactly that.
fn decision(row: &Decision, keys: &BTreeMap<&str, Key<'_>>, place: &str, report: &mut Report) {
    let Some((payload, signatures)) = envelope(&row.envelope, DECISION) else {
        report.violation(place, "its envelope cannot be read");
        return;
    };
    report.require(payload == row.payload.as_bytes(), place, || {
        "its envelope holds another payload".to_owned()
    });
    let signed = signatures.iter().any(|(id, signature)| {
        keys.get(id.as_str()).is_some_and(|key| {
            key.is_own()
                && key.counts(row.created_at)
                && key.signed_envelope(DECISION, &payload, signature)
        })
    });
    report.require(signed, place, || {
        "no key of the service that counts then signed it".to_owned()
    });
    let stated: Value = serde_json::from_slice(&payload).unwrap_or(Value::Null);
    for (name, value) in [
        ("decision_id", Value::from(row.decision_id.as_str())),
        ("action", Value::from(row.action.as_str())),
        ("share_bps", row.share_bps.into()),
        ("epoch", row.epoch.into()),
        ("generation", row.generation.into()),
    ] {
        report.agree(place, name, &value, &stated[name]);
    }
    report.agree(
        place,
        "its target",
        Some(row.target_uid.as_str()),
        stated["target"]["uid"].as_str(),
    );
}

/// Every trade is in the log as it is in the table, and none is in the log alone.
fn trades(export: &Export, told: &Told, report: &mut Report) {
    let mut known = BTreeSet::new();
    for row in &export.trades {
        known.insert(row.id.as_str());
        let Some(entry) = told.moved.get(&row.id) else {
            continue;
        };
        report.count("logged trades");
        let place = format!("trades {}", row.seq);
        let stated = (
            entry["account_id"].as_str().unwrap_or_default(),
            entry["yes_micro"].as_i64(),
            entry["no_micro"].as_i64(),
            entry["cost_micro"].as_i64(),
        );
        let there = (
            row.account_id.as_str(),
            Some(row.yes_micro),
            Some(row.no_micro),
            Some(row.cost_micro),
        );
        report.agree(&place, "who traded what", there, stated);
        let probability = 1.0 / (1.0 + (-row.log_odds_after).exp());
        let logged = entry["probability"].as_f64().unwrap_or(f64::NAN);
        report.require((probability - logged).abs() < 1e-9, &place, || {
            format!("the log says that the price became {logged}, not {probability}")
        });
    }
    for row in &export.outcome_trades {
        known.insert(row.id.as_str());
        let Some(entry) = told.moved.get(&row.id) else {
            continue;
        };
        report.count("logged trades");
        let stated = (
            entry["account_id"].as_str().unwrap_or_default(),
            entry["shares_micro"].as_i64(),
            entry["cost_micro"].as_i64(),
        );
        let there = (
            row.account_id.as_str(),
            Some(row.shares_micro),
            Some(row.cost_micro),
        );
        let place = format!("outcome_trades {}", row.seq);
        report.agree(&place, "who traded what", there, stated);
    }
    for id in told.moved.keys() {
        report.require(known.contains(id.as_str()), "trades", || {
            format!("{id} is in the log and not in the table")
        });
    }
}

/// The last entry about each ballot is the ballot.
fn votes(export: &Export, told: &Told, report: &mut Report) {
    let mut known = BTreeSet::new();
    for row in &export.ballots {
        let key = (row.proposal_id.clone(), row.account_id.clone());
        if let Some(entry) = told.voted.get(&key) {
            report.count("logged ballots");
            let place = format!("proposal_votes {}/{}", row.proposal_id, row.account_id);
            let stated = (
                entry["side"].as_str().unwrap_or_default(),
                entry["conviction"].as_i64(),
            );
            let there = (row.side.as_str(), Some(row.conviction));
            report.agree(&place, "the ballot", there, stated);
        }
        known.insert(key);
    }
    for (proposal, account) in told.voted.keys() {
        let there = known.contains(&(proposal.clone(), account.clone()));
        report.require(there, "proposal_votes", || {
            format!("the ballot of {account} on {proposal} is in the log and not in the table")
        });
    }
}

fn settlements(export: &Export, told: &Told, report: &mut Report) {
    for market in &export.markets {
        let (Some(settled), Some(entry)) = (market.settlement, told.settled.get(&market.id)) else {
            continue;
        };
        report.count("logged settlements");
        let stated = entry["settlement"].as_f64();
        let place = format!("markets {}", market.id);
        report.agree(&place, "its settlement", Some(settled), stated);
    }
}

/// Checks that an export begins with an earlier one: that no entry of that one was changed or taken out.
pub(crate) fn extends(earlier: &Export, export: &Export, report: &mut Report) {
    let (Some(old), Some(new)) = (
        leaves(&earlier.log, &mut Report::default()),
        leaves(&export.log, &mut Report::default()),
    ) else {
        report.violation("outbox", "the entries of one of the exports cannot be read");
        return;
    };
    let differs = old.iter().zip(&new).position(|(old, new)| old != new);
    if let Some(index) = differs {
        let what = "is not the entry that the earlier export has";
        report.violation(format!("outbox {}", index + 1), what);
    }
    report.require(old.len() <= new.len(), "outbox", || {
        format!(
            "has {} entries; the earlier export had {}",
            new.len(),
            old.len()
        )
    });
    for row in &earlier.log.checkpoints {
        report.count("checkpoints of the earlier export");
        let kept = export.log.checkpoints.contains(row);
        report.require(kept, &format!("log_checkpoints {}", row.size), || {
            "is not the checkpoint that the earlier export has".to_owned()
        });
    }
}

/// Checks that an export holds the log that somebody kept a checkpoint of.
pub(crate) fn holds(export: &Export, text: &str, report: &mut Report) {
    let (Some(note), Some(leaves)) = (note(text), leaves(&export.log, &mut Report::default()))
    else {
        report.violation("checkpoint", "is no signed note");
        return;
    };
    let keys: Vec<Key<'_>> = export.log.keys.iter().filter_map(Key::of).collect();
    let signed = keys.iter().any(|key| {
        let by = |line: &&str| key.signed_note(note.origin, note.text, line);
        key.is_own() && note.lines.iter().any(by)
    });
    report.require(signed, "checkpoint", || {
        "no key of the service in this export signed it".to_owned()
    });
    let size = usize::try_from(note.size).unwrap_or(usize::MAX);
    let Some(first) = leaves.get(..size) else {
        let what = format!(
            "is of {} entries; the export has {}",
            note.size,
            leaves.len()
        );
        report.violation("checkpoint", what);
        return;
    };
    let mut tree = Growing::default();
    first.iter().for_each(|leaf| tree.push(*leaf));
    report.count("checkpoints that were kept");
    report.require(tree.root() == note.root, "checkpoint", || {
        "the entries of this export have another root".to_owned()
    });
}

/// Checks that the service signed with none but the keys that the reader knows.
pub(crate) fn only_keys(export: &Export, known: &[[u8; 32]], report: &mut Report) {
    for row in export.log.keys.iter().filter(|row| row.owner_id.is_none()) {
        let there = crate::hashes::parse(&row.public_key).is_some_and(|key| known.contains(&key));
        report.require(there, &format!("signing_keys {}", row.key_id), || {
            "is not one of the keys that were named".to_owned()
        });
    }
}
