//! Markets of several outcomes of which exactly one happens: which contributor planted the
//! behaviour, which candidate is the trigger.
//!
//! The same scoring rule as in [`crate::lmsr`], over `n` outcomes with `q_i` shares sold,
//! opening prices `p⁰_i` and liquidity `b`:
//!
//! ```text
//! C(q)    = b ln Σ p⁰_i e^(q_i/b)
//! price_i = p⁰_i e^(q_i/b) / Σ p⁰_j e^(q_j/b)
//! ```
//!
//! A share of an outcome pays one credit if that outcome happens. One share of each outcome,
//! a complete set, pays a credit whatever happens and is turned into a credit at once, as
//! pairs of YES and NO are in a binary market.
//!
//! # Bounds of the prices
//! A trade may move the price of *its* outcome within
//! [[`price_floor`]`(n)`, [`price_ceiling`]`(n)`] = [0.01/n, 0.99 + 0.01/n]. For two outcomes
//! these are the bounds of the binary market, 0.005 and 0.995; in general the floors of all
//! outcomes take one hundredth of the price together.
//!
//! A buy lowers the prices of the other outcomes in proportion. If those had to stay above
//! the same floor, then a single implausible outcome, at its floor, would keep everybody from
//! buying any other: whoever pushed it there would have closed the market. So the others are
//! stopped only at [`LEAST_PRICE`], where a trader who is stopped buys the outcome in the way
//! for almost nothing. The loss of the market maker does not depend on either bound: it is
//! `b ln 1/p⁰` of the outcome that happens. [`LEAST_PRICE`] is there so that share numbers
//! stay exact in `f64`.

mod maker;
mod settle;
mod trade;

pub use maker::{
    CategoricalMaker, LEAST_PRICE, MAX_OUTCOMES, MIN_OUTCOMES, price_ceiling, price_floor,
};
pub use settle::{NONE_OUTCOME, PiVector, PiVectorError, decisive_vector, payouts, refunds};
pub use trade::{
    CategoricalFill, CategoricalOrder, CategoricalPosition, CategoricalSize, CategoricalTradeError,
    quote,
};

/// Why a market of several outcomes cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum CategoricalError {
    /// Not [`MIN_OUTCOMES`] to [`MAX_OUTCOMES`] outcomes, or vectors of different lengths.
    #[error("{0} outcomes are not within [{MIN_OUTCOMES}, {MAX_OUTCOMES}]")]
    Outcomes(usize),
    /// The opening prices do not sum to one.
    #[error("the opening prices sum to {0}, not to one")]
    Sum(f64),
    /// An opening price below [`price_floor`], or not a number.
    #[error("opening price {price} is below {floor}")]
    OpeningPrice {
        /// What was given.
        price: f64,
        /// Least opening price.
        floor: f64,
    },
    /// Liquidity outside the range of [`crate::lmsr`].
    #[error("liquidity {0} is out of range")]
    Liquidity(crate::money::Micro),
    /// Stored shares put a price out of bounds, or are negative.
    #[error("the shares put a price out of bounds")]
    OutOfBounds,
    /// An amount left the range of the type.
    #[error(transparent)]
    Money(#[from] crate::money::MoneyError),
}

#[cfg(test)]
mod tests;
