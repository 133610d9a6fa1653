//! The documentation holds: its links lead somewhere, and its commands exist. That they work is held by `docs_commands`.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use plumbline_tests::docs_text::{commands, is_assignment, name_of, pages};
use plumbline_tests::program::{root, run};

/// What links from the site to other files of the repository begin with.
const REPOSITORY: &str = "https://github.com/plumbline/plumbline/blob/main/";

fn fail_with(what: &str, faults: &BTreeSet<String>) {
    let listed: Vec<&str> = faults.iter().map(String::as_str).collect();
    assert!(faults.is_empty(), "{what}:\n{}", listed.join("\n"));
}

/// The anchors of a page's headings, as GitHub and mdBook make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut in_code = false;
    let mut found = BTreeSet::new();
    for line in text.lines() {
        in_code ^= line.starts_with("```");
        let title = line.trim_start_matches('#');
        if in_code || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let kept = title.trim().to_lowercase();
        let kept = kept
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        found.insert(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
    }
    found
}

/// The targets of a text's links.
fn links(text: &str) -> Vec<&str> {
    let ends = |rest: &str| rest.find([')', ' ', '\n']).unwrap_or(rest.len());
    text.match_indices("](")
        .map(|(at, _)| &text[at + 2..])
        .map(|rest| &rest[..ends(rest)])
        .collect()
}

#[test]
fn links_lead_somewhere() {
    let pages = pages();
    let mut faults = BTreeSet::new();
    for (path, text) in &pages {
        let folder = path.parent().unwrap();
        for link in links(text) {
            let ours = link.strip_prefix(REPOSITORY);
            if ours.is_none() && (link.contains("://") || link.starts_with("mailto:")) {
                continue;
            }
            // The site has the pages of its folder only.
            if folder.ends_with("docs") && link.starts_with("../") {
                faults.insert(format!(
                    "{}: {link} begins with {REPOSITORY}",
                    name_of(path)
                ));
            }
            let place = ours.unwrap_or(link);
            let (file, anchor) = place.split_once('#').unwrap_or((place, ""));
            let target = match (ours, file) {
                (None, "") => path.clone(),
                (None, file) => folder.join(file),
                (Some(_), file) => root().join(file),
            };
            let Ok(target) = target.canonicalize() else {
                faults.insert(format!("{}: {link}", path.display()));
                continue;
            };
            let headings = fs::read_to_string(&target).map(|text| anchors(&text));
            if !anchor.is_empty() && !headings.is_ok_and(|found| found.contains(anchor)) {
                faults.insert(format!("{}: no heading for {link}", path.display()));
            }
        }
    }
    fail_with("links that lead nowhere", &faults);
}

#[test]
fn the_site_has_every_page() {
    let docs = root().join("docs");
    let summary = fs::read_to_string(docs.join("SUMMARY.md")).unwrap();
    let listed: BTreeSet<&str> = links(&summary).into_iter().collect();
    let faults = pages()
        .keys()
        .filter(|path| path.parent() == Some(&docs))
        .filter_map(|path| path.file_name()?.to_str())
        .filter(|name| *name != "SUMMARY.md" && !listed.contains(name))
        .map(|name| format!("docs/SUMMARY.md does not list {name}"))
        .collect();
    fail_with("pages that the site lacks", &faults);
}

/// The command lines of `plumbline` in blocks of code, without what is piped into them or out of them.
fn command_lines(text: &str) -> Vec<String> {
    let joined = commands(text).into_iter();
    let joined = joined.map(|one| one.text.replace("\\\n", " "));
    let parts = joined.flat_map(|text| text.split('|').map(str::to_owned).collect::<Vec<_>>());
    parts
        .filter_map(|part| {
            let mut words = part
                .split_whitespace()
                .skip_while(|word| is_assignment(word));
            let program = words.next()?.rsplit('/').next()?;
            let line = words.collect::<Vec<_>>().join(" ");
            (program == "plumbline").then(|| format!("plumbline {line}"))
        })
        .collect()
}

/// The commands that are named within a text; not the labels of what is hashed, which have a year.
fn named_commands(text: &str) -> Vec<String> {
    let within = text.split('`').skip(1).step_by(2);
    let is_command = |rest: &str| !rest.starts_with("2026 ");
    let commands = within.filter(|span| span.strip_prefix("plumbline ").is_some_and(is_command));
    commands.map(|span| span.replace('\n', " ")).collect()
}

/// What `plumbline ARGS --help` says, if there is such a command.
fn help(known: &mut BTreeMap<String, Option<String>>, command: &[&str]) -> Option<String> {
    let name = command.join(" ");
    known
        .entry(name)
        .or_insert_with(|| {
            let mut args = command.to_vec();
            args.push("--help");
            let finished = run(&args, Duration::from_secs(60));
            finished.status.success().then_some(finished.stdout)
        })
        .clone()
}

/// The names of a command's subcommands.
fn subcommands(help: &str) -> BTreeSet<&str> {
    let Some((_, after)) = help.split_once("Commands:\n") else {
        return BTreeSet::new();
    };
    after
        .lines()
        .take_while(|line| !line.trim().is_empty())
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next())
        .filter(|name| !name.is_empty())
        .collect()
}

/// Whether a command does nothing by itself.
fn needs_subcommand(help: &str) -> bool {
    let usage = help.lines().find(|line| line.starts_with("Usage:"));
    usage.is_some_and(|line| line.ends_with("<COMMAND>"))
}

/// What is wrong with a command line, if anything.
fn fault(known: &mut BTreeMap<String, Option<String>>, line: &str, runs: bool) -> Option<String> {
    let words: Vec<&str> = line.split_whitespace().skip(1).collect();
    let mut command: Vec<&str> = Vec::new();
    let mut said = help(known, &command).unwrap();
    for word in &words {
        if !subcommands(&said).contains(word) {
            break;
        }
        command.push(word);
        // `help` is one that has none of its own.
        said = help(known, &command).unwrap_or_default();
    }
    let own = words.iter().take_while(|word| **word != "--");
    let unknown = own
        .map(|word| word.trim_start_matches('[').trim_end_matches([']', ',']))
        .filter(|word| word.starts_with("--"))
        .map(|word| word.split('=').next().unwrap_or(word))
        .find(|option| !said.contains(option));
    let is_group = needs_subcommand(&said) && !words.is_empty();
    match unknown {
        Some(option) => Some(format!("no option {option}")),
        None if command.is_empty() && !words[0].starts_with('-') => Some("no command".to_owned()),
        None if is_group && runs && !words.contains(&"--help") => Some("not a command".to_owned()),
        None => None,
    }
}

#[test]
fn every_command_exists_with_its_options() {
    let (mut known, mut faults, mut checked) = (BTreeMap::new(), BTreeSet::new(), 0);
    for (path, text) in pages() {
        let typed = command_lines(&text).into_iter().map(|line| (line, true));
        let named = named_commands(&text).into_iter().map(|line| (line, false));
        for (line, runs) in typed.chain(named) {
            checked += 1;
            if let Some(what) = fault(&mut known, &line, runs) {
                faults.insert(format!("{}: {line}: {what}", name_of(&path)));
            }
        }
    }
    fail_with("commands that are not there", &faults);
    assert!(checked > 120, "only {checked} commands were found");
}
