//! Plumbline's oracle: what the evidence about a claim comes to, in log-odds.
//!
//! A [`Claim`] and its [`Exhibit`]s go to every [`Judge`] of an [`Ensemble`]; each answers with log-odds and a
//! standard error, and [`pool::pool`] makes one figure of them that counts correlated judges as the few votes they
//! are. The crate carries one judge of its own, [`lexical`] (n-grams and logistic regression, with its training
//! and its honest measurement in [`mod@train`] and [`mod@evaluate`]), and the exact statistics of another, [`replay`].
//!
//! Invariant: pure. It reads no clock, no file, no socket and no ambient randomness (weights come in as bytes, time
//! through a closure), and it never sees a price, a stake or who submitted what.

pub mod attack;
pub mod breaker;
pub mod calibration;
pub mod claim;
mod domain;
pub mod ensemble;
pub mod error;
pub mod evaluate;
pub mod exhibit;
mod expert;
mod features;
pub mod fold;
pub mod head;
pub mod judge;
pub mod learning;
pub mod lexical;
mod linear;
mod logistic;
pub mod metrics;
pub mod novelty;
pub mod plain;
pub mod pool;
pub mod pooling;
pub mod reader;
pub mod replay;
pub mod retrain;
pub mod robustness;
pub mod rows;
pub mod sections;
pub mod statistics;
pub mod topic;
pub mod train;
mod transcripts;
pub mod versions;
pub mod weights;

pub use claim::{Claim, ProbePlan};
pub use ensemble::{Assessment, Ensemble, SharedJudge};
pub use error::{DataError, InvalidInput, JudgeError, WeightsError};
pub use evaluate::{
    Contender, EvaluateOptions, EvaluationRow, Protocol, Stage, Staged, StagedReader, evaluate,
    evaluate_judges, fit_reference,
};
pub use exhibit::{
    Arm, Detector, Exhibit, Measurement, Message, ReplaySampling, Report, Transcript,
    TriggerControl,
};
pub use head::{HeadJudge, MissingJudge};
pub use judge::{Judge, JudgeContext, JudgeOutcome, Judgement};
pub use lexical::LexicalJudge;
pub use pool::PoolConfig;
pub use pooling::{FamilyPool, Reference};
pub use reader::{Features, Passage, Reader, Widths};
pub use rows::{Dataset, Row};
pub use train::{ReaderIdentity, TrainOptions, train, train_heads};
pub use weights::Weights;
