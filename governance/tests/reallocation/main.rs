//! Freed compute is never granted twice: every interleaving of issuing, delivering, applying, reporting,
//! lapsing and crashing is looked at, for two runs to the last state, for three as far as a bound goes.
#![allow(clippy::unwrap_used)]

mod model;

use std::collections::HashSet;

use model::{Fault, Model, Risk, State};

/// A run keeps half of its part when it is found misaligned.
const MISALIGNED: &[Risk] = &[Risk::Clean, Risk::Misaligned];
/// A run ends, and all of its part is free.
const GONE: &[Risk] = &[Risk::Clean, Risk::Gone];
const EVERYTHING: &[Risk] = &[Risk::Clean, Risk::Misaligned, Risk::Gone];

/// What a search found.
struct Found {
    states: usize,
    whole: bool,
    /// Largest share that each run had in use.
    most_in_use: Vec<u16>,
}

/// Looks at every state that can be reached, nearest first, up to `bound` of them.
fn explore(model: &mut Model, bound: usize) -> Result<Found, String> {
    let start = model.start();
    let mut found = Found {
        states: 0,
        whole: true,
        most_in_use: vec![0; start.len()],
    };
    let mut seen = HashSet::from([start.clone()]);
    let mut order = vec![(start, 0)];
    let mut at = 0;
    while at < order.len() {
        let state = order[at].0.clone();
        for next in model.successors(&state) {
            if seen.contains(&next) {
                continue;
            }
            if order.len() >= bound {
                found.whole = false;
                continue;
            }
            if let Err(what) = model.check(&next) {
                return Err(format!("{what}\n{}", path(&order, at, &next)));
            }
            for (most, run) in found.most_in_use.iter_mut().zip(&next) {
                *most = run.in_use.max(*most);
            }
            seen.insert(next.clone());
            order.push((next, at));
        }
        at += 1;
    }
    found.states = order.len();
    Ok(found)
}

/// How a bad state came about, for whoever has to find out; every state has the one before it.
fn path(order: &[(State, usize)], last: usize, bad: &State) -> String {
    let mut steps = vec![format!("{bad:?}")];
    let mut at = last;
    while at > 0 {
        steps.push(format!("{:?}", order[at].0));
        at = order[at].1;
    }
    steps.reverse();
    steps.join("\n")
}

#[test]
fn two_runs_in_every_state() {
    for risks in [MISALIGNED, GONE] {
        let found = explore(&mut Model::new(2, risks, None), 2_000_000).unwrap();
        println!("{} states", found.states);
        assert!(found.whole, "{} states are not all", found.states);
        // Compute did change hands: each of them came to hold more than its even part.
        assert!(found.most_in_use.iter().all(|most| *most > 5_000));
    }
}

#[test]
fn three_runs_up_to_a_bound() {
    let found = explore(&mut Model::new(3, EVERYTHING, None), 20_000).unwrap();
    assert!(found.states >= 20_000);
}

#[test]
fn every_fault_is_found() {
    for fault in Fault::ALL {
        let what = explore(&mut Model::new(2, EVERYTHING, Some(fault)), 500_000).err();
        let what = what.unwrap_or_else(|| panic!("{fault:?} uses nothing twice"));
        println!("{fault:?}: {what}");
    }
}
