//! Completions for many callers at once.
//!
//! Each generator that somebody asks has one thread with one continuous batch;
//! the thread ends when nobody waits for it. Callers hand in texts with a sink
//! each and do not wait: the sink is called on the generator's thread, so it
//! must be quick.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use plumbline_training_model::{Batch, Event, Generator, Sampling};

/// Most texts that may wait for a seat, over all generators.
pub const WAITING_MAX: usize = 512;

/// Most generators that answer at the same time; each keeps its weights in memory.
const ENGINES_MAX: usize = 16;

/// Prompts read between two steps of a batch that is under way: reading stalls
/// everybody who is seated.
const READ_AT_ONCE: usize = 2;

/// Hears what becomes of a text; breaking ends it.
pub type Sink = Box<dyn FnMut(Event) -> ControlFlow<()> + Send>;

/// A text that is asked for.
pub struct Ask {
    /// What to continue.
    pub prompt: String,
    /// How.
    pub sampling: Arc<Sampling>,
    /// Who hears of it.
    pub sink: Sink,
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ask")
            .field("prompt", &self.prompt)
            .field("sampling", &self.sampling)
            .finish_non_exhaustive()
    }
}

/// As many texts wait, or as many generators answer, as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many texts are asked for at once")]
pub struct Overloaded;

/// The threads that answer. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct Serving {
    queues: Arc<Mutex<Queues>>,
}

/// Who waits for which generator. A generator has an entry as long as its
/// thread runs, and the thread keeps it alive, so that its address is its name.
#[derive(Debug, Default)]
struct Queues {
    of: HashMap<usize, VecDeque<Ask>>,
    waiting: usize,
}

impl Serving {
    /// Hands in texts for one generator: all of them or none.
    ///
    /// # Errors
    /// [`Overloaded`], also when the system gives no thread.
    pub fn submit(&self, generator: &Arc<Generator>, asks: Vec<Ask>) -> Result<(), Overloaded> {
        let name = Arc::as_ptr(generator).addr();
        let mut queues = lock(&self.queues);
        let running = queues.of.contains_key(&name);
        let full = queues.waiting + asks.len() > WAITING_MAX;
        if full || !running && queues.of.len() >= ENGINES_MAX {
            return Err(Overloaded);
        }
        if !running {
            let engine = Engine {
                name,
                queues: Arc::clone(&self.queues),
            };
            let generator = Arc::clone(generator);
            std::thread::Builder::new()
                .name("completions".to_owned())
                .spawn(move || engine.serve(&generator))
                .map_err(|_| Overloaded)?;
        }
        queues.waiting += asks.len();
        queues.of.entry(name).or_default().extend(asks);
        Ok(())
    }

    /// Texts that wait for a seat.
    pub fn waiting(&self) -> usize {
        lock(&self.queues).waiting
    }
}

fn lock(queues: &Mutex<Queues>) -> MutexGuard<'_, Queues> {
    // A queue that somebody died over is still a queue.
    queues.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The thread of one generator.
struct Engine {
    name: usize,
    queues: Arc<Mutex<Queues>>,
}

impl Engine {
    fn serve(self, generator: &Generator) {
        let mut batch: Batch<'_, Sink> = Batch::new(generator);
        while let Some(asks) = self.take(&batch) {
            for ask in asks {
                if let Err((mut sink, error)) = batch.admit(ask.sink, &ask.prompt, &ask.sampling) {
                    // Nothing is left to end, whatever it answers.
                    let _ = sink(Event::Failed(error));
                }
            }
            batch.step(|sink, event| sink(event));
        }
    }

    /// Who is seated next; `None` ends the thread.
    fn take(&self, batch: &Batch<'_, Sink>) -> Option<Vec<Ask>> {
        let mut queues = lock(&self.queues);
        let queue = queues.of.get_mut(&self.name)?;
        let most = if batch.is_empty() {
            batch.free()
        } else {
            batch.free().min(READ_AT_ONCE)
        };
        let taken: Vec<Ask> = queue.drain(..most.min(queue.len())).collect();
        queues.waiting -= taken.len();
        if taken.is_empty() && batch.is_empty() {
            // Under the lock: whoever hands in after this starts a new thread.
            queues.of.remove(&self.name);
            return None;
        }
        Some(taken)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // It took its entry out itself; one of that name is a new thread's.
            return;
        }
        // Those who wait find their sinks gone instead of waiting for ever.
        let mut queues = lock(&self.queues);
        if let Some(left) = queues.of.remove(&self.name) {
            queues.waiting -= left.len();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::mpsc;
    use std::time::Duration;

    use plumbline_training_model::{FinishReason, ModelConfig, Tokenizer};

    use super::*;

    fn generator(seed: u32) -> Arc<Generator> {
        let config = ModelConfig {
            vocabulary: 257,
            width: 16,
            layers: 1,
            heads: 2,
            hidden: 16,
            sequence: 16,
            ..ModelConfig::default()
        };
        let tokenizer = Tokenizer::train(std::iter::empty(), 257).unwrap();
        let weight = |i: usize| ((i as f32 + seed as f32) * 0.7).sin() * 0.3;
        let parameters = (0..config.parameter_count()).map(weight).collect();
        Arc::new(Generator::new(config, tokenizer, parameters).unwrap())
    }

    fn sampling(seed: u64, max_tokens: usize) -> Sampling {
        Sampling {
            max_tokens,
            temperature: 1.0,
            seed,
            ..Sampling::default()
        }
    }

    fn ask(seed: u64, max_tokens: usize, heard: mpsc::Sender<(u64, Event)>) -> Ask {
        Ask {
            prompt: "ab".into(),
            sampling: Arc::new(sampling(seed, max_tokens)),
            sink: Box::new(move |event| match heard.send((seed, event)) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }),
        }
    }

    fn drained(serving: &Serving) {
        for _ in 0..500 {
            if lock(&serving.queues).of.is_empty() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("a thread stays");
    }

    #[test]
    fn many_callers_get_what_each_would_get_alone() {
        let (serving, generators) = (Serving::default(), [generator(1), generator(2)]);
        let (heard, events) = mpsc::channel();
        std::thread::scope(|scope| {
            for caller in 0..10u64 {
                let (serving, generators, heard) = (&serving, &generators, heard.clone());
                scope.spawn(move || {
                    for turn in 0..5 {
                        let seed = caller * 5 + turn;
                        let asks = vec![ask(seed, 20, heard.clone())];
                        serving
                            .submit(&generators[seed as usize % 2], asks)
                            .unwrap();
                    }
                });
            }
        });
        drop(heard);
        let mut texts = vec![String::new(); 50];
        let mut ends = 0;
        for (seed, event) in events {
            match event {
                Event::Piece { text, .. } => texts[seed as usize].push_str(&text),
                Event::Finished(_) => ends += 1,
                Event::Failed(error) => panic!("{error}"),
            }
        }
        assert_eq!(ends, 50);
        for (seed, text) in texts.iter().enumerate() {
            let alone = generators[seed % 2].complete("ab", &sampling(seed as u64, 20));
            assert_eq!(*text, alone.unwrap().text, "seed {seed}");
        }
        drained(&serving);
    }

    #[test]
    fn who_hangs_up_is_let_go_and_too_many_are_refused() {
        let (serving, generator) = (Serving::default(), generator(1));
        let (heard, events) = mpsc::channel();
        let endless = usize::MAX;
        serving
            .submit(&generator, vec![ask(0, endless, heard)])
            .unwrap();
        let first = events.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(matches!(first, (0, Event::Piece { .. })), "{first:?}");
        let (many, _kept) = mpsc::channel();
        let crowd = (0..=WAITING_MAX as u64).map(|seed| ask(seed, 1, many.clone()));
        assert_eq!(serving.submit(&generator, crowd.collect()), Err(Overloaded));
        assert_eq!(serving.waiting(), 0);
        drop(events);
        drained(&serving);
    }

    #[test]
    fn a_request_out_of_domain_fails_alone() {
        let (serving, generator) = (Serving::default(), generator(1));
        let (heard, events) = mpsc::channel();
        let mut bad = ask(1, 4, heard.clone());
        bad.sampling = Arc::new(Sampling {
            top_p: 0.0,
            ..sampling(1, 4)
        });
        let asks = vec![ask(0, 4, heard.clone()), bad, ask(2, 0, heard)];
        serving.submit(&generator, asks).unwrap();
        let mut ends: Vec<(u64, bool)> = events
            .iter()
            .filter_map(|(seed, event)| match event {
                Event::Finished(end) => Some((seed, end.reason == FinishReason::Length)),
                Event::Failed(_) => Some((seed, false)),
                Event::Piece { .. } => None,
            })
            .collect();
        ends.sort_unstable();
        assert_eq!(ends, [(0, true), (1, false), (2, true)]);
    }
}
