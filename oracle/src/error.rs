//! The crate's errors: bad input, a judge that could not judge, weights that cannot be trusted, data that cannot be learnt from.

/// A claim or exhibit that breaks a bound; nothing was judged.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidInput {
    /// A length or count outside its bounds.
    #[error("{field} is {value}, outside {low}..={high}")]
    OutOfBounds {
        /// Path of the field.
        field: &'static str,
        /// What it was.
        value: usize,
        /// Least allowed.
        low: usize,
        /// Most allowed.
        high: usize,
    },
    /// A value of the right size but the wrong form.
    #[error("{field} {reason}")]
    Malformed {
        /// Path of the field.
        field: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Not JSON, or JSON of another shape.
    #[error("not a valid exhibit: {0}")]
    Json(String),
}

/// Why one judge gave no judgement; the ensemble reports it and goes on without that judge.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum JudgeError {
    /// What the judge needs (a checkpoint, a model, an endpoint) cannot be had.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// It took longer than it may.
    #[error("no answer within {seconds} s")]
    TimedOut {
        /// Its time, seconds.
        seconds: u64,
    },
    /// More waits for it than it may be asked.
    #[error("overloaded: {waiting} requests wait already")]
    Overloaded {
        /// Most that may wait.
        waiting: usize,
    },
    /// None of the exhibits is of a form this judge reads; not a failure, and it moves nothing.
    #[error("no exhibit of a kind this judge reads")]
    NothingToJudge,
    /// The judge's own input check refused.
    #[error(transparent)]
    Invalid(#[from] InvalidInput),
    /// The judge broke off or returned a number that is not one.
    #[error("failed: {0}")]
    Failed(String),
}

/// A weights file that cannot be used. The caller knows, and should name, the file.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum WeightsError {
    /// Shorter than its header says.
    #[error("truncated: {have} bytes where {need} are needed")]
    Truncated {
        /// Bytes present.
        have: usize,
        /// Bytes needed.
        need: usize,
    },
    /// Heads that were fitted on what another model reads.
    #[error("fitted on the model {expected}, not on {found}")]
    WrongModel {
        /// The model at hand.
        found: String,
        /// The model that the heads were fitted on.
        expected: String,
    },
    /// It does not start as a weights file does.
    #[error("not a weights file of a judge (wrong magic)")]
    WrongMagic,
    /// Written by another version of the format.
    #[error("format version {found}, this program reads {expected}")]
    WrongVersion {
        /// Version in the file.
        found: u32,
        /// Version this program reads.
        expected: u32,
    },
    /// The BLAKE3 checksum does not match the contents.
    #[error("corrupt: checksum does not match the contents")]
    Checksum,
    /// The checksum holds but the contents make no sense.
    #[error("malformed: {0}")]
    Malformed(String),
}

/// Rows that nothing can be learnt or measured from.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum DataError {
    /// A line that is not a row.
    #[error("line {line}: {reason}")]
    Row {
        /// 1-based line number.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Too few rows or groups for what was asked.
    #[error("{what}: {have} where at least {need} are needed")]
    TooFew {
        /// What there is too little of.
        what: &'static str,
        /// How many there are.
        have: usize,
        /// How many are needed.
        need: usize,
    },
    /// All labels are the same, so there is nothing to separate.
    #[error("every label is the same in {0}")]
    OneClass(String),
    /// A model that learns from the rows could not.
    #[error("model: {0}")]
    Model(String),
    /// An option outside its domain.
    #[error("option {name} {reason}")]
    Option {
        /// Name of the option.
        name: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}
