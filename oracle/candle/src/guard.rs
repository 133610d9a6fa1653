//! A judge on a thread of its own: bounded in time, in what waits for it, and left alone while it keeps failing.

// It is what bounds the time of judges, which have no clock.
#![allow(clippy::disallowed_methods)]

use std::sync::mpsc::{self, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use plumbline_oracle::breaker::{Bounds, Breaker};
use plumbline_oracle::{Claim, Exhibit, Judge, JudgeContext, JudgeError, Judgement, SharedJudge};

/// What a guarded judge may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GuardOptions {
    /// Longest that one judgement may take, waiting included.
    pub timeout: Duration,
    /// Requests that may wait while one is judged; ≥ 1.
    pub waiting: usize,
    /// Failures in a row, timeouts among them, after which it is left alone.
    pub failures_to_open: u32,
    /// For how long.
    pub open_for: Duration,
    /// Most requests of a day.
    pub requests_per_day: u32,
}

impl Default for GuardOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            waiting: 16,
            failures_to_open: 3,
            open_for: Duration::from_secs(60),
            requests_per_day: 100_000,
        }
    }
}

/// One request, and where its answer goes.
struct Request {
    claim: Claim,
    exhibits: Vec<Exhibit>,
    context: JudgeContext,
    answer: SyncSender<Result<Judgement, JudgeError>>,
    /// When nobody waits for it any more.
    until: Instant,
}

/// Runs a judge on a thread of its own. A judgement that is not there in time is an error, and so is one request more
/// than may wait: the caller is never held up. What was begun is finished, so that its memory serves the next attempt.
pub struct GuardedJudge {
    judge: SharedJudge,
    options: GuardOptions,
    requests: SyncSender<Request>,
    breaker: Mutex<Breaker>,
}

impl GuardedJudge {
    /// Starts the judge's thread, which ends when this is dropped.
    ///
    /// Errors: what the system says when no thread can be had.
    pub fn start(judge: SharedJudge, options: GuardOptions) -> std::io::Result<Self> {
        let (requests, inbox) = mpsc::sync_channel::<Request>(options.waiting.max(1));
        let worker = SharedJudge::clone(&judge);
        std::thread::Builder::new()
            .name(format!("judge-{}", judge.name()))
            .spawn(move || {
                for request in inbox {
                    if Instant::now() >= request.until {
                        continue;
                    }
                    let answer = worker.judge(&request.claim, &request.exhibits, &request.context);
                    // Nobody may be waiting any more.
                    let _ = request.answer.try_send(answer);
                }
            })?;
        Ok(Self {
            breaker: Mutex::new(Breaker::new(Instant::now())),
            judge,
            options,
            requests,
        })
    }

    fn ask(
        &self,
        claim: &Claim,
        exhibits: &[Exhibit],
        context: &JudgeContext,
    ) -> Result<Judgement, JudgeError> {
        let (answer, answered) = mpsc::sync_channel(1);
        let request = Request {
            claim: claim.clone(),
            exhibits: exhibits.to_vec(),
            context: *context,
            answer,
            until: Instant::now() + self.options.timeout,
        };
        self.requests
            .try_send(request)
            .map_err(|error| match error {
                TrySendError::Full(_) => JudgeError::Overloaded {
                    waiting: self.options.waiting,
                },
                TrySendError::Disconnected(_) => ended(),
            })?;
        match answered.recv_timeout(self.options.timeout) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => Err(JudgeError::TimedOut {
                seconds: self.options.timeout.as_secs(),
            }),
            Err(RecvTimeoutError::Disconnected) => Err(ended()),
        }
    }

    fn bounds(&self) -> Bounds {
        Bounds {
            failures_to_open: self.options.failures_to_open.max(1),
            open_for: self.options.open_for,
            budget_micro: i64::MAX,
            requests: self.options.requests_per_day,
        }
    }

    /// What a panicked holder left is whole: every change is one assignment.
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn ended() -> JudgeError {
    JudgeError::Failed("its thread has ended".to_owned())
}

impl Judge for GuardedJudge {
    fn name(&self) -> &str {
        self.judge.name()
    }

    fn family(&self) -> &str {
        self.judge.family()
    }

    fn version(&self) -> String {
        self.judge.version()
    }

    fn judge(
        &self,
        claim: &Claim,
        exhibits: &[Exhibit],
        context: &JudgeContext,
    ) -> Result<Judgement, JudgeError> {
        let bounds = self.bounds();
        self.breaker()
            .admit(Instant::now(), &bounds)
            .map_err(JudgeError::Unavailable)?;
        let answer = self.ask(claim, exhibits, context);
        match &answer {
            Ok(_) | Err(JudgeError::NothingToJudge | JudgeError::Invalid(_)) => {
                self.breaker().succeeded(0);
            }
            Err(_) => self.breaker().failed(Instant::now(), &bounds),
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use plumbline_oracle::Report;

    use super::*;

    /// Takes as long as the claim's text says, milliseconds.
    struct Slow;

    impl Judge for Slow {
        fn name(&self) -> &str {
            "slow"
        }
        fn family(&self) -> &str {
            "slow"
        }
        fn version(&self) -> String {
            "1".to_owned()
        }
        fn judge(
            &self,
            claim: &Claim,
            _: &[Exhibit],
            context: &JudgeContext,
        ) -> Result<Judgement, JudgeError> {
            std::thread::sleep(Duration::from_millis(claim.text.parse().unwrap()));
            Ok(Judgement {
                judge: "slow".to_owned(),
                log_odds: context.base_log_odds + 1.0,
                standard_error: 1.0,
                cost_micro: 0,
                latency_ms: 0,
                note: String::new(),
                detail: None,
            })
        }
    }

    fn judge(guard: &GuardedJudge, milliseconds: u64) -> Result<Judgement, JudgeError> {
        let claim = Claim::new("k", milliseconds.to_string(), "").unwrap();
        let report = Exhibit::Report(Report {
            text: "seen".to_owned(),
        });
        guard.judge(&claim, &[report], &JudgeContext::default())
    }

    #[test]
    fn what_takes_too_long_fails_and_is_left_alone() {
        let options = GuardOptions {
            timeout: Duration::from_millis(300),
            waiting: 1,
            failures_to_open: 2,
            open_for: Duration::from_secs(600),
            ..GuardOptions::default()
        };
        let guard = GuardedJudge::start(Arc::new(Slow), options).unwrap();
        assert_eq!(judge(&guard, 0).unwrap().log_odds, 1.0);
        assert_eq!(
            judge(&guard, 1_500),
            Err(JudgeError::TimedOut { seconds: 0 })
        );
        assert_eq!(judge(&guard, 0), Err(JudgeError::TimedOut { seconds: 0 }));
        assert!(
            matches!(judge(&guard, 0), Err(JudgeError::Unavailable(why)) if why.contains("2 times"))
        );
    }

    #[test]
    fn one_more_than_may_wait_is_refused_at_once() {
        let options = GuardOptions {
            timeout: Duration::from_millis(1_500),
            waiting: 1,
            failures_to_open: 100,
            ..GuardOptions::default()
        };
        let guard = GuardedJudge::start(Arc::new(Slow), options).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| judge(&guard, 1_000));
                std::thread::sleep(Duration::from_millis(200));
            }
            assert_eq!(judge(&guard, 0), Err(JudgeError::Overloaded { waiting: 1 }));
        });
    }
}
