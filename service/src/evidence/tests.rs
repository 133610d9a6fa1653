//! What is checked of a submission before anything is charged.
#![allow(clippy::unwrap_used)]

use super::check::{self, MAX_BODY};
use super::*;
use crate::commands::SubmitEvidence;

fn submission() -> SubmitEvidence {
    SubmitEvidence {
        kind: "report".into(),
        title: "It lies".into(),
        body: String::new(),
        exhibits: vec![json!({"type": "report", "text": "It lies."})],
        stake_micro: 5,
        ..SubmitEvidence::default()
    }
}

#[test]
fn submissions_are_checked_before_anything_is_charged() {
    assert_eq!(check::exhibits(&submission()).unwrap().len(), 1);
    let cases = [
        (
            SubmitEvidence {
                kind: "song".into(),
                ..submission()
            },
            "bad-kind",
        ),
        (
            SubmitEvidence {
                title: "  ".into(),
                ..submission()
            },
            "bad-title",
        ),
        (
            SubmitEvidence {
                stake_micro: 0,
                ..submission()
            },
            "bad-stake",
        ),
        (
            SubmitEvidence {
                stake_micro: i64::MIN,
                ..submission()
            },
            "bad-stake",
        ),
        (
            SubmitEvidence {
                exhibits: vec![],
                ..submission()
            },
            "bad-exhibits",
        ),
        (
            SubmitEvidence {
                exhibits: vec![json!({"type": "song"})],
                ..submission()
            },
            "bad-exhibit",
        ),
        (
            SubmitEvidence {
                body: "x".repeat(MAX_BODY + 1),
                ..submission()
            },
            "body-too-long",
        ),
        (
            SubmitEvidence {
                attachments: vec!["ab".repeat(32); 9],
                ..submission()
            },
            "too-many-attachments",
        ),
    ];
    for (cmd, code) in cases {
        assert_eq!(check::exhibits(&cmd).unwrap_err().code(), code);
    }
}

#[test]
fn the_order_of_exhibits_does_not_make_them_new() {
    let one: Exhibit = serde_json::from_value(json!({"type": "report", "text": "a"})).unwrap();
    let two: Exhibit = serde_json::from_value(json!({"type": "report", "text": "b"})).unwrap();
    assert_eq!(
        Exhibit::set_hash(&[one.clone(), two.clone()]),
        Exhibit::set_hash(&[two, one.clone()])
    );
    assert_ne!(Exhibit::set_hash(&[one]), Exhibit::set_hash(&[]));
}

#[test]
fn a_reveal_has_both_parts() {
    let with = |commitment: Option<&str>, nonce: Option<&str>| SubmitEvidence {
        commitment: commitment.map(str::to_owned),
        nonce: nonce.map(str::to_owned),
        ..submission()
    };
    assert_eq!(check::reveal(&with(None, None)).unwrap(), None);
    assert!(check::reveal(&with(Some("c"), Some("0123456789abcdef"))).is_ok());
    for (commitment, nonce, code) in [
        (Some("c"), None, "bad-reveal"),
        (None, Some("0123456789abcdef"), "bad-reveal"),
        (Some("c"), Some("short"), "bad-nonce"),
        (Some("c"), Some("0123456789abcde\n"), "bad-nonce"),
    ] {
        assert_eq!(
            check::reveal(&with(commitment, nonce)).unwrap_err().code(),
            code
        );
    }
}
