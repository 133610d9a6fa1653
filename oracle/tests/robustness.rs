//! Attacks on exhibits move the shipped lexical judge no further than this. `oracle/weights/ROBUSTNESS.md` has the
//! figures on data sets; here the cases are those of the fixture, so that the test needs no data.
#![allow(clippy::unwrap_used)]

use plumbline_oracle::LexicalJudge;
use plumbline_oracle::robustness::{fixture, measure};

/// Twice the most that one text may move the judge: no attack gets further, whatever it does.
const HARD_BOUND: f64 = 8.0;

/// Largest allowed mean of |Δℓ| on the fixture, nats.
const BOUNDS: &[(&str, f64)] = &[
    ("instruction", 0.1),
    ("delimiter", 0.1),
    ("judge-output", 0.1),
    ("role-play", 1.5),
    ("synonyms", 1.0),
    ("contractions", 1.0),
    ("reordering", 1.0),
    ("passive", 1.5),
    ("padding-before", 0.5),
    ("padding-after", 0.5),
    ("repetition", 1.0),
    ("long-transcript", 2.0),
    ("zero-width", 0.0),
    ("homoglyphs", 0.0),
    ("full-width", 0.0),
    ("bidirectional", 0.0),
    ("combining-marks", 0.0),
    ("other-language", 2.5),
];

#[test]
fn every_attack_is_bounded() {
    let judge = LexicalJudge::shipped().unwrap();
    let table = measure(&judge, &fixture().unwrap(), 1).unwrap();
    assert_eq!(table.len(), BOUNDS.len());
    for row in &table {
        eprintln!(
            "{:18} mean {:.2} max {:.2} flips {:.2}",
            row.attack, row.mean_shift, row.max_shift, row.flips
        );
        let (_, bound) = BOUNDS.iter().find(|(name, _)| *name == row.attack).unwrap();
        assert!(row.cases >= 10, "{row:?}");
        assert!(row.mean_shift <= bound + 1e-9, "{row:?}");
        assert!(row.max_shift <= HARD_BOUND, "{row:?}");
    }
}
