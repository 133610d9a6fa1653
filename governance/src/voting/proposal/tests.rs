#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::Bps;
use crate::voting::tracks::Curve;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// 100 of deposit; quorum 20 %; from 90 to 60 % over 100 s; confirmed after 10 s, locked for 20 s, good
/// for 50 s; late is the last 8 s.
fn terms() -> TrackTerms {
    TrackTerms {
        deposit_micro: 100,
        deposit_s: 40,
        quorum_bps: Bps::new(2_000).unwrap(),
        approval: Curve {
            start_bps: Bps::new(9_000).unwrap(),
            end_bps: Bps::new(6_000).unwrap(),
        },
        voting_s: 100,
        confirm_s: 10,
        delay_s: 20,
        expiry_s: 50,
        swing_s: 8,
        extensions: 2,
    }
}

/// A count of 1,000 with this much for and against, each at conviction 1.
fn count(for_micro: u64, against_micro: u64) -> Tally {
    Tally {
        for_weight: u128::from(for_micro) * 10,
        against_weight: u128::from(against_micro) * 10,
        for_stake_micro: for_micro,
        against_stake_micro: against_micro,
        electorate_micro: 1_000,
        ..Tally::default()
    }
}

fn go(state: &State, event: Event, second: i64) -> (State, Vec<Effect>) {
    step(state, &event, &terms(), at(second)).unwrap()
}

fn refused(state: &State, event: Event, second: i64) -> &'static str {
    step(state, &event, &terms(), at(second))
        .unwrap_err()
        .code()
}

/// Voting since 0.
fn voting() -> State {
    let (state, effects) = go(
        &draft(&terms(), at(0)),
        Event::Deposit { amount_micro: 100 },
        0,
    );
    assert_eq!(effects, [Effect::FixElectorate]);
    state
}

#[test]
fn the_straight_way_from_draft_to_execution() {
    let draft = draft(&terms(), at(-5));
    let (part, none) = go(&draft, Event::Deposit { amount_micro: 60 }, -4);
    assert_eq!((part.as_str(), none), ("deposit", vec![]));
    let (voting, effects) = go(&part, Event::Deposit { amount_micro: 40 }, 0);
    assert_eq!(effects, [Effect::FixElectorate]);
    // 89 % of the weight is not enough at the start, and is later.
    let (early, _) = go(&voting, Event::Counted(count(400, 50)), 1);
    assert_eq!(early.as_str(), "voting");
    let (confirming, _) = go(&early, Event::Look(count(400, 50)), 10);
    assert_eq!(confirming.as_str(), "confirming");
    let (still, _) = go(&confirming, Event::Look(count(400, 50)), 19);
    assert_eq!(still, confirming);
    let (queued, effects) = go(&still, Event::Look(count(400, 50)), 20);
    assert_eq!(
        (queued.as_str(), effects),
        ("queued", vec![Effect::ReturnDeposits])
    );
    assert_eq!(refused(&queued, Event::Execute, 39), "time-locked");
    assert_eq!(go(&queued, Event::Look(Tally::default()), 39).1, []);
    assert_eq!(
        go(&queued, Event::Look(Tally::default()), 40).1,
        [Effect::Execute]
    );
    let (done, effects) = go(&queued, Event::Execute, 40);
    assert_eq!(
        (done, effects),
        (State::Executed { at: at(40) }, vec![Effect::Execute])
    );
    assert_eq!(refused(&done, Event::Execute, 41), "executed-already");
}

#[test]
fn deposits_are_exact_and_in_time() {
    let new = draft(&terms(), at(0));
    assert_eq!(
        refused(&new, Event::Deposit { amount_micro: 0 }, 1),
        "bad-deposit"
    );
    assert_eq!(
        refused(&new, Event::Deposit { amount_micro: 101 }, 1),
        "deposit-too-large"
    );
    assert_eq!(
        refused(&new, Event::Deposit { amount_micro: 5 }, 40),
        "deposit-over"
    );
    assert_eq!(refused(&new, Event::Ballot, 1), "voting-not-open");
    let (part, _) = go(&new, Event::Deposit { amount_micro: 99 }, 1);
    let (expired, effects) = go(&part, Event::Look(Tally::default()), 40);
    let what = Expiry::Deposit;
    assert_eq!(
        (expired, effects),
        (
            State::Expired { at: at(40), what },
            vec![Effect::ReturnDeposits]
        )
    );
    let (back, effects) = go(&part, Event::Withdraw, 2);
    assert_eq!(
        (back.as_str(), effects),
        ("cancelled", vec![Effect::ReturnDeposits])
    );
    assert_eq!(
        refused(&voting(), Event::Deposit { amount_micro: 1 }, 1),
        "deposit-over"
    );
    assert_eq!(refused(&voting(), Event::Withdraw, 1), "not-withdrawable");
}

#[test]
fn an_approval_that_is_lost_goes_back_or_ends() {
    let (confirming, _) = go(&voting(), Event::Counted(count(300, 0)), 50);
    assert_eq!(confirming.as_str(), "confirming");
    let (back, _) = go(&confirming, Event::Counted(count(300, 290)), 55);
    assert_eq!(back.as_str(), "voting");
    let (late, _) = go(&voting(), Event::Counted(count(300, 0)), 91);
    assert_eq!(late.as_str(), "confirming");
    assert_eq!(
        go(&late, Event::Ballot, 100).0,
        late,
        "ballots until it is confirmed"
    );
    assert_eq!(refused(&late, Event::Ballot, 101), "voting-over");
}

#[test]
fn the_end_of_a_vote_says_why_and_who_keeps_the_deposit() {
    let reject = |tally, second| go(&voting(), Event::Look(tally), second);
    let (state, effects) = reject(count(250, 240), 100);
    let why = Rejection::NotApproved;
    assert_eq!(
        (state, effects),
        (
            State::Rejected { at: at(100), why },
            vec![Effect::ReturnDeposits]
        )
    );
    let (state, effects) = reject(count(199, 0), 100);
    let why = Rejection::NoQuorum;
    assert_eq!(
        (state, effects),
        (
            State::Rejected { at: at(100), why },
            vec![Effect::ForfeitDeposits]
        )
    );
    assert_eq!(reject(count(199, 0), 99).0.as_str(), "voting");
    // A service that slept through the end lets an approved one confirm still.
    assert_eq!(reject(count(250, 10), 5_000).0.as_str(), "confirming");
}

#[test]
fn a_late_swing_extends_the_vote_twice_at_most() {
    let (state, _) = go(&voting(), Event::Counted(count(210, 205)), 95);
    let vote = *state.vote().unwrap();
    assert_eq!(
        (vote.until, vote.extensions),
        (at(100), 0),
        "nothing turned round"
    );
    let (state, _) = go(&state, Event::Counted(count(400, 205)), 96);
    let vote = *state.vote().unwrap();
    assert_eq!(
        (vote.until, vote.extensions, vote.leading),
        (at(104), 1, true)
    );
    let (state, _) = go(&state, Event::Counted(count(400, 390)), 103);
    let vote = *state.vote().unwrap();
    assert_eq!(
        (vote.until, vote.extensions, state.as_str()),
        (at(111), 2, "voting")
    );
    let (state, _) = go(&state, Event::Counted(count(900, 390)), 110);
    let vote = *state.vote().unwrap();
    assert_eq!((vote.until, vote.extensions), (at(111), 2), "no third one");
    // Early turns extend nothing.
    let (state, _) = go(&voting(), Event::Counted(count(210, 100)), 10);
    assert_eq!(state.vote().unwrap().until, at(100));
}

#[test]
fn a_confirmation_does_not_end_before_an_extended_vote() {
    let (state, _) = go(&voting(), Event::Counted(count(210, 100)), 85);
    let (state, _) = go(&state, Event::Counted(count(210, 300)), 94);
    assert_eq!(state.vote().unwrap().until, at(102));
    let (state, _) = go(&state, Event::Counted(count(800, 300)), 101);
    assert_eq!(state.vote().unwrap().until, at(109));
    assert_eq!(state.deadline(), Some(at(111)));
    assert_eq!(
        go(&state, Event::Look(count(800, 300)), 110).0.as_str(),
        "confirming"
    );
    assert_eq!(
        go(&state, Event::Look(count(800, 300)), 111).0.as_str(),
        "queued"
    );
}

#[test]
fn what_is_approved_can_be_stopped_until_it_is_executed() {
    let (confirming, _) = go(&voting(), Event::Counted(count(300, 0)), 50);
    let (queued, _) = go(&confirming, Event::Look(count(300, 0)), 60);
    let (state, effects) = go(&queued, Event::Cancel, 70);
    assert_eq!((state.as_str(), effects), ("cancelled", vec![]));
    let (state, effects) = go(&confirming, Event::Cancel, 55);
    assert_eq!(
        (state.as_str(), effects),
        ("cancelled", vec![Effect::ForfeitDeposits])
    );
    assert_eq!(go(&confirming, Event::Moot, 55).1, [Effect::ReturnDeposits]);
    let (expired, effects) = go(&queued, Event::Look(Tally::default()), 130);
    assert_eq!((expired.as_str(), effects), ("expired", vec![]));
    assert_eq!(refused(&queued, Event::Execute, 130), "proposal-over");
    assert_eq!(refused(&confirming, Event::Execute, 55), "not-approved");
}

#[test]
fn without_confirmation_and_time_lock_an_approval_is_due_at_once() {
    let quick = TrackTerms {
        confirm_s: 0,
        delay_s: 0,
        ..terms()
    };
    let state = at_once(&quick, at(0));
    let (state, effects) = step(&state, &Event::Counted(count(900, 0)), &quick, at(1)).unwrap();
    assert_eq!(state.as_str(), "queued");
    assert_eq!(effects, [Effect::ReturnDeposits, Effect::Execute]);
}

fn any_event() -> impl Strategy<Value = Event> {
    let tally = (0u64..1_000, 0u64..1_000).prop_map(|(yes, no)| count(yes, no));
    prop_oneof![
        (1u64..120).prop_map(|amount_micro| Event::Deposit { amount_micro }),
        Just(Event::Ballot),
        tally.clone().prop_map(Event::Counted),
        tally.clone().prop_map(Event::Look),
        tally.prop_map(Event::Look),
        Just(Event::Withdraw),
        Just(Event::Cancel),
        Just(Event::Moot),
        Just(Event::Execute),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Whatever happens when: deposits leave once and only once they are in, nothing is executed before a
    /// whole vote, confirmation and time lock, and what has ended stays as it is.
    #[test]
    fn no_schedule_of_events_breaks_the_laws(
        events in prop::collection::vec((0i64..30, any_event()), 1..60)
    ) {
        let terms = terms();
        let (mut state, mut clock, mut paid, mut open) = (draft(&terms, at(0)), 0, 0, true);
        let mut voting_since = None;
        let mut approved_since = None;
        for (advance, event) in events {
            clock += advance;
            let Ok((next, effects)) = step(&state, &event, &terms, at(clock)) else {
                prop_assert!(!matches!(event, Event::Look(_)), "time passes for everybody");
                continue;
            };
            if state.is_over() {
                prop_assert_eq!(next, state, "{:?}", event);
                prop_assert!(effects.is_empty());
            }
            if let Event::Deposit { amount_micro } = event {
                paid += amount_micro;
                prop_assert!(paid <= terms.deposit_micro);
            }
            for effect in &effects {
                match effect {
                    Effect::FixElectorate => {
                        prop_assert!(voting_since.is_none() && paid == terms.deposit_micro);
                        voting_since = Some(clock);
                    }
                    Effect::ReturnDeposits | Effect::ForfeitDeposits => {
                        prop_assert!(open, "deposits leave once");
                        open = false;
                    }
                    Effect::Execute => {
                        let locked = i64::try_from(terms.delay_s).unwrap();
                        prop_assert!(approved_since.is_some_and(|since: i64| clock >= since + locked));
                    }
                }
            }
            if matches!(next, State::Queued { .. }) && approved_since.is_none() {
                let began: Option<i64> = voting_since;
                prop_assert!(began.is_some_and(|began| clock >= began + 10), "confirmed");
                approved_since = Some(clock);
            }
            if matches!(next, State::Executed { .. }) && !state.is_over() {
                prop_assert_eq!(&effects[..], &[Effect::Execute][..]);
                prop_assert_eq!(state.as_str(), "queued");
            }
            prop_assert!(!next.is_over() || !open, "deposits have left");
            if let Some(vote) = next.vote() {
                prop_assert!(vote.extensions <= terms.extensions);
                prop_assert!(vote.extensions > 0 || vote.until == at(voting_since.unwrap() + 100));
            }
            state = next;
        }
    }
}
