//! Line charts of training: loss per node, throughput, share of compute.

use serde::Serialize;

use super::scale::number_ticks;
use super::{Frame, Reading, Tick, readings_json};

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

/// A chart in both sizes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct LineChart {
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
    /// The lines.
    pub(crate) lines: Vec<Line>,
    /// Vertical axis.
    pub(crate) y_ticks: Vec<Tick>,
    /// Horizontal axis.
    pub(crate) x_ticks: Vec<Tick>,
    /// Read-outs as JSON.
    pub(crate) readings: String,
}

/// One line's path.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Line {
    /// What it is.
    pub(crate) name: String,
    /// CSS class.
    pub(crate) class: String,
    /// SVG path data.
    pub(crate) path: String,
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
pub(crate) fn draw(series: &[Series], labels: Labels, wide: Frame, summary: String) -> LineChart {
    let thinned: Vec<Series> = series.iter().map(thin).collect();
    LineChart {
        wide: drawing(wide, &thinned, labels),
        narrow: drawing(Frame::NARROW, &thinned, labels),
        summary,
    }
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

fn drawing(frame: Frame, series: &[Series], labels: Labels) -> Drawing {
    let all = || {
        series
            .iter()
            .flat_map(|series| series.points.iter().copied())
    };
    let bounds = |pick: fn((f64, f64)) -> f64| {
        all()
            .map(pick)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| {
                (low.min(v), high.max(v))
            })
    };
    let (x_low, x_high) = bounds(|(x, _)| x);
    let (y_low, y_high) = bounds(|(_, y)| y);
    let y_low = if labels.from_zero {
        y_low.min(0.0)
    } else {
        y_low
    };
    let (x_from, x_to) = if x_high > x_low {
        (x_low, x_high)
    } else {
        (x_low, x_low + 1.0)
    };
    let (y_from, y_to, y_numbers) = number_ticks(y_low, y_high, 4);
    let (_, _, x_numbers) = number_ticks(x_from, x_to, frame.x_labels.saturating_sub(1));
    let x = |value: f64| frame.x((value - x_from) / (x_to - x_from));
    let y = |value: f64| frame.y((value - y_from) / (y_to - y_from));
    let x_ticks = x_numbers
        .into_iter()
        .filter(|value| (x_from..=x_to).contains(value));
    let lines = series.iter().map(|series| Line {
        name: series.name.clone(),
        class: series.class.clone(),
        path: path(series, x, y),
    });
    Drawing {
        lines: lines.collect(),
        y_ticks: y_numbers
            .into_iter()
            .map(|value| Tick {
                at: y(value),
                label: (labels.y)(value),
            })
            .collect(),
        x_ticks: x_ticks
            .map(|value| Tick {
                at: x(value),
                label: (labels.x)(value),
            })
            .collect(),
        readings: readings_json(&readings(&frame, series, labels, x, y)),
        frame,
    }
}

fn path(series: &Series, x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) -> String {
    let mut path = String::new();
    for (index, (at, value)) in series.points.iter().enumerate() {
        let (px, py) = (x(*at), y(*value));
        let command = match (index, series.steps) {
            (0, _) => format!("M{px} {py}"),
            (_, true) => format!("H{px}V{py}"),
            (_, false) => format!("L{px} {py}"),
        };
        path.push_str(&command);
    }
    path
}

/// One read-out per point of the first read series, with the other read series' values at the same x.
fn readings(
    frame: &Frame,
    series: &[Series],
    labels: Labels,
    x: impl Fn(f64) -> f64,
    y: impl Fn(f64) -> f64,
) -> Vec<Reading> {
    let read: Vec<&Series> = series.iter().filter(|series| series.read).collect();
    let Some(main) = read.first() else {
        return Vec::new();
    };
    let others = &read[1..];
    let reading = |(at, value): &(f64, f64)| {
        let mut text = format!("{} {}", (labels.x)(*at), labels.x_unit);
        for other in others {
            if let Some((_, value)) = other.points.iter().find(|(x, _)| x == at) {
                text.push_str(&format!(" · {} {}", other.name, (labels.y)(*value)));
            }
        }
        Reading::at(
            frame,
            x(*at),
            y(*value),
            format!("{} {}", main.name, (labels.y)(*value)),
            text,
        )
    };
    main.points.iter().map(reading).collect()
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
            assert_eq!(chart.wide.readings, "[]");
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
