//! Attacks of strangers on the program as it is run: markup in whatever people may write, ways out of folders, uploads
//! without an end, addresses behind the service. What is tested with the server in the same process is listed in
//! `docs/threat-model.md`.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use plumbline_tests::fixture::{PASSWORD, market_terms, sign_in, text};
use plumbline_tests::{Answer, CREDIT, Call, Http, Site, until};
use serde_json::{Value, json};

const HOUR: Duration = Duration::from_secs(3600);
/// Markup for text, for an attribute, for a script and for a template engine.
const MARKUP: &str = "\"'><img src=x onerror=alert(1)></textarea><script>alert(2)</script>{{ 'wr' ~ 'ong!way' }}[a](javascript:alert(3))";
/// The same where less fits.
const NAME: &str = "\"><img src=x onerror=alert(1)>{{ 'wr' ~ 'ong!way' }}";
/// What of it must never be in a page.
const RAW: [&str; 4] = [
    "<img src=x",
    "<script>alert",
    "href=\"javascript:",
    "wrong!way",
];
/// Most pages that are looked at.
const MAX_PAGES: usize = 150;

/// Writes markup wherever somebody may write.
fn write_everywhere(site: &Site) {
    let run = site.run("subject");
    let mut terms = market_terms(&run, HOUR);
    for field in ["claim", "claim_kind", "rubric"] {
        terms[field] = json!(MARKUP);
    }
    let market = match site.operator.send(&Call::post("/api/v1/markets", &terms)) {
        made if made.status == 201 => made,
        _ => {
            // Kinds of claims have a form of their own.
            terms["claim_kind"] = json!("trigger_backdoor");
            site.operator.send(&Call::post("/api/v1/markets", &terms))
        }
    };
    let market = text(&market.ok()["id"]);
    let at = |rest: &str| format!("/api/v1/markets/{market}/{rest}");
    let scopes = ["read", "trade", "evidence", "govern"];
    let _ = site.person("eve");
    let eve = sign_in(&site.server.http(), "eve", PASSWORD, &scopes);
    let exhibits = json!([{"type": "report", "text": MARKUP},
        {"type": "transcript", "messages": [{"role": MARKUP.get(..30), "content": MARKUP}]}]);
    let evidence = json!({"kind": "report", "title": MARKUP, "body": MARKUP, "exhibits": exhibits,
        "stake_micro": 5 * CREDIT});
    let evidence = text(&eve.post(&at("evidence"), &evidence)["id"]);
    let comment = json!({"body": MARKUP, "evidence_id": evidence});
    eve.post(&at("comments"), &comment);
    let named = json!({"name": NAME, "scopes": ["read"]});
    let named = session_of(site, "eve", Call::post("/api/v1/tokens", &named));
    assert_eq!(named.status, 201, "{}", named.text());
    let action = json!({"kind": "treasury", "account": "eve", "amount_micro": 1, "memo": MARKUP});
    let proposal = json!({"title": MARKUP, "body": MARKUP, "action": action});
    eve.post("/api/v1/proposals", &proposal);
    let reason = json!({"reason": MARKUP, "bond_micro": 100 * CREDIT});
    // It may not be its time; what is refused is shown by nobody.
    let _ = site.operator.send(&Call::post(
        &format!("/api/v1/evidence/{evidence}/challenges"),
        &reason,
    ));
    let hook = json!({"url": "https://hooks.example.org/<script>alert(2)</script>", "topics": ["allocations"]});
    let _ = site.operator.send(&Call::post("/api/v1/webhooks", &hook));
    acknowledge(site);
    let gold = json!({"claim": MARKUP, "claim_kind": "trigger_backdoor", "rubric": MARKUP, "pi": 1.0,
        "exhibits": [{"kind": "report", "title": MARKUP, "body": MARKUP, "exhibits": exhibits}]});
    let _ = site.operator.send(&Call::post("/api/v1/gold-cases", &gold));
    let other = site.market(&run, HOUR);
    let void = json!({"reason": MARKUP});
    let path = format!("/api/v1/markets/{other}/void");
    let _ = site.operator.send(&Call::post(&path, &void));
}

/// Acknowledges a decision with markup for the scheduler's name and words.
fn acknowledge(site: &Site) {
    let decisions = until("a decision", Duration::from_secs(30), || {
        let all = site.operator.get("/api/v1/allocations");
        (all["items"].as_array().map(Vec::len) > Some(0)).then_some(all)
    });
    let decision = &decisions["items"][0]["decision"];
    let mut ack = json!({"decision_id": decision["decision_id"], "scheduler": MARKUP, "phase": "rejected",
        "observed_generation": decision["generation"], "detail": MARKUP});
    let first = site.operator.send(&Call::post("/api/v1/acks", &ack));
    if first.status != 201 {
        ack["scheduler"] = json!("cluster-a");
        let _ = site.operator.send(&Call::post("/api/v1/acks", &ack));
    }
}

/// A session's cookie, and what its writes carry.
fn session(site: &Site, handle: &str) -> (String, String) {
    let login = json!({"handle": handle, "password": PASSWORD});
    let visitor = site.server.http();
    let opened = visitor.send(&Call::post("/api/v1/sessions", &login));
    let cookie = opened.header("set-cookie");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    (cookie, text(&opened.json()["csrf_token"]))
}

/// Writes with a session.
fn session_of(site: &Site, handle: &str, call: Call) -> Answer {
    let (cookie, csrf) = session(site, handle);
    let call = call.header("cookie", cookie).header("x-csrf-token", csrf);
    site.server.http().send(&call)
}

/// Addresses of this site that a page links to.
fn links(page: &str) -> impl Iterator<Item = String> {
    let after = page.split("href=\"/").skip(1);
    after.filter_map(|rest| {
        let (address, _) = rest.split_once('"')?;
        let address = address.split('#').next().unwrap_or_default();
        let is_page = !address.starts_with("static/") && !address.starts_with("api/openapi");
        is_page.then(|| format!("/{}", address.replace("&amp;", "&")))
    })
}

/// Reads every page that can be reached, and holds each to what must not be in it.
fn crawl(site: &Site, handle: &str) -> BTreeSet<String> {
    let (cookie, _) = session(site, handle);
    let visitor: Http = site.server.http();
    let mut waiting = vec!["/".to_owned()];
    let mut seen = BTreeSet::new();
    let mut shown = 0;
    while let Some(path) = waiting.pop() {
        if seen.len() >= MAX_PAGES || !seen.insert(path.clone()) {
            continue;
        }
        let page = visitor.send(&Call::get(&path).header("cookie", cookie.as_str()));
        assert!(page.status < 500, "{path}: {}", page.status);
        if !page.header("content-type").starts_with("text/html") {
            continue;
        }
        let policy = page.header("content-security-policy");
        assert!(
            policy.contains("script-src 'self'") && !policy.contains("unsafe"),
            "{path}"
        );
        let html = page.text();
        for raw in RAW {
            if let Some(at) = html.find(raw) {
                let from = html.floor_char_boundary(at.saturating_sub(200));
                let to = html.ceil_char_boundary((at + 200).min(html.len()));
                panic!("{path} has {raw}:\n{}", &html[from..to]);
            }
        }
        shown += usize::from(html.contains("&lt;img src=x"));
        waiting.extend(links(&html));
    }
    assert!(shown > 5, "only {shown} pages show what was written");
    seen
}

#[test]
fn markup_stays_text_whoever_wrote_it_and_wherever_it_is_shown() {
    let site = Site::new();
    write_everywhere(&site);
    for handle in ["operator", "eve"] {
        let seen = crawl(&site, handle);
        for kind in [
            "/markets/",
            "/evidence/",
            "/proposals/",
            "/allocations",
            "/runs/",
        ] {
            assert!(
                seen.iter().any(|path| path.starts_with(kind)),
                "no page {kind}: {seen:?}"
            );
        }
        assert!(seen.len() > 25, "only {} pages", seen.len());
    }
}

/// Sends bytes as they are, because clients tidy up addresses; what comes back.
fn raw(site: &Site, request: &[u8]) -> Vec<u8> {
    let address = site.server.url().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    // The service may close before it has read all of it, and that is what is wanted.
    let _ = stream.write_all(request);
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    // What is said of the request is in the head and what comes with it; the rest of an upload may be waited for.
    while let Ok(size @ 1..) = stream.read(&mut piece) {
        answer.extend_from_slice(&piece[..size]);
        if answer.windows(4).any(|end| end == b"\r\n\r\n") && size < piece.len() {
            break;
        }
    }
    answer
}

#[test]
fn no_address_leads_out_of_a_folder() {
    let site = Site::new();
    let key = std::fs::read_to_string(site.folder.path().join("signing.key")).unwrap();
    let up = [
        "..",
        "%2e%2e",
        "..%2f",
        "%2e%2e%2f",
        "..\\",
        "..%5c",
        "....//",
        "%252e%252e%252f",
    ];
    let roots = [
        "/static/",
        "/api/v1/attachments/",
        "/api/v1/training/runs/",
        "/v1/models/",
        "/",
    ];
    let files = ["signing.key", "plumbline.db", "etc/passwd", "Cargo.toml"];
    for root in roots {
        for step in up {
            for file in files {
                let way = format!("{step}/").repeat(4);
                let path = format!("{root}{way}{file}");
                let token = site.operator.token().unwrap();
                let request = format!(
                    "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
                );
                let answer = raw(&site, request.as_bytes());
                let said = String::from_utf8_lossy(&answer);
                assert!(said.starts_with("HTTP/1.1 4"), "{path}: {said}");
                for secret in [key.trim(), "SQLite format", "root:", "[package]"] {
                    assert!(!said.contains(secret), "{path} gives {secret}");
                }
            }
        }
    }
}

#[test]
fn uploads_without_an_end_are_cut_off() {
    let site = Site::new();
    let token = site.operator.token().unwrap();
    let head = |path: &str, more: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n{more}\r\n\r\n"
        )
    };
    for path in [
        "/api/v1/runs",
        "/api/v1/attachments",
        "/v1/completions",
        "/login",
    ] {
        // Refused by what is announced, before a byte of it has come.
        let announced = head(path, "Content-Length: 1099511627776");
        let said = String::from_utf8_lossy(&raw(&site, announced.as_bytes())).into_owned();
        assert!(said.starts_with("HTTP/1.1 413"), "{path}: {said}");
        // And by what comes, where nothing is announced.
        let mut endless = head(path, "Transfer-Encoding: chunked").into_bytes();
        let chunk = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
        for _ in 0..128 {
            endless.extend_from_slice(&chunk);
        }
        let answer = raw(&site, &endless);
        let said = String::from_utf8_lossy(&answer);
        let is_cut = answer.is_empty() || said.starts_with("HTTP/1.1 413");
        assert!(is_cut, "{path}: {said}");
    }
    assert_eq!(site.operator.get("/api/v1/me")["handle"], "operator");
}

#[test]
fn no_webhook_reaches_into_the_services_network() {
    let site = Site::new();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let hosts = [
        "127.0.0.1",
        "localhost",
        "[::1]",
        "0.0.0.0",
        "2130706433",
        "0x7f.1",
        "169.254.169.254",
        "[::ffff:127.0.0.1]",
        "10.0.0.1",
    ];
    for host in hosts {
        for scheme in ["http", "https"] {
            let hook = json!({"url": format!("{scheme}://{host}:{port}/"), "topics": ["market:*", "allocations"]});
            let made = site.operator.send(&Call::post("/api/v1/webhooks", &hook));
            assert!(matches!(made.status, 201 | 422), "{hook}: {}", made.text());
        }
    }
    for other in [
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "ftp://127.0.0.1/",
        "https://user:pass@127.0.0.1/",
    ] {
        let hook = json!({"url": other, "topics": ["allocations"]});
        let made = site.operator.send(&Call::post("/api/v1/webhooks", &hook));
        assert_eq!(made.status, 422, "{other}");
    }
    // Something to tell, for those that could only be refused once their name was looked up.
    let market = site.market(&site.run("subject"), HOUR);
    let ada = site.person("ada");
    let order = json!({"outcome": "yes", "spend_micro": CREDIT});
    ada.post(&format!("/api/v1/markets/{market}/trades"), &order);
    let hooks = site.operator.get("/api/v1/webhooks");
    for hook in hooks.as_array().unwrap() {
        let path = format!("/api/v1/webhooks/{}/deliveries", text(&hook["id"]));
        until("an attempt", Duration::from_secs(30), || {
            let tried: Value = site.operator.get(&path);
            (tried.as_array().map(Vec::len) > Some(0)).then_some(())
        });
    }
    assert!(listener.accept().is_err(), "somebody called");
}
