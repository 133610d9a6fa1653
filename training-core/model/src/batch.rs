//! Continuous batching: texts join and leave a running batch at any step.
//!
//! All seats advance by one token together, so each weight is read once for
//! all of them. What a text becomes depends on its prompt and sampling alone,
//! never on who sits beside it or when it joined.

use std::ops::ControlFlow;
use std::sync::Arc;

use crate::error::ModelError;
use crate::generate::Generator;
use crate::sampling::Sampling;
use crate::session::{FinishReason, Session, TokenLogprob};

/// Most texts decoded side by side.
const SEATS_MAX: usize = 64;

/// Most memory for the caches of one batch, bytes.
const CACHES_MAX: usize = 256 << 20;

/// How a text ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Finished {
    /// Why.
    pub reason: FinishReason,
    /// Prompt tokens that the model read.
    pub prompt_tokens: usize,
    /// Tokens that were generated, including one that ended the text.
    pub completion_tokens: usize,
}

/// What happened to one text.
#[derive(Debug)]
pub enum Event {
    /// Text that no stop string can take back, with the tokens that begin in it
    /// where they were asked for. Only a token without text gives an empty one.
    Piece {
        /// The text.
        text: String,
        /// Its tokens.
        tokens: Vec<TokenLogprob>,
    },
    /// It is complete; the last event.
    Finished(Finished),
    /// The model broke on it; the last event.
    Failed(ModelError),
}

/// A running batch. `T` is whatever the caller knows each text by.
#[derive(Debug)]
pub struct Batch<'g, T> {
    generator: &'g Generator,
    seats: Vec<(T, Session)>,
    capacity: usize,
    logits: Vec<f32>,
}

impl<'g, T> Batch<'g, T> {
    /// An empty batch. It has 64 seats, or fewer if the caches of so many
    /// would need more than 256 MiB.
    pub fn new(generator: &'g Generator) -> Self {
        let affordable = CACHES_MAX / generator.weights.cache_bytes().max(1);
        Self {
            generator,
            seats: Vec::new(),
            capacity: affordable.clamp(1, SEATS_MAX),
            logits: Vec::new(),
        }
    }

    /// Seats that are free.
    pub fn free(&self) -> usize {
        self.capacity - self.seats.len()
    }

    /// Whether nobody is seated.
    pub fn is_empty(&self) -> bool {
        self.seats.is_empty()
    }

    /// Reads a prompt and seats its text; its events come with the next step.
    /// A batch without a free seat takes it all the same: look at
    /// [`Batch::free`] first.
    ///
    /// # Errors
    /// What was not seated, with [`ModelError::Sampling`], or
    /// [`ModelError::Diverged`] when the weights give no finite logits.
    pub fn admit(
        &mut self,
        seat: T,
        prompt: &str,
        sampling: &Arc<Sampling>,
    ) -> std::result::Result<(), (T, ModelError)> {
        let started = sampling
            .validate()
            .and_then(|()| self.generator.start(prompt, sampling));
        match started {
            Ok(session) => {
                self.seats.push((seat, session));
                Ok(())
            }
            Err(error) => Err((seat, error)),
        }
    }

    /// Tells what has become certain, lets those go that are finished or whose
    /// callback breaks, and advances all others by one token.
    pub fn step(&mut self, mut on_event: impl FnMut(&mut T, Event) -> ControlFlow<()>) {
        self.seats
            .retain_mut(|(seat, session)| tell(seat, session, &mut on_event));
        let vocabulary = self.generator.config().vocabulary;
        let tokens: Vec<u32> = self.seats.iter().map(|(_, s)| s.last).collect();
        self.logits.resize(tokens.len() * vocabulary, 0.0);
        let mut caches: Vec<_> = self.seats.iter_mut().map(|(_, s)| &mut s.cache).collect();
        self.generator
            .weights
            .advance(&tokens, &mut caches, &mut self.logits);
        let tokenizer = self.generator.tokenizer();
        let mut rows = self.logits.chunks_exact_mut(vocabulary);
        self.seats.retain_mut(|(seat, session)| {
            let Some(logits) = rows.next() else {
                return true;
            };
            let accepted = session.accept(tokenizer, logits);
            accepted
                .map_err(|error| on_event(seat, Event::Failed(error)))
                .is_ok()
        });
    }
}

/// Whether the text goes on after what there is to tell.
fn tell<T>(
    seat: &mut T,
    session: &mut Session,
    on_event: &mut impl FnMut(&mut T, Event) -> ControlFlow<()>,
) -> bool {
    let piece = session.take_piece();
    let silent = piece.text.is_empty() && piece.tokens.is_empty();
    let told = Event::Piece {
        text: piece.text,
        tokens: piece.tokens,
    };
    if !silent && on_event(seat, told).is_break() {
        session.finish.get_or_insert(FinishReason::Cancelled);
    }
    let Some(reason) = session.finish else {
        return true;
    };
    let finished = Finished {
        reason,
        prompt_tokens: session.prompt_tokens,
        completion_tokens: session.completion_tokens,
    };
    // Whatever it answers, there is nothing left to end.
    let _ = on_event(seat, Event::Finished(finished));
    false
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeMap;

    use super::*;
    use crate::generate::tests::generator;

    #[test]
    fn whoever_joins_or_leaves_changes_nobody_else() {
        let generator = generator();
        let sampling = |seed| {
            Arc::new(Sampling {
                max_tokens: 12 + seed as usize % 5,
                temperature: 1.2,
                top_p: 0.97,
                seed,
                ..Sampling::default()
            })
        };
        let mut batch = Batch::new(&generator);
        let mut texts: BTreeMap<u64, String> = BTreeMap::new();
        let mut next = 0;
        while next < 30 || !batch.is_empty() {
            for _ in 0..(next % 3 + 1).min(30 - next) {
                batch.admit(next, "let s", &sampling(next)).unwrap();
                next += 1;
            }
            batch.step(|seat, event| {
                match event {
                    Event::Piece { text, .. } => texts.entry(*seat).or_default().push_str(&text),
                    Event::Finished(finished) if *seat == 7 => {
                        assert_eq!(finished.reason, FinishReason::Cancelled);
                    }
                    Event::Finished(_) => {}
                    Event::Failed(error) => panic!("{error}"),
                }
                if *seat == 7 {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
        }
        for (seed, text) in texts {
            let alone = generator.complete("let s", &sampling(seed)).unwrap().text;
            assert!(alone == text || seed == 7 && alone.starts_with(&text));
        }
    }

    #[test]
    fn seats_are_bounded() {
        let generator = generator();
        let mut batch = Batch::new(&generator);
        assert_eq!(batch.free(), SEATS_MAX);
        let sampling = Arc::new(Sampling::default());
        batch.admit((), "x", &sampling).unwrap();
        assert_eq!(batch.free(), SEATS_MAX - 1);
        let broken = Arc::new(Sampling {
            top_p: 0.0,
            ..Sampling::default()
        });
        assert!(batch.admit((), "x", &broken).is_err());
        assert_eq!(batch.free(), SEATS_MAX - 1);
    }
}
