//! The signed and logged part of an export: whatever is changed in it is found, also by whom a
//! fresh digest is put under it.
#![allow(clippy::unwrap_used)]

mod support;

use plumbline_audit::record::Export;
use plumbline_audit::{Report, check, check_extends, check_holds, check_keys, read};
use support::tamper::{body, every_flip_is_found, is_found, sealed};
use support::*;

/// Tables in which every byte is bound by a signature or by the log.
const BOUND: [&str; 5] = [
    "outbox",
    "log_checkpoints",
    "signing_keys",
    "decisions",
    "decision_signatures",
];

fn export(world: &World) -> String {
    let mut text = Vec::new();
    world.service.export_books(&mut text).unwrap();
    String::from_utf8(text).unwrap()
}

fn parsed(text: &str) -> Export {
    read(text.as_bytes()).unwrap()
}

/// A service with trades and a settlement, all of whose events are under a checkpoint.
fn lived() -> (World, String) {
    let world = World::new(true);
    let market = world.market();
    let ada = world.person("ada");
    for outcome in ["yes", "no"] {
        let order = spend(outcome, 4_000_000);
        world.service.trade(&ada, &market.id, &order).unwrap();
    }
    world.pass(61_000);
    world.until_status(&market.id, "paid");
    world.pass(61_000);
    world.service.run_due_jobs().unwrap();
    world.pass(61_000);
    world.service.keep_checkpoint_now().unwrap();
    (world, market.run_id)
}

#[test]
fn every_byte_counts() {
    let (world, _) = lived();
    let text = export(&world);
    let report = check(&parsed(&text));
    assert!(report.is_green(), "{:#?}", report.violations);
    for kind in [
        "log entries",
        "checkpoints",
        "decisions",
        "keys",
        "logged trades",
        "logged settlements",
    ] {
        assert!(
            report.checked.get(kind).is_some_and(|count| *count > 0),
            "{kind}: {:?}",
            report.checked
        );
    }
    // Under the old digest every flip is found; one byte in 97 of the whole text, and all of its end.
    let bytes = text.as_bytes();
    for at in (0..bytes.len())
        .step_by(97)
        .chain(bytes.len() - 120..bytes.len())
    {
        let mut other = bytes.to_vec();
        other[at] ^= 1 << (at % 7);
        assert!(is_found(&other), "byte {at}");
    }
    // Under a fresh one, flips in what is signed or logged are.
    let flips = every_flip_is_found(bytes, &BOUND, 41);
    assert!(flips > 150, "{flips}");
}

#[test]
fn what_is_taken_out_is_missed() {
    let (world, _) = lived();
    let text = export(&world);
    let body = std::str::from_utf8(body(text.as_bytes())).unwrap();
    for table in ["outbox", "decisions", "signing_keys", "trades"] {
        let start = format!("{{\"table\":\"{table}\"");
        let gone = body
            .lines()
            .position(|line| line.starts_with(&start))
            .unwrap();
        let kept = body.lines().enumerate().filter(|(at, _)| *at != gone);
        let kept: String = kept.map(|(_, line)| format!("{line}\n")).collect();
        assert!(is_found(&sealed(kept.as_bytes())), "{table}");
    }
}

#[test]
fn a_later_export_begins_with_an_earlier_one() {
    let (world, run) = lived();
    let earlier = parsed(&export(&world));
    let note = earlier.log.checkpoints.last().unwrap().note.clone();
    let terms = world.terms(&run);
    world.service.open_market(&world.operator, &terms).unwrap();
    let later = parsed(&export(&world));
    let ask = |f: &dyn Fn(&mut Report)| {
        let mut report = Report::default();
        f(&mut report);
        report
    };
    let fine = ask(&|report| check_extends(&earlier, &later, report));
    assert!(fine.is_green(), "{:#?}", fine.violations);
    assert!(fine.checked["checkpoints of the earlier export"] > 0);
    assert!(ask(&|report| check_holds(&later, &note, report)).is_green());
    // Going back, another history, a checkpoint of somebody else's.
    assert!(!ask(&|report| check_extends(&later, &earlier, report)).is_green());
    let mut forged = later.clone();
    forged.log.events[3].payload = "{}".to_owned();
    assert!(!ask(&|report| check_extends(&earlier, &forged, report)).is_green());
    assert!(!ask(&|report| check_holds(&forged, &note, report)).is_green());
    let other = note.replacen('1', "2", 1);
    assert!(!ask(&|report| check_holds(&later, &other, report)).is_green());
    let key = blake3::Hash::from_hex(&later.log.keys[0].public_key).unwrap();
    assert!(ask(&|report| check_keys(&later, &[key.into()], report)).is_green());
    assert!(!ask(&|report| check_keys(&later, &[[1; 32]], report)).is_green());
}
