//! The prediction market: money, pricing, trades, evidence booked as trades, the
//! market life cycle and settlement.
//!
//! Everything is one formula. A move of a market's probability from `p` to `q`,
//! whoever makes it and for whatever reason, is worth, at settlement `π ∈ [0, 1]`,
//!
//! ```text
//! payoff(p→q; π) = b [ π ln(q/p) + (1−π) ln((1−q)/(1−p)) ]
//! ```
//!
//! which is the logarithmic market scoring rule (Hanson 2003) and the same number as
//! the value of the shares that the move buys, less their cost.
//!
//! # How it is laid out
//! - [`money`]: integer micro-credits and micro-shares.
//! - [`probability`]: clamped probabilities, log-odds, and the stable elementary functions.
//! - [`lmsr`]: the formulas in `f64`, and [`Maker`], the integer state of one market.
//! - [`categorical`]: the same for markets of several outcomes, of which exactly one happens.
//! - [`trade`]: orders, positions and fills. A quote is a fill that nobody has stored.
//! - [`fees`]: fees of trades, and fills with them.
//! - [`orders`]: orders that rest until the price is better than their limit.
//! - [`evidence`]: a judged shift of log-odds, booked as a trade of its submitter.
//! - [`submission`]: what a submission costs, commitments to one, and divided bonds.
//! - [`calibration`]: how good prices were.
//! - [`manipulation`]: what it takes to mislead a market, and who might be trying.
//! - [`ledger`]: balanced transfers and which accounts may be overdrawn.
//! - [`life`]: the life cycle of a market as a pure `step(state, event, now)`.
//! - [`plan`]: the test plan whose hash is committed when a market opens.
//! - [`statistics`]: exact tests and intervals.
//! - [`draw`]: draws from a committed seed and the market's own log.
//! - [`merkle`]: the tree over the exhibits.
//! - [`bonds`]: what becomes of the bonds of a disputed settlement.
//! - [`self_resolving`]: markets that settle at their own last price.
//! - [`settle`]: the verdict of a test plan, payouts and refunds.
//! - [`sortition`]: who sits on a panel, drawn so that anyone can draw again.
//! - [`panel`]: a panel of jurors, from the draw to the bill.
//!
//! # Example
//! ```
//! use plumbline_market::{Maker, Micro, Order, Outcome, Pi, Position, Probability, Size, quote};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // One thousand credits of liquidity at even odds; the subsidy goes into escrow.
//! let (maker, subsidy) = Maker::open(Probability::HALF, Micro::from_credits(1_000)?)?;
//! assert_eq!(subsidy.credits().to_string(), "693.147181");
//!
//! let order = Order {
//!     outcome: Outcome::Yes,
//!     size: Size::Spend(Micro::from_credits(100)?),
//!     limit: None,
//! };
//! let fill = quote(&maker, &Position::default(), &order)?;
//! assert_eq!(fill.cash, Micro::from_credits(100)?);
//! assert!((fill.to.probability.get() - 0.5476).abs() < 1e-4);
//!
//! // A share pays a credit if the claim turns out true, and nothing if not.
//! assert_eq!(fill.position.payout(Pi::YES)?.get(), fill.yes.get());
//! assert_eq!(fill.position.payout(Pi::NO)?, Micro::ZERO);
//! # Ok(())
//! # }
//! ```
//!
//! # Invariant
//! No clock, no ambient randomness, no IO: `now`, draws and balances are arguments.
//! `f64` lives only inside pricing; whatever leaves it is rounded against the trader to
//! an integer, so that the escrow of a market covers every payout in every outcome.
//! The crate deliberately does not store anything, decide who may act, or make payment
//! idempotent: those belong to whoever keeps the records.

pub mod bonds;
pub mod calibration;
pub mod categorical;
pub mod digest;
pub mod draw;
pub mod evidence;
pub mod fees;
pub mod ledger;
pub mod life;
pub mod lmsr;
pub mod manipulation;
pub mod merkle;
pub mod money;
pub mod orders;
pub mod panel;
pub mod plan;
pub mod probability;
pub mod self_resolving;
pub mod settle;
pub mod sortition;
pub mod statistics;
pub mod submission;
pub mod trade;

pub use categorical::{
    CategoricalFill, CategoricalMaker, CategoricalOrder, CategoricalPosition, CategoricalSize,
    PiVector,
};
pub use digest::Digest;
pub use evidence::{EvidenceError, EvidenceFill, apply_evidence};
pub use ledger::{AccountId, Entry, LedgerError, Transfer};
pub use life::{Effect, Event, Life, LifeError, Method, Rules, Status, Time};
pub use lmsr::{Maker, MakerError};
pub use money::{Micro, MicroShares, MoneyError};
pub use plan::{Detector, PlanError, Sampling, SettlementPlan};
pub use probability::{LogOdds, Pi, Probability, ProbabilityError};
pub use settle::{ArmCount, ObjectiveOutcome, Payout, PayoutPlan, SettleError};
pub use trade::{Fill, Order, Outcome, Position, PricePoint, Size, TradeError, quote};
