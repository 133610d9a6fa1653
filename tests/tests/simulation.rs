//! The simulation from the real binary: many worlds with deaths at any write, each checked by the
//! auditor.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use plumbline_tests::HeavyLock;
use plumbline_tests::program::run;
use serde_json::Value;

/// Enough for every kind of death; more are for `plumbline simulate --seeds 1000`.
const SEEDS: &str = "20";
/// Far more than it takes, also on a machine that does other things at the same time.
const LIMIT: Duration = Duration::from_secs(900);

#[test]
fn twenty_worlds_are_sound_after_every_death() {
    let _lock = HeavyLock::take();
    let finished = run(&["simulate", "--seeds", SEEDS, "--json"], LIMIT);
    let summary: Value = serde_json::from_str(&finished.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}{}", finished.stdout, finished.stderr));
    assert_eq!(
        summary["violations"],
        serde_json::json!([]),
        "{}",
        finished.stderr
    );
    assert!(finished.status.success());
    assert_eq!(summary["seeds"], 20);
    assert!(summary["actors"].as_u64().unwrap() >= 20 * 2_000);
    assert!(summary["markets"].as_u64().unwrap() >= 20 * 200);
    assert!(
        summary["crashes"].as_u64().unwrap() >= 100,
        "{}",
        summary["crashes"]
    );
    assert!(
        summary["write_points"]["struck"].as_u64().unwrap() >= 15,
        "{}",
        summary["write_points"]
    );
}
