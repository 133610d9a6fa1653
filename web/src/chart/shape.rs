//! One drawing for every chart: lines, marks and read-outs in a unit square, fitted into frames.

use serde::Serialize;

use super::scale::{number_ticks, time_ticks};
use super::{Frame, Tick};

/// Most read-outs of a chart; more could not be told apart by hovering, and nobody reads a longer table.
const MOST_READINGS: usize = 160;

/// A chart in both sizes, and in words.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Chart {
    /// For desktop columns.
    pub(crate) wide: Drawing,
    /// For phones.
    pub(crate) narrow: Drawing,
    /// Its values as a table, which is what hovering and arrow keys read too.
    pub(crate) readings: Vec<Reading>,
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
    /// Path of the area under the first line; empty without one.
    pub(crate) area: String,
    /// Vertical axis.
    pub(crate) y_ticks: Vec<Tick>,
    /// Horizontal axis.
    pub(crate) x_ticks: Vec<Tick>,
    /// What happened, on the first line.
    pub(crate) marks: Vec<Mark>,
    /// Current interval as an error bar at the right edge.
    pub(crate) interval: Option<Span>,
    /// Newest point of the first line.
    pub(crate) end: Option<Place>,
    /// Where the market was frozen.
    pub(crate) frozen: Option<f64>,
    /// Where it was settled, at π.
    pub(crate) settled: Option<Place>,
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

/// Something on the line.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Mark {
    /// Where.
    #[serde(flatten)]
    pub(crate) at: Place,
    /// `open`, `trade`, `evidence`, `oracle` or `decision`.
    pub(crate) cause: String,
    /// What happened, in words.
    pub(crate) title: String,
    /// Page about it.
    pub(crate) href: Option<String>,
}

/// One value of the chart that can be read off.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Reading {
    /// Its place as fractions of both drawings' outer sizes: wide x and y, narrow x and y.
    pub(crate) at: String,
    /// The value.
    pub(crate) head: String,
    /// What and when.
    pub(crate) text: String,
    /// Page about it.
    pub(crate) href: Option<String>,
}

/// A line in the unit square.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct UnitLine {
    /// What it is.
    pub(crate) name: String,
    /// CSS class.
    pub(crate) class: String,
    /// Points, x increasing.
    pub(crate) points: Vec<(f64, f64)>,
    /// Whether y holds until the next x.
    pub(crate) steps: bool,
    /// Whether the newest y holds up to the right edge.
    pub(crate) to_edge: bool,
}

/// Something that happened, in the unit square.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    /// Where.
    pub(crate) at: (f64, f64),
    /// What its mark looks like; nothing for no mark.
    pub(crate) cause: Option<String>,
    /// The value.
    pub(crate) head: String,
    /// What and when.
    pub(crate) text: String,
    /// Page about it.
    pub(crate) href: Option<String>,
}

/// The horizontal axis.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Axis {
    /// Times, milliseconds since 1970.
    Time(i64, i64),
    /// Numbers, and how to write them.
    Number(f64, f64, fn(f64) -> String),
}

impl Axis {
    /// Round places and their labels, at most `most`; as fractions of the axis.
    fn ticks(self, most: usize) -> Vec<(f64, String)> {
        match self {
            Self::Time(from, to) => time_ticks(from, to, most)
                .into_iter()
                .map(|(at, label)| (self.fraction(at as f64), label))
                .collect(),
            Self::Number(from, to, label) => {
                let (_, _, numbers) = number_ticks(from, to, most.saturating_sub(1));
                numbers
                    .into_iter()
                    .filter(|value| (from..=to).contains(value))
                    .map(|value| (self.fraction(value), label(value)))
                    .collect()
            }
        }
    }

    /// Where a value stands between the ends.
    pub(crate) fn fraction(self, value: f64) -> f64 {
        match self {
            Self::Time(from, to) => (value - from as f64) / (to - from).max(1) as f64,
            Self::Number(from, to, _) => (value - from) / (to - from),
        }
    }
}

/// A chart before it is fitted into frames; everything in `[0, 1]`, y upward.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// The lines; the first is the main one.
    pub(crate) lines: Vec<UnitLine>,
    /// Whether the area under the first line is shaded and its newest point marked.
    pub(crate) shaded: bool,
    /// Horizontal axis.
    pub(crate) x_axis: Axis,
    /// Places and labels of the vertical axis.
    pub(crate) y_ticks: Vec<(f64, String)>,
    /// What can be read off, x increasing.
    pub(crate) events: Vec<Event>,
    /// Current interval.
    pub(crate) interval: Option<(f64, f64)>,
    /// When the market was frozen.
    pub(crate) frozen: Option<f64>,
    /// When and at what it was settled.
    pub(crate) settled: Option<(f64, f64)>,
    /// The sentence that stands for the chart.
    pub(crate) summary: String,
}

/// Gridlines of a probability.
pub(crate) fn percent_ticks() -> Vec<(f64, String)> {
    let at = |value: f64| (value, format!("{}%", value * 100.0));
    [0.0, 0.25, 0.5, 0.75, 1.0].map(at).to_vec()
}

impl Shape {
    /// A chart of lines alone.
    pub(crate) fn of(lines: Vec<UnitLine>, x_axis: Axis, y_ticks: Vec<(f64, String)>) -> Self {
        Self {
            lines,
            shaded: false,
            x_axis,
            y_ticks,
            events: Vec::new(),
            interval: None,
            frozen: None,
            settled: None,
            summary: String::new(),
        }
    }

    /// Fits it into a frame and into a phone's.
    pub(crate) fn draw(self, wide: Frame) -> Chart {
        let every = self.events.len().div_ceil(MOST_READINGS).max(1);
        let last = self.events.len().saturating_sub(1);
        // What somebody did is always there to be read; of mere values every n-th and the newest.
        let kept =
            self.events.iter().enumerate().filter(|(index, event)| {
                index % every == 0 || *index == last || event.href.is_some()
            });
        Chart {
            readings: kept.map(|(_, event)| reading(event, wide)).collect(),
            wide: self.drawing(wide),
            narrow: self.drawing(Frame::NARROW),
            summary: self.summary,
        }
    }

    fn drawing(&self, frame: Frame) -> Drawing {
        let place = |(x, y): (f64, f64)| Place {
            x: frame.x(x),
            y: frame.y(y),
        };
        let lines: Vec<Line> = self.lines.iter().map(|line| drawn(line, frame)).collect();
        let main = self.lines.first().filter(|_| self.shaded);
        let first = main.and_then(|line| line.points.first());
        let area = match (first, lines.first()) {
            (Some((x, _)), Some(line)) => {
                format!("{}V{}H{}Z", line.path, frame.bottom, frame.x(*x))
            }
            _ => String::new(),
        };
        let marks = self.events.iter().filter_map(|event| {
            Some(Mark {
                at: place(event.at),
                cause: event.cause.clone()?,
                title: format!("{} · {}", event.head, event.text),
                href: event.href.clone(),
            })
        });
        let newest = main.and_then(|line| line.points.last());
        Drawing {
            area,
            y_ticks: labelled(&self.y_ticks, |value| frame.y(value)),
            x_ticks: labelled(&self.x_axis.ticks(frame.x_labels), |value| frame.x(value)),
            marks: marks.collect(),
            interval: self.interval.map(|(low, high)| Span {
                x: frame.right + 9.0,
                top: frame.y(high),
                bottom: frame.y(low),
            }),
            end: newest.map(|(_, y)| place((1.0, *y))),
            frozen: self.frozen.map(|at| frame.x(at)),
            settled: self.settled.map(place),
            lines,
            frame,
        }
    }
}

fn labelled(ticks: &[(f64, String)], at: impl Fn(f64) -> f64) -> Vec<Tick> {
    let tick = |(value, label): &(f64, String)| Tick {
        at: at(*value),
        label: label.clone(),
    };
    ticks.iter().map(tick).collect()
}

fn drawn(line: &UnitLine, frame: Frame) -> Line {
    let mut path = String::new();
    for (index, (x, y)) in line.points.iter().enumerate() {
        let (x, y) = (frame.x(*x), frame.y(*y));
        path.push_str(&match (index, line.steps) {
            (0, _) => format!("M{x} {y}"),
            (_, true) => format!("H{x}V{y}"),
            (_, false) => format!("L{x} {y}"),
        });
    }
    if line.to_edge && !path.is_empty() {
        path.push_str(&format!("H{}", frame.right));
    }
    Line {
        name: line.name.clone(),
        class: line.class.clone(),
        path,
    }
}

fn reading(event: &Event, wide: Frame) -> Reading {
    let at = |frame: Frame| {
        let (x, y) = event.at;
        format!(
            "{:.4} {:.4}",
            frame.x(x) / frame.width,
            frame.y(y) / frame.height
        )
    };
    Reading {
        at: format!("{} {}", at(wide), at(Frame::NARROW)),
        head: event.head.clone(),
        text: event.text.clone(),
        href: event.href.clone(),
    }
}
