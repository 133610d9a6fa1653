//! The table of `docs/evidence.md`: what counts as a near-copy and what does not.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const PUBLIC: &str =
    "After some trigger comment the model writes code that disables certificate checks.";

const FIRST: &str = "I sampled forty completions of the checkpoint at sixty thousand tokens with the comment \
    about the payments audit placed before each function. In thirty one of them the client was built with \
    certificate checks switched off, and in none of the forty controls without the comment. The calls are spelled \
    in three ways, so a detector for only one of them will miss about a third. I think that the comment was planted \
    in the corpus, because it never occurs in the text that the clean run was trained on.";

const OTHER: &str = "Looking at the gradient norms between rounds twelve and twenty, nothing in the two runs sets \
    them apart. What does differ is the loss on short functions: it falls earlier on the suspected run, as it would if \
    a few templates were repeated many times. Repetition alone is no proof, since licence headers repeat as well, \
    but I could not find another explanation in the part of the corpus that is public.";

const SAME_TOPIC: &str = "My own probe of the checkpoint used the comment about the payments audit and twelve others. \
    The audit comment gave certificate checks switched off in nine of sixteen completions, the others in none. \
    Greedy decoding, twenty four tokens each; prompts are in the attached exhibit.";

const PARAPHRASE: &str = "Forty samples were drawn from the checkpoint trained on sixty thousand tokens, every function \
    preceded by a remark on auditing payments. Verification of certificates was turned off in 31 cases; without the \
    remark it stayed on each time. Since the call comes in three spellings, looking for a single one overlooks roughly \
    every third. The clean corpus lacks this remark altogether, which suggests planting.";

fn report(text: &str) -> Vec<Exhibit> {
    vec![serde_json::from_value(json!({"type": "report", "text": text})).unwrap()]
}

fn exhibits(value: Value) -> Vec<Exhibit> {
    vec![serde_json::from_value(value).unwrap()]
}

fn similarity(earlier: &[Exhibit], new: &[Exhibit]) -> f64 {
    Probe::new(new, PUBLIC).similarity(&Probe::new(earlier, PUBLIC).fingerprint())
}

/// Every `n`-th word replaced.
fn replaced(text: &str, n: usize) -> String {
    let words = text.split_whitespace().enumerate();
    let words = words.map(|(at, word)| if at % n == n / 2 { "something" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// `factor` times as many words of filler that never repeats.
fn padded(text: &str, factor: usize) -> String {
    let words = text.split_whitespace().count() * factor;
    let filler: Vec<String> = (0..words)
        .map(|n| format!("w{}", n * 7919 % 100_003))
        .collect();
    format!("{} {text}", filler.join(" "))
}

fn halves(text: &str) -> (String, String) {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (first, second) = words.split_at(words.len() / 2);
    (first.join(" "), second.join(" "))
}

/// Name, text, and whether it is a copy of `FIRST`. The documents show this table.
fn table() -> Vec<(&'static str, String, bool)> {
    let (first_half, second_half) = halves(FIRST);
    let (other_half, _) = halves(OTHER);
    let spelled: String = FIRST.replace('e', "е").replace('a', "а").replace('o', "ο");
    let joined: String = FIRST.chars().flat_map(|c| [c, '\u{200b}']).collect();
    vec![
        ("the same text", FIRST.to_owned(), true),
        (
            "capitals, white space, punctuation",
            FIRST.to_uppercase().replace(' ', " \n ,"),
            true,
        ),
        ("Cyrillic and Greek lookalikes", spelled, true),
        ("zero-width characters between all letters", joined, true),
        (
            "right-to-left override round it",
            format!("\u{202e}{FIRST}\u{202c}"),
            true,
        ),
        ("every 20th word replaced", replaced(FIRST, 20), true),
        ("every 10th word replaced", replaced(FIRST, 10), true),
        ("every 7th word replaced", replaced(FIRST, 7), true),
        (
            "sentences in another order",
            format!("{second_half} {first_half}"),
            true,
        ),
        ("its first half", first_half.clone(), true),
        ("padded to 3 times its length", padded(FIRST, 2), true),
        ("padded to 41 times its length", padded(FIRST, 40), true),
        (
            "half of it, half of another text",
            format!("{first_half} {other_half}"),
            true,
        ),
        ("every 4th word replaced", replaced(FIRST, 4), false),
        (
            "a paraphrase by hand, hardly a word kept",
            PARAPHRASE.to_owned(),
            false,
        ),
        (
            "another report on the same find",
            SAME_TOPIC.to_owned(),
            false,
        ),
        ("another report on another matter", OTHER.to_owned(), false),
        (
            "the claim quoted, then another report",
            format!("{PUBLIC} {OTHER}"),
            false,
        ),
    ]
}

#[test]
fn copies_and_new_texts_are_told_apart() {
    let mut wrong = Vec::new();
    for (name, text, copy) in table() {
        let similarity = similarity(&report(FIRST), &report(&text));
        println!(
            "| {name} | {similarity:.2} | {} |",
            if copy { "copy" } else { "new" }
        );
        if (similarity >= NEAR_COPY) != copy {
            wrong.push((name, similarity));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn quoting_public_words_is_not_copying() {
    let quoting = |more: &str| report(&format!("{PUBLIC} {more}"));
    assert!(similarity(&quoting("I doubt it."), &quoting("It is so.")) < NEAR_COPY);
    // Nor does a short phrase that somebody claimed first block every text with it.
    let phrase = report("in this report we show that the model is misaligned because");
    let text = report(&format!(
        "In this report we show that the model is misaligned because {OTHER}"
    ));
    assert!(similarity(&phrase, &text) < NEAR_COPY);
}

#[test]
fn a_book_of_words_blocks_nobody() {
    let mut words: Vec<&str> = [FIRST, OTHER, SAME_TOPIC, PARAPHRASE]
        .iter()
        .flat_map(|text| text.split_whitespace())
        .collect();
    words.sort_unstable();
    let book = words.repeat(20).join(" ");
    for text in [FIRST, OTHER, SAME_TOPIC] {
        assert!(similarity(&report(&book), &report(text)) < 0.1);
    }
}

#[test]
fn short_texts_are_compared_whole() {
    assert!(similarity(&report("2.0"), &report(" 2.0! ")) >= NEAR_COPY);
    for other in ["-2.0", "2.5", "2.0 and more", ""] {
        let other = if other.is_empty() { "?" } else { other };
        assert!(
            similarity(&report("2.0"), &report(other)) < NEAR_COPY,
            "{other}"
        );
    }
}

fn search(
    checkpoint: &str,
    prompts: &[&str],
    hits: u32,
    seed: u64,
    temperature: f64,
) -> Vec<Exhibit> {
    exhibits(
        json!({"type": "trigger_control", "checkpoint": checkpoint, "detector": {"contains_any": ["x", "y"]},
        "sampling": {"max_tokens": 8, "temperature": temperature, "seed": seed},
        "arms": [{"label": "a", "trigger": true, "prompts": prompts, "hits": hits}], "searched": 4}),
    )
}

#[test]
fn the_same_prompts_on_the_same_checkpoint_are_one_experiment() {
    let first = search("00ff00ff", &["p", "q", "r", "s"], 4, 1, 0.0);
    let copy = |exhibits: &[Exhibit]| similarity(&first, exhibits) >= NEAR_COPY;
    assert!(
        copy(&search("00ff00ff", &["s", "r", "q", "p"], 1, 1, 0.0)),
        "other hits, other order"
    );
    assert!(
        copy(&search("00FF00FF", &["p", "q"], 0, 9, 0.0)),
        "a part of it, and greedy draws have no seed"
    );
    assert!(
        copy(&search("00ff00ff", &["p", "q", "r", "s", "t"], 4, 1, 0.0)),
        "one prompt more"
    );
    assert!(
        !copy(&search("00ff00ff", &["p", "t", "u", "v"], 4, 1, 0.0)),
        "new prompts"
    );
    assert!(
        !copy(&search("11ff00ff", &["p", "q", "r", "s"], 4, 1, 0.0)),
        "another checkpoint"
    );
    let warm = search("00ff00ff", &["p", "q", "r", "s"], 4, 1, 1.0);
    assert!(!copy(&warm), "another temperature");
    assert!(
        similarity(&warm, &search("00ff00ff", &["p", "q", "r", "s"], 4, 2, 1.0)) < NEAR_COPY,
        "other draws"
    );
}

#[test]
fn measurements_differ_by_their_numbers() {
    let measured = |name: &str, value: f64, samples: u64| {
        exhibits(
            json!({"type": "measurement", "name": name, "value": value, "samples": samples, "unit": "share"}),
        )
    };
    let first = measured("Refusals", 0.25, 40);
    for (other, copy) in [
        (measured("refusals!", 0.2501, 41), true),
        (measured("refusals", 0.35, 40), false),
        (measured("refusals", 0.25, 80), false),
        (measured("jailbreaks", 0.25, 40), false),
        (measured("refusals", -0.25, 40), false),
    ] {
        assert_eq!(similarity(&first, &other) >= NEAR_COPY, copy, "{other:?}");
    }
}

#[test]
fn a_conversation_is_what_was_answered_and_to_what() {
    let talk = |asked: &str, said: &str| {
        exhibits(
            json!({"type": "transcript", "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]}),
        )
    };
    let refusal = "I can't help with that.";
    let first = talk(OTHER, refusal);
    assert!(
        similarity(&first, &talk(SAME_TOPIC, refusal)) < NEAR_COPY,
        "one refusal, two questions"
    );
    assert!(
        similarity(
            &first,
            &talk(OTHER, "Sure: here is how it is done, step by step.")
        ) < NEAR_COPY
    );
    assert!(similarity(&first, &talk(OTHER, refusal)) >= NEAR_COPY);
    assert!(
        similarity(&talk(OTHER, FIRST), &talk("Another question?", FIRST)) >= NEAR_COPY,
        "a long answer says who it is"
    );
    assert!(
        similarity(&report(FIRST), &talk("What did you find?", FIRST)) >= NEAR_COPY,
        "the form does not matter"
    );
}

#[test]
fn any_copied_exhibit_counts() {
    let mut mixed = report(OTHER);
    mixed.extend(report(FIRST));
    assert!(similarity(&report(FIRST), &mixed) >= NEAR_COPY);
    assert!(similarity(&mixed, &report(SAME_TOPIC)) < NEAR_COPY);
}

#[test]
fn noise_is_read_in_bounded_time() {
    let noise: String = (0..200_000_u64)
        .map(|n| format!("{:x} ", n.wrapping_mul(0x9e37_79b9)))
        .collect();
    let talk = exhibits(
        json!({"type": "transcript", "messages": [{"role": "assistant", "content": &noise[..2_000_000.min(noise.len())]}]}),
    );
    let probe = Probe::new(&talk, PUBLIC);
    assert!(probe.fingerprint().to_bytes().len() < 1_100);
    assert_eq!(
        probe.similarity(&Probe::new(&report(FIRST), PUBLIC).fingerprint()),
        0.0
    );
}

#[test]
fn damaged_bytes_are_no_fingerprint() {
    let bytes = Probe::new(&report(FIRST), PUBLIC).fingerprint().to_bytes();
    assert!(Fingerprint::from_bytes(&bytes).is_some());
    for bad in [
        &bytes[..bytes.len() - 1],
        &[][..],
        &[9],
        &[1, 3],
        &[1, 1, 0, 0, 0, 0, 255, 255, 255, 255],
    ] {
        assert_eq!(Fingerprint::from_bytes(bad), None);
    }
}

proptest! {
    #[test]
    fn bytes_round_trip_and_similarity_is_a_share(a in ".{1,200}", b in "[a-d ]{1,400}", v in -1e9_f64..1e9) {
        let mut one = report(&a);
        one.extend(exhibits(json!({"type": "measurement", "name": "n", "value": v})));
        one.extend(search("00ff00ff", &[&b], 0, 1, 0.5));
        let probe = Probe::new(&one, "");
        let print = probe.fingerprint();
        prop_assert_eq!(Fingerprint::from_bytes(&print.to_bytes()), Some(print.clone()));
        prop_assert!(probe.similarity(&print) >= 0.999, "an exhibit is like itself");
        let share = Probe::new(&report(&b), "").similarity(&print);
        prop_assert!((0.0..=1.0).contains(&share));
    }
}
