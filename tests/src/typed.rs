//! Somebody who types what a page says, as it stands there, with their own names in the place of the page's.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::docs_text::{Shown, blocks, commands, is_assignment};
use crate::fixture::Site;
use crate::http::Http;
use crate::program::{Program, Server, binary, finish, root};

/// How long a command may take: a loaded machine in the dev profile is slow.
const LIMIT: Duration = Duration::from_secs(150);
/// Where the pages have a service listen.
const ADDRESS: &str = "127.0.0.1:8600";

/// What a command came to.
#[derive(Debug)]
pub struct Said {
    /// What was typed.
    pub line: String,
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
    shown: Vec<String>,
}

impl Said {
    /// Holds what was printed to contain some words.
    ///
    /// # Panics
    /// When one is missing.
    #[must_use = "what was printed may be wanted"]
    pub fn with(self, words: &[&str]) -> Self {
        for word in words {
            let found = self.stdout.contains(word) || self.stderr.contains(word);
            assert!(found, "no {word:?} in {self:?}");
        }
        self
    }

    /// Holds what was printed to be what the page shows below the command, where `…` is anything.
    ///
    /// # Panics
    /// When the page shows nothing, or something else.
    pub fn as_shown(&self) {
        let all = format!("{}{}", self.stdout, self.stderr);
        let printed: Vec<&str> = all.lines().collect();
        let alike = |(shown, line): (&String, &&str)| match shown.split_once('…') {
            Some((before, after)) => line.starts_with(before) && line.ends_with(after),
            None => shown == line,
        };
        let same = printed.len() == self.shown.len();
        assert!(
            !printed.is_empty() && same && self.shown.iter().zip(&printed).all(alike),
            "the page shows {:#?}\nand it prints {printed:#?}",
            self.shown
        );
    }
}

/// A page, a folder and a shell, and what has been typed of the page so far.
pub struct Typed {
    name: String,
    page: String,
    commands: Vec<(Shown, bool)>,
    /// Where it is typed; `home` in it is the home folder.
    pub folder: TempDir,
    values: BTreeMap<String, String>,
    variables: BTreeMap<String, String>,
}

impl Typed {
    /// A page by its path from the workspace's folder, with nothing typed yet.
    ///
    /// # Panics
    /// When there is no such page.
    #[must_use]
    pub fn open(name: &str) -> Self {
        let page = fs::read_to_string(root().join(name)).expect("the page is there");
        let folder = tempfile::tempdir().expect("the folder of temporary files can be written");
        for below in ["home", "bin"] {
            fs::create_dir(folder.path().join(below)).expect("a new folder can be written");
        }
        symlink(binary(), folder.path().join("bin/plumbline")).expect("links can be made");
        let all = commands(&page).into_iter().map(|one| (one, false));
        let mut typed = Self {
            name: name.to_owned(),
            commands: all.collect(),
            page,
            folder,
            values: BTreeMap::new(),
            variables: BTreeMap::new(),
        };
        let home = typed.path("home");
        typed.set("HOME", home.display());
        // Whatever the machine's owner prefers, and no address that another test may want.
        typed.set("PLUMBLINE_CONFIG", "");
        typed.set("PLUMBLINE_LISTEN", "127.0.0.1:0");
        typed.set("RUST_LOG", "warn");
        let bin = typed.path("bin");
        let others = std::env::var("PATH").unwrap_or_default();
        typed.set("PATH", format!("{}:{others}", bin.display()));
        typed.put(ADDRESS, "127.0.0.1:0");
        typed
    }

    /// A path in the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file into the folder.
    ///
    /// # Panics
    /// When it cannot.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().expect("it lies in the folder"))
            .and_then(|()| fs::write(path, content))
            .expect("the folder can be written");
    }

    /// Has a folder of the workspace in this one, under the same name.
    ///
    /// # Panics
    /// When it cannot.
    pub fn lend(&self, name: &str) {
        symlink(root().join(name), self.path(name)).expect("links can be made");
    }

    /// Somebody at a service: its address, their token, and the variables that the pages use for them.
    ///
    /// # Panics
    /// When they have no token.
    pub fn at(&mut self, site: &Site, who: &Http) {
        let (url, token) = (site.server.url(), who.token().expect("they have a token"));
        self.put(ADDRESS, url.trim_start_matches("http://"));
        self.set("PLUMBLINE_URL", url);
        self.set("PLUMBLINE_TOKEN", token);
        self.set("U", format!("{url}/api/v1"));
        self.set("auth", format!("Authorization: Bearer {token}"));
        self.set("json", "Content-Type: application/json");
    }

    /// What stands for a name of the page from now on, where it is a word of its own.
    pub fn put(&mut self, name: &str, value: impl ToString) {
        self.values.insert(name.to_owned(), value.to_string());
    }

    /// A variable of the shell from now on.
    pub fn set(&mut self, name: &str, value: impl ToString) {
        self.variables.insert(name.to_owned(), value.to_string());
    }

    /// A variable of the shell; empty where it is not set here.
    #[must_use]
    pub fn variable(&self, name: &str) -> &str {
        self.variables.get(name).map_or("", String::as_str)
    }

    /// Looks for programs in this folder, too.
    pub fn finds(&mut self, folder: &Path) {
        let before = self.variables["PATH"].clone();
        self.set("PATH", format!("{}:{before}", folder.display()));
    }

    /// Types a command, given by how it begins; the first such that was not typed yet.
    ///
    /// # Panics
    /// When the page has none, or it fails.
    pub fn types(&mut self, start: &str) -> Said {
        self.types_with(start, "")
    }

    /// The same with more options, which make it small.
    ///
    /// # Panics
    /// As [`Typed::types`].
    pub fn types_with(&mut self, start: &str, more: &str) -> Said {
        let line = self.take(start);
        succeeded(self.run(&[line], more, ""))
    }

    /// All from one command to another in one shell, so that its variables stay.
    ///
    /// # Panics
    /// As [`Typed::types`].
    pub fn types_all(&mut self, first: &str, last: &str) -> Said {
        self.feeds_all(first, last, "")
    }

    /// The same with something to read on the standard input.
    ///
    /// # Panics
    /// As [`Typed::types`].
    pub fn feeds_all(&mut self, first: &str, last: &str, input: &str) -> Said {
        let mut lines = vec![self.take(first)];
        let begun = &lines[0].text;
        let at = self.commands.iter().position(|(one, _)| one.text == *begun);
        for (line, typed) in self.commands.iter_mut().skip(at.unwrap_or(0) + 1) {
            *typed = true;
            lines.push(line.clone());
            if line.text.starts_with(last) {
                return succeeded(self.run(&lines, "", input));
            }
        }
        panic!("{}: no {last:?} after {first:?}", self.name)
    }

    /// Whether a command that begins so was not typed yet.
    #[must_use]
    pub fn has(&self, start: &str) -> bool {
        let fits = |(one, typed): &(Shown, bool)| !typed && one.text.starts_with(start);
        self.commands.iter().any(fits)
    }

    /// A command that the page does not have, with its names filled in.
    #[must_use]
    pub fn typed(&self, line: &str) -> Command {
        self.shell(&self.filled(line))
    }

    /// Types a command that must fail.
    ///
    /// # Panics
    /// When it does not.
    pub fn is_refused(&mut self, start: &str) -> Said {
        let line = self.take(start);
        let said = self.run(&[line], "", "");
        assert!(!said.status.success(), "{said:?}");
        said
    }

    /// Starts a command that goes on, with more options.
    ///
    /// # Panics
    /// When the page has none.
    pub fn starts(&mut self, start: &str, more: &str) -> Program {
        Program::start(&mut self.lasting(start, more))
    }

    /// Starts a command that serves, and waits until it is ready.
    ///
    /// # Panics
    /// When the page has none, or it does not get ready.
    pub fn serves(&mut self, start: &str, more: &str) -> Server {
        Server::of(&mut self.lasting(start, more))
    }

    /// A command that takes minutes or daemons: another test runs the very thing.
    ///
    /// # Panics
    /// When the page has no such command, or the file no such test.
    pub fn elsewhere(&mut self, start: &str, file: &str, test: &str) {
        let line = self.take(start);
        let text = fs::read_to_string(root().join(file)).unwrap_or_default();
        let there = text.contains(&format!("fn {test}()"));
        assert!(there, "{}: {} is not run by {file}", self.name, line.text);
    }

    /// A command that a target of the Makefile runs, or of `make` itself: what it would run has these words.
    ///
    /// # Panics
    /// When the page has no such command, the Makefile no such target, or that other commands.
    pub fn makes(&mut self, start: &str, target: &str, words: &[&str]) {
        let line = self.take(start);
        let named = line.text.strip_prefix("make ");
        assert!(named.is_none_or(|named| named == target), "{}", line.text);
        let mut make = Command::new("make");
        make.args(["--dry-run", target]).current_dir(root());
        // A `make test` that runs this must not tell its own flags to it.
        make.env_remove("MAKEFLAGS").env_remove("MAKELEVEL");
        let planned = finish(&mut make, "", LIMIT);
        assert!(planned.status.success(), "{planned:?}");
        for word in words {
            assert!(planned.stdout.contains(word), "no {word:?} in {planned:?}");
        }
    }

    /// A line of cargo that names a package: that there is one, without building it again in another way.
    ///
    /// # Panics
    /// When the page has no such line, or the workspace no such package.
    pub fn cargo(&mut self, start: &str) {
        let line = self.take(start);
        let package = line.text.split_once("-p ").map_or("", |(_, after)| after);
        let package = package.split(' ').next().unwrap_or_default();
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["pkgid", "--offline", "--locked", package]);
        let found = finish(cargo.current_dir(root()), "", LIMIT);
        assert!(found.status.success(), "{found:?}");
    }

    /// The block of code in a language that has some words.
    ///
    /// # Panics
    /// When the page has none.
    #[must_use]
    pub fn block(&self, language: &str, words: &str) -> String {
        let all = blocks(&self.page).into_iter();
        all.filter(|(of, block)| of == language && block.contains(words))
            .map(|(_, block)| block)
            .next()
            .unwrap_or_else(|| panic!("{} has no block with {words:?}", self.name))
    }

    /// Holds every command of the page to have been typed.
    ///
    /// # Panics
    /// When one was not.
    pub fn end(self) {
        let left = self.commands.iter().filter(|(_, typed)| !typed);
        let left: Vec<&str> = left.map(|(one, _)| one.text.as_str()).collect();
        let all = left.join("\n");
        assert!(left.is_empty(), "{}: nobody types\n{all}", self.name);
    }

    /// The first such command that was not typed yet; from now on it was.
    fn take(&mut self, start: &str) -> Shown {
        let found = self
            .commands
            .iter_mut()
            .find(|(one, typed)| !typed && one.text.starts_with(start));
        let (line, typed) =
            found.unwrap_or_else(|| panic!("{} has no (other) {start:?}", self.name));
        *typed = true;
        line.clone()
    }

    fn run(&self, lines: &[Shown], more: &str, input: &str) -> Said {
        let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
        let line = format!("{} {more}", self.filled(&texts.join("\n")));
        let begun = Instant::now();
        let ended = finish(&mut self.shell(&line), input, LIMIT);
        println!("{:6.2} s  {line}", begun.elapsed().as_secs_f64());
        let shown = lines.last().map(|line| line.printed.clone());
        Said {
            line,
            status: ended.status,
            stdout: ended.stdout,
            stderr: ended.stderr,
            shown: shown.unwrap_or_default(),
        }
    }

    /// A command that takes the shell's place, so that a signal reaches it.
    fn lasting(&mut self, start: &str, more: &str) -> Command {
        let taken = self.take(start);
        let line = self.filled(&taken.text);
        let words = line.split(' ').take_while(|word| is_assignment(word));
        let at: usize = words.map(|word| word.len() + 1).sum();
        self.shell(&format!("{}exec {} {more}", &line[..at], &line[at..]))
    }

    fn shell(&self, script: &str) -> Command {
        let mut command = Command::new("bash");
        command
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(self.folder.path())
            .envs(&self.variables);
        command
    }

    /// The text with values for names. One pass: a value is never taken for a name.
    fn filled(&self, text: &str) -> String {
        let (mut filled, mut rest, mut before) = (String::new(), text, ' ');
        while let Some(letter) = rest.chars().next() {
            let fits = |name: &&String| {
                let after = rest.strip_prefix(name.as_str());
                after.is_some_and(|after| is_word(before, name, after))
            };
            // The longest: a name may begin with another one.
            let name = self
                .values
                .keys()
                .filter(fits)
                .max_by_key(|name| name.len());
            let taken = match name {
                Some(name) => {
                    filled.push_str(&self.values[name]);
                    name.len()
                }
                None => {
                    filled.push(letter);
                    letter.len_utf8()
                }
            };
            before = rest[..taken].chars().next_back().unwrap_or(letter);
            rest = &rest[taken..];
        }
        filled
    }
}

/// Whether a name stands between these two as a word of its own.
fn is_word(before: char, name: &str, after: &str) -> bool {
    let joins = |a: char, b: char| {
        let inner = |c: char| c.is_alphanumeric() || c == '_';
        inner(a) && inner(b)
    };
    let (first, last) = (name.chars().next(), name.chars().next_back());
    !first.is_some_and(|first| joins(before, first))
        && !last.is_some_and(|last| after.chars().next().is_some_and(|next| joins(last, next)))
}

fn succeeded(said: Said) -> Said {
    assert!(said.status.success(), "{said:#?}");
    said
}
