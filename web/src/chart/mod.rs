//! Geometry of the SVG charts: numbers in, coordinates and labels out.
//!
//! Drawing is left to the templates, so that every label passes through their
//! escaping. Charts are computed twice, for a wide and for a narrow screen,
//! because scaling one drawing down would scale its text down with it.

pub(crate) mod line;
pub(crate) mod outcomes;
pub(crate) mod price;
pub(crate) mod scale;
pub(crate) mod shape;

use plumbline_service::views::MarketView;
use serde::Serialize;

use scale::millis;

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

/// From the first point to the newest fact about a market, or to now while it trades; milliseconds since 1970.
pub(crate) fn time_range(
    market: &MarketView,
    first: Option<i64>,
    last: Option<i64>,
    now: i64,
) -> (i64, i64) {
    let from = first.or_else(|| millis(&market.opened_at)).unwrap_or(now);
    let facts = [&market.settlement.frozen_at, &market.settlement.settled_at];
    let facts = facts
        .into_iter()
        .filter_map(|time| time.as_deref().and_then(millis));
    let newest = facts.chain(last).max().unwrap_or(from);
    let trading = matches!(market.status.as_str(), "open" | "closing");
    let to = if trading { newest.max(now) } else { newest };
    // A market that has just opened still gets a line with some length.
    (from, to.max(from + 10_000))
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
