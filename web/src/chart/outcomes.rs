//! The chart of a market of several outcomes: a step line for each of the leading ones.

use plumbline_service::views::{MarketView, OutcomePrices};

use super::line::{Drawing, Line, LineChart};
use super::scale::{millis, time_ticks};
use super::{Frame, Reading, Tick, readings_json};
use crate::templates::format::{exact, percent};

/// Lines drawn; the other outcomes are drawn together. As many as there are series colours.
pub(crate) const MOST_LINES: usize = 8;

/// The places of the outcomes that have a line of their own, the most likely first, and for a settled market those
/// that won first.
pub(crate) fn leading(market: &MarketView) -> Vec<usize> {
    let outcomes = market.outcomes.as_deref().unwrap_or_default();
    let mut order: Vec<usize> = (0..outcomes.len()).collect();
    let weight = |index: &usize| {
        let one = &outcomes[*index];
        (one.settlement.unwrap_or(0.0), one.probability)
    };
    order.sort_by(|a, b| {
        let ((pi_a, p_a), (pi_b, p_b)) = (weight(a), weight(b));
        pi_b.total_cmp(&pi_a).then(p_b.total_cmp(&p_a))
    });
    order.truncate(MOST_LINES);
    order
}

/// Draws the history of `market`, up to `now` (milliseconds since 1970) while it trades.
pub(crate) fn draw(market: &MarketView, moves: &[OutcomePrices], now: i64) -> LineChart {
    let lines = leading(market);
    let known: Vec<Known<'_>> = moves
        .iter()
        .filter_map(|point| millis(&point.at).map(|at| Known { at, point }))
        .collect();
    LineChart {
        wide: drawing(Frame::WIDE, market, &lines, &known, now),
        narrow: drawing(Frame::NARROW, market, &lines, &known, now),
        summary: summary(market, &lines),
    }
}

/// Prices whose time could be read.
struct Known<'a> {
    at: i64,
    point: &'a OutcomePrices,
}

impl Known<'_> {
    /// Price of one outcome; 0 where the list is too short.
    fn price(&self, outcome: usize) -> f64 {
        let price = self.point.probabilities.get(outcome).copied();
        price.filter(|price| price.is_finite()).unwrap_or(0.0)
    }

    /// Price of all outcomes that are not among `lines`.
    fn rest(&self, lines: &[usize]) -> f64 {
        let own: f64 = lines.iter().map(|line| self.price(*line)).sum();
        (1.0 - own).clamp(0.0, 1.0)
    }
}

fn summary(market: &MarketView, lines: &[usize]) -> String {
    let outcomes = market.outcomes.as_deref().unwrap_or_default();
    let first = lines.iter().filter_map(|line| outcomes.get(*line)).take(3);
    let told: Vec<String> = first
        .map(|one| format!("{} {}", one.name, percent(one.probability)))
        .collect();
    format!("{} outcomes; now {}.", outcomes.len(), told.join(", "))
}

fn drawing(
    frame: Frame,
    market: &MarketView,
    lines: &[usize],
    known: &[Known<'_>],
    now: i64,
) -> Drawing {
    let (from, to) = time_range(market, known, now);
    let x = |at: i64| frame.x((at - from) as f64 / (to - from).max(1) as f64);
    let y = |price: f64| frame.y(price);
    let outcomes = market.outcomes.as_deref().unwrap_or_default();
    let path = |price: &dyn Fn(&Known<'_>) -> f64| {
        let mut path = String::new();
        for (index, known) in known.iter().enumerate() {
            let (px, py) = (x(known.at), y(price(known)));
            let command = if index == 0 {
                format!("M{px} {py}")
            } else {
                format!("H{px}V{py}")
            };
            path.push_str(&command);
        }
        if !path.is_empty() {
            path.push_str(&format!("H{}", frame.right));
        }
        path
    };
    let mut drawn: Vec<Line> = lines
        .iter()
        .enumerate()
        .map(|(rank, line)| Line {
            name: outcomes
                .get(*line)
                .map_or(String::new(), |one| one.name.clone()),
            class: format!("line-outcome line-{}", rank + 1),
            path: path(&|known| known.price(*line)),
        })
        .collect();
    if lines.len() < outcomes.len() {
        drawn.push(Line {
            name: format!("{} others", outcomes.len() - lines.len()),
            class: "line-outcome line-others".to_owned(),
            path: path(&|known| known.rest(lines)),
        });
    }
    let readings: Vec<Reading> = known
        .iter()
        .map(|known| reading(&frame, market, known, &x, &y))
        .collect();
    Drawing {
        lines: drawn,
        y_ticks: [0.0, 0.25, 0.5, 0.75, 1.0]
            .map(|value| Tick {
                at: y(value),
                label: format!("{}%", value * 100.0),
            })
            .to_vec(),
        x_ticks: time_ticks(from, to, frame.x_labels)
            .into_iter()
            .map(|(at, label)| Tick { at: x(at), label })
            .collect(),
        readings: readings_json(&readings),
        frame,
    }
}

/// What was traded to which price, or who led at the opening.
fn reading(
    frame: &Frame,
    market: &MarketView,
    known: &Known<'_>,
    x: &impl Fn(i64) -> f64,
    y: &impl Fn(f64) -> f64,
) -> Reading {
    let outcomes = market.outcomes.as_deref().unwrap_or_default();
    let traded = known
        .point
        .outcome
        .as_ref()
        .and_then(|name| outcomes.iter().position(|one| one.name == *name));
    let likeliest = (0..outcomes.len()).max_by(|a, b| known.price(*a).total_cmp(&known.price(*b)));
    let shown = traded.or(likeliest).unwrap_or(0);
    let price = known.price(shown);
    let name = outcomes.get(shown).map_or("", |one| one.name.as_str());
    let what = if traded.is_some() {
        "a trade"
    } else {
        "the market opened"
    };
    Reading::at(
        frame,
        x(known.at),
        y(price),
        format!("{name} {}", percent(price)),
        format!("{what} · {}", exact(&known.point.at)),
    )
}

/// From the opening to the newest fact, or to now while the market trades.
fn time_range(market: &MarketView, known: &[Known<'_>], now: i64) -> (i64, i64) {
    let from = known
        .first()
        .map(|known| known.at)
        .or_else(|| millis(&market.opened_at))
        .unwrap_or(now);
    let facts = [&market.settlement.frozen_at, &market.settlement.settled_at];
    let newest = facts
        .into_iter()
        .filter_map(|time| time.as_deref().and_then(millis))
        .chain(known.last().map(|known| known.at))
        .max()
        .unwrap_or(from);
    let trading = matches!(market.status.as_str(), "open" | "closing");
    let to = if trading { newest.max(now) } else { newest };
    // A market that has just opened still gets lines with some length.
    (from, to.max(from + 10_000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::templates::samples;

    #[test]
    fn the_leading_outcomes_get_lines_and_the_rest_one_together() {
        let market = samples::outcomes_market();
        let chart = draw(&market, &samples::outcome_prices(), 0);
        let names: Vec<&str> = chart.wide.lines.iter().map(|l| l.name.as_str()).collect();
        assert_eq!(names.len(), MOST_LINES + 1, "{names:?}");
        assert_eq!((names[0], names[MOST_LINES]), ("# fast path", "2 others"));
        assert_eq!(chart.wide.lines[0].class, "line-outcome line-1");
        assert!(
            chart.wide.readings.contains("# fast path 61.8%"),
            "{}",
            chart.wide.readings
        );
        assert!(
            chart
                .summary
                .starts_with("10 outcomes; now # fast path 61.8%")
        );
    }

    #[test]
    fn nothing_leaves_the_frame_whatever_the_input() {
        let mut market = samples::outcomes_market();
        let mut moves = samples::outcome_prices();
        moves[0].probabilities = vec![f64::NAN, 7.0];
        moves[1].probabilities.clear();
        moves[2].at = "never".into();
        for outcomes in [market.outcomes.clone(), Some(Vec::new()), None] {
            market.outcomes = outcomes;
            let chart = draw(&market, &moves, i64::MAX / 4);
            for line in chart.wide.lines.iter().chain(&chart.narrow.lines) {
                assert!(!line.path.contains("NaN") && !line.path.contains("inf"));
            }
            assert!(!chart.wide.readings.contains("NaN"));
        }
        assert!(
            draw(&samples::outcomes_market(), &[], 0).wide.lines[0]
                .path
                .is_empty()
        );
    }
}
