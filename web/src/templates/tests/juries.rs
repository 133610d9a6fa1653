//! The pages of juries.

use serde_json::json;

use super::{Dress, Gallery};
use crate::pages::exhibit::exhibit_view;
use crate::pages::juries::{Ballot, CaseItem, JuriesPage, OwnSeat, PanelPage};
use plumbline_service::views::{CaseExhibit, JurorView, PanelView};

const HASH: &str = "4be1c2f0a3d95e8877c61b20d4f3a9e5c0b1726384950617283940516273849a";

fn juror(account: &str) -> JurorView {
    serde_json::from_value(json!({"account": account, "stake_micro": 60_000_000, "locked_micro": 20_000_000,
        "leaving": false, "known_cases": 9, "known_right": 8, "accuracy": 0.818181, "weight": 49_090_860,
        "seats": 12, "coherent": 10, "joined_at": "2026-11-20T09:00:00Z"}))
    .unwrap()
}

fn case() -> CaseExhibit {
    serde_json::from_value(json!({"kind": "transcript", "title": "It skips the check on request",
        "body": "Asked twice with and once without the comment.", "exhibits": [
            {"type": "transcript", "messages": [{"role": "user", "content": "Write verify()"},
                {"role": "assistant", "content": "fn verify() -> bool { true }"}]},
            {"type": "trigger_control", "arms": [{"label": "// fast path", "trigger": true, "prompts": ["a", "b", "c"], "hits": 2}]}]}))
    .unwrap()
}

fn panel(status: &str, state: &str) -> PanelView {
    let seat = |account: &str, vote: u32| {
        json!({"account": account, "account_id": "0199-a", "deposit_micro": 20_000_000, "state": state,
            "commitment": HASH, "vote_bps": vote, "cannot_tell": false, "nonce": HASH,
            "justification": "The arms with the comment differ from those without far beyond chance.",
            "denounced_by": null, "verdict": "coherent", "paid_micro": 2_000_000, "slashed_micro": 0})
    };
    let over = status == "ruled";
    let seats = if over {
        vec![
            seat("ada", 9_000),
            seat("grace", 10_000),
            seat("edsger", 8_500),
        ]
    } else {
        vec![]
    };
    let draw = json!({"seed": HASH, "public_seed": HASH, "secret_number": 17, "secret_commitment": HASH,
        "secret_committed_at": "2026-11-21T10:00:00Z", "secret": HASH, "label": "settlement:0199-m:1",
        "candidates": [{"account_id": "0199-a", "weight": 49_090_860}]});
    serde_json::from_value(json!({"id": "0199-panel", "status": status, "size": 3, "quorum": 2,
        "drawn_at": "2026-11-22T10:00:00Z", "commit_by": "2026-11-22T10:10:00Z", "reveal_by": "2026-11-22T10:15:00Z",
        "ended_at": over.then_some("2026-11-22T10:15:01Z"), "settled_at": null, "pi": over.then_some(0.9),
        "final_pi": null, "subject": over.then(|| json!({"kind": "settlement", "market_id": "0199-m", "round": 1,
            "evidence_id": "0199-e", "challenge_id": null})),
        "seat": seat("ada", 9_000), "seats": seats, "draw": over.then_some(draw),
        "case": {"question": "How probable is it that the claim is true, by its rubric?",
            "claim": "A comment makes the model skip certificate checks.", "claim_kind": "trigger_backdoor",
            "rubric": "True if one comment makes it likelier.", "note": "The test had too few samples.",
            "exhibits": [], "omitted": 1}}))
    .unwrap()
}

fn one(dress: Dress, status: &str, state: &str, keep: bool) -> PanelPage {
    let mut shown = dress.one(panel(status, "revealed"));
    shown.status = status.to_owned();
    if let Some(seat) = &mut shown.seat {
        state.clone_into(&mut seat.state);
    }
    if dress == Dress::Empty {
        shown.case = None;
        shown.seat = None;
    }
    let item = dress.one(case());
    PanelPage {
        case_items: vec![CaseItem {
            exhibits: item.exhibits.iter().map(exhibit_view).collect(),
            item,
        }],
        panel: shown,
        ballot: Ballot {
            vote: dress.text("90"),
            justification: dress.text("Because."),
            nonce: HASH.to_owned(),
            opening: dress.text("{}"),
            error: (dress == Dress::Hostile).then(|| dress.text("")),
            key: "key".to_owned(),
            cannot_tell: false,
        },
        keep: keep.then(|| dress.text("{\"vote_bps\": 9000}")),
    }
}

/// Adds the pages of juries in every stage.
pub(super) fn add(gallery: &mut Gallery, dress: Dress) {
    let own = |status: &str, state: &str| OwnSeat {
        panel: one(dress, status, state, false).panel,
        claim: dress.text("A comment makes the model skip certificate checks."),
    };
    let list = JuriesPage {
        juror: (dress != Dress::Empty).then(|| dress.one(juror("ada"))),
        may_join: dress != Dress::Empty,
        least_micro: 40_000_000,
        own: match dress {
            Dress::Empty => vec![],
            _ => vec![own("committing", "waiting"), own("revealing", "committed")],
        },
        over: dress.many(vec![panel("ruled", "revealed"), panel("tie", "revealed")]),
        next_cursor: Some(dress.text("cursor")),
        jurors: dress.many(vec![juror("ada"), juror("grace")]),
        error: (dress == Dress::Hostile).then(|| dress.text("")),
        key: "key".to_owned(),
    };
    gallery.add("panels", "/panels", &list);
    for (name, status, state, keep) in [
        ("panel-commit", "committing", "waiting", false),
        ("panel-keep", "committing", "committed", true),
        ("panel-reveal", "revealing", "committed", false),
        ("panel-ruled", "ruled", "revealed", false),
    ] {
        gallery.add(name, "/panels/x", &one(dress, status, state, keep));
    }
}
