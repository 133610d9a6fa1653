//! Integer money and integer shares.
//!
//! A credit is 1,000,000 micro-credits, a share is 1,000,000 micro-shares, and a share
//! pays one credit if its outcome happens. So a micro-share pays at most a micro-credit,
//! and amounts of both kinds can be compared exactly.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Micro-credits in one credit, and micro-shares in one share.
pub const MICRO: i64 = 1_000_000;

/// Why an amount could not be computed or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The result does not fit a signed 64-bit integer.
    #[error("amount out of range")]
    Overflow,
    /// A floating-point amount was NaN or infinite.
    #[error("amount is not a finite number")]
    NotFinite,
    /// The text is not a plain decimal integer.
    #[error("amount is not an integer")]
    Malformed,
}

macro_rules! integer_amount {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);
            /// The greatest amount that can be held.
            pub const MAX: Self = Self(i64::MAX);

            /// The integer inside, in millionths.
            pub const fn get(self) -> i64 {
                self.0
            }

            /// `self + other`, or [`MoneyError::Overflow`].
            pub fn checked_add(self, other: Self) -> Result<Self, MoneyError> {
                self.0.checked_add(other.0).map(Self).ok_or(MoneyError::Overflow)
            }

            /// `self − other`, or [`MoneyError::Overflow`].
            pub fn checked_sub(self, other: Self) -> Result<Self, MoneyError> {
                self.0.checked_sub(other.0).map(Self).ok_or(MoneyError::Overflow)
            }

            /// `−self`, or [`MoneyError::Overflow`].
            pub fn checked_neg(self) -> Result<Self, MoneyError> {
                self.0.checked_neg().map(Self).ok_or(MoneyError::Overflow)
            }

            /// `self · factor`, or [`MoneyError::Overflow`].
            pub fn checked_mul(self, factor: i64) -> Result<Self, MoneyError> {
                self.0.checked_mul(factor).map(Self).ok_or(MoneyError::Overflow)
            }

            /// The sum of `amounts`, or [`MoneyError::Overflow`] if the total does not fit
            /// (partial sums may exceed the range).
            pub fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Result<Self, MoneyError> {
                let total: i128 = amounts.into_iter().map(|amount| i128::from(amount.0)).sum();
                i64::try_from(total).map(Self).map_err(|_| MoneyError::Overflow)
            }

            /// `max(self, 0)`.
            pub const fn positive_part(self) -> Self {
                Self(if self.0 > 0 { self.0 } else { 0 })
            }

            /// Whether the amount is below zero.
            pub const fn is_negative(self) -> bool {
                self.0 < 0
            }

            /// Whether the amount is zero.
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }

            /// `⌈x⌉` for `x` in millionths. Errors: [`MoneyError::NotFinite`],
            /// [`MoneyError::Overflow`].
            pub fn ceil_from_f64(x: f64) -> Result<Self, MoneyError> {
                exact_i64(x.ceil()).map(Self)
            }

            /// `⌊x⌋` for `x` in millionths. Errors: [`MoneyError::NotFinite`],
            /// [`MoneyError::Overflow`].
            pub fn floor_from_f64(x: f64) -> Result<Self, MoneyError> {
                exact_i64(x.floor()).map(Self)
            }

            /// The nearest `f64`, in millionths; exact up to 2⁵³.
            pub fn to_f64(self) -> f64 {
                self.0 as f64
            }
        }

        impl fmt::Display for $name {
            /// The plain integer, as it is parsed and as it appears in JSON.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = MoneyError;

            fn from_str(text: &str) -> Result<Self, MoneyError> {
                let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
                if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(MoneyError::Malformed);
                }
                text.parse().map(Self).map_err(|_| MoneyError::Overflow)
            }
        }
    };
}

integer_amount! {
    /// An amount of money in micro-credits. Signed: entries of a transfer carry a direction.
    Micro
}

integer_amount! {
    /// A number of shares in millionths of a share. Signed: a sale is a negative number.
    MicroShares
}

impl Micro {
    /// `credits` whole credits, or [`MoneyError::Overflow`].
    pub fn from_credits(credits: i64) -> Result<Self, MoneyError> {
        Self(credits).checked_mul(MICRO)
    }

    /// Shows the amount in credits, with only the decimals it needs: `1.5`, `-0.000001`.
    pub const fn credits(self) -> Credits {
        Credits(self)
    }
}

/// Shows a [`Micro`] as credits; see [`Micro::credits`].
#[derive(Debug, Clone, Copy)]
pub struct Credits(Micro);

impl fmt::Display for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0.is_negative() { "-" } else { "" };
        let magnitude = self.0.0.unsigned_abs();
        let (whole, rest) = (magnitude / MICRO as u64, magnitude % MICRO as u64);
        if rest == 0 {
            return write!(f, "{sign}{whole}");
        }
        let decimals = format!("{rest:06}");
        write!(f, "{sign}{whole}.{}", decimals.trim_end_matches('0'))
    }
}

/// An integral `f64` as `i64`. Errors: not finite, or outside the range of `i64`.
fn exact_i64(x: f64) -> Result<i64, MoneyError> {
    if !x.is_finite() {
        return Err(MoneyError::NotFinite);
    }
    // −2⁶³ and 2⁶³ are exact in f64; the upper one is one more than `i64::MAX`.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if !(-LIMIT..LIMIT).contains(&x) {
        return Err(MoneyError::Overflow);
    }
    Ok(x as i64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rounds_in_the_named_direction() {
        for (x, floor, ceil) in [(1.2, 1, 2), (-1.2, -2, -1), (3.0, 3, 3), (-0.0, 0, 0)] {
            assert_eq!(Micro::floor_from_f64(x), Ok(Micro(floor)));
            assert_eq!(Micro::ceil_from_f64(x), Ok(Micro(ceil)));
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        assert_eq!(Micro::ceil_from_f64(f64::NAN), Err(MoneyError::NotFinite));
        assert_eq!(
            Micro::floor_from_f64(f64::INFINITY),
            Err(MoneyError::NotFinite)
        );
        assert_eq!(Micro::floor_from_f64(9.3e18), Err(MoneyError::Overflow));
        assert_eq!(
            Micro::floor_from_f64(9_223_372_036_854_775_808.0),
            Err(MoneyError::Overflow)
        );
        assert_eq!(
            Micro::floor_from_f64(-9_223_372_036_854_775_808.0),
            Ok(Micro(i64::MIN))
        );
        assert_eq!(Micro::MAX.checked_add(Micro(1)), Err(MoneyError::Overflow));
        assert_eq!(Micro(i64::MIN).checked_neg(), Err(MoneyError::Overflow));
        assert_eq!(
            Micro(i64::MIN).checked_sub(Micro(1)),
            Err(MoneyError::Overflow)
        );
        assert_eq!(Micro::from_credits(i64::MAX), Err(MoneyError::Overflow));
        let mixed = [Micro::MAX, Micro(5), Micro(-5)];
        assert_eq!(Micro::checked_sum(mixed), Ok(Micro::MAX));
    }

    #[test]
    fn reads_and_shows_plain_integers() {
        for text in ["0", "-17", "9223372036854775807"] {
            assert_eq!(text.parse::<Micro>().unwrap().to_string(), text);
        }
        for text in ["", "-", "1.5", "1e3", " 1", "١", "+-1"] {
            assert_eq!(
                text.parse::<Micro>(),
                Err(MoneyError::Malformed),
                "{text:?}"
            );
        }
        assert_eq!(
            "9223372036854775808".parse::<Micro>(),
            Err(MoneyError::Overflow)
        );
        assert_eq!(serde_json::to_string(&Micro(-5)).unwrap(), "-5");
        assert!(serde_json::from_str::<Micro>("1.5").is_err());
    }

    #[test]
    fn shows_credits() {
        for (micro, shown) in [
            (1_500_000, "1.5"),
            (-1, "-0.000001"),
            (2_000_000, "2"),
            (0, "0"),
        ] {
            assert_eq!(Micro(micro).credits().to_string(), shown);
        }
    }
}
