//! What changed between two texts, line by line.

use serde::Serialize;

/// Lines that are compared; of longer texts the rest counts as replaced.
const MAX_LINES: usize = 1_000;
/// Unchanged lines shown round a change.
const CONTEXT: usize = 2;

/// A line of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Change {
    /// `same`, `less`, `more`, or `gap` for lines left out.
    pub(crate) kind: &'static str,
    /// The line.
    pub(crate) text: String,
}

fn change(kind: &'static str, text: &str) -> Change {
    Change {
        kind,
        text: text.to_owned(),
    }
}

/// The lines of `new` against those of `old`: the longest common subsequence stays, with a little of it
/// shown round every change. Nothing where they are equal.
pub(crate) fn diff(old: &str, new: &str) -> Vec<Change> {
    let old: Vec<&str> = old.lines().take(MAX_LINES).collect();
    let new: Vec<&str> = new.lines().take(MAX_LINES).collect();
    if old == new {
        return Vec::new();
    }
    // common[i][j]: length of the longest common subsequence of the rests from i and j.
    let width = new.len() + 1;
    let mut common = vec![0_u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i * width + j] = if old[i] == new[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push(change("same", old[i]));
            (i, j) = (i + 1, j + 1);
        } else if i < old.len()
            && (j == new.len() || common[(i + 1) * width + j] >= common[i * width + j + 1])
        {
            lines.push(change("less", old[i]));
            i += 1;
        } else {
            lines.push(change("more", new[j]));
            j += 1;
        }
    }
    near_changes(lines)
}

fn near_changes(lines: Vec<Change>) -> Vec<Change> {
    let changed: Vec<bool> = lines.iter().map(|line| line.kind != "same").collect();
    let near = |at: usize| {
        let from = at.saturating_sub(CONTEXT);
        let to = (at + CONTEXT + 1).min(changed.len());
        changed[from..to].contains(&true)
    };
    let mut kept = Vec::new();
    for (at, line) in lines.into_iter().enumerate() {
        if near(at) {
            kept.push(line);
        } else if kept.last().is_none_or(|last: &Change| last.kind != "gap") {
            kept.push(change("gap", ""));
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_stand_in_their_surroundings() {
        let old = "a\nb\nc\nd\ne\nf\ng";
        let new = "a\nb\nc\nD\ne\nf\ng\nh";
        let shown: Vec<(&str, String)> = diff(old, new)
            .into_iter()
            .map(|line| (line.kind, line.text))
            .collect();
        let expected = [
            ("gap", ""),
            ("same", "b"),
            ("same", "c"),
            ("less", "d"),
            ("more", "D"),
            ("same", "e"),
            ("same", "f"),
            ("same", "g"),
            ("more", "h"),
        ];
        let expected: Vec<(&str, String)> = expected
            .iter()
            .map(|(kind, text)| (*kind, (*text).to_owned()))
            .collect();
        assert_eq!(shown, expected);
        assert!(diff(old, old).is_empty());
        assert_eq!(diff("", "x"), [change("more", "x")]);
    }
}
