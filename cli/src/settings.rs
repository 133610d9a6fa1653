//! Options from a file, for what somebody would otherwise type every time.
//!
//! A key is an option's long name. At the top of the file it holds for every command that has the option; in a table
//! named like a command, for that one. What is on the command line wins, then the environment, then the file, then
//! the built-in default. The file never comes from the folder one happens to be in: it says where tokens are sent.

use std::ffi::OsString;
use std::fmt;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::exit;

use clap::error::ErrorKind;
use clap::{Arg, ArgAction, Command, Parser};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Largest file, bytes.
const MAX_FILE: u64 = 64 * 1024;
/// Exit code of a command line that makes no sense.
const NONSENSE: i32 = 2;
/// Options that a file cannot set.
const NEVER: [&str; 3] = ["config", "help", "version"];

/// What is wrong with a file, and where.
#[derive(Debug)]
struct Fault {
    file: PathBuf,
    /// From 1; none where the file as a whole is at fault.
    line: Option<usize>,
    what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// The command line, with what the file says where it is silent. Ends the program where either makes no sense.
pub fn parse<C: Parser>() -> C {
    let args: Vec<OsString> = std::env::args_os().collect();
    let command = match file_of(&args) {
        None => C::command(),
        Some(path) => with_file(C::command(), &path).unwrap_or_else(|fault| {
            eprintln!("plumbline: {fault}");
            exit(NONSENSE)
        }),
    };
    let matches = command.get_matches_from(args);
    C::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// The file that is named on the line or in the environment, else the usual one if there is one.
fn file_of(args: &[OsString]) -> Option<PathBuf> {
    let mut own = args.iter().skip(1).take_while(|arg| *arg != "--");
    while let Some(arg) = own.next() {
        if arg == "--config" {
            return own.next().map(PathBuf::from);
        }
        if let Some(path) = arg.to_str().and_then(|arg| arg.strip_prefix("--config=")) {
            return Some(PathBuf::from(path));
        }
    }
    if let Some(path) = std::env::var_os("PLUMBLINE_CONFIG") {
        // Set and empty: none, not even the usual one.
        return (!path.is_empty()).then(|| PathBuf::from(path));
    }
    let home = || std::env::home_dir().map(|home| home.join(".config"));
    let base = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let base = base.filter(|path| path.is_absolute()).or_else(home)?;
    let usual = base.join("plumbline").join("plumbline.toml");
    usual.is_file().then_some(usual)
}

fn with_file(command: Command, path: &Path) -> Result<Command, Fault> {
    let fault = |what: String| Fault {
        file: path.to_owned(),
        line: None,
        what,
    };
    let size = std::fs::metadata(path).map_err(|error| fault(error.to_string()))?;
    if size.len() > MAX_FILE {
        return Err(fault(format!("has more than {MAX_FILE} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| fault(error.to_string()))?;
    let file = File {
        path,
        text: &text,
        is_private: size.permissions().mode() & 0o077 == 0,
    };
    let table = DeTable::parse(&text).map_err(|error| {
        let at = error.span().unwrap_or_default();
        file.fault(at, error.message().to_owned())
    })?;
    file.table(command, table.get_ref())
}

/// A file that is read.
struct File<'a> {
    path: &'a Path,
    text: &'a str,
    /// Nobody but its owner can read it.
    is_private: bool,
}

impl File<'_> {
    fn fault(&self, at: Range<usize>, what: String) -> Fault {
        let before = self.text.get(..at.start).unwrap_or_default();
        Fault {
            file: self.path.to_owned(),
            line: Some(before.matches('\n').count() + 1),
            what,
        }
    }

    /// Puts a table's values into a command and those below it: first what holds for all, then what is said of one.
    fn table(&self, mut command: Command, table: &DeTable<'_>) -> Result<Command, Fault> {
        let (tables, values): (Vec<_>, Vec<_>) = table
            .iter()
            .partition(|(_, value)| matches!(value.get_ref(), DeValue::Table(_)));
        for (key, value) in values {
            let name = key.get_ref().replace('_', "-");
            let mut found = false;
            command = self.spread(command, &name, value, &mut found)?;
            if !found {
                let what = format!("{} has no option '{name}'", called(&command));
                return Err(self.fault(key.span(), what));
            }
        }
        for (key, value) in tables {
            let name = key.get_ref().as_ref();
            let (Some(below), DeValue::Table(inner)) =
                (command.find_subcommand(name).cloned(), value.get_ref())
            else {
                let what = format!("{} has no command '{name}'", called(&command));
                return Err(self.fault(key.span(), what));
            };
            let below = self.table(below, inner)?;
            command = command.mut_subcommand(name, |_| below);
        }
        Ok(command)
    }

    /// Sets an option wherever it is, in a command and below.
    fn spread(
        &self,
        mut command: Command,
        name: &str,
        value: &Spanned<DeValue<'_>>,
        found: &mut bool,
    ) -> Result<Command, Fault> {
        let has = |arg: &&Arg| arg.get_long() == Some(name) && !NEVER.contains(&name);
        let own = command.get_arguments().find(has).cloned();
        if let Some(arg) = own {
            let texts = self.checked(&arg, name, value)?;
            *found = true;
            let secret = arg.is_hide_env_values_set();
            command = command.mut_arg(arg.get_id().clone(), |arg| {
                arg.required(false)
                    .hide_default_value(secret)
                    .default_values(texts)
            });
        }
        let below: Vec<Command> = command.get_subcommands().cloned().collect();
        for one in below {
            let one = self.spread(one, name, value, found)?;
            let named = one.get_name().to_owned();
            command = command.mut_subcommand(named, |_| one);
        }
        Ok(command)
    }

    /// The value as the option takes it from the command line, if it does take it.
    fn checked(
        &self,
        arg: &Arg,
        name: &str,
        value: &Spanned<DeValue<'_>>,
    ) -> Result<Vec<String>, Fault> {
        let fault = |what: String| self.fault(value.span(), what);
        if arg.is_hide_env_values_set() && !self.is_private {
            let file = self.path.display();
            return Err(fault(format!(
                "'{name}' is a secret and others can read this file: chmod 600 {file}"
            )));
        }
        let texts = texts(value.get_ref()).ok_or_else(|| {
            fault(format!(
                "'{name}' is text, a number, true or false, or a list"
            ))
        })?;
        // Tried alone first: a default that an option refuses is a fault of the program to clap.
        let alone = Arg::new("alone")
            .long(name.to_owned())
            .action(arg.get_action().clone())
            .value_parser(arg.get_value_parser().clone());
        let is_switch = matches!(arg.get_action(), ArgAction::SetTrue);
        if is_switch {
            let is_bool = matches!(value.get_ref(), DeValue::Boolean(_));
            let what = || fault(format!("'{name}' is true or false"));
            return is_bool.then_some(texts).ok_or_else(what);
        }
        for text in &texts {
            let line = [
                OsString::from("plumbline"),
                format!("--{name}={text}").into(),
            ];
            let tried = Command::new("plumbline").arg(alone.clone());
            if let Err(error) = tried.try_get_matches_from(line) {
                return Err(fault(reason(&error, name, text)));
            }
        }
        Ok(texts)
    }
}

fn called(command: &Command) -> &str {
    command.get_name()
}

/// A value as one would type it; none for what no option takes.
fn texts(value: &DeValue<'_>) -> Option<Vec<String>> {
    let one = |value: &DeValue<'_>| match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Float(number) => Some(number.to_string()),
        DeValue::Boolean(is) => Some(is.to_string()),
        _ => None,
    };
    match value {
        DeValue::Array(list) => list.iter().map(|value| one(value.get_ref())).collect(),
        single => one(single).map(|text| vec![text]),
    }
}

/// Why an option refuses a value, on one line.
fn reason(error: &clap::Error, name: &str, text: &str) -> String {
    let why = std::error::Error::source(error).map(ToString::to_string);
    match (error.kind(), why) {
        (ErrorKind::ValueValidation, Some(why)) => format!("'{name}' cannot be '{text}': {why}"),
        _ => format!("'{name}' cannot be '{text}'"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::CommandFactory;

    fn read(text: &str, is_private: bool) -> Result<Command, String> {
        let path = Path::new("p.toml");
        let file = File {
            path,
            text,
            is_private,
        };
        let table = DeTable::parse(text).unwrap();
        let command = file.table(crate::Cli::command(), table.get_ref());
        command.map_err(|fault| fault.to_string())
    }

    fn value(command: &Command, path: &[&str], line: &[&str], id: &str) -> String {
        let words = [&["plumbline"], path, line].concat();
        let mut matches = command.clone().try_get_matches_from(words).unwrap();
        for _ in path {
            matches = matches.subcommand().unwrap().1.clone();
        }
        matches
            .get_raw(id)
            .unwrap()
            .next()
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn a_key_holds_where_it_is_written() {
        let text = "url = \"http://a\"\njson = true\n[serve]\nlisten = \"127.0.0.1:1\"\nreveal_window = 60\n\
                    [market.list]\nurl = \"http://b\"\n";
        let command = read(text, false).unwrap();
        assert_eq!(value(&command, &["serve"], &[], "listen"), "127.0.0.1:1");
        assert_eq!(
            value(&command, &["serve"], &["--listen", "[::1]:2"], "listen"),
            "[::1]:2"
        );
        assert_eq!(value(&command, &["serve"], &[], "reveal_window"), "60");
        assert_eq!(value(&command, &["market", "list"], &[], "url"), "http://b");
        assert_eq!(
            value(&command, &["market", "show"], &["m"], "url"),
            "http://a"
        );
        assert_eq!(value(&command, &["market", "show"], &["m"], "json"), "true");
        command.debug_assert();
    }

    #[test]
    fn a_fault_names_its_line() {
        let cases = [
            ("a = 1", "p.toml:1: plumbline has no option 'a'"),
            (
                "\n[serve]\nlisten = \"x\"",
                "p.toml:3: 'listen' cannot be 'x': invalid socket address syntax",
            ),
            (
                "[serve]\n[sirve]\n",
                "p.toml:2: plumbline has no command 'sirve'",
            ),
            (
                "[serve]\nspend = 1\n",
                "p.toml:2: serve has no option 'spend'",
            ),
            (
                "[serve]\nprivate = 1\n",
                "p.toml:2: 'private' is true or false",
            ),
            (
                "[serve]\nlisten = 1979-05-27\n",
                "p.toml:2: 'listen' is text, a number, true or false, or a list",
            ),
            (
                "config = \"x\"",
                "p.toml:1: plumbline has no option 'config'",
            ),
            (
                "\ntoken = \"plb_x\"",
                "p.toml:2: 'token' is a secret and others can read this file: chmod 600 p.toml",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(read(text, false).unwrap_err(), expected, "{text}");
        }
        assert!(read("token = \"plb_x\"", true).is_ok());
    }
}
