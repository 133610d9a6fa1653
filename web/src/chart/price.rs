//! The price chart of a market: a step line with every cause marked.

use plumbline_service::views::{MarketView, PricePoint, ShareChange};

use super::scale::millis;
use super::shape::{Axis, Chart, Event, Shape, UnitLine, percent_ticks};
use super::{Frame, time_range};
use crate::templates::format::{bps, exact, percent};

/// A point whose time could be read.
struct Known<'a> {
    at: i64,
    before: Option<f64>,
    point: &'a PricePoint,
}

/// Draws the history of `market` with the decisions on its run (`shares`, oldest first), up to `now` (milliseconds
/// since 1970) while it is open.
pub(crate) fn draw(
    market: &MarketView,
    points: &[PricePoint],
    shares: &[ShareChange],
    now: i64,
) -> Chart {
    let known = known(points);
    let (first, last) = (known.first(), known.last());
    let (from, to) = time_range(
        market,
        first.map(|known| known.at),
        last.map(|known| known.at),
        now,
    );
    let axis = Axis::Time(from, to);
    let x = |at: i64| axis.fraction(at as f64);
    let line = UnitLine {
        name: "probability".to_owned(),
        class: "price-line".to_owned(),
        points: known
            .iter()
            .map(|known| (x(known.at), known.point.probability))
            .collect(),
        steps: true,
        to_edge: true,
    };
    let settlement = &market.settlement;
    let time = |text: &Option<String>| text.as_deref().and_then(millis).map(x);
    let mut told: Vec<(i64, Event)> = known
        .iter()
        .map(|known| (known.at, event(known, x(known.at))))
        .collect();
    told.extend(decisions(shares, &known, (from, to), x));
    told.sort_by_key(|(at, _)| *at);
    Shape {
        shaded: true,
        events: told.into_iter().map(|(_, event)| event).collect(),
        interval: Some((market.interval.low, market.interval.high)),
        frozen: time(&settlement.frozen_at),
        settled: settlement
            .pi
            .map(|pi| (time(&settlement.settled_at).unwrap_or(1.0), pi)),
        summary: summary(market, known.len()),
        ..Shape::of(vec![line], axis, percent_ticks())
    }
    .draw(Frame::WIDE)
}

fn known(points: &[PricePoint]) -> Vec<Known<'_>> {
    let mut known = Vec::with_capacity(points.len());
    let mut before = None;
    for point in points.iter().filter(|point| point.probability.is_finite()) {
        if let Some(at) = millis(&point.at) {
            known.push(Known { at, before, point });
            before = Some(point.probability);
        }
    }
    known
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

fn event(known: &Known<'_>, x: f64) -> Event {
    let href = match (known.point.cause.as_str(), &known.point.reference) {
        ("evidence", Some(id)) => Some(format!("/evidence/{}", path_segment(id))),
        _ => None,
    };
    Event {
        at: (x, known.point.probability),
        cause: Some(known.point.cause.clone()),
        head: percent(known.point.probability),
        text: describe(known),
        href,
    }
}

/// The decisions on the run in the time that is shown, each at the price of its moment.
fn decisions<'a>(
    shares: &'a [ShareChange],
    known: &'a [Known<'a>],
    (from, to): (i64, i64),
    x: impl Fn(i64) -> f64 + 'a,
) -> impl Iterator<Item = (i64, Event)> + 'a {
    let timed = shares
        .iter()
        .filter_map(|share| millis(&share.at).map(|at| (at, share)));
    let shown = timed.filter(move |(at, _)| (from..=to).contains(at));
    shown.filter_map(move |(at, share)| {
        let then = known.iter().rev().find(|known| known.at <= at)?;
        let price = then.point.probability;
        let event = Event {
            at: (x(at), price),
            cause: Some("decision".to_owned()),
            head: percent(price),
            text: format!(
                "decision: {}, {} of the pool · {}",
                share.action,
                bps(share.share_bps as f64),
                exact(&share.at)
            ),
            href: Some(format!("/allocations/{}", path_segment(&share.decision_id))),
        };
        Some((at, event))
    })
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
        let share = ShareChange {
            at: "2026-11-22T10:00:45Z".into(),
            decision_id: "d 1".into(),
            action: "throttle".into(),
            share_bps: 500,
        };
        let late = ShareChange {
            at: "2027-11-22T10:00:45Z".into(),
            ..share.clone()
        };
        let now = millis("2026-11-22T10:02:00Z").unwrap();
        let chart = draw(&market, &points, &[share, late], now);
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
        assert_eq!(chart.wide.lines[0].path, expected);
        let marks = &chart.wide.marks;
        let causes: Vec<&str> = marks.iter().map(|mark| mark.cause.as_str()).collect();
        assert_eq!(causes, ["open", "trade", "decision", "evidence"]);
        assert_eq!(marks[2].at.y, frame.top, "at the price of its moment");
        assert_eq!(marks[2].href.as_deref(), Some("/allocations/d+1"));
        assert!(marks[2].title.contains("throttle, 5% of the pool"));
        assert_eq!(marks[3].href.as_deref(), Some("/evidence/e%2F1"));
        assert!(
            marks[3].title.contains("evidence, −100.0 points"),
            "{}",
            marks[3].title
        );
        assert_eq!(chart.readings.len(), 4);
        assert!(chart.readings[0].at.split(' ').count() == 4);
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
        let chart = draw(&market, &points, &[], 0);
        for drawing in [&chart.wide, &chart.narrow] {
            assert_eq!(drawing.marks.len(), 2);
            for mark in &drawing.marks {
                assert!((drawing.frame.left..=drawing.frame.right).contains(&mark.at.x));
                assert!((drawing.frame.top..=drawing.frame.bottom).contains(&mark.at.y));
            }
            assert_eq!(drawing.settled.unwrap().y, drawing.frame.top);
            let line = &drawing.lines[0].path;
            assert!(!line.contains("NaN") && !line.contains("inf"));
        }
    }

    #[test]
    fn an_empty_history_is_an_empty_line() {
        let chart = draw(&samples::market(), &[], &[], 0);
        assert_eq!(chart.wide.lines[0].path, "");
        assert_eq!((chart.wide.area.as_str(), chart.readings.len()), ("", 0));
    }
}
