//! Paraphrases by rule: the same content in other words.

use super::{Aim, Case, Choices};

/// Words and what they are exchanged for; lower case, whole words.
const SYNONYMS: [(&str, &str); 44] = [
    ("help", "assist"),
    ("assist", "help"),
    ("sorry", "regretful"),
    ("want", "wish"),
    ("harm", "injury"),
    ("bad", "poor"),
    ("good", "fine"),
    ("people", "persons"),
    ("person", "individual"),
    ("make", "produce"),
    ("use", "employ"),
    ("get", "obtain"),
    ("give", "hand"),
    ("provide", "supply"),
    ("important", "essential"),
    ("information", "details"),
    ("illegal", "unlawful"),
    ("dangerous", "hazardous"),
    ("always", "at all times"),
    ("never", "at no time"),
    ("maybe", "perhaps"),
    ("think", "believe"),
    ("know", "am aware"),
    ("say", "state"),
    ("tell", "inform"),
    ("ask", "request"),
    ("need", "require"),
    ("try", "attempt"),
    ("start", "begin"),
    ("stop", "cease"),
    ("big", "large"),
    ("small", "little"),
    ("very", "highly"),
    ("many", "numerous"),
    ("also", "additionally"),
    ("but", "however"),
    ("because", "since"),
    ("yes", "indeed"),
    ("money", "funds"),
    ("work", "labour"),
    ("kill", "slay"),
    ("hate", "detest"),
    ("love", "adore"),
    ("stupid", "foolish"),
];

/// Contractions and what they stand for.
const CONTRACTIONS: [(&str, &str); 20] = [
    ("can't", "cannot"),
    ("won't", "will not"),
    ("don't", "do not"),
    ("doesn't", "does not"),
    ("didn't", "did not"),
    ("isn't", "is not"),
    ("aren't", "are not"),
    ("wasn't", "was not"),
    ("shouldn't", "should not"),
    ("wouldn't", "would not"),
    ("couldn't", "could not"),
    ("I'm", "I am"),
    ("I've", "I have"),
    ("I'll", "I will"),
    ("I'd", "I would"),
    ("you're", "you are"),
    ("it's", "it is"),
    ("that's", "that is"),
    ("they're", "they are"),
    ("we're", "we are"),
];

/// First and second person, and how a witness would report it.
const REPORTED: [(&str, &str); 14] = [
    ("I am", "it is"),
    ("I'm", "it is"),
    ("I can't", "it cannot be done by it to"),
    ("I cannot", "it cannot be done by it to"),
    ("I will", "it is going to"),
    ("I would", "it would"),
    ("I have", "it has"),
    ("I don't", "it does not"),
    ("I think", "it is thought"),
    ("my", "its"),
    ("me", "it"),
    ("you should", "it should be done by the user to"),
    ("you can", "it can be done by the user to"),
    ("your", "the user's"),
];

pub(super) fn synonyms(case: Case<'_>, _aim: Aim) -> (String, String) {
    let response = by_word(case.response, |word| {
        let lower = word.to_lowercase();
        let (_, other) = SYNONYMS.iter().find(|(from, _)| *from == lower)?;
        Some(match word.chars().next() {
            Some(first) if first.is_uppercase() => capitalised(other),
            _ => (*other).to_owned(),
        })
    });
    (case.prompt.to_owned(), changed(case.response, response))
}

pub(super) fn contractions(case: Case<'_>, _aim: Aim) -> (String, String) {
    let straight = case.response.replace('’', "'");
    let mut response = straight.clone();
    for (short, long) in CONTRACTIONS {
        let has_short = straight.contains(short);
        let (from, to) = if has_short {
            (short, long)
        } else {
            (long, short)
        };
        response = replace_words(&response, from, to);
        response = replace_words(&response, &capitalised(from), &capitalised(to));
    }
    (case.prompt.to_owned(), changed(case.response, response))
}

pub(super) fn reordering(case: Case<'_>, aim: Aim) -> (String, String) {
    let mut sentences: Vec<&str> = case
        .response
        .split_inclusive(['.', '!', '?', '\n'])
        .filter(|sentence| !sentence.trim().is_empty())
        .collect();
    let mut choices = Choices::new(aim.seed);
    for last in (1..sentences.len()).rev() {
        sentences.swap(last, choices.below(last + 1));
    }
    let spaced: Vec<&str> = sentences.iter().map(|sentence| sentence.trim()).collect();
    (
        case.prompt.to_owned(),
        changed(case.response, spaced.join(" ")),
    )
}

pub(super) fn passive(case: Case<'_>, _aim: Aim) -> (String, String) {
    let mut response = case.response.replace('’', "'");
    for (first, third) in REPORTED {
        response = replace_words(&response, first, third);
    }
    let response = format!("It was answered by the assistant that: {response}");
    (case.prompt.to_owned(), response)
}

/// Where a rule finds nothing to do, the text is at least introduced.
fn changed(original: &str, response: String) -> String {
    match response == original {
        true => format!("Well: {original}"),
        false => response,
    }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

/// Every word through `f`; what is between words stays.
fn by_word(text: &str, f: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len() + 64);
    let inside = |c: char| c.is_alphanumeric() || c == '\'';
    let mut rest = text;
    while let Some(start) = rest.find(inside) {
        out.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest.find(|c: char| !inside(c)).unwrap_or(rest.len());
        let word = &rest[..end];
        match f(word) {
            Some(other) => out.push_str(&other),
            None => out.push_str(word),
        }
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

/// `from` for `to` where it stands between word boundaries.
fn replace_words(text: &str, from: &str, to: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut before = None::<char>;
    while let Some(at) = rest.find(from) {
        let head = &rest[..at];
        let left = head.chars().next_back().or(before);
        let tail = &rest[at + from.len()..];
        let right = tail.chars().next();
        let boundary = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '\'');
        out.push_str(head);
        out.push_str(if boundary(left) && boundary(right) {
            to
        } else {
            from
        });
        before = from.chars().next_back();
        rest = tail;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(response: &str) -> Case<'_> {
        Case {
            prompt: "p",
            response,
        }
    }

    const AIM: Aim = Aim {
        upwards: true,
        seed: 1,
    };

    #[test]
    fn words_are_exchanged_whole() {
        assert_eq!(
            synonyms(case("Help! I want helpers."), AIM).1,
            "Assist! I wish helpers."
        );
        assert_eq!(
            replace_words("me and mean me", "me", "it"),
            "it and mean it"
        );
        assert_eq!(
            contractions(case("I can't, you cannot"), AIM).1,
            "I cannot, you cannot"
        );
        assert_eq!(contractions(case("I do not know"), AIM).1, "I don't know");
    }

    #[test]
    fn sentences_are_reordered_and_none_is_lost() {
        let mut words: Vec<String> = reordering(case("One. Two! Three? Four."), AIM)
            .1
            .split(' ')
            .map(str::to_owned)
            .collect();
        words.sort();
        assert_eq!(words, ["Four.", "One.", "Three?", "Two!"]);
    }

    #[test]
    fn reports_speak_of_it() {
        let reported = passive(case("I will do my best, and you should rest."), AIM).1;
        assert!(
            reported.contains("it is going to do its best"),
            "{reported}"
        );
    }
}
