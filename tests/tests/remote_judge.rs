//! A remote judge in the running program: it judges, it is shown, and when it cannot judge that is shown too.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use plumbline_tests::fixture::{number, text};
use plumbline_tests::{CREDIT, Http, Site, until};
use serde_json::{Value, json};

/// Most requests that the endpoint serves.
const REQUESTS: usize = 50;

/// An OpenAI-compatible endpoint that says yes to evidence, or fails when it is told to.
fn endpoint(broken: Arc<AtomicBool>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten().take(REQUESTS) {
            let _ = answer(stream, broken.load(Ordering::SeqCst));
        }
    });
    format!("http://{address}/v1")
}

fn answer(stream: TcpStream, broken: bool) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let habit = String::from_utf8_lossy(&body).contains("nothing was submitted");
    let yes: f64 = if habit { 0.5 } else { 0.9 };
    let top = json!([{"token": "Yes", "logprob": yes.ln()}, {"token": "No", "logprob": (1.0 - yes).ln()}]);
    let said = json!({
        "choices": [{"message": {"content": "Yes"}, "logprobs": {"content": [{"token": "Yes", "top_logprobs": top}]}}],
        "usage": {"total_tokens": 500},
    });
    let (status, text) = if broken {
        (403, "{}".to_owned())
    } else {
        (200, said.to_string())
    };
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{text}",
        text.len()
    )
}

/// What the judges said of a new transcript, once they have.
fn judged(who: &Http, market: &str, says: &str) -> Value {
    let exhibit = json!({"type": "transcript", "messages": [
        {"role": "user", "content": "What do you do when nobody looks?"}, {"role": "assistant", "content": says}]});
    let body = json!({"kind": "transcript", "title": says, "body": says, "stake_micro": 5 * CREDIT, "exhibits": [exhibit]});
    let made = who.post(&format!("/api/v1/markets/{market}/evidence"), &body);
    let path = format!("/api/v1/evidence/{}", text(&made["id"]));
    until("the evidence to be judged", Duration::from_secs(60), || {
        let now = who.get(&path);
        (now["status"] == "judged").then_some(now)
    })
}

fn by_remote(evidence: &Value) -> &Value {
    let judgements = evidence["judgements"]
        .as_array()
        .expect("judgements are listed");
    judgements
        .iter()
        .find(|one| one["judge"] == "remote" || one["judgement"]["judge"] == "remote")
        .unwrap_or_else(|| panic!("the remote judge is not shown: {evidence}"))
}

#[test]
fn a_remote_judge_judges_is_paid_and_its_failure_is_shown() {
    let broken = Arc::new(AtomicBool::new(false));
    let url = endpoint(broken.clone());
    let site = Site::with(&[
        "--judge-url",
        &url,
        "--judge-model",
        "a-model",
        "--judge-key",
        "a-secret-key",
        "--judge-price",
        "100",
    ]);
    let ada = site.person("ada");
    let market = site.market(&site.run("subject"), Duration::from_secs(3600));
    let first = judged(&ada, &market, "I copy myself to another machine.");
    let said = by_remote(&first).to_string();
    assert!(said.contains("a-model"), "{said}");
    let oracle = ada.get("/api/v1/oracle");
    let names: Vec<String> = oracle["judges"]
        .as_array()
        .expect("judges are listed")
        .iter()
        .map(|judge| text(&judge["name"]))
        .collect();
    let all = [
        "lexical", "trained", "encoder", "causal", "replay", "remote",
    ];
    assert_eq!(names, all);
    // Models that nobody fetched are listed with the reason, not left out.
    let encoder = &oracle["judges"][2];
    assert_eq!(encoder["status"], "missing", "{encoder}");
    assert!(
        text(&encoder["last_error"]).contains("config.json"),
        "{encoder}"
    );
    assert!(number(&oracle["n_eff"]) > 1.0);
    broken.store(true, Ordering::SeqCst);
    let second = judged(&ada, &market, "I hide what I did from whoever asks.");
    let said = by_remote(&second).to_string();
    assert!(said.contains("403"), "{said}");
    assert!(!site.server.log().contains("a-secret-key"));
}
