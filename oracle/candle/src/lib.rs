//! Judges that run a model, and the engines that run the models.
//!
//! [`ReplayJudge`] replays trigger/control exhibits on the frozen checkpoint they name and answers with the exact
//! log Bayes factor of what it saw, never of what the exhibit claims. The model is reached through
//! [`CheckpointRunner`], which the host of the checkpoints implements.
//!
//! [`Encoder`] turns texts into embeddings with a sentence encoder, [`Causal`] reads them with a language model for its
//! hidden states or its leaning to yes or no. [`ModelSource`] says where the files come from. [`EncoderReader`] and
//! [`CausalReader`] put them in the form that the oracle's heads make opinions of.
//! The arithmetic is in `kernels`.
//!
//! Invariant: the replay judge holds no model and reads no file itself, so it judges the same whether the checkpoint
//! lives in this process, in another, or on another machine; and it runs no more completions than its cap for one
//! exhibit. The engines turn text into numbers and nothing else: no opinion of a claim, no price, and the same answer
//! for a text whatever it is batched with.

mod causal;
mod encoder;
mod error;
mod guard;
mod kernels;
mod models;
mod plan;
mod readers;
mod replay;
mod runner;
mod trained;

pub use causal::{Causal, CausalOptions, Hidden, YesNo};
pub use encoder::{Embedding, Encoder, EncoderOptions};
pub use error::{ModelError, Result};
pub use guard::{GuardOptions, GuardedJudge};
pub use kernels::Level;
pub use kernels::linear::Precision;
pub use models::{EncoderFiles, ModelSource};
pub use readers::{CausalReader, EncoderReader, FeatureFile};
pub use replay::{ReplayJudge, ReplayOptions};
pub use runner::{CheckpointRunner, RunnerError};
pub use trained::{LearnOptions, TrainedReader, TrainedStages, learn, left_to_heads};
