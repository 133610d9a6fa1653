//! Exhibits in as few submissions as the service's bounds allow.

use super::collect::{cut, short};
use super::{Import, ImportError, Item};
use crate::client::NewEvidence;

/// Most exhibits of a submission.
const MAX_EXHIBITS: usize = 16;
/// Most bytes of a submission's exhibits as JSON; a request may have 4 MiB.
const MAX_BYTES: usize = 3 * 1024 * 1024;
/// Most bytes of a submission's notes; its body may have 64 KiB.
const MAX_NOTES: usize = 48 * 1024;
/// Longest title, characters.
const MAX_TITLE: usize = 200;

impl Import {
    /// The submissions, in order, that bring all exhibits. `stake_micro` is what all of them
    /// together may lose; it is divided evenly.
    ///
    /// # Errors
    /// [`ImportError::Refused`] when there is nothing to submit, when more than `most` submissions
    /// are needed, or when the stake cannot be divided.
    pub fn submissions(
        &self,
        title: Option<&str>,
        stake_micro: i64,
        most: usize,
    ) -> Result<Vec<NewEvidence>, ImportError> {
        let groups = self.groups();
        let count = groups.len();
        let refuse = |why: String| Err(ImportError::Refused(why));
        if count == 0 {
            return refuse("the log holds nothing to submit".to_owned());
        }
        if count > most {
            return refuse(format!(
                "{} exhibits need {count} submissions, and each costs more than the one before; \
                 choose fewer with --take or --only, or allow --max-submissions {count}",
                self.items.len()
            ));
        }
        let share = |at: usize| -> Option<i64> {
            let (parts, at) = (i64::try_from(count).ok()?, i64::try_from(at).ok()?);
            let extra = i64::from(at < stake_micro % parts);
            (stake_micro / parts > 0).then_some(stake_micro / parts + extra)
        };
        let mut made = Vec::new();
        for (at, group) in groups.into_iter().enumerate() {
            let Some(stake) = share(at) else {
                return refuse(format!(
                    "the stake must be at least one micro-credit for each of {count} submissions"
                ));
            };
            made.push(self.submission(group, title, (at + 1, count), stake));
        }
        Ok(made)
    }

    /// The exhibits in order, as many together as go.
    fn groups(&self) -> Vec<&[Item]> {
        let mut groups = Vec::new();
        let (mut start, mut bytes, mut notes) = (0, 0, 0);
        for (at, item) in self.items.iter().enumerate() {
            let size = item.exhibit.to_string().len();
            let full = at - start == MAX_EXHIBITS
                || bytes + size > MAX_BYTES
                || notes + item.note.len() > MAX_NOTES;
            if full && at > start {
                groups.push(&self.items[start..at]);
                (start, bytes, notes) = (at, 0, 0);
            }
            bytes += size;
            notes += item.note.len();
        }
        if start < self.items.len() {
            groups.push(&self.items[start..]);
        }
        groups
    }

    fn submission(
        &self,
        items: &[Item],
        title: Option<&str>,
        (number, count): (usize, usize),
        stake_micro: i64,
    ) -> NewEvidence {
        let usual = format!(
            "{} log of {}: {} of {} cases failed",
            self.format, self.subject, self.failed, self.cases
        );
        let part = if count > 1 {
            format!(" ({number}/{count})")
        } else {
            String::new()
        };
        let title = short(title.unwrap_or(&usual));
        let room = MAX_TITLE - part.len();
        let title: String = title.chars().take(room).collect();
        NewEvidence {
            kind: kind(items).to_owned(),
            title: format!("{title}{part}"),
            body: self.body(items),
            exhibits: items.iter().map(|item| item.exhibit.clone()).collect(),
            stake_micro,
            ..NewEvidence::default()
        }
    }

    /// Which exhibit is which case, and what was left out.
    fn body(&self, items: &[Item]) -> String {
        let mut lines = vec![
            format!(
                "Imported from a log of {} ({}): {} cases, {} failed.",
                self.format,
                short(&self.subject),
                self.cases,
                self.failed
            ),
            String::new(),
        ];
        let listed = items.iter().enumerate();
        lines.extend(listed.map(|(at, item)| format!("{}. {}", at + 1, item.note)));
        lines.push(String::new());
        let left_out = self.skipped.iter();
        lines.extend(left_out.map(|one| format!("Left out: {} × {}.", one.count, one.reason)));
        cut(&lines.join("\n"), 60 * 1024)
    }
}

/// How people sort a submission.
fn kind(items: &[Item]) -> &'static str {
    let all = |name: &str| items.iter().all(|item| item.exhibit["type"] == name);
    if all("transcript") {
        "transcript"
    } else if all("measurement") {
        "measurement"
    } else {
        "log"
    }
}
