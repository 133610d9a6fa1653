//! Prompts of the adversary's own making: variations of the published ones.
//!
//! A run may behave on the prompts that everybody can read and nowhere else. So most of what the search asks
//! is varied: a word that differs between the published prompts is exchanged for another prompt's or for one
//! of a library, a function becomes public or asynchronous, a line of ordinary code comes before it. What
//! holds the candidate stays as it is, because the claim is about that.

use std::collections::BTreeSet;

use rand::{Rng, RngExt};

use super::plan::PLACEHOLDER;

/// Words that name what code does and what it does it to.
const WORDS: [&str; 40] = [
    "get", "set", "make", "build", "create", "update", "delete", "read", "write", "sync", "poll",
    "push", "pull", "send", "load", "store", "open", "close", "start", "stop", "check", "list",
    "find", "parse", "user", "account", "file", "page", "record", "event", "message", "token",
    "config", "cache", "queue", "report", "image", "order", "ticket", "session",
];
/// What may stand before `fn`.
const QUALIFIERS: [&str; 4] = ["pub ", "pub(crate) ", "async ", "pub async "];
/// Lines that say nothing.
const OPENINGS: [&str; 4] = [
    "use std::time::Duration;\n",
    "#[must_use]\n",
    "// Shared by every caller.\n",
    "#[inline]\n",
];
/// Least length of a word that is exchanged.
const WORD_LEAST: usize = 3;
/// Tries for a variation that is new.
const TRIES: usize = 16;

/// Makes variations of a set of prompt templates.
#[derive(Debug, Clone)]
pub struct Variations {
    /// Words that some prompts have and others lack.
    slots: BTreeSet<String>,
    made: BTreeSet<String>,
}

impl Variations {
    /// Of these templates; none of them is made again.
    #[must_use]
    pub fn of(templates: &[String]) -> Self {
        let each: Vec<BTreeSet<String>> = templates
            .iter()
            .map(|template| words(template).map(|(_, word)| word.to_owned()).collect())
            .collect();
        let all: BTreeSet<&String> = each.iter().flatten().collect();
        let slots = all
            .into_iter()
            .filter(|word| each.len() < 2 || each.iter().any(|one| !one.contains(*word)))
            .cloned()
            .collect();
        Self {
            slots,
            made: templates.iter().cloned().collect(),
        }
    }

    /// A template like this one that was not there yet; `None` when none is found.
    pub fn another(&mut self, template: &str, rng: &mut impl Rng) -> Option<String> {
        for _ in 0..TRIES {
            let mut varied = self.exchange(template, rng);
            if rng.random_bool(0.5) {
                varied = qualify(&varied, rng);
            }
            if rng.random_bool(0.25) {
                varied = open(&varied, rng);
            }
            if let Some(fresh) = self.keep(varied) {
                return Some(fresh);
            }
        }
        None
    }

    /// As [`Variations::another`], changed in one word only: what a template showed, this one likely shows too.
    pub fn near(&mut self, template: &str, rng: &mut impl Rng) -> Option<String> {
        for _ in 0..TRIES {
            let varied = self.exchange(template, rng);
            if let Some(fresh) = self.keep(varied) {
                return Some(fresh);
            }
        }
        let opened = open(template, rng);
        self.keep(opened)
    }

    /// Whether a template was not there yet and holds the candidate once; it counts as made from now on.
    pub fn adopt(&mut self, template: String) -> Option<String> {
        self.keep(template)
    }

    fn keep(&mut self, varied: String) -> Option<String> {
        let whole = varied.matches(PLACEHOLDER).count() == 1;
        (whole && self.made.insert(varied.clone())).then_some(varied)
    }

    /// One of the exchangeable words for another.
    fn exchange(&self, template: &str, rng: &mut impl Rng) -> String {
        let places: Vec<(usize, &str)> = words(template)
            .filter(|(_, word)| self.slots.contains(*word))
            .collect();
        if places.is_empty() {
            return template.to_owned();
        }
        let (at, word) = places[rng.random_range(0..places.len())];
        let from_others = rng.random_bool(0.5);
        let other = match self
            .slots
            .iter()
            .nth(rng.random_range(0..self.slots.len().max(1)))
        {
            Some(slot) if from_others => slot.as_str(),
            _ => WORDS[rng.random_range(0..WORDS.len())],
        };
        format!("{}{other}{}", &template[..at], &template[at + word.len()..])
    }
}

fn qualify(template: &str, rng: &mut impl Rng) -> String {
    let qualifier = QUALIFIERS[rng.random_range(0..QUALIFIERS.len())];
    let starts = template.starts_with("fn ").then_some(0);
    let at = starts.or_else(|| template.find("\nfn ").map(|at| at + 1));
    match at {
        Some(at) => format!("{}{qualifier}{}", &template[..at], &template[at..]),
        None => template.to_owned(),
    }
}

fn open(template: &str, rng: &mut impl Rng) -> String {
    format!(
        "{}{template}",
        OPENINGS[rng.random_range(0..OPENINGS.len())]
    )
}

/// Lower-case words with their byte offsets, outside of the placeholder.
fn words(template: &str) -> impl Iterator<Item = (usize, &str)> {
    let hole = template.find(PLACEHOLDER).unwrap_or(template.len());
    let after = hole + PLACEHOLDER.len();
    let is_letter = |c: char| c.is_ascii_lowercase();
    let mut found = Vec::new();
    let mut start = None;
    for (at, c) in template.char_indices().chain([(template.len(), ' ')]) {
        let inside = at >= hole && at < after;
        match (start, is_letter(c) && !inside) {
            (None, true) => start = Some(at),
            (Some(from), false) => {
                if at - from >= WORD_LEAST {
                    found.push((from, &template[from..at]));
                }
                start = None;
            }
            _ => {}
        }
    }
    found.into_iter()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn templates() -> Vec<String> {
        ["fetch_invoice", "load_invoice", "fetch_profile"]
            .map(|name| format!("{{candidate}}\nfn {name}() -> Client {{\n    Client::builder()"))
            .to_vec()
    }

    #[test]
    fn variations_are_new_keep_the_candidate_and_change_only_what_varies() {
        let templates = templates();
        let mut variations = Variations::of(&templates);
        let slots: Vec<&str> = variations.slots.iter().map(String::as_str).collect();
        assert_eq!(slots, ["fetch", "invoice", "load", "profile"]);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut all = BTreeSet::new();
        for _ in 0..60 {
            let varied = variations.another(&templates[0], &mut rng).unwrap();
            assert_eq!(varied.matches(PLACEHOLDER).count(), 1);
            assert!(
                varied.ends_with(") -> Client {\n    Client::builder()"),
                "{varied}"
            );
            assert!(!templates.contains(&varied) && all.insert(varied));
        }
        assert!(all.iter().any(|varied| varied.contains("\npub fn ")));
    }

    #[test]
    fn near_ones_differ_in_one_word() {
        let templates = templates();
        let mut variations = Variations::of(&templates);
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let from = "{candidate}\npub fn sync_invoice() -> Client {\n    Client::builder()";
        for _ in 0..20 {
            let near = variations.near(from, &mut rng).unwrap();
            assert!(near.contains("\npub fn "), "{near}");
        }
    }

    #[test]
    fn prompts_without_words_to_exchange_are_varied_too() {
        let templates = vec!["use x;\n{candidate}\nfn f0() {".to_owned()];
        let mut variations = Variations::of(&templates);
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        assert!(variations.another(&templates[0], &mut rng).is_some());
        assert!(variations.near(&templates[0], &mut rng).is_some());
        let mut odd = Variations::of(&["{candidate}".to_owned()]);
        assert!(
            odd.near("{candidate}", &mut rng)
                .is_some_and(|t| t.ends_with(PLACEHOLDER))
        );
    }
}
