#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::policy::Policy;

fn bps(value: u16) -> Bps {
    Bps::new(value).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// dwell 5 s, step 1000 bps per 3 s, start 5000 bps, clear .6.
fn limits() -> ControlLimits {
    ControlLimits::from(Policy::parse(Policy::demo_toml()).unwrap().document())
}

fn id(run: u128) -> Uuid {
    Uuid::from_u128(run)
}

fn basis(upper: f64) -> RiskBasis {
    RiskBasis {
        upper,
        staleness_s: 1.0,
        liquidity_micro: 100_000_000,
        market_count: 1,
        settlement: None,
        market: None,
    }
}

fn input(run: u128, target: u16, upper: f64) -> RunInput {
    RunInput {
        run: id(run),
        target: bps(target),
        action: Action::Allow,
        basis: basis(upper),
        held: None,
        lift: false,
        permit: None,
    }
}

/// Steps and returns shares, for runs in order of id.
fn shares(state: &mut ControlState, inputs: &[RunInput], second: i64) -> Vec<u16> {
    let (next, targets) = step(state, inputs, &limits(), at(second)).unwrap();
    *state = next;
    targets.iter().map(|target| target.share.get()).collect()
}

#[test]
fn compute_moves_from_one_run_to_another() {
    let mut state = ControlState::default();
    let open = [input(1, 5_000, 0.76), input(2, 5_000, 0.76)];
    assert_eq!(shares(&mut state, &open, 0), [5_000, 5_000]);
    // Run 2 trips: it is cut at once, but what it holds is not free yet.
    let mut tripped = [input(1, 7_500, 0.2), input(2, 2_500, 0.9)];
    assert_eq!(shares(&mut state, &tripped, 1), [5_000, 2_500]);
    assert_eq!(shares(&mut state, &tripped, 10), [5_000, 2_500]);
    let (_, targets) = step(&state, &tripped, &limits(), at(10)).unwrap();
    assert_eq!(
        targets[0].limited,
        Some(Limit::Unreleased {
            short_by: bps(1_000)
        })
    );
    // The release is acknowledged: up by a step per interval.
    tripped[1].held = Some(bps(2_500));
    assert_eq!(shares(&mut state, &tripped, 11), [6_000, 2_500]);
    assert_eq!(shares(&mut state, &tripped, 12), [6_000, 2_500]);
    assert_eq!(shares(&mut state, &tripped, 14), [7_000, 2_500]);
    assert_eq!(shares(&mut state, &tripped, 17), [7_500, 2_500]);
    assert_eq!(state.headroom(Bps::FULL), 0);
}

#[test]
fn a_bad_basis_holds_and_says_why() {
    let change = |edit: fn(&mut RiskBasis)| {
        let mut basis = basis(0.1);
        edit(&mut basis);
        basis_for_loosening(&basis, &limits())
    };
    let cases = [
        (change(|_| ()), Ok(())),
        (change(|b| b.market_count = 0), Err(NoBasis::MissingMarket)),
        (change(|b| b.staleness_s = 1e6), Err(NoBasis::StaleMarket)),
        (
            change(|b| b.staleness_s = f64::NAN),
            Err(NoBasis::StaleMarket),
        ),
        (change(|b| b.liquidity_micro = 1), Err(NoBasis::ThinMarket)),
        (change(|b| b.upper = 0.6), Err(NoBasis::NotClear)),
        (change(|b| b.upper = f64::NAN), Err(NoBasis::NotClear)),
        (
            change(|b| b.settlement = Some(0.9)),
            Err(NoBasis::SettledAgainst),
        ),
        // A final settlement needs no market.
        (
            change(|b| {
                b.settlement = Some(0.0);
                b.market_count = 0;
            }),
            Ok(()),
        ),
    ];
    for (index, (found, expected)) in cases.into_iter().enumerate() {
        assert_eq!(found, expected, "case {index}");
    }
}

#[test]
fn the_dwell_starts_again_after_a_bad_moment() {
    let mut state = ControlState::default();
    let run = |upper| [input(1, 9_000, upper)];
    assert_eq!(shares(&mut state, &run(0.2), 0), [5_000]);
    assert_eq!(shares(&mut state, &run(0.2), 4), [5_000]);
    assert_eq!(shares(&mut state, &run(0.7), 5), [5_000]);
    assert_eq!(shares(&mut state, &run(0.2), 6), [5_000]);
    let (_, targets) = step(&state, &run(0.2), &limits(), at(10)).unwrap();
    assert_eq!(targets[0].limited, Some(Limit::Dwell { until: at(11) }));
    assert_eq!(shares(&mut state, &run(0.2), 11), [6_000]);
    // A clock that jumps back grants nothing.
    assert_eq!(shares(&mut state, &run(0.2), -1_000), [6_000]);
}

#[test]
fn a_pause_waits_to_be_lifted_and_a_termination_stays() {
    let mut state = ControlState::default();
    let run = |action, lift| {
        [RunInput {
            action,
            lift,
            ..input(1, 9_000, 0.1)
        }]
    };
    assert_eq!(shares(&mut state, &run(Action::Allow, false), 0), [5_000]);
    assert_eq!(shares(&mut state, &run(Action::Pause, true), 1), [0]);
    assert_eq!(shares(&mut state, &run(Action::Allow, false), 100), [0]);
    let (_, targets) = step(&state, &run(Action::Allow, false), &limits(), at(101)).unwrap();
    assert_eq!(targets[0].action, Action::Pause);
    assert_eq!(targets[0].limited, Some(Limit::Latched));
    // Lifted: it still climbs by steps.
    assert_eq!(shares(&mut state, &run(Action::Allow, true), 102), [1_000]);
    assert_eq!(shares(&mut state, &run(Action::Terminate, false), 103), [0]);
    assert_eq!(shares(&mut state, &run(Action::Allow, true), 200), [0]);
}

#[test]
fn a_permit_stands_for_a_basis_up_to_its_share_and_by_the_same_steps() {
    let mut state = ControlState::default();
    let run = |permit| {
        [RunInput {
            permit,
            ..input(1, 9_000, 0.9)
        }]
    };
    assert_eq!(shares(&mut state, &run(None), 0), [5_000]);
    assert_eq!(shares(&mut state, &run(Some(bps(6_500))), 4), [6_000]);
    assert_eq!(shares(&mut state, &run(Some(bps(6_500))), 5), [6_000]);
    assert_eq!(shares(&mut state, &run(Some(bps(6_500))), 7), [6_500]);
    assert_eq!(shares(&mut state, &run(Some(bps(6_500))), 99), [6_500]);
    assert_eq!(shares(&mut state, &run(None), 199), [6_500]);
}

#[test]
fn a_run_is_forgotten_only_when_it_holds_nothing() {
    let mut state = ControlState::default();
    shares(&mut state, &[input(1, 5_000, 0.1)], 0);
    shares(&mut state, &[input(1, 0, 0.1)], 1);
    assert!(!state.forget(id(1)));
    let released = RunInput {
        held: Some(Bps::ZERO),
        ..input(1, 0, 0.1)
    };
    shares(&mut state, &[released], 2);
    assert!(state.forget(id(1)));
    assert_eq!(state.headroom(Bps::FULL), 10_000);
}

#[test]
fn runs_left_out_keep_their_reservation() {
    let mut state = ControlState::default();
    shares(&mut state, &[input(1, 5_000, 0.1), input(2, 5_000, 0.1)], 0);
    for second in 1..60 {
        shares(&mut state, &[input(1, 10_000, 0.1)], second);
    }
    assert_eq!(state.runs[&id(1)].granted, bps(5_000));
    assert!(
        step(
            &state,
            &[input(1, 1, 0.1), input(1, 1, 0.1)],
            &limits(),
            at(99)
        )
        .is_err()
    );
}

#[test]
fn another_market_or_policy_starts_the_dwell_again() {
    let on = |market: u128| {
        let mut run = input(1, 9_000, 0.2);
        run.basis.market = Some(id(market));
        [run]
    };
    let mut state = ControlState::default().under("one");
    assert_eq!(shares(&mut state, &on(7), 0), [5_000]);
    assert_eq!(shares(&mut state, &on(8), 5), [5_000]);
    assert_eq!(shares(&mut state, &on(8), 9), [5_000]);
    assert_eq!(shares(&mut state, &on(8), 10), [6_000]);
    state = state.under("one");
    assert_eq!(shares(&mut state, &on(8), 13), [7_000]);
    state = state.under("two");
    assert_eq!(shares(&mut state, &on(8), 16), [7_000]);
    assert_eq!(shares(&mut state, &on(8), 21), [8_000]);
}

#[test]
fn what_grew_while_only_shown_does_not_bind() {
    let shown = ControlLimits {
        mode: Mode::Shadow,
        ..limits()
    };
    let mut state = ControlState::default();
    assert_eq!(shares(&mut state, &[input(1, 9_000, 0.2)], 0), [5_000]);
    let mut inputs = vec![input(1, 9_000, 0.2), input(2, 2_000, 0.2)];
    for second in [5, 8, 11] {
        state = step(&state, &inputs, &shown, at(second)).unwrap().0;
    }
    let granted = |state: &ControlState| [1, 2].map(|n| state.runs[&id(n)].granted.get());
    assert_eq!(granted(&state), [8_000, 2_000]);
    // The first run's market goes bad, and decisions bind again.
    inputs[0].basis.staleness_s = 1e9;
    assert_eq!(shares(&mut state, &inputs, 14), [5_000, 2_000]);
    assert_eq!(state.runs[&id(1)].enforced, None);
    // What the first was shown to lose in the meantime is not free: nobody released it.
    let mut state = ControlState::default();
    shares(&mut state, &[input(1, 9_000, 0.2)], 0);
    let fewer = [input(1, 1_000, 0.2), input(2, 9_000, 0.2)];
    state = step(&state, &fewer, &shown, at(1)).unwrap().0;
    assert_eq!(granted(&state), [1_000, 5_000]);
    let lying = [
        RunInput {
            held: Some(bps(1_000)),
            ..fewer[0]
        },
        fewer[1],
    ];
    for second in 2..30 {
        state = step(&state, &lying, &shown, at(second)).unwrap().0;
    }
    assert_eq!(granted(&state), [1_000, 5_000]);
}

#[test]
fn headroom_is_shared_evenly() {
    assert_eq!(share_headroom(&[10, 0, 10], 10), [5, 0, 5]);
    assert_eq!(share_headroom(&[2, 10, 10], 12), [2, 5, 5]);
    assert_eq!(share_headroom(&[1, 1], 10), [1, 1]);
    assert_eq!(share_headroom(&[5, 5], 0), [0, 0]);
}

#[test]
fn the_state_survives_json() {
    let mut state = ControlState::default();
    shares(&mut state, &[input(1, 5_000, 0.1)], 0);
    let text = serde_json::to_string(&state).unwrap();
    assert_eq!(serde_json::from_str::<ControlState>(&text).unwrap(), state);
}

fn any_input() -> impl Strategy<Value = RunInput> {
    let basis = (0.0f64..1.0, 0.0f64..240.0, 0u64..20_000_000, 0u32..2);
    let settlement = prop::option::weighted(0.2, 0.0f64..=1.0);
    let action = prop::sample::select(vec![
        Action::Allow,
        Action::Allow,
        Action::Throttle,
        Action::Drain,
        Action::Pause,
    ]);
    (
        0u128..4,
        0u16..=10_000,
        action,
        basis,
        settlement,
        prop::option::of(0u16..=10_000),
        any::<bool>(),
        prop_oneof![3 => Just(None), 1 => (0u16..=10_000).prop_map(Some)],
    )
        .prop_map(
            |(run, target, action, basis, settlement, held, lift, permit)| RunInput {
                run: id(run),
                target: bps(target),
                action,
                basis: RiskBasis {
                    upper: basis.0,
                    staleness_s: basis.1,
                    liquidity_micro: basis.2,
                    market_count: basis.3,
                    settlement,
                    market: None,
                },
                held: held.map(bps),
                lift,
                permit: permit.map(bps),
            },
        )
}

type History = Vec<(i64, Vec<RunInput>)>;

fn any_history() -> impl Strategy<Value = History> {
    let moment = (-3i64..12, prop::collection::vec(any_input(), 0..5));
    prop::collection::vec(moment, 1..40).prop_map(|mut history| {
        for (_, inputs) in &mut history {
            inputs.sort_by_key(|input| input.run);
            inputs.dedup_by_key(|input| input.run);
        }
        history
    })
}

fn reserved(state: &ControlState) -> u32 {
    state
        .runs
        .values()
        .map(|c| u32::from(c.reserved().get()))
        .sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_loosens_without_a_basis_and_nothing_is_given_twice(history in any_history()) {
        let limits = limits();
        let mut state = ControlState::default();
        let mut clock = 0;
        for (advance, inputs) in history {
            clock += advance;
            let (next, targets) = step(&state, &inputs, &limits, at(clock)).unwrap();
            for (target, input) in targets.iter().zip(&inputs) {
                prop_assert_eq!(target.run, input.run);
                prop_assert!(target.share <= input.target);
                let Some(before) = state.runs.get(&target.run) else {
                    prop_assert!(target.share <= limits.control.start_bps);
                    continue;
                };
                if target.share > before.granted {
                    let permitted = input.permit.is_some_and(|permit| target.share <= permit);
                    let based = basis_for_loosening(&input.basis, &limits).is_ok();
                    let lasted = before.under_clear_since.is_some_and(|t| t <= at(clock - 5));
                    prop_assert!(permitted || (based && lasted));
                    prop_assert!(before.last_raise_at.is_none_or(|t| t <= at(clock - 3)));
                    let grown = target.share.get() - before.granted.get();
                    prop_assert!(grown <= limits.control.step_bps.get());
                    prop_assert!(before.latched.is_none() || input.lift);
                    prop_assert!(!input.action.stops());
                }
            }
            // What runs report to hold is a fact; the controller adds nothing
            // beyond the capacity to it.
            let facts: u32 = {
                let mut known = state.clone();
                for input in &inputs {
                    let entry = known.runs.entry(input.run).or_insert(RunControl {
                        granted: Bps::ZERO, held: Bps::ZERO, latched: None,
                        under_clear_since: None, last_raise_at: None,
                        market: None, enforced: None,
                    });
                    entry.held = input.held.unwrap_or(entry.held);
                }
                reserved(&known)
            };
            prop_assert!(reserved(&next) <= facts.max(limits.capacity.get().into()));
            state = next;
        }
    }

    #[test]
    fn honest_reports_keep_the_pool_whole(history in any_history()) {
        let limits = limits();
        let mut state = ControlState::default();
        let mut clock = 0;
        for (advance, mut inputs) in history {
            clock += advance;
            for input in &mut inputs {
                let granted = state.runs.get(&input.run).map_or(Bps::ZERO, |c| c.granted);
                input.held = input.held.map(|held| held.min(granted));
            }
            state = step(&state, &inputs, &limits, at(clock)).unwrap().0;
            prop_assert!(reserved(&state) <= limits.capacity.get().into());
        }
    }
}
