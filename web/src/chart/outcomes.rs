//! The chart of a market of several outcomes: a step line for each of the leading ones.

use plumbline_service::views::{MarketView, OutcomePrices};

use super::scale::millis;
use super::shape::{Axis, Chart, Event, Shape, UnitLine, percent_ticks};
use super::{Frame, time_range};
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
pub(crate) fn draw(market: &MarketView, moves: &[OutcomePrices], now: i64) -> Chart {
    let lines = leading(market);
    let known: Vec<Known<'_>> = moves
        .iter()
        .filter_map(|point| millis(&point.at).map(|at| Known { at, point }))
        .collect();
    let ends = (
        known.first().map(|known| known.at),
        known.last().map(|known| known.at),
    );
    let (from, to) = time_range(market, ends.0, ends.1, now);
    let axis = Axis::Time(from, to);
    let x = |at: i64| axis.fraction(at as f64);
    let outcomes = market.outcomes.as_deref().unwrap_or_default();
    let line = |name: String, class: String, price: &dyn Fn(&Known<'_>) -> f64| UnitLine {
        name,
        class,
        points: known
            .iter()
            .map(|known| (x(known.at), price(known)))
            .collect(),
        steps: true,
        to_edge: true,
    };
    let mut drawn: Vec<UnitLine> = lines
        .iter()
        .enumerate()
        .map(|(rank, index)| {
            let name = outcomes.get(*index).map_or("", |one| one.name.as_str());
            let class = format!("line-outcome line-{}", rank + 1);
            line(name.to_owned(), class, &|known| known.price(*index))
        })
        .collect();
    if lines.len() < outcomes.len() {
        let name = format!("{} others", outcomes.len() - lines.len());
        let class = "line-outcome line-others".to_owned();
        drawn.push(line(name, class, &|known| known.rest(&lines)));
    }
    let events = known.iter().map(|known| event(market, known, x(known.at)));
    Shape {
        events: events.collect(),
        summary: summary(market, &lines),
        ..Shape::of(drawn, axis, percent_ticks())
    }
    .draw(Frame::WIDE)
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

/// What was traded to which price, or who led at the opening.
fn event(market: &MarketView, known: &Known<'_>, x: f64) -> Event {
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
    Event {
        at: (x, price),
        cause: None,
        head: format!("{name} {}", percent(price)),
        text: format!("{what} · {}", exact(&known.point.at)),
        href: None,
    }
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
        let read = |text: &str| chart.readings.iter().any(|one| one.head.contains(text));
        assert!(read("# fast path 61.8%"), "{:?}", chart.readings);
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
            let read = format!("{:?}", chart.readings);
            assert!(!read.contains("NaN"), "{read}");
        }
        assert!(
            draw(&samples::outcomes_market(), &[], 0).wide.lines[0]
                .path
                .is_empty()
        );
    }
}
