//! The price chart of a market: a step line with every cause marked.

use plumbline_service::views::{MarketView, PricePoint};
use serde::Serialize;

use super::scale::{millis, time_ticks};
use super::{Frame, Reading, Tick, readings_json};
use crate::templates::format::{exact, percent};

/// A price chart in both sizes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PriceChart {
    /// For desktop columns.
    pub(crate) wide: Drawing,
    /// For phones.
    pub(crate) narrow: Drawing,
    /// The sentence that stands for the chart where it cannot be seen.
    pub(crate) summary: String,
}

/// The chart's coordinates in one size.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Drawing {
    /// Size and margins.
    pub(crate) frame: Frame,
    /// Path of the step line.
    pub(crate) line: String,
    /// Path of the area under it.
    pub(crate) area: String,
    /// Gridlines with probabilities.
    pub(crate) y_ticks: Vec<Tick>,
    /// Times.
    pub(crate) x_ticks: Vec<Tick>,
    /// What moved the price.
    pub(crate) marks: Vec<Mark>,
    /// Current interval as an error bar at the right edge.
    pub(crate) interval: Span,
    /// Newest point.
    pub(crate) end: Place,
    /// Where the market was frozen.
    pub(crate) frozen: Option<f64>,
    /// Where it was settled, at π.
    pub(crate) settled: Option<Place>,
    /// Read-outs as JSON.
    pub(crate) readings: String,
}

/// A coordinate pair.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Place {
    /// Horizontal.
    pub(crate) x: f64,
    /// Vertical.
    pub(crate) y: f64,
}

/// A vertical span at one place.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Span {
    /// Horizontal.
    pub(crate) x: f64,
    /// Upper end.
    pub(crate) top: f64,
    /// Lower end.
    pub(crate) bottom: f64,
}

/// A cause on the line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Mark {
    /// Horizontal.
    pub(crate) x: f64,
    /// Vertical.
    pub(crate) y: f64,
    /// `open`, `trade`, `evidence` or `oracle`.
    pub(crate) cause: String,
    /// What happened, in words.
    pub(crate) title: String,
    /// Page about it.
    pub(crate) href: Option<String>,
}

/// A point whose time could be read.
struct Known<'a> {
    at: i64,
    before: Option<f64>,
    point: &'a PricePoint,
}

/// Draws the history of `market`, up to `now` (milliseconds since 1970) while it is open.
pub(crate) fn draw(market: &MarketView, points: &[PricePoint], now: i64) -> PriceChart {
    let mut known = Vec::with_capacity(points.len());
    let mut before = None;
    for point in points.iter().filter(|point| point.probability.is_finite()) {
        if let Some(at) = millis(&point.at) {
            known.push(Known { at, before, point });
            before = Some(point.probability);
        }
    }
    let summary = summary(market, known.len());
    let wide = drawing(Frame::WIDE, market, &known, now);
    PriceChart {
        wide,
        narrow: drawing(Frame::NARROW, market, &known, now),
        summary,
    }
}

fn summary(market: &MarketView, moves: usize) -> String {
    format!(
        "Probability from {} at opening to {} now, with {} recorded points. Interval {} to {}.",
        percent(market.opening_probability),
        percent(market.probability),
        moves,
        percent(market.interval.low),
        percent(market.interval.high),
    )
}

fn drawing(frame: Frame, market: &MarketView, known: &[Known<'_>], now: i64) -> Drawing {
    let (from, to) = time_range(market, known, now);
    let x = |at: i64| frame.x((at - from) as f64 / (to - from).max(1) as f64);
    let y = |probability: f64| frame.y(probability);
    let last = known
        .last()
        .map_or(market.probability, |known| known.point.probability);
    let line = step_line(known, x, y, frame.right);
    let area = match known.first() {
        Some(first) => format!("{line}V{}H{}Z", frame.bottom, x(first.at)),
        None => String::new(),
    };
    let y_ticks = [0.0, 0.25, 0.5, 0.75, 1.0].map(|value| Tick {
        at: y(value),
        label: format!("{}%", value * 100.0),
    });
    let x_ticks = time_ticks(from, to, frame.x_labels)
        .into_iter()
        .map(|(at, label)| Tick { at: x(at), label });
    let readings: Vec<Reading> = known
        .iter()
        .map(|known| {
            let (px, py) = (x(known.at), y(known.point.probability));
            Reading::at(
                &frame,
                px,
                py,
                percent(known.point.probability),
                describe(known),
            )
        })
        .collect();
    let settled = market.settlement.pi.map(|pi| Place {
        x: market
            .settlement
            .settled_at
            .as_deref()
            .and_then(millis)
            .map_or(frame.right, x),
        y: y(pi),
    });
    Drawing {
        line,
        area,
        y_ticks: y_ticks.to_vec(),
        x_ticks: x_ticks.collect(),
        marks: known
            .iter()
            .map(|known| mark(known, x(known.at), y(known.point.probability)))
            .collect(),
        interval: Span {
            x: frame.right + 9.0,
            top: y(market.interval.high),
            bottom: y(market.interval.low),
        },
        end: Place {
            x: frame.right,
            y: y(last),
        },
        frozen: market
            .settlement
            .frozen_at
            .as_deref()
            .and_then(millis)
            .map(x),
        settled,
        readings: readings_json(&readings),
        frame,
    }
}

/// From the first point to the newest fact, or to now while the market trades.
fn time_range(market: &MarketView, known: &[Known<'_>], now: i64) -> (i64, i64) {
    let from = known
        .first()
        .map(|known| known.at)
        .or_else(|| millis(&market.opened_at))
        .unwrap_or(now);
    let facts = [&market.settlement.frozen_at, &market.settlement.settled_at];
    let facts = facts
        .into_iter()
        .filter_map(|time| time.as_deref().and_then(millis));
    let newest = facts
        .chain(known.last().map(|known| known.at))
        .max()
        .unwrap_or(from);
    let trading = matches!(market.status.as_str(), "open" | "closing");
    let to = if trading { newest.max(now) } else { newest };
    // A market that has just opened still gets a line with some length.
    (from, to.max(from + 10_000))
}

fn step_line(
    known: &[Known<'_>],
    x: impl Fn(i64) -> f64,
    y: impl Fn(f64) -> f64,
    right: f64,
) -> String {
    let mut path = String::new();
    for (index, known) in known.iter().enumerate() {
        let (px, py) = (x(known.at), y(known.point.probability));
        let command = if index == 0 {
            format!("M{px} {py}")
        } else {
            format!("H{px}V{py}")
        };
        path.push_str(&command);
    }
    if !path.is_empty() {
        path.push_str(&format!("H{right}"));
    }
    path
}

fn mark(known: &Known<'_>, x: f64, y: f64) -> Mark {
    let href = match (known.point.cause.as_str(), &known.point.reference) {
        ("evidence", Some(id)) => Some(format!("/evidence/{}", path_segment(id))),
        _ => None,
    };
    let title = format!("{} · {}", percent(known.point.probability), describe(known));
    Mark {
        x,
        y,
        cause: known.point.cause.clone(),
        title,
        href,
    }
}

fn describe(known: &Known<'_>) -> String {
    let what = match (known.point.cause.as_str(), known.before) {
        ("open", _) | (_, None) => "the market opened".to_owned(),
        (cause, Some(before)) => {
            let cause = match cause {
                "evidence" => "evidence",
                "trade" => "a trade",
                "oracle" => "a new assessment",
                _ => "a move",
            };
            let points = (known.point.probability - before) * 100.0;
            format!(
                "{cause}, {}{:.1} points",
                if points < 0.0 { "−" } else { "+" },
                points.abs()
            )
        }
    };
    format!("{what} · {}", exact(&known.point.at))
}

/// A sparkline in a 120 × 32 box: probability 0 to 1 upward, time by order. `None` below two points.
pub(crate) fn spark(points: &[PricePoint]) -> Option<String> {
    const WIDTH: f64 = 120.0;
    const HEIGHT: f64 = 32.0;
    let known: Vec<f64> = points
        .iter()
        .map(|point| point.probability)
        .filter(|p| p.is_finite())
        .collect();
    if known.len() < 2 {
        return None;
    }
    // Each point holds for one step, the newest up to the right edge.
    let step = WIDTH / known.len() as f64;
    let mut path = String::new();
    for (index, probability) in known.iter().enumerate() {
        let x = (index as f64 * step * 10.0).round() / 10.0;
        let y = ((1.0 - probability.clamp(0.0, 1.0)) * (HEIGHT - 4.0) * 10.0).round() / 10.0 + 2.0;
        let command = if index == 0 {
            format!("M{x} {y}")
        } else {
            format!("H{x}V{y}")
        };
        path.push_str(&command);
    }
    path.push_str(&format!("H{WIDTH}"));
    Some(path)
}

/// Keeps an id inside its path segment.
fn path_segment(id: &str) -> String {
    form_urlencoded::byte_serialize(id.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::templates::samples;

    fn point(at: &str, probability: f64, cause: &str) -> PricePoint {
        PricePoint {
            at: at.into(),
            probability,
            cause: cause.into(),
            reference: Some("e/1".into()),
        }
    }

    #[test]
    fn a_price_is_held_until_the_next_move() {
        let market = samples::market();
        let points = [
            point("2026-11-22T10:00:00Z", 0.5, "open"),
            point("2026-11-22T10:00:30Z", 1.0, "trade"),
            point("2026-11-22T10:01:00Z", 0.0, "evidence"),
        ];
        let chart = draw(&market, &points, millis("2026-11-22T10:02:00Z").unwrap());
        let frame = Frame::WIDE;
        let middle = frame.y(0.5);
        let expected = format!(
            "M{} {}H{}V{}H{}V{}H{}",
            frame.left,
            middle,
            frame.x(0.25),
            frame.top,
            frame.x(0.5),
            frame.bottom,
            frame.right
        );
        assert_eq!(chart.wide.line, expected);
        assert_eq!(chart.wide.marks[2].href.as_deref(), Some("/evidence/e%2F1"));
        assert!(
            chart.wide.marks[2]
                .title
                .contains("evidence, −100.0 points"),
            "{}",
            chart.wide.marks[2].title
        );
        assert_eq!(chart.wide.marks[1].href, None);
    }

    #[test]
    fn nothing_leaves_the_frame_whatever_the_input() {
        let mut market = samples::market();
        market.interval.low = f64::NAN;
        market.settlement.pi = Some(7.0);
        let points = [
            point("never", 0.5, "open"),
            point("2026-11-22T10:00:00Z", f64::INFINITY, "trade"),
            point("2026-11-22T10:00:00Z", -3.0, "trade"),
            point("2025-11-22T10:00:00Z", 9.0, "song"),
        ];
        let chart = draw(&market, &points, 0);
        for drawing in [&chart.wide, &chart.narrow] {
            assert_eq!(drawing.marks.len(), 2);
            for mark in &drawing.marks {
                assert!((drawing.frame.left..=drawing.frame.right).contains(&mark.x));
                assert!((drawing.frame.top..=drawing.frame.bottom).contains(&mark.y));
            }
            assert_eq!(drawing.settled.unwrap().y, drawing.frame.top);
            assert!(!drawing.line.contains("NaN") && !drawing.line.contains("inf"));
        }
    }

    #[test]
    fn an_empty_history_is_an_empty_line() {
        let chart = draw(&samples::market(), &[], 0);
        assert_eq!(
            (
                chart.wide.line.as_str(),
                chart.wide.area.as_str(),
                chart.wide.readings.as_str()
            ),
            ("", "", "[]")
        );
    }
}
