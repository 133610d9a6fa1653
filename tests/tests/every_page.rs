//! Every page of a filled service in a real browser, signed in and out, light and dark, wide and narrow.
//!
//! A page has no accessibility violation that axe-core calls serious, fits its window, holds still while it loads,
//! logs no error, stays inside its content security policy, and costs little to load for the first time.
#![allow(clippy::unwrap_used)]

use std::fs;

use plumbline_tests::gallery::Shown;
use plumbline_tests::program::root;
use plumbline_tests::{Browser, Gallery, HeavyLock};
use serde_json::Value;

/// Largest first load without fonts, bytes.
const FIRST_LOAD: u64 = 100_000;
/// Largest layout shift of a page that is called good, as web vitals count it.
const SHIFT: f64 = 0.1;

/// The rules of axe-core, as `make browser` installs them.
fn axe() -> String {
    let path = root().join("target/browser/node_modules/axe-core/axe.min.js");
    fs::read_to_string(&path)
        .unwrap_or_else(|_| panic!("{} is missing: run `make browser`", path.display()))
}

/// What is wrong with pages, one line each.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn check(&mut self, sound: bool, what: impl FnOnce() -> String) {
        if !sound {
            self.0.push(what());
        }
    }
}

/// Serious and critical violations; all rules, or those about colours alone.
fn violations(browser: &Browser, axe: &str, colours_only: bool) -> Vec<String> {
    browser.script(&format!("if (!window.axe) {{ {axe} }}"));
    let rules = if colours_only {
        "runOnly: ['color-contrast', 'link-in-text-block']"
    } else {
        "runOnly: { type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }"
    };
    let found = browser.ask(&format!(
        "const done = arguments[arguments.length - 1];
         axe.run(document, {{ {rules}, resultTypes: ['violations'] }}).then((said) => done(said.violations
           .filter((one) => one.impact === 'serious' || one.impact === 'critical')
           .map((one) => `${{one.id}}: ${{one.nodes.slice(0, 3).map((node) => node.target + ' ' + (node.any[0]?.message ?? node.html)).join(' | ')}}`)),
           (error) => done([String(error)]));"
    ));
    let found = found.as_array().unwrap().iter();
    found
        .map(|one| one.as_str().unwrap_or_default().to_owned())
        .collect()
}

/// What a browser tells of a page that it has just loaded.
fn measured(browser: &Browser) -> Value {
    browser.ask(
        "const done = arguments[arguments.length - 1];
         const late = () => setTimeout(() => {
           const font = (one) => /\\.woff2?$/.test(new URL(one.name).pathname);
           const loads = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
           const page = document.documentElement;
           const wide = [...document.body.querySelectorAll('*')].filter((one) => one.getBoundingClientRect().right > innerWidth + 1 && !one.closest('.table-wrap, pre, .nav, .tabs, [hidden], .sr, svg, .diff, .formula')).slice(0, 3);
           done({
             shift: watched.shift,
             shifted: watched.shifted,
             refused: watched.refused,
             over: page.scrollWidth - page.clientWidth,
             wide: wide.map((one) => `${one.tagName}.${one.className}`),
             bytes: loads.filter((one) => !font(one) && !one.name.includes('/api/v1/events')).reduce((sum, one) => sum + one.transferSize, 0),
           });
         }, 150);
         document.readyState === 'complete' ? document.fonts.ready.then(late) : addEventListener('load', late);",
    )
}

/// Looks at one page in both widths and both themes.
fn look(browser: &Browser, url: &str, page: &Shown, who: &str, axe: &str, faults: &mut Faults) {
    for width in [1_440, 390] {
        let place = format!("{} {who} at {width}", page.path);
        browser.size(width, 900);
        browser.prefer("light");
        browser.forget();
        browser.go(&format!("{url}{}", page.path));
        let seen = measured(browser);
        let shift = seen["shift"].as_f64().unwrap();
        faults.check(shift < SHIFT, || {
            format!("{place}: shifts by {shift:.3}: {}", seen["shifted"])
        });
        faults.check(seen["over"] == 0, || {
            format!(
                "{place}: {} px wider than the window: {}",
                seen["over"], seen["wide"]
            )
        });
        faults.check(seen["refused"].as_array().unwrap().is_empty(), || {
            format!("{place}: {}", seen["refused"])
        });
        let bytes = seen["bytes"].as_u64().unwrap();
        faults.check(bytes > 0 && bytes < FIRST_LOAD, || {
            format!("{place}: {bytes} bytes for a first load")
        });
        for found in violations(browser, axe, false) {
            faults.0.push(format!("{place}, light: {found}"));
        }
        browser.prefer("dark");
        for found in violations(browser, axe, true) {
            faults.0.push(format!("{place}, dark: {found}"));
        }
        // That the page does not exist is what the page about it is for.
        let missing = |error: &String| page.name == "missing" && error.contains("404");
        for error in browser.errors().into_iter().filter(|one| !missing(one)) {
            faults.0.push(format!("{place}: {error}"));
        }
    }
}

#[test]
fn every_page_is_sound_for_everybody() {
    let _machine = HeavyLock::take();
    let axe = axe();
    let gallery = Gallery::new();
    let url = gallery.site.server.url();
    let browser = Browser::open();
    browser.watch();
    let mut faults = Faults::default();
    for viewer in [None, Some("ada"), Some("ida"), Some("operator")] {
        browser.sign_out();
        if let Some(handle) = viewer {
            browser.sign_in(url, handle);
        }
        let who = viewer.unwrap_or("signed out");
        for page in &gallery.pages {
            // Everybody's pages are read by a visitor and by ada; those of one person by that person.
            let reads = match viewer {
                None => page
                    .viewer
                    .is_none_or(|_| page.path.starts_with("/markets/")),
                Some("ada") => page.viewer.is_none_or(|one| one == "ada"),
                Some(handle) => page.viewer == Some(handle),
            };
            if reads {
                look(&browser, url, page, who, &axe, &mut faults);
            }
        }
    }
    assert!(faults.0.is_empty(), "{}", faults.0.join("\n"));
}

/// The path patterns of all pages, from the table of contents of the web crate.
fn page_patterns() -> Vec<String> {
    let mut patterns = Vec::new();
    let listed = fs::read_dir(root().join("web/src/routes")).unwrap();
    let mut files: Vec<_> = listed.map(|entry| entry.unwrap().path()).collect();
    files.push(root().join("web/src/routes.rs"));
    for file in files {
        let source = fs::read_to_string(file).unwrap();
        let pages = ["fn page_routes", "fn pages("];
        let Some(start) = pages.iter().find_map(|mark| source.find(mark)) else {
            continue;
        };
        for one in source[start..].split("resource(\"").skip(1) {
            let (path, rest) = one.split_once('"').unwrap();
            if rest.contains("get(") {
                patterns.push(path.to_owned());
            }
        }
    }
    patterns
}

fn fits(pattern: &str, path: &str) -> bool {
    let path = path.split('?').next().unwrap_or_default();
    let (pattern, path): (Vec<&str>, Vec<&str>) =
        (pattern.split('/').collect(), path.split('/').collect());
    pattern.len() == path.len()
        && pattern
            .iter()
            .zip(&path)
            .all(|(want, got)| want.starts_with('{') || want == got)
}

#[test]
fn no_page_is_left_out() {
    let patterns = page_patterns();
    assert!(patterns.len() > 30, "{patterns:?}");
    let known = plumbline_tests::gallery::paths();
    // These answer with a file or lead elsewhere; the last is reached by a link in a mail, which only its reader has.
    let no_pages = [
        "/theme",
        "/tour/skip",
        "/account/export",
        "/notifications/unsubscribe/{link}",
    ];
    for pattern in patterns {
        let seen = known.iter().any(|path| fits(&pattern, path));
        assert!(
            seen || no_pages.contains(&pattern.as_str()),
            "{pattern} is a page that the gallery does not show"
        );
    }
}
