//! What is checked of a submission before anything is charged.
#![allow(clippy::unwrap_used)]

use super::*;

fn submission() -> SubmitEvidence {
    SubmitEvidence {
        kind: "report".into(),
        title: "It lies".into(),
        body: String::new(),
        exhibits: vec![json!({"type": "report", "text": "It lies."})],
        stake_micro: 5,
    }
}

#[test]
fn submissions_are_checked_before_anything_is_charged() {
    assert_eq!(parse_exhibits(&submission()).unwrap().len(), 1);
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
    ];
    for (cmd, code) in cases {
        assert_eq!(parse_exhibits(&cmd).unwrap_err().code(), code);
    }
}

#[test]
fn the_order_of_exhibits_does_not_make_them_new() {
    let one: Exhibit = serde_json::from_value(json!({"type": "report", "text": "a"})).unwrap();
    let two: Exhibit = serde_json::from_value(json!({"type": "report", "text": "b"})).unwrap();
    assert_eq!(
        content_hash(&[one.clone(), two.clone()]),
        content_hash(&[two, one.clone()])
    );
    assert_ne!(content_hash(&[one]), content_hash(&[]));
}
