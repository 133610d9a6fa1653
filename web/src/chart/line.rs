//! Line charts of training: loss per node, throughput, share of compute.

use super::Frame;
use super::scale::number_ticks;
use super::shape::{Axis, Chart, Event, Shape, UnitLine};

/// Most points drawn per line; more could not be told apart.
const MAX_POINTS: usize = 400;

/// One line's data.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Series {
    /// What it is, for the legend.
    pub(crate) name: String,
    /// CSS class that gives its colour.
    pub(crate) class: String,
    /// `(x, y)`, x increasing.
    pub(crate) points: Vec<(f64, f64)>,
    /// Whether y holds until the next x.
    pub(crate) steps: bool,
    /// Whether the read-out names this line's values.
    pub(crate) read: bool,
}

/// How to write the numbers of a chart.
#[derive(Clone, Copy)]
pub(crate) struct Labels {
    /// A number of the horizontal axis.
    pub(crate) x: fn(f64) -> String,
    /// A number of the vertical axis.
    pub(crate) y: fn(f64) -> String,
    /// What the horizontal axis counts.
    pub(crate) x_unit: &'static str,
    /// Whether the vertical axis starts at 0.
    pub(crate) from_zero: bool,
}

/// Draws the series in both sizes.
pub(crate) fn draw(series: &[Series], labels: Labels, wide: Frame, summary: String) -> Chart {
    let thinned: Vec<Series> = series.iter().map(thin).collect();
    Shape {
        summary,
        ..shape(&thinned, labels)
    }
    .draw(wide)
}

/// Keeps the first and the last point and every n-th between them; drops what is not finite.
fn thin(series: &Series) -> Series {
    let finite: Vec<(f64, f64)> = series
        .points
        .iter()
        .copied()
        .filter(|(x, y)| x.is_finite() && y.is_finite())
        .collect();
    let every = finite.len().div_ceil(MAX_POINTS).max(1);
    let last = finite.len().saturating_sub(1);
    let kept = finite
        .iter()
        .enumerate()
        .filter(|(index, _)| index % every == 0 || *index == last);
    Series {
        points: kept.map(|(_, point)| *point).collect(),
        ..series.clone()
    }
}

/// The smallest and the largest of some numbers.
fn bounds(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    })
}

fn shape(series: &[Series], labels: Labels) -> Shape {
    let all = || series.iter().flat_map(|series| series.points.iter());
    let (x_low, x_high) = bounds(all().map(|(x, _)| *x));
    let (y_low, y_high) = bounds(all().map(|(_, y)| *y));
    let y_low = if labels.from_zero {
        y_low.min(0.0)
    } else {
        y_low
    };
    let x_to = if x_high > x_low { x_high } else { x_low + 1.0 };
    let axis = Axis::Number(x_low, x_to, labels.x);
    let (y_from, y_to, y_numbers) = number_ticks(y_low, y_high, 4);
    let y = |value: f64| (value - y_from) / (y_to - y_from);
    let lines = series.iter().map(|series| UnitLine {
        name: series.name.clone(),
        class: series.class.clone(),
        points: series
            .points
            .iter()
            .map(|(at, value)| (axis.fraction(*at), y(*value)))
            .collect(),
        steps: series.steps,
        to_edge: false,
    });
    let y_ticks = y_numbers
        .into_iter()
        .map(|value| (y(value), (labels.y)(value)));
    Shape {
        events: events(series, labels, |x| axis.fraction(x), y),
        ..Shape::of(lines.collect(), axis, y_ticks.collect())
    }
}

/// One read-out per point of the first read series, with the other read series' values at the same x.
fn events(
    series: &[Series],
    labels: Labels,
    x: impl Fn(f64) -> f64,
    y: impl Fn(f64) -> f64,
) -> Vec<Event> {
    let read: Vec<&Series> = series.iter().filter(|series| series.read).collect();
    let Some(main) = read.first() else {
        return Vec::new();
    };
    let event = |(at, value): &(f64, f64)| {
        let mut text = format!("{} {}", (labels.x)(*at), labels.x_unit);
        for other in &read[1..] {
            if let Some((_, value)) = other.points.iter().find(|(x, _)| x == at) {
                text.push_str(&format!(" · {} {}", other.name, (labels.y)(*value)));
            }
        }
        Event {
            at: (x(*at), y(*value)),
            cause: None,
            head: format!("{} {}", main.name, (labels.y)(*value)),
            text,
            href: None,
        }
    };
    main.points.iter().map(event).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: Labels = Labels {
        x: |v| format!("{v}"),
        y: |v| format!("{v:.1}"),
        x_unit: "tokens",
        from_zero: true,
    };

    fn series(points: Vec<(f64, f64)>) -> Series {
        Series {
            name: "loss".into(),
            class: "line-main".into(),
            points,
            steps: false,
            read: true,
        }
    }

    #[test]
    fn lines_stay_inside_and_keep_their_ends() {
        let points: Vec<(f64, f64)> = (0..5_000)
            .map(|n| (f64::from(n), f64::from(n % 7)))
            .collect();
        let chart = draw(&[series(points)], LABELS, Frame::WIDE, String::new());
        let drawn = chart.wide.lines[0].path.matches('L').count();
        assert!(drawn <= MAX_POINTS + 1, "{drawn}");
        assert!(
            chart.wide.lines[0]
                .path
                .starts_with(&format!("M{} ", Frame::WIDE.left))
        );
        assert!(
            chart.wide.lines[0]
                .path
                .contains(&format!("L{} ", Frame::WIDE.right))
        );
        assert!(chart.wide.x_ticks.len() >= 2 && chart.wide.y_ticks.len() >= 2);
    }

    #[test]
    fn no_data_and_bad_data_draw_nothing() {
        for points in [vec![], vec![(f64::NAN, 1.0), (1.0, f64::INFINITY)]] {
            let chart = draw(&[series(points)], LABELS, Frame::WIDE, String::new());
            assert_eq!(chart.wide.lines[0].path, "");
            assert_eq!(chart.readings, []);
        }
    }

    #[test]
    fn one_point_is_drawn() {
        let chart = draw(
            &[series(vec![(3.0, 2.0)])],
            LABELS,
            Frame::WIDE,
            String::new(),
        );
        assert!(
            chart.wide.lines[0].path.starts_with('M') && !chart.wide.lines[0].path.contains("NaN")
        );
    }
}
