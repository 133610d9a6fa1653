//! How numbers, money, times and hashes are written for people.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use tera::{Kwargs, State, Tera, Value};

use crate::markup;

/// Micro-credits per credit.
const MICRO: f64 = 1_000_000.0;

/// Registers every filter that the templates use.
pub(crate) fn register(tera: &mut Tera) {
    tera.register_filter("percent", |value: f64, _: Kwargs, _: &State| percent(value));
    tera.register_filter("position", |value: f64, _: Kwargs, _: &State| {
        position(value)
    });
    tera.register_filter("credits", |value: i64, _: Kwargs, _: &State| credits(value));
    tera.register_filter("signed_credits", |value: i64, _: Kwargs, _: &State| {
        signed_credits(value)
    });
    tera.register_filter("units", |value: i64, _: Kwargs, _: &State| {
        decimal(value as f64 / MICRO, 2)
    });
    tera.register_filter("bps", |value: f64, _: Kwargs, _: &State| bps(value));
    tera.register_filter("count", |value: f64, _: Kwargs, _: &State| count(value));
    tera.register_filter("grouped", |value: f64, _: Kwargs, _: &State| {
        decimal(value, 0)
    });
    tera.register_filter("duration", |value: i64, _: Kwargs, _: &State| {
        duration(value)
    });
    tera.register_filter("fixed", fixed);
    tera.register_filter("signed", |value: f64, _: Kwargs, _: &State| signed(value));
    tera.register_filter("bytes", |value: f64, _: Kwargs, _: &State| bytes(value));
    tera.register_filter("ago", |value: &str, _: Kwargs, _: &State| {
        ago(value, Timestamp::now())
    });
    tera.register_filter("exact", |value: &str, _: Kwargs, _: &State| exact(value));
    tera.register_filter("short", |value: &str, _: Kwargs, _: &State| short(value));
    tera.register_filter("words", |value: &str, _: Kwargs, _: &State| {
        value.replace(['_', '-'], " ")
    });
    tera.register_filter("phase", |value: &str, _: Kwargs, _: &State| {
        phase(value).to_owned()
    });
    tera.register_filter("leader", |value: &[Value], _: Kwargs, _: &State| {
        leader(value)
    });
    tera.register_filter("markdown", |value: &str, _: Kwargs, _: &State| {
        markup::markdown(value)
    });
    tera.register_filter("visible", |value: &str, _: Kwargs, _: &State| {
        markup::visible(value)
    });
    tera.register_filter("segment", |value: &str, _: Kwargs, _: &State| {
        segment(value)
    });
}

/// Seconds in the largest unit that divides them well: `90 s`, `45 min`, `36 h`, `14 d`.
pub(crate) fn duration(seconds: i64) -> String {
    match seconds {
        0 => "none".to_owned(),
        s if s < 120 => format!("{s} s"),
        s if s < 2 * 3_600 => format!("{} min", s / 60),
        s if s < 2 * 86_400 => format!("{} h", s / 3_600),
        s => format!("{} d", s / 86_400),
    }
}

/// The outcome that won, or else the most likely one, of a market's outcomes; none of no outcomes.
fn leader(outcomes: &[Value]) -> Value {
    let number = |outcome: &Value, name: &str| {
        let value = outcome.get_from_path(name).and_then(Value::as_f64);
        value.unwrap_or(-1.0)
    };
    let weight = |outcome: &Value| {
        (
            number(outcome, "settlement"),
            number(outcome, "probability"),
        )
    };
    let first = outcomes.iter().max_by(|a, b| {
        let ((pi_a, p_a), (pi_b, p_b)) = (weight(a), weight(b));
        pi_a.total_cmp(&pi_b).then(p_a.total_cmp(&p_b))
    });
    first.cloned().unwrap_or_else(Value::none)
}

fn fixed(value: f64, kwargs: Kwargs, _: &State) -> tera::TeraResult<String> {
    let places: i64 = kwargs.get("places")?.unwrap_or(2);
    Ok(decimal(value, places.clamp(0, 9) as usize))
}

/// A probability or share as a percentage with one decimal: `48.2%`.
pub(crate) fn percent(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    format!("{:.1}%", value * 100.0)
}

/// A fraction as a coordinate for SVG: `48.20%`, kept inside the drawing.
pub(crate) fn position(value: f64) -> String {
    let value = if value.is_finite() {
        value.clamp(0.0, 1.0)
    } else {
        0.0
    };
    format!("{:.2}%", value * 100.0)
}

/// Micro-credits as credits with two decimals, rounded to nearest for display: `1,234.50 cr`.
pub(crate) fn credits(micro: i64) -> String {
    format!("{} cr", decimal(micro as f64 / MICRO, 2))
}

/// The same with its sign: `+12.00 cr`.
pub(crate) fn signed_credits(micro: i64) -> String {
    let sign = if micro > 0 { "+" } else { "" };
    format!("{sign}{}", credits(micro))
}

/// Basis points as a percentage: 2500 is `25%`, 50 is `0.5%`.
pub(crate) fn bps(value: f64) -> String {
    let text = format!("{:.2}", value / 100.0);
    format!("{}%", text.trim_end_matches('0').trim_end_matches('.'))
}

/// A large number, three digits: `1.23M`, `870k`, `512`.
pub(crate) fn count(value: f64) -> String {
    let steps = [(1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")];
    match steps
        .into_iter()
        .find(|(step, _)| value.abs() >= *step * 0.9995)
    {
        Some((step, suffix)) => format!("{}{suffix}", three_digits(value / step)),
        None => three_digits(value),
    }
}

/// Bytes in decimal units: `12.3 MB`.
pub(crate) fn bytes(value: f64) -> String {
    let steps = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
    match steps
        .into_iter()
        .find(|(step, _)| value.abs() >= *step * 0.9995)
    {
        Some((step, suffix)) => format!("{} {suffix}", three_digits(value / step)),
        None => format!("{} B", three_digits(value)),
    }
}

fn three_digits(value: f64) -> String {
    let places = if value.fract() == 0.0 || value.abs() >= 99.95 {
        0
    } else if value.abs() >= 9.995 {
        1
    } else {
        2
    };
    decimal(value, places)
}

/// A number with thousands separated and a true minus sign.
pub(crate) fn decimal(value: f64, places: usize) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let text = format!("{:.places$}", value.abs());
    let (whole, fraction) = text
        .split_once('.')
        .map_or((text.as_str(), ""), |(whole, fraction)| (whole, fraction));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let negative = value < 0.0 && text.bytes().any(|byte| matches!(byte, b'1'..=b'9'));
    let sign = if negative { "−" } else { "" };
    if fraction.is_empty() {
        format!("{sign}{grouped}")
    } else {
        format!("{sign}{grouped}.{fraction}")
    }
}

/// A change with its sign and two decimals: `+1.38`.
pub(crate) fn signed(value: f64) -> String {
    let sign = if value >= 0.005 { "+" } else { "" };
    format!("{sign}{}", decimal(value, 2))
}

/// The distance of a time from `now`: `12 s ago`, `in 3 min`. The text itself when it is not a time.
pub(crate) fn ago(time: &str, now: Timestamp) -> String {
    let Ok(then) = time.parse::<Timestamp>() else {
        return time.to_owned();
    };
    let distance: SignedDuration = now.duration_since(then);
    let seconds = distance.as_secs();
    let text = match seconds.unsigned_abs() {
        0..=4 => return "just now".to_owned(),
        s @ 5..=89 => format!("{s} s"),
        s @ 90..=5_399 => format!("{} min", (s + 30) / 60),
        s @ 5_400..=129_599 => format!("{} h", (s + 1_800) / 3_600),
        s => format!("{} d", (s + 43_200) / 86_400),
    };
    if seconds >= 0 {
        format!("{text} ago")
    } else {
        format!("in {text}")
    }
}

/// A time in full: `2026-11-22 17:34:24 UTC`. The text itself when it is not a time.
pub(crate) fn exact(time: &str) -> String {
    time.parse::<Timestamp>().map_or_else(
        |_| time.to_owned(),
        |then| {
            then.to_zoned(TimeZone::UTC)
                .strftime("%Y-%m-%d %H:%M:%S UTC")
                .to_string()
        },
    )
}

/// The start of a hash or id, enough to tell it apart.
pub(crate) fn short(id: &str) -> String {
    let start: String = id.chars().take(10).collect();
    if start.len() < id.len() {
        format!("{start}…")
    } else {
        start
    }
}

/// A phase of acknowledgement for people: what was released was enforced before.
pub(crate) fn phase(phase: &str) -> &str {
    if phase == "released" {
        "enforced"
    } else {
        phase
    }
}

/// An id made safe as one segment of an address.
pub(crate) fn segment(id: &str) -> Value {
    Value::from(form_urlencoded::byte_serialize(id.as_bytes()).collect::<String>())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn durations() {
        let table = [
            (0, "none"),
            (90, "90 s"),
            (2_700, "45 min"),
            (129_600, "36 h"),
            (1_209_600, "14 d"),
        ];
        for (seconds, text) in table {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn numbers() {
        let table = [
            (percent(0.4823), "48.2%"),
            (percent(f64::NAN), "–"),
            (position(1.7), "100.00%"),
            (position(f64::NAN), "0.00%"),
            (credits(1_234_500_000), "1,234.50 cr"),
            (credits(-1), "0.00 cr"),
            (signed_credits(12_000_000), "+12.00 cr"),
            (signed_credits(-12_000_000), "−12.00 cr"),
            (bps(2_500.0), "25%"),
            (bps(50.0), "0.5%"),
            (bps(10_000.0), "100%"),
            (bps(3_333.0), "33.33%"),
            (count(870_123.0), "870k"),
            (count(999_900.0), "1.00M"),
            (count(1_234_567.0), "1.23M"),
            (count(12.0), "12"),
            (count(0.5), "0.50"),
            (bytes(12_345_678.0), "12.3 MB"),
            (bytes(512.0), "512 B"),
            (decimal(-1_234_567.891, 1), "−1,234,567.9"),
            (signed(1.384), "+1.38"),
            (signed(-0.001), "0.00"),
            (short("0123456789abcdef"), "0123456789…"),
            (short("short"), "short"),
        ];
        for (got, expected) in table {
            assert_eq!(got, expected);
        }
    }

    #[test]
    fn times() {
        let now: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        for (time, expected) in [
            ("2026-11-22T11:59:58Z", "just now"),
            ("2026-11-22T11:59:30Z", "30 s ago"),
            ("2026-11-22T11:50:00Z", "10 min ago"),
            ("2026-11-22T12:03:00Z", "in 3 min"),
            ("2026-11-22T04:00:00Z", "8 h ago"),
            ("2026-11-12T12:00:00Z", "10 d ago"),
            ("<script>", "<script>"),
        ] {
            assert_eq!(ago(time, now), expected);
        }
        assert_eq!(exact("2026-11-22T12:00:00.123Z"), "2026-11-22 12:00:00 UTC");
    }
}
