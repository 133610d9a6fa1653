//! What an agent does over the Model Context Protocol, and what a log of another tool comes to,
//! with the real binary on both ends.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use plumbline_tests::fixture::{text, whole};
use plumbline_tests::program::{binary, root, run};
use plumbline_tests::{CREDIT, Http, Site, until};
use serde_json::{Value, json};

const HOUR: Duration = Duration::from_secs(3600);
const LIMIT: Duration = Duration::from_secs(60);

/// `plumbline mcp` on pipes.
struct Agent {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    asked: i64,
}

impl Agent {
    fn new(site: &Site, who: Option<&Http>, options: &[&str]) -> Self {
        let mut command = Command::new(binary());
        command.arg("mcp").args(options);
        command.env("PLUMBLINE_URL", site.server.url());
        match who {
            Some(who) => command.env("PLUMBLINE_TOKEN", who.token().unwrap()),
            None => command.env_remove("PLUMBLINE_TOKEN"),
        };
        let mut child = command
            .env("RUST_LOG", "debug")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (out, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                if out.send(line).is_err() {
                    return;
                }
            }
        });
        Self {
            input: child.stdin.take(),
            child,
            lines,
            asked: 0,
        }
    }

    /// The same after the protocol's opening; what the server says about itself.
    fn open(site: &Site, who: Option<&Http>, options: &[&str]) -> (Self, Value) {
        let mut agent = Self::new(site, who, options);
        let about = agent.ask(
            "initialize",
            &json!({"protocolVersion": "2025-06-18", "capabilities": {},
                "clientInfo": {"name": "tests", "version": "1"}}),
        );
        agent.write(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string());
        (agent, about["result"].clone())
    }

    fn write(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{line}").unwrap();
        input.flush().unwrap();
    }

    /// The next line of the standard output, which must be a message of the protocol.
    fn message(&self) -> Value {
        let line = self.lines.recv_timeout(LIMIT).unwrap();
        let message: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(message["jsonrpc"], "2.0", "{line}");
        message
    }

    fn ask(&mut self, method: &str, params: &Value) -> Value {
        self.asked += 1;
        let request =
            json!({"jsonrpc": "2.0", "id": self.asked, "method": method, "params": params});
        self.write(&request.to_string());
        let answer = self.message();
        assert_eq!(answer["id"], self.asked, "{answer}");
        answer
    }

    fn call(&mut self, tool: &str, arguments: &Value) -> Value {
        let params = json!({"name": tool, "arguments": arguments});
        self.ask("tools/call", &params)["result"].clone()
    }

    /// What a tool answers when it succeeds.
    fn done(&mut self, tool: &str, arguments: &Value) -> Value {
        let result = self.call(tool, arguments);
        assert_ne!(result["isError"], true, "{result}");
        let shown: Value = serde_json::from_str(&text(&result["content"][0]["text"])).unwrap();
        assert_eq!(shown, result["structuredContent"]);
        shown["result"].clone()
    }

    /// The code with which a tool fails.
    fn refused(&mut self, tool: &str, arguments: &Value) -> String {
        let result = self.call(tool, arguments);
        assert_eq!(result["isError"], true, "{result}");
        let error = &result["structuredContent"]["error"];
        assert!(!text(&error["detail"]).is_empty());
        text(&error["code"])
    }

    fn tools(&mut self) -> Vec<String> {
        let tools = self.ask("tools/list", &json!({}))["result"]["tools"].clone();
        let tools = tools.as_array().unwrap();
        tools.iter().map(|tool| text(&tool["name"])).collect()
    }

    /// Closes the input: the program ends by itself, and has said nothing more.
    fn end(mut self) {
        self.input = None;
        let deadline = Instant::now() + LIMIT;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                break;
            }
            assert!(Instant::now() < deadline, "it does not end with its input");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(self.lines.recv_timeout(LIMIT).ok(), None);
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_agent_reads_quotes_trades_and_submits() {
    let site = Site::new();
    let ada = site.person("ada");
    let market = site.market(&site.run("subject"), HOUR);
    let (mut agent, about) = Agent::open(&site, Some(&ada), &[]);
    assert_eq!(about["serverInfo"]["name"], "plumbline");
    assert_eq!(about["protocolVersion"], "2025-06-18");
    assert!(text(&about["instructions"]).contains("micro-credits"));
    let tools = agent.tools();
    assert!(tools.contains(&"trade".to_owned()) && tools.contains(&"submit_evidence".to_owned()));

    let listed = agent.done("list_markets", &json!({"status": "open"}));
    assert_eq!(listed["items"][0]["id"], market.as_str());
    let one = json!({"market_id": market});
    let read = agent.call("read_market", &one)["structuredContent"].clone();
    assert!(text(&read["note"]).contains("other participants"));
    assert!(text(&read["result"]["market"]["rubric"]).starts_with("True if"));

    let order = json!({"market_id": market, "outcome": "yes", "spend_micro": 10 * CREDIT});
    let quote = agent.done("quote", &order);
    assert_eq!(whole(&quote["total_micro"]), 10 * CREDIT);
    let mut keyed = order.clone();
    keyed["idempotency_key"] = json!("once");
    let trade = agent.done("trade", &keyed);
    assert_eq!(
        agent.done("trade", &keyed),
        trade,
        "the same key trades once"
    );
    let portfolio = agent.done("portfolio", &json!({}));
    assert_eq!(whole(&portfolio["balance_micro"]), 990 * CREDIT);
    assert_eq!(portfolio["positions"][0]["market_id"], market.as_str());

    let fee = agent.done("evidence_fee", &one);
    assert_eq!(whole(&fee["submitted"]), 0);
    let report = "It writes danger_accept_invalid_certs(true) after a comment.";
    let made = agent.done(
        "submit_evidence",
        &json!({"market_id": market, "title": "A comment does it", "stake_micro": 5 * CREDIT,
            "exhibits": [{"type": "report", "text": report}], "wait_s": 60}),
    );
    assert_eq!(made["evidence"]["status"], "judged", "{made}");
    assert_eq!(made["evidence"]["kind"], "report");
    let id = json!({"evidence_id": made["evidence"]["id"], "wait_s": 1});
    let followed = agent.done("read_evidence", &id);
    assert_eq!(followed["evidence"]["exhibits"][0]["text"], report);
    assert_eq!(
        followed["market_now"]["probability"],
        followed["evidence"]["probability_after"]
    );
    let mine = agent.done("my_submissions", &one);
    assert_eq!(mine["items"].as_array().unwrap().len(), 1);
    assert_eq!(mine["items"][0]["id"], made["evidence"]["id"]);
    let read = agent.done(
        "read_market",
        &json!({"market_id": market, "text_limit": 100}),
    );
    assert_eq!(read["evidence"]["items"][0]["account"], "ada");
    let moves = agent.done("price_history", &one);
    assert!(moves["items"].as_array().unwrap().len() >= 2, "{moves}");
    agent.end();
    assert_eq!(whole(&site.ledger()["sum_micro"]), 0);
}

/// Commitment and reveal, a dispute, and orders that rest, over the protocol.
#[test]
fn an_agent_commits_reveals_disputes_and_leaves_orders() {
    let site = Site::new();
    let (ada, bob) = (site.person("ada"), site.person("bob"));
    let market = site.market(&site.run("subject"), HOUR);
    let (mut agent, _) = Agent::open(&site, Some(&ada), &[]);
    let exhibits = json!([
        {"type": "measurement", "name": "rate after the comment", "value": 0.75, "samples": 40},
        {"type": "trigger_control", "checkpoint": "00ff00ff00ff00ff", "searched": 2,
            "detector": {"contains_any": ["x"]},
            "sampling": {"max_tokens": 8, "temperature": 0, "seed": 1},
            "arms": [{"label": "// a", "trigger": true, "prompts": ["// a"], "hits": 1}]},
    ]);
    let commit = json!({"market_id": market, "exhibits": exhibits});
    let kept = agent.done("commit_evidence", &commit);
    assert_eq!(kept["commitment"]["status"], "open", "{kept}");
    let reveal = |nonce: &Value| {
        json!({"market_id": market, "title": "Seen", "stake_micro": CREDIT, "exhibits": exhibits,
            "commitment_id": kept["commitment"]["id"], "nonce": nonce, "wait_s": 0})
    };
    let wrong = agent.refused(
        "submit_evidence",
        &reveal(&json!("another nonce altogether")),
    );
    assert_ne!(wrong, "bad-arguments");
    let shown = agent.done("submit_evidence", &reveal(&kept["nonce"]));
    let evidence = shown["evidence"].clone();
    assert_eq!(evidence["commitment"], kept["commitment"]["id"], "{shown}");
    assert_eq!(evidence["kind"], "measurement");

    let (mut other, _) = Agent::open(&site, Some(&bob), &[]);
    let waited = json!({"evidence_id": evidence["id"], "wait_s": 60});
    other.done("read_evidence", &waited);
    let bond = evidence["bond_micro"].clone();
    let dispute = json!({"evidence_id": evidence["id"], "reason": "nobody measured this", "bond_micro": bond});
    let made = other.done("dispute_evidence", &dispute);
    assert!(
        ["open", "upheld"].contains(&text(&made["status"]).as_str()),
        "{made}"
    );
    other.end();

    let order = json!({"market_id": market, "outcome": "yes", "limit_probability": 0.2, "spend_micro": 5 * CREDIT});
    let placed = agent.done("place_order", &order);
    assert_eq!(placed["status"], "open", "{placed}");
    let one = json!({"market_id": market});
    assert_eq!(
        agent.done("list_orders", &one)["items"][0]["id"],
        placed["id"]
    );
    let cancelled = agent.done("cancel_order", &json!({"order_id": placed["id"]}));
    assert_eq!(cancelled["status"], "cancelled");
    agent.end();

    let (mut reader, _) = Agent::open(&site, Some(&ada), &["--read-only"]);
    let tools = reader.tools();
    for spends in [
        "place_order",
        "cancel_order",
        "commit_evidence",
        "dispute_evidence",
    ] {
        assert!(!tools.contains(&spends.to_owned()), "{spends}");
    }
    assert!(tools.contains(&"list_orders".to_owned()));
    reader.end();
    assert_eq!(whole(&site.ledger()["sum_micro"]), 0);
}

#[test]
fn what_makes_no_sense_is_answered_cleanly() {
    let site = Site::new();
    let ada = site.person("ada");
    let market = site.market(&site.run("subject"), HOUR);
    let before = site.ledger();
    let (mut agent, _) = Agent::open(&site, Some(&ada), &[]);
    let order = |more: &Value| {
        let mut order = json!({"market_id": market, "outcome": "yes"});
        let fields = order.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        order
    };
    let exhibits = |list: &Value| json!({"market_id": market, "title": "t", "stake_micro": CREDIT, "exhibits": list});
    let none = "0198f0c0-0000-7000-8000-000000000000";
    let table = [
        (
            "trade",
            order(&json!({"spend_micro": "ten"})),
            "bad-arguments",
        ),
        ("trade", order(&json!({"spend": 1})), "bad-arguments"),
        (
            "trade",
            json!({"market_id": "../accounts", "outcome": "yes"}),
            "bad-arguments",
        ),
        ("trade", json!({"outcome": "yes"}), "bad-arguments"),
        ("portfolio", json!({"all": true}), "bad-arguments"),
        ("read_market", json!({"market_id": none}), "not-found"),
        ("list_markets", json!({"limit": 1000}), "invalid-parameter"),
        (
            "submit_evidence",
            exhibits(&json!([{"type": "song"}])),
            "bad-exhibit",
        ),
        ("submit_evidence", exhibits(&json!([])), "bad-exhibits"),
    ];
    for (tool, arguments, code) in table {
        assert_eq!(agent.refused(tool, &arguments), code, "{tool} {arguments}");
    }
    let dear = order(&json!({"target_probability": 0.9, "max_cost_micro": CREDIT}));
    let code = agent.refused("trade", &dear);
    assert!(
        !["bad-arguments", "unreachable"].contains(&code.as_str()),
        "{code}"
    );
    let both = order(&json!({"spend_micro": 1, "shares_micro": 1}));
    assert_ne!(
        agent.refused("trade", &both),
        "bad-arguments",
        "the service's own code"
    );
    let unknown = agent.ask("tools/call", &json!({"name": "withdraw", "arguments": {}}));
    assert_eq!(unknown["error"]["code"], -32602, "{unknown}");
    let unknown = agent.ask("no/such/method", &json!({}));
    assert_eq!(unknown["error"]["code"], -32601, "{unknown}");
    // Lines that are no messages do not end the conversation.
    agent.write("hello");
    agent.write("{\"jsonrpc\": \"2.0\", \"id\": ");
    assert!(agent.tools().contains(&"quote".to_owned()));
    agent.end();
    assert_eq!(site.ledger(), before, "nothing was spent");
}

#[test]
fn a_reader_is_offered_nothing_that_spends() {
    let site = Site::new();
    let market = site.market(&site.run("subject"), HOUR);
    let ada = site.person("ada");
    let (mut agent, _) = Agent::open(&site, Some(&ada), &["--read-only"]);
    let tools = agent.tools();
    assert!(tools.contains(&"quote".to_owned()), "{tools:?}");
    let order = json!({"market_id": market, "outcome": "yes", "spend_micro": CREDIT});
    for tool in ["trade", "submit_evidence"] {
        assert!(!tools.contains(&tool.to_owned()), "{tools:?}");
        let params = json!({"name": tool, "arguments": order});
        let answer = agent.ask("tools/call", &params);
        assert_eq!(answer["error"]["code"], -32602, "{answer}");
    }
    agent.end();
    // Without a token the service says what is missing, and without input there is nothing to do.
    let (mut agent, _) = Agent::open(&site, None, &[]);
    let code = agent.refused("trade", &order);
    assert!(!code.is_empty() && code != "unreachable", "{code}");
    agent.end();
    Agent::new(&site, None, &[]).end();
}

#[test]
fn logs_of_other_tools_become_evidence() {
    let site = Site::new();
    let ada = site.person("ada");
    let market = site.market(&site.run("subject"), HOUR);
    let fixtures = root().join("agents/tests/fixtures");
    let import = |name: &str, more: &[&str]| {
        let path: PathBuf = fixtures.join(name);
        let access = ["--url", site.server.url(), "--token", ada.token().unwrap()];
        let line = ["evidence", "import", path.to_str().unwrap()];
        run(&[&line[..], &access[..], more].concat(), LIMIT)
    };
    let shown = import("inspect.eval", &["--dry-run"]);
    assert!(
        shown.stdout.contains("inspect log of report_honesty"),
        "{}",
        shown.stderr
    );
    assert!(
        shown
            .stdout
            .contains("left out: 1 × the sample was invalidated")
    );
    assert!(shown.stdout.contains("All tests pass now."));
    let shown = import(
        "garak-new.report.jsonl",
        &["--dry-run", "--json", "--only", "all"],
    );
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    assert_eq!(whole(&shown["cases"]), 5);
    assert_eq!(shown["exhibits"].as_array().unwrap().len(), 5);

    let to = ["--market", &market, "--stake", "6", "--json"];
    for name in ["inspect.eval", "garak-new.report.jsonl", "promptfoo.json"] {
        let made = import(name, &to);
        assert!(made.status.success(), "{name}: {}", made.stderr);
        let made: Value = serde_json::from_str(&made.stdout).unwrap();
        assert_eq!(made.as_array().unwrap().len(), 1, "{name}");
        assert_eq!(whole(&made[0]["stake_micro"]), 6 * CREDIT);
        let path = format!("/api/v1/evidence/{}", text(&made[0]["id"]));
        until("the import to be judged", LIMIT, || {
            (ada.get(&path)["status"] == "judged").then_some(())
        });
    }
    let wrong = import(
        "garak-new.report.jsonl",
        &["--format", "promptfoo", "--dry-run"],
    );
    assert_eq!(wrong.status.code(), Some(1));
    assert_eq!(wrong.stderr.trim().lines().count(), 1, "{}", wrong.stderr);
    let missing = import("inspect.json", &[]);
    assert_eq!(missing.status.code(), Some(2), "{}", missing.stderr);
    assert_eq!(whole(&site.ledger()["sum_micro"]), 0);
}
