#![allow(clippy::unwrap_used)]

use super::*;
use crate::bound::Uncertainty;
use crate::plan::MarketView;
use crate::{Mode, Workload};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn price(second: i64, price: f64) -> PriceObservation {
    PriceObservation {
        at: at(second),
        price,
    }
}

fn view(run: u128) -> RunView {
    RunView {
        run: Uuid::from_u128(run),
        name: format!("run-{run}"),
        workload: Workload::Training,
        market: Some(MarketView {
            market: Uuid::from_u128(100 + run),
            observations: Vec::new(),
            uncertainty: Uncertainty {
                liquidity_micro: 100_000_000,
                staleness_s: 1.0,
                disagreement: 0.3,
                effective_judges: 1.5,
            },
            open_disputes: 0,
            settlement: None,
            advisory: false,
            exhibit_digests: Vec::new(),
        }),
        market_count: 1,
        held: None,
        lift: false,
        withdrawn: false,
        orders: Vec::new(),
    }
}

/// Two runs under the policy for 90 seconds, recorded the way the service does it.
fn record(policy: &Policy) -> (Vec<Moment>, Prices) {
    let prices: Prices = [
        (
            Uuid::from_u128(101),
            vec![price(0, 0.5), price(20, 0.15), price(55, 0.2)],
        ),
        (
            Uuid::from_u128(102),
            vec![price(0, 0.5), price(20, 0.9), price(55, 0.95)],
        ),
    ]
    .into();
    let mut state = ControlState::default();
    let mut last: BTreeMap<Uuid, (Action, Bps)> = BTreeMap::new();
    let (mut moments, mut held) = (Vec::new(), BTreeMap::new());
    let mut next_id = 0;
    for second in 1..90 {
        let views: Vec<RunView> = [1, 2]
            .into_iter()
            .map(|run| {
                let mut view = view(run);
                view.held = held.get(&view.run).copied();
                if let Some(market) = &mut view.market {
                    let all = &prices[&market.market];
                    market.observations =
                        all.iter().copied().filter(|p| p.at <= at(second)).collect();
                    let moved = market.observations.last().unwrap().at;
                    market.uncertainty.staleness_s = at(second).duration_since(moved).as_secs_f64();
                    market.settlement = (second >= 70).then_some(if run == 1 { 0.0 } else { 1.0 });
                }
                view
            })
            .collect();
        let planned = plan(policy, &state, &views, at(second)).unwrap();
        let mut entries = Vec::new();
        for (run, view) in planned.runs.iter().zip(&views) {
            let now = (run.grant.action, run.grant.share);
            let due = last.get(&run.run) != Some(&now);
            let before = state.runs.get(&run.run).copied();
            if due || planned.state.runs.get(&run.run).copied() != before {
                next_id += 1;
                let mut view = view.clone();
                view.market.as_mut().unwrap().observations.clear();
                entries.push(Entry {
                    view,
                    before,
                    after: planned.state.runs.get(&run.run).copied(),
                    decided: due.then_some(Decided {
                        decision_id: Uuid::from_u128(next_id),
                        action: now.0,
                        share: now.1,
                    }),
                });
            }
            last.insert(run.run, now);
            held.insert(run.run, run.grant.share);
        }
        if !entries.is_empty() {
            moments.push(Moment {
                at: at(second),
                entries,
            });
        }
        state = planned.state;
    }
    (moments, prices)
}

fn changed(change: impl FnOnce(&mut crate::policy::PolicyDocument)) -> Policy {
    let mut document = Policy::parse(Policy::demo_toml())
        .unwrap()
        .document()
        .clone();
    change(&mut document);
    Policy::from_document(document).unwrap()
}

#[test]
fn the_policy_in_force_gives_back_its_own_decisions() {
    let policy = Policy::parse(Policy::demo_toml()).unwrap();
    let (moments, prices) = record(&policy);
    let replay = replay(&policy, &moments, &prices, 0).unwrap();
    assert!(replay.compared >= 8, "{}", replay.compared);
    assert_eq!((replay.different, &replay.differences[..]), (0, &[][..]));
    for run in &replay.runs {
        assert!(
            (run.mean_was_bps - run.mean_would_bps).abs() < 1e-9,
            "{run:?}"
        );
    }
    // From the middle of the record too: it opens with the last that was recorded of every run.
    let mut last = BTreeMap::new();
    for entry in moments[..4].iter().flat_map(|moment| &moment.entries) {
        last.insert(entry.view.run, entry.carried());
    }
    let opening = Moment {
        at: moments[3].at,
        entries: last.into_values().collect(),
    };
    let rest: Vec<Moment> = [opening].into_iter().chain(moments[4..].to_vec()).collect();
    let rest = super::replay(&policy, &rest, &prices, 0).unwrap();
    assert_eq!(rest.different, 0, "{:?}", rest.differences);
}

#[test]
fn a_stricter_policy_shows_where_it_would_have_cut() {
    let policy = Policy::parse(Policy::demo_toml()).unwrap();
    let (moments, prices) = record(&policy);
    let strict = changed(|document| {
        for rule in &mut document.rules {
            if rule.id == "upper-bound-tripped" {
                rule.cap_bps = Some(Bps::new(1_000).unwrap());
            }
        }
    });
    let replay = replay(&strict, &moments, &prices, 50).unwrap();
    assert!(replay.different > 0 && replay.moments > 50);
    let sleeper = replay.runs.iter().find(|run| run.name == "run-2").unwrap();
    assert!(sleeper.tighter > 0 && sleeper.looser == 0, "{sleeper:?}");
    assert!(sleeper.mean_would_bps < sleeper.mean_was_bps);
    let first = &replay.differences[0];
    assert_eq!(
        (first.reason.as_str(), first.would.1.get()),
        ("risk_upper_bound", 1_000)
    );
    let wrong = sleeper
        .points
        .windows(2)
        .any(|pair| pair[0].at >= pair[1].at);
    assert!(!wrong, "{:?}", sleeper.points);
}

#[test]
fn no_record_is_an_empty_answer_and_shadow_grants_nothing_more() {
    let policy = Policy::parse(Policy::demo_toml()).unwrap();
    assert_eq!(
        replay(&policy, &[], &Prices::new(), 9).unwrap(),
        Replay::default()
    );
    let (moments, prices) = record(&policy);
    let shadow = changed(|document| document.mode = Mode::Shadow);
    // What bound last stays reserved while decisions are only shown: nobody acts on them, so nothing is freed.
    let replayed = replay(&shadow, &moments, &prices, 0).unwrap();
    assert!(replayed.runs.iter().all(|run| run.looser == 0));
}
