//! A backup taken while people trade, and a service made of it: nothing acknowledged before it is missing, and what is damaged is refused.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use plumbline_tests::fixture::{PASSWORD, sign_in, whole};
use plumbline_tests::program::{Finished, run};
use plumbline_tests::{Call, Server, Site};
use serde_json::{Value, json};

const HOUR: Duration = Duration::from_secs(3600);
const LIMIT: Duration = Duration::from_secs(120);

fn admin(args: &[&str]) -> Finished {
    let mut all = vec!["admin"];
    all.extend(args);
    run(&all, LIMIT)
}

fn report(finished: &Finished) -> Value {
    assert!(finished.status.success(), "{}", finished.stderr);
    serde_json::from_str(&finished.stdout).unwrap()
}

fn refused(finished: &Finished, names: &[&str]) {
    assert_eq!(finished.status.code(), Some(1), "{}", finished.stdout);
    for name in names {
        let said = &finished.stderr;
        assert!(said.contains(name) && said.lines().count() == 1, "{said}");
    }
}

fn shown(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_backup_under_load_becomes_a_service_again() {
    let site = Site::new();
    let run_id = site.run("backed-up");
    let market = site.market(&run_id, HOUR);
    let trader = site.person("trader");
    let trades = format!("/api/v1/markets/{market}/trades");
    let place = tempfile::tempdir().unwrap();
    let (backup, restored) = (place.path().join("backup"), place.path().join("restored"));
    let (over, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
    let acknowledged_before = std::thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0..2_000 {
                if over.load(Ordering::SeqCst) {
                    break;
                }
                let order = json!({"outcome": "yes", "spend_micro": 1_000 + number});
                trader.post(&trades, &order);
                acknowledged.fetch_add(1, Ordering::SeqCst);
            }
        });
        while acknowledged.load(Ordering::SeqCst) < 20 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let before = acknowledged.load(Ordering::SeqCst);
        let made = admin(&[
            "backup",
            "--data-dir",
            shown(site.folder.path()),
            "--out",
            shown(&backup),
            "--json",
        ]);
        over.store(true, Ordering::SeqCst);
        assert_eq!(report(&made)["has_keys"], false);
        before
    });
    assert!(!backup.join("signing.key").exists());
    let again = admin(&[
        "backup",
        "--data-dir",
        shown(site.folder.path()),
        "--out",
        shown(&backup),
    ]);
    refused(&again, &["already there"]);

    let made = admin(&[
        "restore",
        shown(&backup),
        "--data-dir",
        shown(&restored),
        "--json",
    ]);
    let made = report(&made);
    assert_eq!(made["violations"], 0);
    assert!(whole(&made["epoch"]) > 1_700_000_000, "{made}");
    fs::copy(
        site.folder.path().join("signing.key"),
        restored.join("signing.key"),
    )
    .unwrap();
    let server = Server::serve(&restored);
    let operator = sign_in(&server.http(), "operator", PASSWORD, &["read", "admin"]);
    assert_eq!(operator.get("/api/v1/ledger")["sum_micro"], 0);
    let kept = all_trades(&operator, &trades);
    let known = acknowledged.load(Ordering::SeqCst);
    assert!(
        (acknowledged_before..=known).contains(&kept),
        "{acknowledged_before} were acknowledged before the backup, {known} in all, {kept} are there"
    );
    assert!(server.stop().success());
}

fn all_trades(who: &plumbline_tests::Http, path: &str) -> u64 {
    let (mut count, mut cursor) = (0, String::new());
    loop {
        let page = who.get(&format!("{path}?limit=200{cursor}"));
        count += page["items"].as_array().unwrap().len() as u64;
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return count,
        }
    }
}

#[test]
fn what_is_damaged_or_missing_or_in_the_way_is_refused_and_nothing_is_left() {
    let site = Site::new();
    let _somebody = site.person("somebody");
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let (backup, target) = (at("backup"), at("target"));
    let folder = shown(site.folder.path());
    let with_keys = ["--data-dir", folder, "--with-keys", "--out"];
    let made = admin(&[&["backup", "--json"], &with_keys[..], &[shown(&backup)]].concat());
    assert_eq!(report(&made)["has_keys"], true);
    let restore = |more: &[&str]| {
        let plain = ["restore", shown(&backup), "--data-dir", shown(&target)];
        admin(&[&plain[..], more].concat())
    };
    // A look keeps nothing; an old epoch is no epoch.
    assert_eq!(report(&restore(&["--dry-run", "--json"]))["dry_run"], true);
    refused(&restore(&["--epoch", "1"]), &["above 1"]);
    assert!(!target.exists());
    // Somebody else's folder stays as it is.
    fs::create_dir(&target).unwrap();
    fs::write(target.join("letter"), "mine").unwrap();
    refused(&restore(&[]), &["not an empty folder"]);
    fs::remove_dir_all(&target).unwrap();

    let database = backup.join("plumbline.db");
    let whole_file = fs::read(&database).unwrap();
    let mut damaged = whole_file.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&database, &damaged).unwrap();
    refused(&restore(&[]), &["plumbline.db", "damaged", "manifest"]);
    fs::remove_file(&database).unwrap();
    refused(&restore(&[]), &["plumbline.db", "missing"]);
    fs::write(&database, &whole_file).unwrap();

    // A copy whose manifest was made to fit is still examined and audited.
    let manifest = backup.join("manifest.json");
    let good = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, good.replace("plumbline.db", "../plumbline.db")).unwrap();
    refused(&restore(&[]), &["outside"]);
    fs::write(&manifest, "{").unwrap();
    refused(&restore(&[]), &["manifest.json", "damaged"]);
    fs::write(&manifest, good).unwrap();
    let left: Vec<_> = fs::read_dir(place.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    report(&restore(&["--json"]));
    assert!(target.join("signing.key").exists());
    let server = Server::serve(&target);
    assert_eq!(server.http().send(&Call::get("/readyz")).status, 200);
}
