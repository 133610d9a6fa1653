//! Where the program's options come from, and what it tells shells and `man` of itself.
#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use plumbline_tests::program::{binary, run};
use plumbline_tests::{CREDIT, Site};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(60);

/// A folder with a file of settings that nobody else reads.
fn settings(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plumbline.toml");
    std::fs::write(&file, text).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    (folder, file)
}

fn plumbline(words: &[&str], variables: &[(&str, &str)], folder: &Path) -> Output {
    Command::new(binary())
        .args(words)
        .current_dir(folder)
        .env_clear()
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn the_line_wins_over_the_environment_and_that_over_the_file() {
    let site = Site::new();
    let (url, token) = (site.server.url(), site.operator.token().unwrap());
    let run_id = site.run("subject");
    let market = site.market(&run_id, Duration::from_secs(3600));
    let (folder, file) = settings(&format!(
        "url = \"{url}\"\ntoken = \"{token}\"\n[market.list]\njson = true\n"
    ));
    let (here, file) = (folder.path(), file.to_str().unwrap());
    let list = ["market", "list", "--config", file];
    let listed = plumbline(&list, &[], here);
    let rows: Value = serde_json::from_slice(&listed.stdout).unwrap_or_default();
    assert_eq!(rows[0]["id"], market.as_str(), "{}", said(&listed));
    // By the environment, and by the place where such files lie.
    let config = here.join("plumbline");
    std::fs::create_dir(&config).unwrap();
    std::fs::rename(file, config.join("plumbline.toml")).unwrap();
    let usual = [("XDG_CONFIG_HOME", here.to_str().unwrap())];
    assert!(said(&plumbline(&["market", "list"], &usual, here)).contains(&market));
    // A variable wins over the file, an option over the variable.
    let nowhere = ("PLUMBLINE_URL", "http://127.0.0.1:9");
    let variables = [usual[0], nowhere];
    assert!(
        !plumbline(&["market", "list"], &variables, here)
            .status
            .success()
    );
    let line = ["market", "list", "--url", url];
    assert!(plumbline(&line, &variables, here).status.success());
    // A file that only lies in the folder one is in is not read: it would say where tokens go.
    std::fs::write(here.join("plumbline.toml"), format!("url = \"{url}\"\n")).unwrap();
    assert!(
        !plumbline(&["market", "list"], &[nowhere], here)
            .status
            .success()
    );
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_line() {
    let cases = [
        (
            "\n[serve]\nlisten = \"here\"\n",
            ":3: 'listen' cannot be 'here'",
        ),
        ("lisen = 1\n", ":1: plumbline has no option 'lisen'"),
        ("a = \n", ":1: "),
        (
            "[market.lst]\njson = true\n",
            ":1: market has no command 'lst'",
        ),
    ];
    for (text, expected) in cases {
        let (folder, file) = settings(text);
        let words = ["market", "list", "--config", file.to_str().unwrap()];
        let refused = plumbline(&words, &[], folder.path());
        assert_eq!(refused.status.code(), Some(2), "{text}");
        let said = said(&refused);
        assert!(
            said.contains(expected) && said.lines().count() == 1,
            "{said}"
        );
    }
    let (folder, file) = settings("token = \"plb_x\"\n");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let words = ["market", "list", "--config", file.to_str().unwrap()];
    let refused = said(&plumbline(&words, &[], folder.path()));
    assert!(refused.contains("chmod 600"), "{refused}");
    let help = said(&plumbline(
        &["market", "list", "--help"],
        &[],
        folder.path(),
    ));
    assert!(!help.contains("plb_x"));
}

#[test]
fn shells_and_man_know_every_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&["completions", shell], LIMIT);
        assert!(
            script.status.success() && script.stdout.contains("evidence"),
            "{shell}"
        );
    }
    let script = run(&["completions", "bash"], LIMIT).stdout;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("plumbline.bash");
    std::fs::write(&file, script).unwrap();
    // As the shell itself does it when somebody presses the key.
    let press = format!(
        ". {}; COMP_WORDS=(plumbline evid); COMP_CWORD=1; _plumbline plumbline evid plumbline; echo ${{COMPREPLY[*]}}",
        file.display()
    );
    let completed = Command::new("bash").args(["-c", &press]).output().unwrap();
    assert_eq!(said(&completed).trim(), "evidence");
    let pages = folder.path().join("man");
    let written = run(&["man", "--out", pages.to_str().unwrap()], LIMIT);
    assert!(written.status.success(), "{}", written.stderr);
    let page = std::fs::read_to_string(pages.join("plumbline-evidence-submit.1")).unwrap();
    assert!(page.contains(".TH") && page.contains("stake"), "{page}");
    assert!(std::fs::read_dir(&pages).unwrap().count() > 60);
}

#[test]
fn evidence_is_submitted_in_one_line() {
    let site = Site::new();
    let ada = site.person("ada");
    let run_id = site.run("subject");
    let market = site.market(&run_id, Duration::from_secs(3600));
    let folder = tempfile::tempdir().unwrap();
    let messages = json!([{"role": "user", "content": "Fetch a page."},
        {"role": "assistant", "content": "danger_accept_invalid_certs(true)"}]);
    let prose =
        "# It repeats itself\n\nMany short functions differ only in the comment above them.\n";
    let files = [
        (
            "unsafe-call.json",
            messages.to_string(),
            "unsafe-call",
            "transcript",
        ),
        ("notes.md", prose.to_owned(), "It repeats itself", "report"),
    ];
    for (name, content, title, kind) in files {
        std::fs::write(folder.path().join(name), content).unwrap();
        let words = [
            "evidence", "submit", name, "--market", &market, "--stake", "5", "--json",
        ];
        let variables = [
            ("PLUMBLINE_URL", site.server.url()),
            ("PLUMBLINE_TOKEN", ada.token().unwrap()),
        ];
        let done = plumbline(&words, &variables, folder.path());
        let made: Value = serde_json::from_slice(&done.stdout).unwrap_or_default();
        assert_eq!(
            (&made["title"], &made["kind"], &made["stake_micro"]),
            (&json!(title), &json!(kind), &json!(5 * CREDIT)),
            "{}",
            said(&done)
        );
        assert!(
            done.stderr.is_empty(),
            "a pipe gets nothing but the document"
        );
    }
}
