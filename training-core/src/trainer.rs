//! The seam between the pure round machine and whatever computes gradients.
//!
//! A [`LocalTrainer`] owns one replica of the model and one optimiser state.
//! The round machinery sees parameters only as one flat `f32` vector in a fixed
//! canonical order, so codecs and aggregators never learn what a layer is.

/// One batch of token ids, row-major, `sequences × (length + 1)`: position
/// `i` of a row is the input for target `i + 1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Number of rows.
    pub sequences: usize,
    /// Number of predicted positions in a row.
    pub length: usize,
    /// `sequences * (length + 1)` token ids.
    pub tokens: Vec<u32>,
}

impl Batch {
    /// Number of predicted positions in the whole batch.
    pub fn predicted_tokens(&self) -> u64 {
        (self.sequences * self.length) as u64
    }
}

/// What one inner step did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Mean cross-entropy over the batch, in nats per token, before the update.
    pub loss: f32,
    /// Predicted positions that the gradient was taken over.
    pub tokens: u64,
    /// Euclidean norm of the gradient before clipping.
    pub gradient_norm: f32,
}

/// Why a local step or a state transfer could not be done.
#[derive(Debug, thiserror::Error)]
pub enum TrainerError {
    /// The vector's length is not the model's parameter count.
    #[error("parameter vector has {got} values, the model has {want}")]
    ParameterCount {
        /// Values given.
        got: usize,
        /// Values the model holds.
        want: usize,
    },
    /// The batch does not fit the model (empty, ragged, or a token out of vocabulary).
    #[error("batch rejected: {0}")]
    Batch(String),
    /// A loss or gradient stopped being a finite number.
    #[error("training diverged: {0}")]
    Diverged(String),
    /// The tensor back end failed.
    #[error("tensor back end: {0}")]
    Backend(String),
}

/// One replica of a model with its inner optimiser.
pub trait LocalTrainer: Send {
    /// Length of the flat parameter vector.
    fn parameter_count(&self) -> usize;
    /// Copies the parameters out in canonical order.
    fn parameters(&self) -> Result<Vec<f32>, TrainerError>;
    /// Replaces the parameters; the optimiser state is kept.
    fn set_parameters(&mut self, flat: &[f32]) -> Result<(), TrainerError>;
    /// One forward, backward and AdamW update at learning rate `lr`.
    fn step(&mut self, batch: &Batch, lr: f32) -> Result<StepReport, TrainerError>;
    /// Loss and gradient in canonical order, without an update.
    fn gradient(&mut self, batch: &Batch) -> Result<(StepReport, Vec<f32>), TrainerError>;
    /// One AdamW update by a gradient from elsewhere.
    fn apply(&mut self, gradient: &[f32], lr: f32) -> Result<(), TrainerError>;
    /// Rows and columns of the model's tensors in canonical order; gains have
    /// one row. They cover the flat vector.
    fn shapes(&self) -> Vec<[usize; 2]>;
    /// Mean cross-entropy in nats per token, without an update.
    fn evaluate(&mut self, batch: &Batch) -> Result<f32, TrainerError>;
    /// Optimiser moments and step count as bytes, for a checkpoint.
    fn optimizer_state(&self) -> Result<Vec<u8>, TrainerError>;
    /// Restores what [`LocalTrainer::optimizer_state`] gave.
    fn restore_optimizer(&mut self, state: &[u8]) -> Result<(), TrainerError>;
    /// Puts the optimiser at rest, as in a new replica.
    fn reset_optimizer(&mut self) -> Result<(), TrainerError>;
}

/// Numbered sequences of tokens.
pub trait SequenceSource: Send + Sync {
    /// Sequences `start..start + count`, each of `length + 1` tokens.
    fn batch(&self, start: u64, count: usize, length: usize) -> Batch;
}
