//! Small worlds: sound after every death, and the same for the same seed.
#![allow(clippy::unwrap_used)]

use plumbline_service::defences::Defences;
use plumbline_simulation::{Options, Scale, run, simulate};

#[test]
fn small_worlds_with_many_deaths_are_sound() {
    let options = Options {
        from: 1,
        seeds: 6,
        jobs: 2,
        scale: Scale::small_with_courts(),
        defences: Defences::default(),
    };
    let summary = simulate(&options, |_, _| ()).unwrap();
    assert!(summary.violations.is_empty(), "{:#?}", summary.violations);
    assert_eq!((summary.seeds, summary.markets), (6, 48));
    assert!(summary.crashes >= 6, "{} deaths", summary.crashes);
    assert!(summary.checked["trades"] > 500, "{:?}", summary.checked);
    assert!(summary.requests["done"] > 500, "{:?}", summary.requests);
    assert!(summary.requests["unanswered"] > 0, "{:?}", summary.requests);
    for what in ["votes", "jury draws", "commitments", "disputes", "outcomes"] {
        assert!(summary.checked[what] > 0, "{what}: {:?}", summary.checked);
    }
}

#[test]
fn the_same_seed_is_the_same_world() {
    let (first, _) = run(5, &Scale::small_with_courts()).unwrap();
    let (again, _) = run(5, &Scale::small_with_courts()).unwrap();
    assert!(first == again, "two runs of one seed differ");
    let (other, _) = run(6, &Scale::small_with_courts()).unwrap();
    assert!(first != other);
}
