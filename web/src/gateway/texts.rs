//! Texts on their way from the host to a client.

use std::ops::ControlFlow;
use std::sync::Arc;

use actix_web::web;
use plumbline_service::ServiceError;
use plumbline_service::host::{ChosenToken, TextEnd, TextEvent, TextSink};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::request::Job;
use crate::auth::Caller;
use crate::blocking::blocking;
use crate::problem::Problem;
use crate::state::AppState;

/// The texts of one request as they come. Dropping it ends their generation.
pub(crate) struct Texts {
    events: UnboundedReceiver<(usize, TextEvent)>,
    /// Texts that have not ended.
    open: usize,
    /// What names the parameters that answer.
    pub(crate) parameters: String,
    _place: OwnedSemaphorePermit,
}

/// Clients of this API take 409 for a passing conflict and try again; lacking money does not pass by itself.
fn payment_required(mut problem: Problem) -> Problem {
    if problem.code == "insufficient-funds" {
        problem.status = 402;
    }
    problem
}

/// More of one text.
pub(crate) enum More {
    /// Text that stands.
    Piece(usize, String, Vec<ChosenToken>),
    /// The text is complete.
    End(usize, TextEnd),
}

/// One text when it is complete.
#[derive(Debug, Clone, Default)]
pub(crate) struct Text {
    pub(crate) text: String,
    pub(crate) tokens: Vec<ChosenToken>,
    pub(crate) end: Option<TextEnd>,
}

impl Texts {
    /// Has the job's texts generated.
    ///
    /// What waits for a slow client is bounded by what one request may ask for.
    ///
    /// Errors: 503 when as many requests are answered as may be, or whatever the service says.
    pub(crate) async fn of(
        state: &web::Data<AppState>,
        caller: &Caller,
        job: &Job,
    ) -> Result<Self, Problem> {
        let place = state
            .completions
            .clone()
            .try_acquire_owned()
            .map_err(|_| Problem::overloaded("completions"))?;
        let (sender, events) = unbounded_channel();
        let sink: TextSink = Arc::new(move |number, event| match sender.send((number, event)) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        });
        let (context, model, asks) = (caller.context(), job.model.clone(), job.asks.clone());
        let open = asks.len();
        let parameters = blocking(&state.service, move |service| {
            service.generate(&context, &model, asks, &sink)
        })
        .await
        .map_err(payment_required)?;
        Ok(Self {
            events,
            open,
            parameters,
            _place: place,
        })
    }

    /// What comes next; `None` when every text has ended. Errors: the host broke.
    pub(crate) async fn next(&mut self) -> Option<Result<More, Problem>> {
        if self.open == 0 {
            return None;
        }
        let broken = || Problem::internal("generation ended without an end");
        Some(match self.events.recv().await {
            Some((number, TextEvent::Piece { text, tokens })) => {
                Ok(More::Piece(number, text, tokens))
            }
            Some((number, TextEvent::Finished(end))) => {
                self.open -= 1;
                Ok(More::End(number, end))
            }
            Some((_, TextEvent::Failed(error))) => Err(ServiceError::from(error).into()),
            None => Err(broken()),
        })
    }

    /// Whether more is there already.
    pub(crate) fn ready(&self) -> bool {
        !self.events.is_empty()
    }

    /// All texts when they are complete, in the order in which they were asked for.
    pub(crate) async fn all(mut self) -> Result<Vec<Text>, Problem> {
        let mut texts = vec![Text::default(); self.open];
        while let Some(more) = self.next().await {
            match more? {
                More::Piece(number, text, tokens) => {
                    texts[number].text.push_str(&text);
                    texts[number].tokens.extend(tokens);
                }
                More::End(number, end) => texts[number].end = Some(end),
            }
        }
        Ok(texts)
    }
}
