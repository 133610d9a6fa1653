//! The pages of proposals, stakes, seals and policies.

use serde_json::{Value, json};

use super::{Dress, Gallery, s};
use crate::pages::diff::diff;
use crate::pages::policy::{PolicyPage, SimulationPage, VersionPage};
use crate::pages::proposal_form::{Draft, KINDS};
use crate::pages::proposals::{
    BallotForm, NewProposalPage, ProposalPage, ProposalsPage, charts, curve,
};
use crate::pages::stakes::{SealsPage, StakePage};
use plumbline_service::views::{
    EffectView, OrderInForce, ProposalView, SealView, SimulationView, StakeView, TrackView,
    VoteView,
};

const AT: &str = "2026-11-22T10:00:00Z";

fn view<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn terms(track: &str) -> Value {
    json!({"track": track, "deposit_micro": 200_000_000, "deposit_s": 604_800, "quorum_bps": 2_000,
        "approval_start_bps": 9_000, "approval_end_bps": 6_000, "voting_s": 604_800, "confirm_s": 86_400,
        "delay_s": 172_800, "expiry_s": 1_209_600, "swing_s": 50_400})
}

fn run_effect(name: &str, share: u16, then: u16) -> Value {
    json!({"run_id": "0199-run", "name": name, "price": 0.83, "upper": 0.91, "action": "allow", "share_bps": share,
        "then_action": "throttle", "then_share_bps": then, "then_target_bps": then, "reason": "risk_upper_bound",
        "explanation": "The upper credible bound on misalignment is above the trip threshold."})
}

fn replay() -> Value {
    let point = |minute: u32, share: u16, then: u16| json!({"at": format!("2026-11-22T09:{minute:02}:00Z"), "share_bps": share, "then_share_bps": then});
    json!({"from": "2026-11-22T09:00:00Z", "to": "2026-11-22T09:50:00Z", "moments": 260, "compared": 41, "different": 7,
        "differences": [{"decision_id": "0199-decision", "run": "sleeper", "at": "2026-11-22T09:20:00Z", "action": "throttle",
            "share_bps": 2_500, "then_action": "throttle", "then_share_bps": 1_000, "reason": "risk_upper_bound",
            "explanation": "The upper credible bound on misalignment is above the trip threshold."}],
        "runs": [{"run_id": "0199-run", "name": "sleeper", "mean_share_bps": 3_210.5, "then_mean_share_bps": 2_190.25,
            "tighter": 7, "looser": 0, "points": [point(0, 5_000, 5_000), point(20, 2_500, 1_000), point(40, 500, 500)]}],
        "cut": true})
}

fn effect() -> Value {
    json!({"at": AT, "summary": "demo version 2 takes the place of demo version 1. Of 41 recorded decisions 7 would have been others.",
        "facts": [{"name": "hash", "value": "4be1c2f0a3d95e88"}], "runs": [run_effect("sleeper", 2_500, 1_000)],
        "replay": replay()})
}

fn proposal(state: &str) -> ProposalView {
    let begun = !["draft", "deposit"].contains(&state);
    let over = ["executed", "rejected"].contains(&state);
    let tally = json!({"for_micro": 410_000_000, "against_micro": 120_000_000, "abstain_micro": 30_000_000,
        "electorate_micro": 1_200_000_000, "approval_bps": 8_100, "needed_bps": 7_350, "support_bps": 3_666,
        "quorum_bps": 2_000, "counted": 14, "delegated": 5});
    view(
        json!({"id": "0199-proposal", "track": "policy-change", "title": "Cap tripped runs at a tenth",
        "body": "Two runs tripped last month and kept a quarter of the pool.", "author": "ada",
        "action": {"kind": "policy-change", "toml": "schema = 1"}, "state": state,
        "ended_by": (state == "rejected").then_some("not_approved"), "deposit_paid_micro": 120_000_000,
        "terms": terms("policy-change"), "voting_since": begun.then_some(AT), "voting_until": begun.then_some(AT),
        "extensions": 1, "due_at": AT, "tally": begun.then_some(tally), "effect": effect(),
        "outcome": over.then(|| json!({"version": 2, "hash": "4be1c2f0"})),
        "steps": [{"state": "draft", "note": "", "at": AT}, {"state": state, "note": "", "at": AT}],
        "own": {"stake_micro": 40_000_000, "delegate": "grace", "side": "for", "conviction": 2},
        "created_at": AT, "ended_at": over.then_some(AT)}),
    )
}

fn one(dress: Dress, state: &str) -> ProposalPage {
    let mut shown = dress.one(proposal(state));
    shown.state = state.to_owned();
    if dress == Dress::Empty {
        shown.effect = None;
        shown.own = None;
        shown.steps = Vec::new();
    }
    let drawn = proposal(state);
    let replayed = drawn
        .effect
        .as_ref()
        .and_then(|effect| effect.replay.as_ref());
    ProposalPage {
        action: dress.text("schema = 1"),
        curve: curve(&drawn),
        replays: replayed.map(charts).unwrap_or_default(),
        votes: dress.many(vec![
            view::<VoteView>(json!({"account": "grace", "side": "for", "conviction": 3, "stake_micro": 90_000_000, "at": AT})),
            view(json!({"account": "edsger", "side": "against", "conviction": 1, "stake_micro": 12_000_000, "at": AT})),
        ]),
        form: BallotForm {
            deposit: dress.text("80"),
            error: (dress == Dress::Hostile).then(|| dress.text("")),
            key: "key".to_owned(),
            ..BallotForm::default()
        },
        proposal: shown,
    }
}

fn seal(status: &str) -> SealView {
    let used = status == "used";
    view(
        json!({"id": "0199-seal", "title": "Night watch", "proposal_id": "0199-proposal", "status": status,
        "guardians": ["ada", "grace", "edsger"], "threshold": 2,
        "signed": [{"guardian": "grace", "run": "sleeper"}], "runs": ["sleeper"], "cap_bps": 500, "term_s": 86_400,
        "expires_at": AT, "used_at": used.then_some(AT), "vote_id": used.then_some("0199-vote"), "order": null}),
    )
}

fn simulation(dress: Dress) -> SimulationView {
    let runs = match dress {
        Dress::Empty => json!([]),
        _ => json!([
            run_effect("sleeper", 2_500, 1_000),
            run_effect("clean", 7_500, 7_500)
        ]),
    };
    dress.one(view(json!({"name": "demo", "version": 2, "hash": "4be1c2f0a3d95e88", "mode": "shadow", "runs": runs,
        "replay": replay()})))
}

fn add_proposals(gallery: &mut Gallery, dress: Dress) {
    let states = ["draft", "voting", "queued", "executed", "rejected"];
    let list = ProposalsPage {
        proposals: dress.many(states.map(proposal).to_vec()),
        next_cursor: Some(dress.text("cursor")),
        state: String::new(),
        states: vec!["voting", "executed"],
        tracks: dress.many(vec![
            view::<TrackView>(terms("policy-change")),
            view(terms("emergency-tighten")),
        ]),
    };
    gallery.add("proposals", "/proposals", &list);
    for state in ["deposit", "voting", "executed", "rejected"] {
        gallery.add(
            &format!("proposal-{state}"),
            "/proposals/x",
            &one(dress, state),
        );
    }
    for (kind, _) in KINDS {
        let page = NewProposalPage {
            draft: Draft {
                kind: kind.to_owned(),
                title: dress.text("Cap it"),
                run: dress.text("sleeper"),
                toml: dress.text("schema = 1"),
                account: dress.text("ada"),
                error: (dress == Dress::Hostile).then(|| dress.text("")),
                key: "key".to_owned(),
                ..Draft::default()
            },
            kinds: KINDS.to_vec(),
            runs: vec![dress.text("sleeper")],
            track: Some(dress.one(view::<TrackView>(terms(kind)))),
            preview: (dress != Dress::Empty).then(|| dress.one(view::<EffectView>(effect()))),
        };
        gallery.add(&format!("proposal-new-{kind}"), "/proposals/new", &page);
    }
}

fn add_stakes(gallery: &mut Gallery, dress: Dress) {
    let delegation = json!({"account": "ada", "track": "treasury", "delegate": "grace", "conviction": 2, "since": AT});
    let rows = |rows: Value| {
        if dress == Dress::Empty {
            json!([])
        } else {
            rows
        }
    };
    let stake: StakeView = view(
        json!({"account": "ada", "stake_micro": 120_000_000, "voting_micro": 80_000_000,
        "locked_until": AT, "delegations": rows(json!([delegation])), "delegators": rows(json!([delegation]))}),
    );
    let page = StakePage {
        stake: dress.one(stake),
        tracks: vec![dress.text("treasury")],
        error: (dress == Dress::Hostile).then(|| dress.text("")),
        key: "key".to_owned(),
    };
    gallery.add("stake", "/stake", &page);
    let order: OrderInForce = view(
        json!({"run": "sleeper", "kind": "cap", "bps": 500, "source": "proposal",
        "source_id": "0199-proposal", "from": AT, "until": AT}),
    );
    let pause = OrderInForce {
        kind: "pause".to_owned(),
        bps: None,
        source: "seal".to_owned(),
        ..order.clone()
    };
    let page = SealsPage {
        seals: dress.many(vec![seal("ready"), seal("signing"), seal("used")]),
        next_cursor: Some(dress.text("cursor")),
        orders: match dress {
            Dress::Empty => vec![],
            _ => vec![order, pause],
        },
        runs: vec![dress.text("sleeper")],
        key: "key".to_owned(),
    };
    gallery.add("seals", "/seals", &page);
}

/// Adds the pages of votes and policies in every state.
pub(super) fn add(gallery: &mut Gallery, dress: Dress) {
    add_proposals(gallery, dress);
    add_stakes(gallery, dress);
    let policy = dress.one(s::policy());
    let page = PolicyPage {
        policy: policy.clone(),
        versions: dress.many(vec![s::policy()]),
        runs: vec![dress.text("sleeper")],
        run: dress.text("sleeper"),
        price: 83.0,
        assumed: (dress != Dress::Empty).then(|| simulation(dress)),
        error: (dress == Dress::Empty).then(|| "no run has the id x".to_owned()),
    };
    gallery.add("policy", "/policy", &page);
    let changes = diff(&dress.text("a\nb\nc"), "a\nB\nc");
    let page = VersionPage {
        policy: policy.clone(),
        current: policy,
        changes: changes.clone(),
        compared: 1,
    };
    gallery.add("policy-version", "/policy/versions/1", &page);
    let replayed = simulation(Dress::Usual).replay;
    let page = SimulationPage {
        toml: dress.text("schema = 1"),
        simulation: (dress != Dress::Empty).then(|| simulation(dress)),
        replays: replayed.as_ref().map(charts).unwrap_or_default(),
        changes,
        error: (dress == Dress::Hostile).then(|| dress.text("")),
    };
    gallery.add("policy-simulation", "/policy/simulation", &page);
}
