//! A passkey in a real browser, whose device is Chromium's virtual authenticator: added, used, refused, removed.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use plumbline_tests::fixture::PASSWORD;
use plumbline_tests::{Browser, HeavyLock, Site, until};
use serde_json::{Value, json};

const WAIT: Duration = Duration::from_secs(30);
const SAID: &str = "[data-passkey-said]";
const ADD: &str = "#passkeys form[data-passkey] button";
const ENTER: &str = "form[data-passkey=get] button";

/// Puts a device into the browser that checks its owner and keeps passkeys, as phones and laptops do.
fn device(browser: &Browser) -> String {
    browser.command("WebAuthn.enable", &json!({}));
    let options = json!({"protocol": "ctap2", "transport": "internal", "hasResidentKey": true,
        "hasUserVerification": true, "isUserVerified": true, "automaticPresenceSimulation": true});
    let added = browser.command(
        "WebAuthn.addVirtualAuthenticator",
        &json!({"options": options}),
    );
    added["authenticatorId"].as_str().unwrap().to_owned()
}

fn credentials(browser: &Browser, device: &str) -> Vec<Value> {
    let listed = browser.command(
        "WebAuthn.getCredentials",
        &json!({"authenticatorId": device}),
    );
    listed["credentials"].as_array().unwrap().clone()
}

fn says(browser: &Browser, css: &str, part: &str) {
    let deadline = Instant::now() + WAIT;
    loop {
        let said = browser.text(css);
        if said.contains(part) {
            return;
        }
        let (now, url) = (Instant::now(), browser.url());
        assert!(
            now < deadline,
            "{css} does not say {part:?} but {said:?}, on {url}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Waits for the page; the one before may name it in its query.
fn arrives(browser: &Browser, at: &str) {
    let is_there = || {
        let url = browser.url();
        url.split('?')
            .next()
            .is_some_and(|place| place.ends_with(at))
    };
    until(at, WAIT, || is_there().then_some(()));
}

fn shows(browser: &Browser, css: &str) -> bool {
    let looked = format!(
        "return document.querySelector({})?.checkVisibility() ?? false",
        json!(css)
    );
    browser.script(&looked) == true
}

fn add(browser: &Browser, password: &str) {
    browser.fill("#passkey-name", "laptop");
    browser.fill("#passkey-password", password);
    browser.click(ADD);
}

#[test]
fn a_passkey_is_added_signs_in_and_is_removed() {
    let _machine = HeavyLock::take();
    let (site, url) = Site::by_name();
    let _ = site.person("ada");
    let browser = Browser::open();
    let device = device(&browser);
    let (security, login) = (
        format!("{url}/account/security"),
        format!("{url}/login?next=/portfolio"),
    );
    browser.sign_in(&url, "ada");
    browser.go(&security);
    assert!(!shows(&browser, "[data-passkey-without]"));
    add(&browser, PASSWORD);
    says(&browser, ".flash.done", "The passkey is added");
    says(&browser, "#passkeys tbody", "laptop");
    assert_eq!(credentials(&browser, &device).len(), 1);
    assert_eq!(browser.errors(), Vec::<String>::new());

    // A device makes one passkey for an account, and none without the password.
    add(&browser, "not the password");
    says(&browser, SAID, "not your password");
    add(&browser, PASSWORD);
    says(&browser, SAID, "This device has a passkey");

    browser.sign_out();
    let _ = browser.errors();
    browser.go(&login);
    browser.click(ENTER);
    arrives(&browser, "/portfolio");
    says(&browser, ".top-end", "ada");
    assert_eq!(browser.errors(), Vec::<String>::new());
    browser.go(&security);
    says(&browser, "#passkeys tbody", "just now");
    assert!(
        credentials(&browser, &device)[0]["signCount"]
            .as_i64()
            .unwrap()
            > 1
    );

    // The device does not know who holds it.
    let unknown = json!({"authenticatorId": device, "isUserVerified": false});
    browser.command("WebAuthn.setUserVerified", &unknown);
    browser.sign_out();
    browser.go(&login);
    browser.click(ENTER);
    says(&browser, SAID, "The browser gave no passkey");
    let known = json!({"authenticatorId": device, "isUserVerified": true});
    browser.command("WebAuthn.setUserVerified", &known);
    browser.click(ENTER);
    arrives(&browser, "/portfolio");

    // Once it is removed here, the device may still offer it.
    browser.go(&security);
    browser.click("#passkeys tbody button.danger");
    says(&browser, ".flash.done", "The passkey is removed");
    assert_eq!(browser.text("#passkeys tbody"), "");
    browser.sign_out();
    browser.go(&login);
    browser.click(ENTER);
    says(&browser, "main form", "does not sign in here");

    // Under another name of the same service no passkey of it works, so none is offered.
    browser.go(&format!("{}/login", site.server.url()));
    assert!(!shows(&browser, ENTER));
}
