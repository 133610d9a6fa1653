//! Scales: round steps for numbers and for times.

use jiff::Timestamp;
use jiff::tz::TimeZone;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// Steps between time labels, seconds.
const TIME_STEPS: &[i64] = &[
    1,
    2,
    5,
    10,
    15,
    30,
    MINUTE,
    2 * MINUTE,
    5 * MINUTE,
    10 * MINUTE,
    15 * MINUTE,
    30 * MINUTE,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    7 * DAY,
    14 * DAY,
    28 * DAY,
    56 * DAY,
    112 * DAY,
    364 * DAY,
];

/// Milliseconds since 1970 of an RFC 3339 time; `None` when it is not one.
pub(crate) fn millis(time: &str) -> Option<i64> {
    time.parse::<Timestamp>()
        .ok()
        .map(Timestamp::as_millisecond)
}

/// Round times within `[from, to]` (milliseconds), at most `most`, with labels as short as the step allows.
pub(crate) fn time_ticks(from: i64, to: i64, most: usize) -> Vec<(i64, String)> {
    let span = (to - from).max(1) / 1_000;
    let most = most.max(2) as i64;
    let longest = TIME_STEPS[TIME_STEPS.len() - 1];
    let step = TIME_STEPS.iter().copied().find(|step| span / step < most);
    let step = step.unwrap_or_else(|| longest * (span / (longest * most) + 1)) * 1_000;
    let mut at = from.div_euclid(step) * step;
    let mut ticks = Vec::new();
    while at <= to && ticks.len() <= most as usize {
        if at >= from {
            ticks.push((at, time_label(at, step / 1_000)));
        }
        at += step;
    }
    ticks
}

fn time_label(at: i64, step_s: i64) -> String {
    let Ok(time) = Timestamp::from_millisecond(at) else {
        return String::new();
    };
    let format = match step_s {
        ..MINUTE => "%H:%M:%S",
        MINUTE..DAY => "%H:%M",
        _ => "%-d %b",
    };
    time.to_zoned(TimeZone::UTC).strftime(format).to_string()
}

/// Round numbers that cover `[low, high]`: 1, 2 or 5 times a power of ten apart, about `about` of them.
///
/// Returns the covered range and the numbers. A range of no width is opened up; numbers that are not finite give `[0, 1]`.
pub(crate) fn number_ticks(low: f64, high: f64, about: usize) -> (f64, f64, Vec<f64>) {
    if !(low.is_finite() && high.is_finite()) {
        return (0.0, 1.0, vec![0.0, 1.0]);
    }
    let (low, high) = if high - low > 1e-9 * high.abs().max(1e-9) {
        (low, high)
    } else {
        (
            low - low.abs().max(1.0) * 0.1,
            high + high.abs().max(1.0) * 0.1,
        )
    };
    let rough = (high - low) / about.max(1) as f64;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|unit| unit * power)
        .find(|step| *step >= rough * 0.999);
    let step = step.unwrap_or(10.0 * power);
    let first = (low / step).floor();
    let count = ((high / step).ceil() - first).max(1.0) as usize;
    let ticks: Vec<f64> = (0..=count.min(64))
        .map(|n| (first + n as f64) * step)
        .collect();
    (ticks[0], ticks[ticks.len() - 1], ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_round_and_few() {
        let start = millis("2026-11-22T10:00:07Z").unwrap_or_default();
        for (seconds, first) in [
            (5, "10:00:07"),
            (50, "10:00:10"),
            (3_600, "10:15"),
            (86_400, "12:00"),
            (20 * DAY, "26 Nov"),
        ] {
            let ticks = time_ticks(start, start + seconds * 1_000, 6);
            assert!((1..=7).contains(&ticks.len()), "{seconds}: {ticks:?}");
            assert_eq!(ticks[0].1, first, "{seconds}: {ticks:?}");
            assert!(
                ticks
                    .iter()
                    .all(|(at, _)| *at >= start && *at <= start + seconds * 1_000)
            );
        }
        assert!(
            time_ticks(0, 400 * 364 * DAY * 1_000, 6).len() <= 8,
            "centuries too"
        );
        assert!(time_ticks(5, 5, 6).len() <= 1);
        assert_eq!(millis("yesterday"), None);
    }

    #[test]
    fn numbers_are_round_and_cover_the_range() {
        for (low, high) in [
            (0.0, 1.0),
            (2.31, 5.87),
            (-3.0, 4.0),
            (0.0, 123_456.0),
            (1e-7, 2e-7),
            (7.0, 7.0),
        ] {
            let (from, to, ticks) = number_ticks(low, high, 5);
            assert!(from <= low && to >= high, "{low}..{high}: {from}..{to}");
            assert!((2..=12).contains(&ticks.len()), "{low}..{high}: {ticks:?}");
        }
        assert_eq!(number_ticks(f64::NAN, 1.0, 5).2, [0.0, 1.0]);
    }
}
