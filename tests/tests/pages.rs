//! The pages in a real browser: read, followed live, walked by keyboard, signed in and traded through.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use plumbline_tests::browser::{LEFT, TAB};
use plumbline_tests::fixture::{PASSWORD, number, text, whole};
use plumbline_tests::{Browser, CREDIT, HeavyLock, Site, until};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(20);

/// As pages write probabilities.
fn percent(probability: &Value) -> String {
    format!("{:.1}%", number(probability) * 100.0)
}

/// A site with a market that has a history.
fn site() -> (Site, String) {
    let site = Site::new();
    let market = site.market(&site.run("subject"), Duration::from_secs(3600));
    for micro in [8 * CREDIT, 12 * CREDIT] {
        let order = json!({"outcome": "yes", "spend_micro": micro});
        site.operator
            .post(&format!("/api/v1/markets/{market}/trades"), &order);
    }
    (site, market)
}

fn price(site: &Site, market: &str) -> Value {
    site.operator.get(&format!("/api/v1/markets/{market}"))["probability"].clone()
}

#[test]
fn dashboard_and_market_show_the_price_and_follow_it_live() {
    let _machine = HeavyLock::take();
    let (site, market) = site();
    let browser = Browser::open();
    browser.go(&format!("{}/", site.server.url()));
    assert_eq!(browser.title(), "Runs · Plumbline");
    assert_eq!(browser.text("h1"), "Runs");
    let shown = percent(&price(&site, &market));
    assert_eq!(browser.text(".run-card .risk-figure b"), shown);
    assert_eq!(browser.text(".run-card h2"), "subject");
    browser.click(&format!("a[href='/markets/{market}']"));
    until("the market page", WAIT, || {
        browser.url().contains(&market).then_some(())
    });
    assert!(
        browser.title().starts_with("A comment makes the model"),
        "{}",
        browser.title()
    );
    assert_eq!(browser.text(".price-now b"), shown);
    let drawn = browser.script("const r = document.querySelector('.chart .drawing.wide svg .price-line').getBoundingClientRect(); return [r.width, r.height]");
    assert!(
        drawn[0].as_f64().unwrap() > 100.0 && drawn[1].as_f64().unwrap() > 5.0,
        "the line is drawn: {drawn}"
    );
    let marks =
        browser.script("return document.querySelectorAll('.drawing.wide .mark-trade').length");
    assert_eq!(whole(&marks), 2);
    follow_a_trade(&site, &browser, &market);
    assert_eq!(browser.errors(), Vec::<String>::new());
}

/// A trade over the API shows up without a reload: a mark set in the page before it is still there.
fn follow_a_trade(site: &Site, browser: &Browser, market: &str) {
    until("the event stream", WAIT, || {
        let open = browser.script("const s = document.querySelector('[data-live-status]'); return s && !s.hidden && !s.classList.contains('off')");
        (open == true).then_some(())
    });
    browser.script("window.sameDocument = true");
    let order = json!({"outcome": "no", "spend_micro": 25 * CREDIT});
    let trade = site
        .operator
        .post(&format!("/api/v1/markets/{market}/trades"), &order);
    let expected = percent(&trade["probability_after"]);
    until("the new price in the page", WAIT, || {
        (browser.text(".price-now b") == expected).then_some(())
    });
    assert_eq!(
        browser.script("return window.sameDocument === true"),
        true,
        "the page was not reloaded"
    );
    assert_eq!(browser.text("#trades-h .tally"), "3");
}

#[test]
fn pages_can_be_walked_by_keyboard() {
    let _machine = HeavyLock::take();
    let (site, market) = site();
    let browser = Browser::open();
    browser.go(&format!("{}/markets/{market}", site.server.url()));
    browser.press(TAB);
    let focused = "return document.activeElement.className";
    assert_eq!(
        browser.script(focused),
        "skip",
        "first comes the way past the navigation"
    );
    let visible = browser.script("const s = getComputedStyle(document.activeElement); const r = document.activeElement.getBoundingClientRect(); return r.top >= 0 && r.height > 0 && s.visibility === 'visible'");
    assert_eq!(visible, true, "what has the focus can be seen");
    let mut seen = Vec::new();
    let on_chart = (0..60).any(|_| {
        browser.press(TAB);
        seen.push(browser.script("return document.activeElement.tagName"));
        browser.script("return document.activeElement.matches('[data-chart]')") == true
    });
    assert!(on_chart, "the chart is reached by Tab: {seen:?}");
    browser.press(LEFT);
    let readout = until("the chart's value", WAIT, || {
        Some(browser.text(".readout")).filter(|text| !text.is_empty())
    });
    assert!(readout.contains('%'), "{readout}");
    assert_eq!(browser.errors(), Vec::<String>::new());
}

#[test]
fn somebody_signs_in_and_trades_through_the_forms() {
    let _machine = HeavyLock::take();
    let (site, market) = site();
    let ada = site.person("ada");
    let browser = Browser::open();
    browser.go(&format!("{}/markets/{market}", site.server.url()));
    browser.click("#trade a.button.primary");
    until("the sign-in page", WAIT, || {
        browser.url().contains("/login").then_some(())
    });
    browser.fill("#handle", "ada");
    browser.fill("#password", PASSWORD);
    browser.click("main form button.primary");
    until("the market again", WAIT, || {
        (browser.url().contains(&market) && !browser.url().contains("login")).then_some(())
    });
    let before = price(&site, &market);
    browser.fill("#amount", "10");
    let quoted = until("a quote as one types", WAIT, || {
        Some(browser.text("[data-quote-out] dl")).filter(|text| text.contains('→'))
    });
    browser.click("button[name=do][value=trade]");
    let told = until("the flash", WAIT, || {
        Some(browser.text(".flash.done")).filter(|text| !text.is_empty())
    });
    assert!(told.starts_with("Bought "), "{told}");
    let after = price(&site, &market);
    assert!(number(&after) > number(&before));
    assert!(
        quoted.contains(&percent(&after)),
        "the quote was the trade: {quoted}"
    );
    assert_eq!(browser.text(".price-now b"), percent(&after));
    assert!(
        !browser.text("#live-mine").is_empty(),
        "one's position is shown"
    );
    let trades = site
        .operator
        .get(&format!("/api/v1/markets/{market}/trades?limit=1"));
    assert_eq!(text(&trades["items"][0]["account"]), "ada");
    let spent = whole(&trades["items"][0]["cost_micro"]);
    assert_eq!(
        whole(&ada.get("/api/v1/me")["balance_micro"]),
        1_000 * CREDIT - spent
    );
    // What makes no sense is said beside the form, and nothing happens.
    browser.fill("#amount", "a lot");
    browser.click("button[name=do][value=trade]");
    until("the form's error", WAIT, || {
        (!browser.text("main form [role=alert]").is_empty()).then_some(())
    });
    assert_eq!(price(&site, &market), after);
}
