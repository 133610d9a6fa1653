//! A real headless browser, driven over W3C WebDriver: Chromium and its driver, as `make browser` installs them.
//!
//! The protocol is a dozen JSON calls, which the harness's own client makes; a
//! WebDriver crate would bring an HTTP stack and a TLS choice of its own.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::http::{Call, Http};
use crate::until;

/// Key under which WebDriver hands out elements (W3C WebDriver, section 12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// The Tab key (W3C WebDriver, section 17.4.2).
pub const TAB: &str = "\u{E004}";
/// The left arrow key.
pub const LEFT: &str = "\u{E012}";
/// The right arrow key.
pub const RIGHT: &str = "\u{E014}";
/// The key that ends what is going on.
pub const ESCAPE: &str = "\u{E00C}";

/// Watches a page from its first byte: how far its parts were shifted after they had been drawn, and what its
/// content security policy refused.
const WATCH: &str = "window.watched = { shift: 0, shifted: [], refused: [] };
const place = (one) => `${one.node?.nodeName}.${one.node?.className ?? ''} ${one.previousRect.top} to ${one.currentRect.top}`;
new PerformanceObserver((list) => { for (const one of list.getEntries()) if (!one.hadRecentInput) { watched.shift += one.value; watched.shifted.push(...one.sources.map(place)); } }).observe({ type: 'layout-shift', buffered: true });
addEventListener('securitypolicyviolation', (event) => watched.refused.push(`${event.violatedDirective}: ${event.blockedURI}`));";

/// An open browser window; closed when dropped.
pub struct Browser {
    driver: Child,
    http: Http,
    session: String,
    _profile: TempDir,
}

impl Browser {
    /// Starts driver and browser.
    ///
    /// # Panics
    /// When either is missing or does not start.
    #[must_use]
    pub fn open() -> Self {
        let chromium = found(&["chromium", "chromium-browser"]);
        let chromedriver = found(&["chromedriver"]);
        let port = free_port();
        let driver = Command::new(chromedriver)
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver can be started");
        let profile = tempfile::tempdir().expect("the folder of temporary files can be written");
        let mut browser = Self {
            driver,
            http: Http::new(&format!("http://127.0.0.1:{port}")),
            session: String::new(),
            _profile: profile,
        };
        until("chromedriver to be ready", Duration::from_secs(30), || {
            let status = browser.http.try_send(&Call::get("/status"))?;
            (status.json()["value"]["ready"] == true).then_some(())
        });
        let wanted = capabilities(&chromium, browser._profile.path());
        let session = browser.http.post("/session", &wanted);
        browser.session = crate::fixture::text(&session["value"]["sessionId"]);
        browser
    }

    fn post(&self, command: &str, body: &Value) -> Value {
        let path = format!("/session/{}/{command}", self.session);
        self.http.post(&path, body)["value"].clone()
    }

    fn read(&self, command: &str) -> Value {
        let path = format!("/session/{}/{command}", self.session);
        self.http.get(&path)["value"].clone()
    }

    /// Opens a page and waits until it has loaded.
    pub fn go(&self, url: &str) {
        self.post("url", &json!({"url": url}));
    }

    /// A command of the browser's own protocol.
    pub fn command(&self, name: &str, parameters: &Value) -> Value {
        self.post(
            "goog/cdp/execute",
            &json!({"cmd": name, "params": parameters}),
        )
    }

    /// Makes the window as wide and as high as a screen with these CSS pixels.
    pub fn size(&self, width: u32, height: u32) {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.command("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// Says which of the two the person prefers: `dark` or `light`.
    pub fn prefer(&self, scheme: &str) {
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        let media = json!({"media": "", "features": [feature]});
        self.command("Emulation.setEmulatedMedia", &media);
    }

    /// From now on every page is watched: `window.watched.shift` and `.refused`.
    pub fn watch(&self) {
        let source = json!({"source": WATCH});
        self.command("Page.addScriptToEvaluateOnNewDocument", &source);
    }

    /// Forgets what was fetched, as somebody who comes for the first time.
    pub fn forget(&self) {
        self.command("Network.clearBrowserCache", &json!({}));
    }

    /// Runs a script that answers by calling its last argument, and gives that back.
    pub fn ask(&self, script: &str) -> Value {
        self.post("execute/async", &json!({"script": script, "args": []}))
    }

    /// A picture of the page from its top down to at most `height` CSS pixels, as WebP, at `scale`; base64.
    #[must_use]
    pub fn picture(&self, width: u32, height: u32, scale: f64, quality: u32) -> String {
        let clip = json!({"x": 0, "y": 0, "width": width, "height": height, "scale": scale});
        let wanted = json!({"format": "webp", "quality": quality, "captureBeyondViewport": true, "clip": clip});
        let taken = self.command("Page.captureScreenshot", &wanted);
        crate::fixture::text(&taken["data"])
    }

    /// Signs in through the form.
    pub fn sign_in(&self, url: &str, handle: &str) {
        self.go(&format!("{url}/login"));
        self.fill("#handle", handle);
        self.fill("#password", crate::fixture::PASSWORD);
        self.click("main form button.primary");
        until("the front page", Duration::from_secs(30), || {
            (!self.url().contains("/login")).then_some(())
        });
    }

    /// Forgets who was signed in.
    pub fn sign_out(&self) {
        let path = format!("/session/{}/cookie", self.session);
        let _ = self.http.send(&Call::delete(&path));
    }

    /// The page's title.
    #[must_use]
    pub fn title(&self) -> String {
        crate::fixture::text(&self.read("title"))
    }

    /// The address shown.
    #[must_use]
    pub fn url(&self) -> String {
        crate::fixture::text(&self.read("url"))
    }

    /// Runs a script in the page and gives back what it returns.
    pub fn script(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({"script": script, "args": []}))
    }

    /// Text of the first element that a CSS selector finds, or nothing.
    #[must_use]
    pub fn text(&self, css: &str) -> String {
        let found = self.script(&format!(
            "return document.querySelector({})?.innerText ?? ''",
            json!(css)
        ));
        found.as_str().unwrap_or_default().trim().to_owned()
    }

    fn element(&self, css: &str) -> String {
        let found = self.post("element", &json!({"using": "css selector", "value": css}));
        format!("element/{}", crate::fixture::text(&found[ELEMENT]))
    }

    /// Clicks as a person does: the element must be visible and in reach.
    pub fn click(&self, css: &str) {
        let element = self.element(css);
        self.post(&format!("{element}/click"), &json!({}));
    }

    /// Types into a field, which is emptied first.
    pub fn fill(&self, css: &str, text: &str) {
        let element = self.element(css);
        self.post(&format!("{element}/clear"), &json!({}));
        self.post(&format!("{element}/value"), &json!({"text": text}));
    }

    /// Presses keys, wherever the focus is.
    pub fn press(&self, keys: &str) {
        let presses: Vec<Value> = keys
            .chars()
            .flat_map(|key| {
                [
                    json!({"type": "keyDown", "value": key}),
                    json!({"type": "keyUp", "value": key}),
                ]
            })
            .collect();
        let actions = json!({"actions": [{"type": "key", "id": "keyboard", "actions": presses}]});
        self.post("actions", &actions);
    }

    /// Errors that the browser has logged since the last call: failed scripts, refused resources.
    #[must_use]
    pub fn errors(&self) -> Vec<String> {
        let entries = self.post("se/log", &json!({"type": "browser"}));
        let severe = entries.as_array().into_iter().flatten();
        severe
            .filter(|entry| entry["level"] == "SEVERE")
            .map(|entry| entry["message"].to_string())
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Asked to quit first, so that the browser's own children end with it.
        if !self.session.is_empty() {
            let _ = self
                .http
                .try_send(&Call::delete(&format!("/session/{}", self.session)));
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

fn capabilities(chromium: &std::path::Path, profile: &std::path::Path) -> Value {
    let args = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--no-default-browser-check",
        "--window-size=1280,1000",
    ];
    let mut args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    args.push(format!("--user-data-dir={}", profile.display()));
    json!({"capabilities": {"alwaysMatch": {
        "browserName": "chrome",
        "goog:chromeOptions": {"binary": chromium, "args": args},
        "goog:loggingPrefs": {"browser": "ALL"},
    }}})
}

/// The first of these programs on the path.
fn found(names: &[&str]) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let tries = names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    tries
        .into_iter()
        .find(|program| program.is_file())
        .unwrap_or_else(|| {
            panic!(
                "{} is not installed: run `make browser`, then try again",
                names[0]
            )
        })
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("this machine has a free port");
    listener
        .local_addr()
        .expect("a bound socket has an address")
        .port()
}
