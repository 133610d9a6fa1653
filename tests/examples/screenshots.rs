//! Writes a picture of every page at three widths, light and dark, and the index of them: `make screenshots`.
//!
//! The pictures kept with the documentation are bounded: each shows a page's first screens, at a scale at which it
//! can be told apart and little more. With a folder as argument whole pages are written there instead, in full size.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use plumbline_tests::gallery::Shown;
use plumbline_tests::program::root;
use plumbline_tests::{Browser, Gallery, HeavyLock};

/// Widths of the windows: a phone, a tablet, a desktop.
const WIDTHS: [u32; 3] = [390, 768, 1_440];
/// Most of a page that a kept picture shows, in widths of the window.
const KEPT_HEIGHT: f64 = 1.8;
/// Most of a page that is ever shown, CSS pixels.
const MOST: u32 = 12_000;
/// Largest size of all kept pictures together, bytes.
const BUDGET: usize = 4_000_000;

/// How pictures are made.
struct Style {
    folder: PathBuf,
    kept: bool,
}

impl Style {
    /// Height shown, scale and quality of a picture.
    fn of(&self, width: u32, page_height: u32) -> (u32, f64, u32) {
        if !self.kept {
            return (page_height.min(MOST), 1.0, 80);
        }
        let most = (f64::from(width) * KEPT_HEIGHT) as u32;
        let scale = match width {
            390 => 0.62,
            768 => 0.45,
            _ => 0.42,
        };
        (page_height.min(most.max(700)), scale, 42)
    }
}

fn main() {
    let _machine = HeavyLock::take();
    let given = std::env::args().nth(1).map(PathBuf::from);
    let kept = given.is_none();
    let folder = given.unwrap_or_else(|| root().join("docs/images/pages"));
    fs::create_dir_all(&folder).expect("the folder can be written");
    let style = Style { folder, kept };
    let gallery = Gallery::new();
    let url = gallery.site.server.url();
    let browser = Browser::open();
    let mut bytes = 0;
    for viewer in [None, Some("ada"), Some("ida"), Some("operator")] {
        browser.sign_out();
        if let Some(handle) = viewer {
            browser.sign_in(url, handle);
        }
        for page in gallery.pages.iter().filter(|page| page.viewer == viewer) {
            bytes += take(&browser, url, page, &style);
        }
    }
    println!(
        "{} pages, {bytes} bytes in {}",
        gallery.pages.len(),
        style.folder.display()
    );
    if kept {
        assert!(bytes <= BUDGET, "the kept pictures are over {BUDGET} bytes");
        let index = root().join("docs/pages.md");
        fs::write(index, index_of(&gallery.pages)).expect("docs can be written");
    }
}

/// Takes all pictures of one page; their size together.
fn take(browser: &Browser, url: &str, page: &Shown, style: &Style) -> usize {
    let mut bytes = 0;
    for width in WIDTHS {
        browser.size(width, 900);
        browser.go(&format!("{url}{}", page.path));
        let height = browser.script("return document.documentElement.scrollHeight");
        let height = u32::try_from(height.as_u64().unwrap_or(900)).unwrap_or(MOST);
        let (shown, scale, quality) = style.of(width, height);
        for scheme in ["light", "dark"] {
            browser.prefer(scheme);
            let picture = browser.picture(width, shown, scale, quality);
            let name = format!("{}-{width}-{scheme}.webp", page.name);
            bytes += write(&style.folder.join(name), &picture);
        }
    }
    bytes
}

fn write(path: &Path, base64: &str) -> usize {
    let bytes = decode(base64);
    fs::write(path, &bytes).expect("the folder can be written");
    bytes.len()
}

/// Base64 without line breaks, as the browser gives it.
fn decode(text: &str) -> Vec<u8> {
    let value = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0);
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        bits = (bits << 6) | u32::from(value(byte));
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held) as u8);
        }
    }
    bytes
}

fn index_of(pages: &[Shown]) -> String {
    let mut text = String::from(
        "# Pages\n\nEvery page of the service as a browser shows it, filled by the tests' own example. \
         `make screenshots` takes the pictures again.\nThey show the top of a page, in the colours that one's system \
         asks for; each page is also kept at the width of a [tablet](images/pages).\n",
    );
    for page in pages {
        let heading = page.name.replace('-', " ");
        let at = page.path.split('/').nth(1).unwrap_or_default();
        let at = at.split('?').next().unwrap_or_default();
        let picture = |width: u32, scheme: &str| {
            format!(
                "![{heading}, {scheme}, {width} px](images/pages/{}-{width}-{scheme}.webp)",
                page.name
            )
        };
        // Writing into a string does not fail.
        let _ = write!(
            text,
            "\n## {}{}\n\n`/{at}` — {}\n\n{}\n{}\n\n{}\n{}\n",
            heading[..1].to_uppercase(),
            &heading[1..],
            page.about,
            picture(1_440, "light"),
            picture(1_440, "dark"),
            picture(390, "light"),
            picture(390, "dark"),
        );
    }
    text
}
