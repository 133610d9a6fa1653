//! Arithmetic with about 31 decimal digits: unevaluated sums of two doubles (T. J. Dekker 1971;
//! Y. Hida, X. S. Li, D. H. Bailey 2001). Enough to tell on which side of a micro-credit a cost
//! lies for every liquidity that a market may have.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// `hi + lo`, with `|lo| ≤ ulp(hi)/2`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Double {
    hi: f64,
    lo: f64,
}

/// `ln 2` to 32 digits.
const LN_2: Double = Double {
    hi: std::f64::consts::LN_2,
    lo: 2.319_046_813_846_299_6e-17,
};

/// `a + b` exactly, as a sum and its error.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let part = sum - a;
    (sum, (a - (sum - part)) + (b - part))
}

/// As [`two_sum`] for `|a| ≥ |b|`.
fn quick_two_sum(a: f64, b: f64) -> Double {
    let hi = a + b;
    Double {
        hi,
        lo: b - (hi - a),
    }
}

impl Double {
    pub(crate) const ZERO: Self = Self { hi: 0.0, lo: 0.0 };
    pub(crate) const ONE: Self = Self { hi: 1.0, lo: 0.0 };

    /// A double as it is.
    pub(crate) const fn of(x: f64) -> Self {
        Self { hi: x, lo: 0.0 }
    }

    /// An integer, exactly: each half has at most 53 bits.
    pub(crate) fn of_integer(x: i64) -> Self {
        let high = (x >> 32) << 32;
        Self::of(high as f64) + Self::of((x - high) as f64)
    }

    /// The nearest double.
    pub(crate) fn to_f64(self) -> f64 {
        self.hi + self.lo
    }

    pub(crate) fn is_negative(self) -> bool {
        self.hi < 0.0 || (self.hi == 0.0 && self.lo < 0.0)
    }

    pub(crate) fn abs(self) -> Self {
        if self.is_negative() { -self } else { self }
    }

    pub(crate) fn max(self, other: Self) -> Self {
        if (self - other).is_negative() {
            other
        } else {
            self
        }
    }

    /// `self · 2^n`.
    fn scaled(self, n: i32) -> Self {
        let factor = 2f64.powi(n);
        Self {
            hi: self.hi * factor,
            lo: self.lo * factor,
        }
    }

    /// `e^self`: `self = k ln 2 + 512 r` with `|r| < 0.0007`, a Taylor series for `e^r − 1`,
    /// squared nine times.
    pub(crate) fn exp(self) -> Self {
        let k = (self.hi / std::f64::consts::LN_2).round();
        let r = (self - LN_2 * Self::of(k)).scaled(-9);
        let (mut term, mut sum) = (r, r);
        for n in 2..=10 {
            term = term * r / Self::of(f64::from(n));
            sum = sum + term;
        }
        // (1 + s)² − 1 = 2s + s² keeps the digits of s.
        for _ in 0..9 {
            sum = sum.scaled(1) + sum * sum;
        }
        (sum + Self::ONE).scaled(k as i32)
    }

    /// `ln self` for `self > 0`, by Newton's iteration on `e^y = self`.
    pub(crate) fn ln(self) -> Self {
        let mut y = Self::of(self.hi.ln());
        for _ in 0..2 {
            y = y + self * (-y).exp() - Self::ONE;
        }
        y
    }
}

impl Add for Double {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let (s, e) = two_sum(self.hi, other.hi);
        let (t, f) = two_sum(self.lo, other.lo);
        let first = quick_two_sum(s, e + t);
        quick_two_sum(first.hi, first.lo + f)
    }
}

impl Neg for Double {
    type Output = Self;
    fn neg(self) -> Self {
        Self {
            hi: -self.hi,
            lo: -self.lo,
        }
    }
}

impl Sub for Double {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl Mul for Double {
    type Output = Self;
    fn mul(self, other: Self) -> Self {
        let product = self.hi * other.hi;
        let error = self.hi.mul_add(other.hi, -product);
        quick_two_sum(product, error + (self.hi * other.lo + self.lo * other.hi))
    }
}

impl Div for Double {
    type Output = Self;
    fn div(self, other: Self) -> Self {
        let first = self.hi / other.hi;
        let rest = self - other * Self::of(first);
        let second = rest.hi / other.hi;
        let rest = rest - other * Self::of(second);
        let third = rest.hi / other.hi;
        quick_two_sum(first, second) + Self::of(third)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// |a/b − 1|, or |a| where b is zero.
    fn error(a: Double, b: Double) -> f64 {
        let difference = (a - b).abs().to_f64();
        if b.to_f64() == 0.0 {
            difference
        } else {
            difference / b.to_f64().abs()
        }
    }

    #[test]
    fn constants_to_thirty_digits() {
        // e − 2 and ln 10 − 2, split into leading double and rest by hand from published digits.
        let e = Double {
            hi: std::f64::consts::E,
            lo: 1.445_646_891_729_250_2e-16,
        };
        assert!(error(Double::ONE.exp(), e) < 1e-30);
        let ln_10 = Double {
            hi: std::f64::consts::LN_10,
            lo: -2.170_756_223_382_249_4e-16,
        };
        assert!(error(Double::of(10.0).ln(), ln_10) < 1e-30);
        assert!(error(Double::of(2.0).ln(), LN_2) < 1e-30);
    }

    #[test]
    fn laws_hold_to_thirty_digits() {
        for x in [-5.3, -1.0, -1e-3, 1e-9, 0.3, 0.5, 1.0, 3.7, 5.3, 20.0] {
            let x = Double::of(x) / Double::of(3.0);
            // e^x is near one for small x, which takes digits from its logarithm.
            let there_and_back = (x.exp().ln() - x).abs().to_f64();
            assert!(there_and_back < 1e-29 * x.to_f64().abs().max(1.0), "{x:?}");
            assert!(error(x.exp() * (-x).exp(), Double::ONE) < 1e-29, "{x:?}");
            let y = x * Double::of(7.0);
            assert!(error(y / Double::of(7.0), x) < 1e-31);
            assert!(error((x + y) - y, x) < 1e-30);
        }
    }

    #[test]
    fn integers_are_exact() {
        for x in [0, 1, -1, i64::MAX, i64::MIN, (1 << 53) + 1, -(1 << 60) - 3] {
            let double = Double::of_integer(x);
            // 2⁶³ does not fit an i64, so the parts are added as wider integers.
            assert_eq!(double.hi as i128 + double.lo as i128, i128::from(x));
        }
    }
}
