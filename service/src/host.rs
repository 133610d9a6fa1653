//! What the service needs from whatever runs models: progress, frozen
//! checkpoints and completions. The embedded training core implements it; an
//! outside run without a reachable checkpoint simply has no host.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::commands::StartRun;
use crate::views::{
    BanView, ContributionView, ModelView, NodeView, RoundView, SwarmView, TrainingView,
};

/// Sampling options of a completion, OpenAI's meaning of each.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Most tokens to generate.
    pub max_tokens: usize,
    /// 0 is greedy.
    pub temperature: f64,
    /// Nucleus mass in (0, 1].
    pub top_p: f64,
    /// Same seed, same text.
    pub seed: u64,
    /// Stop before any of these.
    pub stop: Vec<String>,
    /// Report this many alternatives per token.
    pub logprobs: Option<u8>,
}

/// One generated text.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// The continuation, without the prompt.
    pub text: String,
    /// `stop` or `length`.
    pub finish_reason: String,
    /// Tokens in the prompt.
    pub prompt_tokens: u64,
    /// Tokens generated.
    pub completion_tokens: u64,
    /// The tokens of the text, when asked for.
    pub logprobs: Option<Vec<ChosenToken>>,
}

/// A token with its probability.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// Its text; bytes that are not UTF-8 by themselves show as U+FFFD.
    pub token: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability before temperature.
    pub logprob: f32,
}

/// A generated token with the likeliest ones at its place.
#[derive(Debug, Clone, PartialEq)]
pub struct ChosenToken {
    /// The token that was drawn.
    pub chosen: Token,
    /// The likeliest tokens, likeliest first.
    pub top: Vec<Token>,
}

/// A text that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// What to continue.
    pub prompt: String,
    /// How.
    pub sampling: Sampling,
}

/// How a text ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextEnd {
    /// `stop` or `length`; `cancelled` when nobody listens any more.
    pub finish_reason: String,
    /// Tokens in the prompt.
    pub prompt_tokens: u64,
    /// Tokens generated.
    pub completion_tokens: u64,
}

/// What becomes of a text that is asked for.
#[derive(Debug)]
pub enum TextEvent {
    /// More text, which stands, with its tokens where they were asked for.
    Piece {
        /// The text.
        text: String,
        /// Its tokens.
        tokens: Vec<ChosenToken>,
    },
    /// It is complete; the last event.
    Finished(TextEnd),
    /// It broke; the last event.
    Failed(HostError),
}

/// Hears of the text of that number; breaking ends the text. It is called on
/// the thread that generates and must be quick.
pub type TextSink = Arc<dyn Fn(usize, TextEvent) -> ControlFlow<()> + Send + Sync>;

/// A checkpoint that was written, hashed and pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FrozenCheckpoint {
    /// BLAKE3, hex.
    pub id: String,
    /// Outer round it was taken after.
    pub round: u64,
    /// Tokens trained on so far.
    pub tokens: u64,
}

/// Why a host could not answer.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// No run or checkpoint of that name is here.
    #[error("no model named {0} is served here")]
    UnknownModel(String),
    /// The run has not produced anything to serve yet.
    #[error("{0} has no checkpoint yet")]
    NotReady(String),
    /// The request does not make sense for the model.
    #[error("{0}")]
    BadRequest(String),
    /// A decision stops the run or limits what it answers.
    #[error("limited by decision {decision_id}")]
    Limited {
        /// The decision.
        decision_id: String,
        /// Whether it stops the run.
        paused: bool,
        /// Seconds after which to try again.
        retry_after_s: u32,
    },
    /// More is asked for than may wait.
    #[error("too many texts are asked for at once")]
    Overloaded,
    /// Nothing trains here.
    #[error("nothing is trained here")]
    NoTraining,
    /// The terms of a run make no sense here.
    #[error("{0}")]
    BadTerms(String),
    /// Nodes elsewhere cannot join the run.
    #[error("nodes elsewhere cannot join {0}")]
    Closed(String),
    /// The run is still reading its data, or over.
    #[error("{0}")]
    NotYet(String),
    /// It broke.
    #[error("{0}")]
    Failed(String),
}

/// A run that an operator has this service train.
#[derive(Debug, Clone, PartialEq)]
pub struct HostedRun {
    /// Run id.
    pub id: String,
    /// Run name.
    pub name: String,
    /// What it was started with.
    pub terms: StartRun,
}

/// Something that happened to a run that is trained here.
#[derive(Debug, Clone, PartialEq)]
pub struct RunNews {
    /// The run.
    pub run_id: String,
    /// `round`, `node`, `banned`, `status` or `checkpoint`.
    pub kind: &'static str,
    /// The details.
    pub detail: serde_json::Value,
}

/// Whatever trains and serves the runs.
pub trait RunHost: Send + Sync {
    /// Progress of a run; `None` if it is not hosted here.
    fn training(&self, run_id: &str) -> Option<TrainingView>;
    /// Completed rounds after `after`, oldest first.
    fn rounds(&self, run_id: &str, after: u64, limit: usize) -> Vec<RoundView>;
    /// Members of a run.
    fn nodes(&self, run_id: &str) -> Vec<NodeView>;
    /// Verified work per node.
    fn contributions(&self, run_id: &str) -> Vec<ContributionView>;
    /// Nodes removed from a run for good, oldest first. A host that checks
    /// nothing removes nobody.
    fn bans(&self, _run_id: &str) -> Vec<BanView> {
        Vec::new()
    }
    /// How many parameters a run of these terms has. Starts nothing.
    fn examine(&self, _run: &HostedRun) -> Result<u64, HostError> {
        Err(HostError::NoTraining)
    }
    /// Starts a run, or goes on with it. One that is going goes on.
    fn start(&self, _run: &HostedRun) -> Result<(), HostError> {
        Err(HostError::NoTraining)
    }
    /// Ends a run and keeps what it has reached. One that is over stays so.
    fn stop(&self, _run_id: &str) -> Result<(), HostError> {
        Err(HostError::NoTraining)
    }
    /// What a node elsewhere needs to join the run.
    fn ticket(&self, run_id: &str) -> Result<String, HostError> {
        Err(HostError::Closed(run_id.to_owned()))
    }
    /// Lets in the nodes with these keys, 64 hexadecimal digits each, and sends others away, where the run asks for
    /// stakes.
    fn admit(&self, _run_id: &str, _keys: &[String]) {}
    /// What happened since this was asked last: bounded, and of rounds only the newest now and then.
    fn news(&self) -> Vec<RunNews> {
        Vec::new()
    }
    /// How the nodes of a run work together; `None` if it is not hosted here.
    fn swarm(&self, _run_id: &str) -> Option<SwarmView> {
        None
    }
    /// Writes and pins a checkpoint of the run's current parameters.
    fn freeze(&self, run_id: &str) -> Result<FrozenCheckpoint, HostError>;
    /// What the gateway can serve: each run's newest parameters and pinned checkpoints.
    fn models(&self) -> Vec<ModelView>;
    /// The run that a model name belongs to: a run's name or id, or a checkpoint's hash.
    fn run_of(&self, model: &str) -> Option<String>;
    /// Completes every prompt. Blocks; `model` as for [`RunHost::run_of`].
    fn complete(
        &self,
        model: &str,
        prompts: &[String],
        sampling: &Sampling,
    ) -> Result<Vec<Generated>, HostError>;
    /// Has texts generated and tells `sink` of each as it comes; all of them or
    /// none are taken. Each text depends on its prompt and sampling alone.
    /// Returns what names the very parameters that answer. A host that batches
    /// returns at once; this one answers text by text before it returns.
    fn generate(&self, model: &str, asks: Vec<Ask>, sink: &TextSink) -> Result<String, HostError> {
        generate_at_once(self, model, asks, sink)
    }
}

/// Answers text by text, each when it is whole: what a host does that has [`RunHost::complete`] alone.
///
/// # Errors
/// Those of the host.
pub fn generate_at_once<H: RunHost + ?Sized>(
    host: &H,
    model: &str,
    asks: Vec<Ask>,
    sink: &TextSink,
) -> Result<String, HostError> {
    for (number, ask) in asks.into_iter().enumerate() {
        let mut texts = host.complete(model, &[ask.prompt], &ask.sampling)?;
        let Some(text) = texts.pop() else {
            return Err(HostError::Failed("the host gave no text".to_owned()));
        };
        let piece = TextEvent::Piece {
            text: text.text,
            tokens: text.logprobs.unwrap_or_default(),
        };
        // It is complete already: there is nothing left to end.
        let _ = sink(number, piece);
        let _ = sink(
            number,
            TextEvent::Finished(TextEnd {
                finish_reason: text.finish_reason,
                prompt_tokens: text.prompt_tokens,
                completion_tokens: text.completion_tokens,
            }),
        );
    }
    Ok(model.to_owned())
}

/// A host without runs, for a service that governs outside schedulers only.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoHost;

impl RunHost for NoHost {
    fn training(&self, _run_id: &str) -> Option<TrainingView> {
        None
    }
    fn rounds(&self, _run_id: &str, _after: u64, _limit: usize) -> Vec<RoundView> {
        Vec::new()
    }
    fn nodes(&self, _run_id: &str) -> Vec<NodeView> {
        Vec::new()
    }
    fn contributions(&self, _run_id: &str) -> Vec<ContributionView> {
        Vec::new()
    }
    fn freeze(&self, run_id: &str) -> Result<FrozenCheckpoint, HostError> {
        Err(HostError::UnknownModel(run_id.to_owned()))
    }
    fn models(&self) -> Vec<ModelView> {
        Vec::new()
    }
    fn run_of(&self, _model: &str) -> Option<String> {
        None
    }
    fn complete(
        &self,
        model: &str,
        _prompts: &[String],
        _sampling: &Sampling,
    ) -> Result<Vec<Generated>, HostError> {
        Err(HostError::UnknownModel(model.to_owned()))
    }
}
