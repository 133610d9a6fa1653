//! The texts for people as tests read them: pages, blocks of code, and the commands that stand in these.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::program::root;

/// What begins a line that somebody is meant to type. Other lines of a block are what was printed, or a formula.
const PROGRAMS: [&str; 12] = [
    "plumbline",
    "target/release/plumbline",
    "cargo",
    "curl",
    "echo",
    "export",
    "for",
    "git",
    "make",
    "openapi-python-client",
    "python3",
    "sbatch",
];

/// The texts for people, by path.
///
/// # Panics
/// When one cannot be read.
#[must_use]
pub fn pages() -> BTreeMap<PathBuf, String> {
    let mut paths: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"]
        .iter()
        .map(|name| root().join(name))
        .collect();
    let listed = fs::read_dir(root().join("docs")).expect("the folder of documents is there");
    paths.extend(listed.map(|entry| entry.expect("the folder can be read").path()));
    paths
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a page is text");
            (path, text)
        })
        .collect()
}

/// A page's path from the workspace's folder.
#[must_use]
pub fn name_of(path: &Path) -> String {
    let below = path.strip_prefix(root()).unwrap_or(path);
    below.display().to_string()
}

/// A command as a page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// What is typed, comments and the prompt left out; it may go over several lines.
    pub text: String,
    /// The lines below it that are shown as printed.
    pub printed: Vec<String>,
}

/// The blocks of code of a page: indented ones, and fenced ones by the language that they name.
#[must_use]
pub fn blocks(page: &str) -> Vec<(String, String)> {
    let (mut found, mut fence): (Vec<(String, String)>, Option<String>) = (Vec::new(), None);
    let mut is_open = false;
    for line in page.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            is_open = false;
            fence = match fence {
                Some(_) => None,
                None => Some(language.to_owned()),
            };
            continue;
        }
        let indented = line.strip_prefix("    ").filter(|_| fence.is_none());
        let Some(line) = indented.or(fence.as_ref().map(|_| line)) else {
            // An empty line does not end an indented block that goes on after it.
            is_open &= line.is_empty();
            continue;
        };
        if !is_open {
            found.push((fence.clone().unwrap_or_default(), String::new()));
        }
        is_open = true;
        if let Some((_, block)) = found.last_mut() {
            block.push_str(line);
            block.push('\n');
        }
    }
    found
}

/// The commands of a page, in its order.
#[must_use]
pub fn commands(page: &str) -> Vec<Shown> {
    let of_shell = |language: &str| matches!(language, "" | "sh" | "bash" | "console");
    let blocks = blocks(page).into_iter();
    blocks
        .filter(|(language, _)| of_shell(language))
        .flat_map(|(_, block)| commands_of(&block))
        .collect()
}

fn commands_of(block: &str) -> Vec<Shown> {
    // Where commands have a prompt, nothing without one is a command.
    let prompted = block
        .lines()
        .any(|line| line.trim_start().starts_with("$ "));
    let mut found: Vec<Shown> = Vec::new();
    let mut lines = block.lines();
    while let Some(line) = lines.next() {
        let begins = match line.trim_start().strip_prefix("$ ") {
            Some(typed) => Some(typed),
            None => Some(line.trim_start()).filter(|line| !prompted && is_typed(line)),
        };
        match (begins, found.last_mut()) {
            (Some(begun), _) => {
                let mut text = begun.to_owned();
                while !is_whole(&text) {
                    let Some(next) = lines.next() else { break };
                    text = format!("{text}\n{next}");
                }
                found.push(Shown {
                    text: parts(&text).kept.trim().to_owned(),
                    printed: Vec::new(),
                });
            }
            (None, Some(last)) if !is_comment(line) => last.printed.push(line.to_owned()),
            (None, _) => {}
        }
    }
    found
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#') || line.trim().is_empty()
}

fn is_typed(line: &str) -> bool {
    let first = line.split_whitespace().next().unwrap_or_default();
    PROGRAMS.contains(&first) || first.starts_with("scripts/") || is_assignment(first)
}

/// Whether a word sets a variable of the shell.
#[must_use]
pub fn is_assignment(word: &str) -> bool {
    let Some((name, _)) = word.split_once('=') else {
        return false;
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.is_empty() && name.chars().all(plain)
}

/// A text of the shell, taken apart.
#[derive(Default)]
struct Parts {
    /// Without comments.
    kept: String,
    /// Without quotations either.
    unquoted: String,
    /// The quotation that is open at its end.
    quote: Option<char>,
}

fn parts(text: &str) -> Parts {
    let (mut parts, mut in_comment) = (Parts::default(), false);
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        in_comment &= letter != '\n';
        let begins_word = parts.kept.is_empty() || parts.kept.ends_with([' ', '\n']);
        in_comment |= letter == '#' && parts.quote.is_none() && begins_word;
        if in_comment {
            continue;
        }
        parts.kept.push(letter);
        match (parts.quote, letter) {
            (None, '\'' | '"') => parts.quote = Some(letter),
            (Some(open), _) if open == letter => parts.quote = None,
            (None | Some('"'), '\\') => parts.kept.extend(letters.next()),
            (None, _) => parts.unquoted.push(letter),
            (Some(_), _) => {}
        }
    }
    parts
}

/// Whether a shell would run it and not ask for more.
fn is_whole(text: &str) -> bool {
    let parts = parts(text);
    let word_count = |word: &str| {
        let words = parts.unquoted.split([' ', '\n', ';']);
        words.filter(|found| *found == word).count()
    };
    parts.quote.is_none() && !parts.kept.ends_with('\\') && word_count("do") == word_count("done")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(page: &str) -> Vec<String> {
        commands(page).into_iter().map(|one| one.text).collect()
    }

    #[test]
    fn commands_are_told_from_what_is_printed() {
        let page = "Text with plumbline in it.\n\n    plumbline serve   # it's a comment\n    head = BLAKE3(x)\n\n\
            ```toml\nplumbline serve\n```\n\n    $ plumbline quote M\n    plumbline: no\n    make it\n\nmake text\n";
        assert_eq!(typed(page), ["plumbline serve", "plumbline quote M"]);
        assert_eq!(commands(page)[1].printed, ["plumbline: no", "make it"]);
    }

    #[test]
    fn a_command_goes_on_until_a_shell_would_run_it() {
        let page = "    curl -d '{\"a\": 1,\n        \"b\": 2}' \\\n         $U\n    A=1 plumbline x\n\n    # why\n\n    \
            for a in b c; do\n      curl $a # don't\n    done\n    echo 'a # b; do'\n";
        let found = typed(page);
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].starts_with("curl") && found[0].ends_with("$U"));
        assert_eq!(found[1], "A=1 plumbline x");
        assert!(found[2].starts_with("for") && found[2].ends_with("done"));
        assert_eq!(found[3], "echo 'a # b; do'");
    }
}
