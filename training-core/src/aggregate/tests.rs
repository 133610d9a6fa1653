#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::draw::Draw;

fn run(spec: AggregatorSpec, rows: &[Vec<f32>]) -> Vec<f32> {
    let weighted: Vec<Weighted<'_>> = rows
        .iter()
        .map(|delta| Weighted { delta, tokens: 10 })
        .collect();
    spec.build().aggregate(&weighted).unwrap()
}

fn close(got: &[f32], want: &[f64]) {
    assert_eq!(got.len(), want.len());
    for (g, w) in got.iter().zip(want) {
        assert!((f64::from(*g) - w).abs() < 2e-5, "{got:?} is not {want:?}");
    }
}

/// Every expectation was worked out by hand from the definitions.
#[test]
fn table() {
    let line = |values: &[f32]| values.iter().map(|v| vec![*v]).collect::<Vec<_>>();
    use AggregatorSpec as A;
    let trimmed = |share| A::TrimmedMean { share };
    for (spec, rows, want) in [
        (A::Mean, line(&[1.0, 2.0, 9.0]), vec![4.0]),
        // Norms 1, 2, 9: the 9 is shortened to 2.
        (A::NormClippedMean, line(&[1.0, 2.0, 9.0]), vec![5.0 / 3.0]),
        (A::NormClippedMean, line(&[1.0, 2.0, -9.0]), vec![1.0 / 3.0]),
        (A::CoordinateMedian, line(&[1.0, 9.0, 2.0]), vec![2.0]),
        (A::CoordinateMedian, line(&[1.0, 9.0, 2.0, 4.0]), vec![3.0]),
        (trimmed(0.25), line(&[1.0, 2.0, 4.0, 90.0]), vec![3.0]),
        (trimmed(0.2), line(&[1.0, 2.0, 4.0, 90.0]), vec![24.25]),
        (trimmed(0.49), line(&[5.0]), vec![5.0]),
        // n = 5, f = 1, two neighbours: scores 1+4, 1+1, 1+4, 36+49, 9409+9604.
        (
            A::Krum { faulty: 0.2 },
            line(&[1.0, 2.0, 3.0, 9.0, 100.0]),
            vec![2.0],
        ),
        (A::Krum { faulty: 0.4 }, line(&[7.0]), vec![7.0]),
        // Start 2; distances 1, 0, 7: radius 1. The fixed point balances
        // (1 − v) + (2 − v) + 1 = 0 at v = 2.
        (A::CenteredClip, line(&[1.0, 2.0, 9.0]), vec![2.0]),
        // Start 2.5, distances 2.5, .5, .5, 5.5: radius 1.5. Balance:
        // −1.5 + (2 − v) + (3 − v) + 1.5 = 0.
        (A::CenteredClip, line(&[0.0, 2.0, 3.0, 8.0]), vec![2.5]),
        // Start 3, distances 3, 1, 0, 1, 97: radius 1. From 3:
        // −1 − 1 + 0 + 1 + 1 = 0.
        (
            A::CenteredClip,
            line(&[0.0, 2.0, 3.0, 4.0, 100.0]),
            vec![3.0],
        ),
        (A::CenteredClip, vec![vec![4.0, -1.0]; 3], vec![4.0, -1.0]),
    ] {
        close(&run(spec, &rows), &want);
    }
}

#[test]
fn nothing_and_ragged_are_refused() {
    for spec in AggregatorSpec::ALL {
        let rule = spec.build();
        assert_eq!(rule.aggregate(&[]).unwrap_err(), OuterError::Empty);
        let row = |delta| Weighted { delta, tokens: 1 };
        let ragged = rule.aggregate(&[row(&[1.0][..]), row(&[1.0, 2.0][..])]);
        assert_eq!(ragged.unwrap_err(), OuterError::Length { got: 2, want: 1 });
        assert_eq!(spec.problem(), None);
    }
    assert!(AggregatorSpec::Krum { faulty: 0.5 }.problem().is_some());
    assert!(
        AggregatorSpec::TrimmedMean { share: f64::NAN }
            .problem()
            .is_some()
    );
}

/// `honest` rows around one direction, and `hostile` far away.
fn attacked(honest: usize, hostile: usize, seed: u64, far: f32) -> (Vec<Vec<f32>>, Vec<f64>) {
    let mut draw = Draw::new("test", &[&seed.to_le_bytes()]);
    let mut noise = || (draw.unit() - 0.5) as f32;
    let truth: Vec<f32> = (0..40).map(|_| noise()).collect();
    let mut rows: Vec<Vec<f32>> = (0..honest)
        .map(|_| truth.iter().map(|t| t + 0.5 * noise()).collect())
        .collect();
    let lie: Vec<f32> = truth.iter().map(|t| -far * t).collect();
    rows.extend(std::iter::repeat_n(lie, hostile));
    (rows, truth.into_iter().map(f64::from).collect())
}

fn error(got: &[f32], truth: &[f64]) -> f64 {
    let square = |(g, t): (&f32, &f64)| (f64::from(*g) - t).powi(2);
    let size: f64 = truth.iter().map(|t| t * t).sum();
    (got.iter().zip(truth).map(square).sum::<f64>() / size).sqrt()
}

/// Robust rules stay near the truth with 40 % lies; the mean does not.
#[test]
fn forty_percent_lies_move_robust_rules_little() {
    for far in [1.0, 10.0, 1e6] {
        let (rows, truth) = attacked(12, 8, 3, far);
        for spec in AggregatorSpec::ALL {
            let off = error(&run(spec, &rows), &truth);
            let robust = !matches!(spec, AggregatorSpec::Mean | AggregatorSpec::NormClippedMean);
            if robust {
                assert!(off < 0.85, "{} is off by {off} at {far}", spec.name());
            } else {
                assert!(off > 0.7, "{} is off by only {off} at {far}", spec.name());
            }
        }
    }
}

proptest! {
    #[test]
    fn order_does_not_matter(
        rows in prop::collection::vec(prop::collection::vec(-5.0_f32..5.0, 6), 1..9),
        turn in 0_usize..8,
    ) {
        let mut turned = rows.clone();
        turned.reverse();
        let by = turn % turned.len();
        turned.rotate_left(by);
        for spec in AggregatorSpec::ALL {
            let (one, other) = (run(spec, &rows), run(spec, &turned));
            for (a, b) in one.iter().zip(&other) {
                prop_assert!((a - b).abs() < 1e-4, "{}: {one:?} {other:?}", spec.name());
            }
        }
    }

    /// Equal contributions are what comes out, and shifting all shifts the rest.
    #[test]
    fn agreement_and_shift(row in prop::collection::vec(-5.0_f32..5.0, 5), count in 1_usize..8) {
        let rows = vec![row.clone(); count];
        for spec in AggregatorSpec::ALL {
            let got = run(spec, &rows);
            for (g, w) in got.iter().zip(&row) {
                prop_assert!((g - w).abs() < 1e-4, "{}", spec.name());
            }
        }
    }

    /// Breakdown: with fewer than half lying, however far, robust rules stay
    /// within a bounded distance of the honest.
    #[test]
    fn lies_cannot_drag_robust_rules_away(
        seed in any::<u64>(), far in 1.0_f32..1e7, hostile in 0_usize..5,
    ) {
        let (rows, truth) = attacked(7, hostile, seed, far);
        for spec in [
            AggregatorSpec::CoordinateMedian,
            AggregatorSpec::TrimmedMean { share: 0.45 },
            AggregatorSpec::Krum { faulty: 0.4 },
            AggregatorSpec::CenteredClip,
        ] {
            let off = error(&run(spec, &rows), &truth);
            prop_assert!(off < 3.0, "{} is off by {off}", spec.name());
        }
    }
}
