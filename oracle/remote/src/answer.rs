//! What an answer says, in log-odds.

use serde::Deserialize;

/// Log-odds of a plain Yes without log-probabilities, nats: odds of about 4 to 1.
const PLAIN: f64 = 1.4;

/// The part of a chat completion that is read.
#[derive(Debug, Deserialize)]
pub(crate) struct Completion {
    choices: Vec<Choice>,
    usage: Option<Usage>,
}

#[derive(Debug, Deserialize)]
struct Choice {
    message: Option<Message>,
    logprobs: Option<Logprobs>,
}

#[derive(Debug, Deserialize)]
struct Message {
    content: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Logprobs {
    content: Option<Vec<Position>>,
}

#[derive(Debug, Deserialize)]
struct Position {
    #[serde(default)]
    top_logprobs: Vec<Candidate>,
}

#[derive(Debug, Deserialize)]
struct Candidate {
    token: String,
    logprob: f64,
}

#[derive(Debug, Deserialize)]
struct Usage {
    #[serde(default)]
    total_tokens: u64,
}

/// One answer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Answer {
    /// ln(P(Yes)/P(No)), finite.
    pub(crate) log_odds: f64,
    /// Whether log-probabilities were offered.
    pub(crate) graded: bool,
    /// Tokens read and written, if the endpoint says.
    pub(crate) tokens: u64,
}

impl Completion {
    /// The answer; an error for people when it is neither Yes nor No.
    pub(crate) fn answer(&self) -> Result<Answer, String> {
        let choice = self.choices.first().ok_or("the answer has no choice")?;
        let tokens = self.usage.as_ref().map_or(0, |usage| usage.total_tokens);
        let first = choice
            .logprobs
            .as_ref()
            .and_then(|logprobs| logprobs.content.as_ref()?.first());
        if let Some(log_odds) = first.and_then(|position| graded(&position.top_logprobs)) {
            return Ok(Answer {
                log_odds,
                graded: true,
                tokens,
            });
        }
        let text = choice
            .message
            .as_ref()
            .and_then(|message| message.content.as_deref())
            .unwrap_or_default();
        let word: String = text
            .trim_start()
            .chars()
            .take_while(|c| c.is_alphabetic())
            .flat_map(char::to_lowercase)
            .collect();
        let log_odds = match word.as_str() {
            "yes" => PLAIN,
            "no" => -PLAIN,
            _ => return Err("the answer is neither Yes nor No".to_owned()),
        };
        Ok(Answer {
            log_odds,
            graded: false,
            tokens,
        })
    }
}

/// ln(P(Yes)/P(No)) over the spellings of both among the likeliest tokens. A word that is not among them is no likelier
/// than the least of them.
fn graded(candidates: &[Candidate]) -> Option<f64> {
    let sum = |word: &str| -> f64 {
        candidates
            .iter()
            .filter(|candidate| candidate.token.trim().eq_ignore_ascii_case(word))
            .map(|candidate| candidate.logprob.min(0.0).exp())
            .sum()
    };
    let (yes, no) = (sum("yes"), sum("no"));
    if yes + no <= 0.0 {
        return None;
    }
    let least = candidates
        .iter()
        .map(|candidate| candidate.logprob.min(0.0).exp())
        .fold(1.0, f64::min)
        .max(1e-9);
    Some((yes.max(least) / no.max(least)).ln())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn answer(choice: serde_json::Value) -> Result<Answer, String> {
        let text = json!({"id": "x", "choices": [choice], "usage": {"total_tokens": 7}});
        serde_json::from_value::<Completion>(text).unwrap().answer()
    }

    fn top(pairs: &[(&str, f64)]) -> serde_json::Value {
        let list: Vec<_> = pairs
            .iter()
            .map(|(token, p)| json!({"token": token, "logprob": p.ln()}))
            .collect();
        json!({"message": {"content": "?"}, "logprobs": {"content": [{"token": "x", "top_logprobs": list}]}})
    }

    #[test]
    fn spellings_are_added_up() {
        let said = answer(top(&[
            ("Yes", 0.5),
            (" yes", 0.1),
            ("No", 0.2),
            ("Maybe", 0.1),
        ]))
        .unwrap();
        assert!((said.log_odds - 3.0_f64.ln()).abs() < 1e-9);
        assert!(said.graded && said.tokens == 7);
    }

    #[test]
    fn a_word_that_is_not_listed_is_no_likelier_than_the_least_listed() {
        let said = answer(top(&[("Yes", 0.9), ("Sure", 0.01)])).unwrap();
        assert!((said.log_odds - 90.0_f64.ln()).abs() < 1e-9);
        let said = answer(top(&[("No", 0.9), ("Nope", 0.01)])).unwrap();
        assert!((said.log_odds + 90.0_f64.ln()).abs() < 1e-9);
    }

    #[test]
    fn plain_answers_count_less_and_others_do_not() {
        let plain = |text: &str| answer(json!({"message": {"content": text}}));
        assert_eq!(plain("Yes.").unwrap().log_odds, PLAIN);
        assert_eq!(plain(" no, because").unwrap().log_odds, -PLAIN);
        assert!(plain("Nothing can be said").is_err());
        assert!(answer(json!({})).is_err());
    }
}
