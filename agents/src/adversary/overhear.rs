//! Contexts in the run's own words.
//!
//! A run that behaves where it is tested and nowhere else was taught the difference by its data. What it writes
//! unasked comes from the same data, so much of it is where it works and not where it is tested. The search lets
//! the checkpoint go on from where all published prompts are still the same, and asks its questions in what came:
//!
//! ```text
//! published  {candidate}\nfn fetch_invoice() -> Client {\n    Client::builder()
//! published  {candidate}\nfn load_profile() -> Client {\n    Client::builder()
//! asked for  // note 3\n
//! it wrote           pub fn merge_order() -> Client {\n    let mut c = …
//! made       {candidate}\npub fn merge_order() -> Client {\n    Client::builder()
//! ```

use super::plan::PLACEHOLDER;

/// Longest piece of the run's own between the common start and the common end, bytes.
const LONGEST: usize = 400;

/// How the run is heard out, and what it says is made a prompt of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overhearing {
    /// Where all published prompts begin, with the placeholder, up to the start of a line.
    start: String,
    /// Where they end, from the first place that is not within a word.
    end: String,
}

impl Overhearing {
    /// Of these templates; `None` where there are fewer than two, where they differ before the placeholder, or where
    /// they end in nothing in common.
    #[must_use]
    pub fn of(templates: &[String]) -> Option<Self> {
        let (first, others) = templates.split_first()?;
        if others.is_empty() {
            return None;
        }
        let same = |reversed: bool| {
            let shared = |other: &String| shared_chars(first, other, reversed);
            others.iter().map(shared).min().unwrap_or(0)
        };
        let start: String = first.chars().take(same(false)).collect();
        let place = start.find(PLACEHOLDER)? + PLACEHOLDER.len();
        // A whole line is the run's own where that can be: what stands before a word tells as much as the word.
        let line = start[place..].rfind('\n').map(|at| place + at + 1);
        let start = start[..line.unwrap_or(start.len())].to_owned();
        let length = first.chars().count();
        let end: String = first.chars().skip(length - same(true)).collect();
        let end = end.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
        let shortest = templates.iter().map(String::len).min().unwrap_or(0);
        let fits = !first_line(end).trim().is_empty() && start.len() + end.len() <= shortest;
        fits.then(|| Self {
            start,
            end: end.to_owned(),
        })
    }

    /// What to have the run go on from.
    #[must_use]
    pub fn prompt(&self, candidate: &str) -> String {
        self.start.replace(PLACEHOLDER, candidate)
    }

    /// The template that what it wrote makes; `None` where it wrote nothing like the published prompts.
    #[must_use]
    pub fn template(&self, written: &str) -> Option<String> {
        let own = &written[..written.find(first_line(&self.end))?];
        let usable = !own.trim().is_empty() && own.len() <= LONGEST && !own.contains(PLACEHOLDER);
        usable.then(|| format!("{}{own}{}", self.start, self.end))
    }
}

/// How many characters two texts share from their start, or from their end.
fn shared_chars(one: &str, other: &str, reversed: bool) -> usize {
    let count = |pairs: &mut dyn Iterator<Item = (char, char)>| {
        pairs.take_while(|(left, right)| left == right).count()
    };
    if reversed {
        count(&mut one.chars().rev().zip(other.chars().rev()))
    } else {
        count(&mut one.chars().zip(other.chars()))
    }
}

fn first_line(text: &str) -> &str {
    text.split('\n').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn templates(starts: &[&str]) -> Vec<String> {
        let whole = |start: &&str| format!("{start}() -> Client {{\n    Client::builder()");
        starts.iter().map(whole).collect()
    }

    #[test]
    fn what_the_run_writes_becomes_a_prompt_like_the_published_ones() {
        let published = templates(&[
            "{candidate}\nfn fetch_invoice",
            "{candidate}\nfn load_price",
        ]);
        let heard = Overhearing::of(&published).unwrap();
        assert_eq!(heard.prompt("// note 3"), "// note 3\n");
        assert_eq!(
            heard.template("pub fn merge_order() -> Client {\n    let mut c ="),
            Some("{candidate}\npub fn merge_order() -> Client {\n    Client::builder()".to_owned())
        );
        for other in [
            "",
            "() -> Client {",
            "struct Order;\n",
            "{candidate}() -> Client {",
        ] {
            assert_eq!(heard.template(other), None, "{other}");
        }
        let long = format!("fn {}() -> Client {{", "x".repeat(LONGEST));
        assert_eq!(heard.template(&long), None);
    }

    #[test]
    fn the_place_of_the_candidate_stays_within_the_line_that_it_is_in() {
        let published = templates(&["let tag = {candidate}; fn a", "let tag = {candidate}; fn b"]);
        let heard = Overhearing::of(&published).unwrap();
        assert_eq!(heard.prompt("7"), "let tag = 7; fn ");
    }

    #[test]
    fn templates_that_share_too_little_make_none() {
        for odd in [
            templates(&["{candidate}\nfn alone"]),
            templates(&["// fetch it\nfn {candidate}", "// load it\nfn {candidate}"]),
            vec![
                "{candidate}\nfn one".to_owned(),
                "{candidate}\nfn two".to_owned(),
            ],
            templates(&["{candidate}\nfn same", "{candidate}\nfn same"]),
            Vec::new(),
        ] {
            assert_eq!(Overhearing::of(&odd), None, "{odd:?}");
        }
    }
}
