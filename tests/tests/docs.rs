//! The documentation holds: its links lead somewhere, its commands exist, and what the README tells a newcomer to type works.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use plumbline_tests::Site;
use plumbline_tests::program::{root, run};
use serde_json::json;

const HOUR: Duration = Duration::from_secs(3600);

/// The texts for people, by path from the root.
fn pages() -> BTreeMap<PathBuf, String> {
    let mut paths: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md"]
        .iter()
        .map(|name| root().join(name))
        .collect();
    let listed = fs::read_dir(root().join("docs")).unwrap();
    paths.extend(listed.map(|entry| entry.unwrap().path()));
    paths
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "md"))
        .map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
        .collect()
}

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
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match file {
                "" => path.clone(),
                file => folder.join(file),
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

/// The command lines of `plumbline` in blocks of code, broken lines joined, without what is piped or comments.
fn command_lines(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let mut in_code = false;
    let mut found = Vec::new();
    for line in joined.lines() {
        in_code ^= line.trim_start().starts_with("```");
        if !in_code && !line.starts_with("    ") {
            continue;
        }
        let line = line.trim().trim_start_matches("$ ");
        // Variables may be set before it, and something may be piped into it.
        let command = line.rsplit("| ").next().unwrap_or(line);
        let command = command.split(" #").next().unwrap_or(command);
        let Some(at) = command.find("plumbline ") else {
            continue;
        };
        let before = &command[..at];
        let is_command = before
            .split_whitespace()
            .all(|word| word.contains('=') || word.ends_with("sudo"));
        if is_command {
            found.push(command[at..].split("  ").next().unwrap().trim().to_owned());
        }
    }
    found
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

#[test]
fn every_command_exists_with_its_options() {
    let (mut known, mut faults, mut checked) = (BTreeMap::new(), BTreeSet::new(), 0);
    for (path, text) in pages() {
        for line in command_lines(&text) {
            let words: Vec<&str> = line.split_whitespace().skip(1).collect();
            let mut command: Vec<&str> = Vec::new();
            let mut said = help(&mut known, &command).unwrap();
            for word in &words {
                if !subcommands(&said).contains(word) {
                    break;
                }
                command.push(word);
                said = help(&mut known, &command).unwrap();
            }
            checked += 1;
            let own = words.iter().take_while(|word| **word != "--");
            let unknown = own
                .map(|word| word.trim_start_matches('[').trim_end_matches([']', ',']))
                .filter(|word| word.starts_with("--"))
                .map(|word| word.split('=').next().unwrap_or(word))
                .find(|option| !said.contains(option));
            let is_group = needs_subcommand(&said) && !words.is_empty();
            let place = path.strip_prefix(root()).unwrap().display();
            if let Some(option) = unknown {
                faults.insert(format!("{place}: {line}: no option {option}"));
            } else if is_group && !words.contains(&"--help") {
                faults.insert(format!("{place}: {line}: not a command"));
            }
        }
    }
    fail_with("commands that are not there", &faults);
    assert!(checked > 40, "only {checked} commands were found");
}

/// The first indented block below a heading.
fn block_below(text: &str, heading: &str) -> String {
    let (_, after) = text.split_once(heading).unwrap();
    let lines = after.lines().skip_while(|line| !line.starts_with("    "));
    let block = lines.take_while(|line| line.starts_with("    ") || line.is_empty());
    block
        .map(|line| line.strip_prefix("    ").unwrap_or(line))
        .collect::<Vec<_>>()
        .join("\n")
}

fn shell(script: &str, folder: &Path) -> String {
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .current_dir(folder)
        .output()
        .expect("the README's commands need bash, curl and jq; `make test` installs them");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    said
}

#[test]
fn what_the_readme_has_a_newcomer_type_works() {
    let mut site = Site::new();
    let run_id = site.hosted_run("sleeper");
    let market = site.market(&run_id, HOUR);
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    let heading = "### Trade and submit evidence from a shell";
    let script = block_below(&text, heading).replace("http://127.0.0.1:8600", site.server.url());
    assert!(script.lines().count() > 15, "{script}");
    let folder = tempfile::tempdir().unwrap();
    let said = shell(&script, folder.path());
    for expected in ["\"shares_micro\"", "\"text\"", "\"pending\""] {
        assert!(said.contains(expected), "no {expected} in\n{said}");
    }
    let trades = site
        .operator
        .get(&format!("/api/v1/markets/{market}/trades"));
    let newest = &trades["items"][0];
    assert_eq!(newest["outcome"], json!("yes"), "{trades}");
}
