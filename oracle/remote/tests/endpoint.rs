//! The judge against an endpoint that answers as it is told to, over real HTTP on loopback.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use plumbline_oracle::{Claim, Exhibit, Judge, JudgeContext, JudgeError, Judgement, Report};
use plumbline_oracle_remote::{RemoteJudge, RemoteOptions};
use serde_json::{Value, json};

/// What the endpoint does with one request.
type Reply = dyn Fn(&Value, usize) -> (u16, String) + Send + Sync;

struct Endpoint {
    url: String,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Endpoint {
    /// Serves requests until the test ends; `reply` gets the body and the number of requests before it.
    fn start(reply: impl Fn(&Value, usize) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/v1", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<(String, Value)>>> = Arc::default();
        let (log, reply): (_, Arc<Reply>) = (seen.clone(), Arc::new(reply));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten().take(200) {
                let _ = serve(stream, &log, &*reply);
            }
        });
        Self { url, seen }
    }

    fn judge(&self, change: impl FnOnce(&mut RemoteOptions)) -> RemoteJudge {
        let mut options = RemoteOptions::new(&self.url, "a-model");
        options.key = Some("the-key".to_owned());
        options.timeout = Duration::from_secs(5);
        options.retries = 0;
        change(&mut options);
        RemoteJudge::new(options).unwrap()
    }

    fn requests(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

fn serve(
    stream: TcpStream,
    log: &Mutex<Vec<(String, Value)>>,
    reply: &Reply,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let before = {
        let mut seen = log.lock().unwrap();
        seen.push((head, body.clone()));
        seen.len() - 1
    };
    let (status, text) = reply(&body, before);
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    )
}

fn says(yes: f64, tokens: u64) -> String {
    let top = json!([{"token": "Yes", "logprob": yes.ln()}, {"token": "No", "logprob": (1.0 - yes).ln()}]);
    json!({
        "choices": [{"message": {"role": "assistant", "content": "Yes"}, "logprobs": {"content": [{"token": "Yes", "top_logprobs": top}]}}],
        "usage": {"total_tokens": tokens},
    })
    .to_string()
}

fn user_text(body: &Value) -> String {
    body["messages"][1]["content"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn judge(judge: &RemoteJudge, text: &str) -> Result<Judgement, JudgeError> {
    let claim = Claim::new("harmful:x", "The reply does harm", "Harm is harm.").unwrap();
    let exhibit = Exhibit::Report(Report {
        text: text.to_owned(),
    });
    judge.judge(&claim, &[exhibit], &JudgeContext { base_log_odds: 0.5 })
}

#[test]
fn the_habit_of_saying_yes_is_taken_off_and_answers_are_remembered() {
    let endpoint = Endpoint::start(|body, _| {
        let yes = if user_text(body).contains("nothing was submitted") {
            0.8
        } else {
            0.9
        };
        (200, says(yes, 1_500))
    });
    let remote = endpoint.judge(|options| options.price_per_1k_tokens_micro = 100);
    let first = judge(&remote, "it harmed").unwrap();
    let expected = 0.5 + (9.0_f64).ln() - (4.0_f64).ln();
    assert!((first.log_odds - expected).abs() < 1e-9, "{first:?}");
    assert_eq!(first.cost_micro, 300);
    let again = judge(&remote, "it harmed").unwrap();
    assert_eq!((again.log_odds, again.cost_micro), (first.log_odds, 0));
    assert_eq!(endpoint.requests(), 2);
    let other = judge(&remote, "it harmed twice").unwrap();
    assert_eq!(other.cost_micro, 150, "the habit is asked for once");
    let seen = endpoint.seen.lock().unwrap();
    assert!(
        seen[0].0.contains("Bearer the-key") && seen[0].0.starts_with("POST /v1/chat/completions")
    );
    assert_eq!(seen[0].1["temperature"], 0);
}

#[test]
fn a_long_text_is_read_whole_and_moves_no_further_than_the_bound() {
    let endpoint = Endpoint::start(|body, _| {
        let text = user_text(body);
        let yes = if text.contains("THE END") {
            0.999_999
        } else {
            0.5
        };
        (200, says(yes, 0))
    });
    let remote = endpoint.judge(|options| options.section_chars = 5_000);
    let lines: String = (0..1_000)
        .map(|line| format!("nothing happens in {line:08}\n"))
        .collect();
    let text = format!("{lines}THE END");
    let judgement = judge(&remote, &text).unwrap();
    assert!(
        judgement.log_odds > 0.5 + 2.9 && judgement.log_odds <= 0.5 + 3.0,
        "{judgement:?}"
    );
    assert!(judgement.note.contains("6 sections"), "{}", judgement.note);
    assert_eq!(endpoint.requests(), 7);
}

#[test]
fn what_may_pass_is_tried_again_and_what_lasts_is_not() {
    let endpoint = Endpoint::start(|_, before| match before {
        0 => (429, "{}".to_owned()),
        1 => (503, "{}".to_owned()),
        2 | 3 => (200, says(0.5, 0)),
        _ => (401, "{}".to_owned()),
    });
    let remote = endpoint.judge(|options| options.retries = 2);
    judge(&remote, "a").unwrap();
    assert_eq!(endpoint.requests(), 4);
    let refused = judge(&remote, "b").unwrap_err();
    assert!(refused.to_string().contains("401"), "{refused}");
    assert_eq!(endpoint.requests(), 5, "a wrong key is not tried again");
}

#[test]
fn an_endpoint_that_keeps_failing_is_left_alone() {
    let endpoint = Endpoint::start(|_, _| (500, "{}".to_owned()));
    let remote = endpoint.judge(|options| options.failures_to_open = 3);
    for _ in 0..3 {
        assert!(matches!(judge(&remote, "a"), Err(JudgeError::Failed(_))));
    }
    let left = judge(&remote, "a").unwrap_err();
    assert!(
        matches!(&left, JudgeError::Unavailable(why) if why.contains("left alone")),
        "{left}"
    );
    assert_eq!(endpoint.requests(), 3);
}

#[test]
fn a_budget_is_not_overdrawn() {
    let endpoint = Endpoint::start(|_, _| (200, says(0.5, 1_000)));
    let remote = endpoint.judge(|options| {
        options.price_per_1k_tokens_micro = 10;
        options.budget_per_day_micro = 20;
    });
    judge(&remote, "a").unwrap();
    assert!(
        matches!(judge(&remote, "b"), Err(JudgeError::Unavailable(why)) if why.contains("budget"))
    );
    judge(&remote, "a").unwrap();
    assert_eq!(endpoint.requests(), 2);
}

#[test]
fn slow_broken_and_endless_answers_are_failures() {
    let endpoint = Endpoint::start(|_, before| match before {
        0 => (200, "not json".to_owned()),
        1 => (200, json!({"choices": []}).to_string()),
        2 => (200, "x".repeat(1_000_000)),
        3 => (302, "{}".to_owned()),
        _ => {
            std::thread::sleep(Duration::from_secs(2));
            (200, says(0.5, 0))
        }
    });
    let remote = endpoint.judge(|options| {
        options.timeout = Duration::from_millis(700);
        options.failures_to_open = 100;
    });
    for _ in 0..4 {
        assert!(matches!(judge(&remote, "a"), Err(JudgeError::Failed(_))));
    }
    let started = Instant::now();
    let slow = judge(&remote, "a").unwrap_err();
    assert!(started.elapsed() < Duration::from_millis(1_900), "{slow}");
    let nobody = RemoteJudge::new(RemoteOptions {
        retries: 0,
        ..RemoteOptions::new("http://127.0.0.1:1/v1", "m")
    })
    .unwrap();
    assert!(matches!(judge(&nobody, "a"), Err(JudgeError::Failed(_))));
}
