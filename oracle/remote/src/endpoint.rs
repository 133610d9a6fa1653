//! One request to the endpoint, and when to try again.

use std::time::Duration;

use serde_json::json;
use ureq::Agent;
use ureq::config::Config;

use crate::answer::{Answer, Completion};
use crate::options::RemoteOptions;
use crate::prompt::Question;

/// Longest answer that is read, bytes.
const MAX_ANSWER: u64 = 256 * 1024;
/// Longest pause before a further try, also where the endpoint asks for more.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// First pause; each further one is four times as long.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// Why there is no answer.
#[derive(Debug, PartialEq)]
pub(crate) enum Failure {
    /// It may pass: no connection, no time, 408, 429, 5xx; with the pause that the endpoint asked for.
    Passing(String, Option<Duration>),
    /// The same request would fail again.
    Lasting(String),
}

/// Where requests go.
pub(crate) struct Endpoint {
    agent: Agent,
    url: String,
}

impl Endpoint {
    pub(crate) fn new(options: &RemoteOptions) -> Self {
        let config = Config::builder()
            .timeout_global(Some(options.timeout))
            // A redirect would carry the key and the evidence to wherever it points.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .build();
        Self {
            agent: config.new_agent(),
            url: format!("{}/chat/completions", options.url.trim_end_matches('/')),
        }
    }

    /// Asks until there is an answer, a failure that lasts, or no try left.
    pub(crate) fn ask(
        &self,
        options: &RemoteOptions,
        question: &Question,
    ) -> Result<Answer, String> {
        let (mut pause, mut left) = (FIRST_PAUSE, options.retries);
        loop {
            match self.ask_once(options, question) {
                Ok(answer) => return Ok(answer),
                Err(Failure::Passing(_, asked)) if left > 0 => {
                    std::thread::sleep(asked.unwrap_or(pause).min(LONGEST_PAUSE));
                    (pause, left) = (pause * 4, left - 1);
                }
                Err(Failure::Passing(why, _) | Failure::Lasting(why)) => return Err(why),
            }
        }
    }

    fn ask_once(&self, options: &RemoteOptions, question: &Question) -> Result<Answer, Failure> {
        let body = json!({
            "model": options.model,
            "messages": [
                {"role": "system", "content": question.system},
                {"role": "user", "content": question.user},
            ],
            "max_tokens": 4,
            "temperature": 0,
            "logprobs": true,
            "top_logprobs": 20,
        });
        let mut request = self.agent.post(&self.url);
        if let Some(key) = &options.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let mut response = request
            .send_json(&body)
            .map_err(|error| Failure::Passing(format!("no answer: {error}"), None))?;
        let status = response.status().as_u16();
        if status != 200 {
            let why = format!("answered with status {status}");
            let passes = matches!(status, 408 | 429 | 500..=599);
            let pause = response
                .headers()
                .get("retry-after")
                .and_then(|value| value.to_str().ok()?.parse().ok())
                .map(Duration::from_secs);
            return Err(if passes {
                Failure::Passing(why, pause)
            } else {
                Failure::Lasting(why)
            });
        }
        let completion: Completion = response
            .body_mut()
            .with_config()
            .limit(MAX_ANSWER)
            .read_json()
            .map_err(|error| Failure::Lasting(format!("the answer cannot be read: {error}")))?;
        completion.answer().map_err(Failure::Lasting)
    }
}
