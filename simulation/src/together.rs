//! Trades that many people ask for at the same moment, which the writer takes in one batch.
//!
//! Which requests share a batch must follow from the seed and not from the speed of threads: so the
//! writer is kept in an empty request until all of them have queued up, in their order.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::{Context as Waiting, Poll, Wake, Waker};
use std::thread::Thread;

use plumbline_service::ServiceError;
use plumbline_service::commands::TradeOrder;
use plumbline_service::context::Context;
use plumbline_service::views::TradeView;
use plumbline_store::StoreError;

use crate::actors::Actor;
use crate::behave::Done;
use crate::market::Venue;
use crate::play::Play;

/// Trades that are asked for together.
const TOGETHER: usize = 24;

/// A trade that somebody is about to ask for.
pub(crate) struct Asked {
    context: Context,
    persistent: bool,
    market: String,
    order: TradeOrder,
}

type Answer = Result<TradeView, ServiceError>;
type Request = Pin<Box<dyn Future<Output = Answer>>>;

fn is_refused(answer: &Answer) -> bool {
    matches!(answer, Err(error) if !matches!(error, ServiceError::Internal(_)))
}

/// Wakes the thread that waits for an answer.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl Play {
    /// Asks for a trade together with what others ask for now.
    pub(crate) fn trade_soon(&mut self, actor: &Actor, venue: &Venue, order: TradeOrder) -> Done {
        let context = self.keyed(&actor.context);
        self.crowd.push(Asked {
            context,
            persistent: actor.persistent,
            market: venue.id.clone(),
            order,
        });
        if self.crowd.len() < TOGETHER {
            return Ok(());
        }
        self.trade_together()
    }

    /// Has everybody who waits trade now.
    pub(crate) fn trade_together(&mut self) -> Done {
        let crowd = std::mem::take(&mut self.crowd);
        if crowd.is_empty() {
            return Ok(());
        }
        let answers = self.answers(&crowd)?;
        let died = self.revive_if_dead()?;
        for (asked, answer) in crowd.into_iter().zip(answers) {
            // What was malformed was refused before it came to the writer, dead or not.
            let unanswered = died && !is_refused(&answer);
            self.take_answer(&asked, answer, unanswered)?;
        }
        Ok(())
    }

    fn take_answer(&mut self, asked: &Asked, answer: Answer, unanswered: bool) -> Done {
        let trade = |service: &plumbline_service::Service, context: &Context| {
            service.trade(context, &asked.market, &asked.order)
        };
        if !unanswered {
            self.hear(&asked.context, &trade, &answer)?;
            self.note_trade(Some(answer));
            return Ok(());
        }
        self.count("unanswered");
        let answer = if asked.persistent {
            self.ask_keyed(&asked.context, true, trade)?
        } else {
            None
        };
        self.note_trade(answer);
        Ok(())
    }

    /// Queues every request behind one that keeps the writer, lets it go, and waits for all.
    fn answers(&self, crowd: &[Asked]) -> Result<Vec<Answer>, crate::SimulationError> {
        let (service, store) = (self.world.service()?, self.world.store()?);
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut waiting = Waiting::from_waker(&waker);
        let (arrived, arrival) = channel();
        let (open, opened) = channel::<()>();
        let mut gate = pin!(store.write_async::<_, StoreError, _>(move |_| {
            let _ = arrived.send(());
            // Opened, or given up.
            let _ = opened.recv();
            Ok(())
        }));
        // A store that is dead takes nothing, and answers so at once.
        let mut passed = gate.as_mut().poll(&mut waiting).is_ready();
        if !passed {
            let _ = arrival.recv();
        }
        let mut requests = Vec::with_capacity(crowd.len());
        for asked in crowd {
            let service = service.clone();
            let (context, market, order) = (
                asked.context.clone(),
                asked.market.clone(),
                asked.order.clone(),
            );
            let mut request: Request =
                Box::pin(async move { service.trade_async(&context, &market, &order).await });
            let answer = match request.as_mut().poll(&mut waiting) {
                Poll::Ready(answer) => Some(answer),
                Poll::Pending => None,
            };
            requests.push((request, answer));
        }
        drop(open);
        while !passed {
            passed = gate.as_mut().poll(&mut waiting).is_ready();
            if !passed {
                std::thread::park();
            }
        }
        let wait = |(mut request, answer): (Request, Option<Answer>)| {
            let mut answer = answer;
            loop {
                if let Some(answer) = answer {
                    return answer;
                }
                answer = match request.as_mut().poll(&mut waiting) {
                    Poll::Ready(answer) => Some(answer),
                    Poll::Pending => {
                        std::thread::park();
                        None
                    }
                };
            }
        };
        Ok(requests.into_iter().map(wait).collect())
    }
}
