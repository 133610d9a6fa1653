//! Geometry of the SVG charts: numbers in, coordinates and labels out.
//!
//! Drawing is left to the templates, so that every label passes through their
//! escaping. Charts are computed twice, for a wide and for a narrow screen,
//! because scaling one drawing down would scale its text down with it.

pub(crate) mod line;
pub(crate) mod outcomes;
pub(crate) mod price;
pub(crate) mod scale;

use serde::Serialize;

/// Outer size and margins, in SVG user units (CSS pixels at the intended width).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Frame {
    /// Outer width.
    pub(crate) width: f64,
    /// Outer height.
    pub(crate) height: f64,
    /// Left edge of the plot.
    pub(crate) left: f64,
    /// Right edge of the plot.
    pub(crate) right: f64,
    /// Top edge of the plot.
    pub(crate) top: f64,
    /// Bottom edge of the plot.
    pub(crate) bottom: f64,
    /// Most labels along the horizontal axis.
    #[serde(skip)]
    pub(crate) x_labels: usize,
}

impl Frame {
    /// For a column of a desktop page.
    pub(crate) const WIDE: Self = Self::sized(760.0, 300.0, 7);
    /// For a phone.
    pub(crate) const NARROW: Self = Self::sized(358.0, 260.0, 4);
    /// For the whole width of a desktop page.
    pub(crate) const FULL: Self = Self::sized(1120.0, 320.0, 9);
    /// For half a desktop column.
    pub(crate) const HALF: Self = Self::sized(520.0, 240.0, 5);

    const fn sized(width: f64, height: f64, x_labels: usize) -> Self {
        Self {
            width,
            height,
            left: 44.0,
            right: width - 26.0,
            top: 14.0,
            bottom: height - 28.0,
            x_labels,
        }
    }

    /// Maps `fraction` of the plot's width to a coordinate.
    pub(crate) fn x(&self, fraction: f64) -> f64 {
        round(self.left + fraction.clamp(0.0, 1.0) * (self.right - self.left))
    }

    /// Maps `fraction` of the plot's height, upward, to a coordinate.
    pub(crate) fn y(&self, fraction: f64) -> f64 {
        round(self.bottom - fraction.clamp(0.0, 1.0) * (self.bottom - self.top))
    }
}

/// A labelled place on an axis.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Tick {
    /// Coordinate along the axis.
    pub(crate) at: f64,
    /// Its label.
    pub(crate) label: String,
}

/// A tenth of a pixel is enough, and keeps pages small.
fn round(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// One place that the read-out of a chart can show.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Reading {
    /// Fraction of the chart's outer width.
    pub(crate) x: f64,
    /// Fraction of the chart's outer height.
    pub(crate) y: f64,
    /// First line, the value.
    pub(crate) head: String,
    /// Second line, what and when.
    pub(crate) text: String,
}

impl Reading {
    fn at(frame: &Frame, x: f64, y: f64, head: String, text: String) -> Self {
        let fraction = |value: f64| (value * 10_000.0).round() / 10_000.0;
        Self {
            x: fraction(x / frame.width),
            y: fraction(y / frame.height),
            head,
            text,
        }
    }
}

/// The read-outs as JSON, for the script that shows them.
fn readings_json(readings: &[Reading]) -> String {
    // Plain strings and finite numbers always serialise.
    serde_json::to_string(readings).unwrap_or_else(|_| "[]".to_owned())
}
