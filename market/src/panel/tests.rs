#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;
use crate::money::Micro;

const NOW: Time = Time(1_000);
const COMMIT: i64 = 100;
const REVEAL: i64 = 50;
/// Reveals are open.
const LATER: Time = Time(1_100);
/// The panel is over, if somebody looked in between.
const OVER: Time = Time(1_150);

fn panel(seats: usize) -> Panel {
    let names = (0..seats).map(name).collect();
    Panel::drawn("p".into(), names, NOW, COMMIT, REVEAL).unwrap()
}

fn name(n: usize) -> String {
    format!("j{n}")
}

fn opening(vote: Vote) -> Opening {
    Opening {
        vote,
        nonce: Digest([7; 32]),
        justification: Digest::of(b"because"),
    }
}

fn commit(n: usize, vote: Vote) -> Event {
    Event::Commit {
        account: name(n),
        commitment: opening(vote).commitment("p", &name(n)),
    }
}

fn reveal(n: usize, vote: Vote) -> Event {
    Event::Reveal {
        account: name(n),
        opening: opening(vote),
    }
}

fn denounce(n: usize, vote: Vote) -> Event {
    Event::Denounce {
        account: name(n),
        opening: opening(vote),
    }
}

fn conflict(n: usize) -> Event {
    Event::Conflict { account: name(n) }
}

fn run(mut panel: Panel, events: &[(Event, Time)]) -> Panel {
    for (event, now) in events {
        panel = step(&panel, event, *now).unwrap_or_else(|error| panic!("{event:?}: {error}"));
    }
    panel
}

/// A panel over which every juror has voted so; `None` stays silent.
fn voted(votes: &[Option<Vote>]) -> Panel {
    let mut state = panel(votes.len());
    let cast = || {
        votes
            .iter()
            .enumerate()
            .filter_map(|(n, vote)| Some((n, (*vote)?)))
    };
    for (n, vote) in cast() {
        state = step(&state, &commit(n, vote), NOW).unwrap();
    }
    state = step(&state, &Event::Tick, LATER).unwrap();
    for (n, vote) in cast() {
        state = step(&state, &reveal(n, vote), LATER).unwrap();
    }
    step(&state, &Event::Tick, OVER).unwrap()
}

fn bps(votes: &[i64]) -> Vec<Option<Vote>> {
    votes
        .iter()
        .map(|bps| Some(Vote::of_bps(*bps).unwrap()))
        .collect()
}

fn terms() -> Terms {
    Terms {
        deposit: Micro(1_000),
        fee: Micro(10),
        incoherent_bps: 1_000,
        silent_bps: 2_000,
    }
}

#[test]
fn panels_that_cannot_be_are_refused() {
    let drawn = |names: Vec<String>, commit, reveal| {
        Panel::drawn("p".into(), names, NOW, commit, reveal).map(|_| ())
    };
    assert_eq!(drawn(vec![], 1, 1), Err(PanelError::Seats));
    assert_eq!(drawn(vec![name(1), name(1)], 1, 1), Err(PanelError::Seats));
    assert_eq!(
        drawn((0..32).map(name).collect(), 1, 1),
        Err(PanelError::Seats)
    );
    assert_eq!(drawn(vec![name(1)], 0, 1), Err(PanelError::Window));
    assert_eq!(drawn(vec![name(1)], 1, -1), Err(PanelError::Window));
    assert_eq!(Vote::of_bps(10_001), Err(PanelError::Vote));
    assert_eq!(Vote::of_bps(-1), Err(PanelError::Vote));
    assert_eq!(Vote::of_bps(i64::MAX), Err(PanelError::Vote));
}

/// Every event in every state of a seat and phase of a panel, with what comes of it.
#[test]
fn every_edge() {
    let yes = Vote::Bps(10_000);
    let waiting = panel(3);
    let committed = run(waiting.clone(), &[(commit(0, yes), NOW)]);
    let denounced = run(committed.clone(), &[(denounce(0, yes), NOW)]);
    let conflicted = run(committed.clone(), &[(conflict(0), NOW)]);
    let open = run(committed.clone(), &[(Event::Tick, LATER)]);
    let revealed = run(open.clone(), &[(reveal(0, yes), LATER)]);
    let silent = run(waiting.clone(), &[(Event::Tick, LATER)]);
    let over = run(revealed.clone(), &[(Event::Tick, OVER)]);
    let withdrawn = run(committed.clone(), &[(Event::Withdraw, NOW)]);
    use PanelError as E;
    type Row<'a> = (&'a str, &'a Panel, Time, [Result<(), PanelError>; 5]);
    // Commit, reveal, denounce, conflict, withdraw.
    let table: [Row<'_>; 10] = [
        (
            "waiting",
            &waiting,
            NOW,
            [
                Ok(()),
                Err(E::RevealsNotOpen),
                Err(E::BadOpening),
                Ok(()),
                Ok(()),
            ],
        ),
        (
            "committed",
            &committed,
            NOW,
            [
                Err(E::CommittedAlready),
                Err(E::RevealsNotOpen),
                Ok(()),
                Ok(()),
                Ok(()),
            ],
        ),
        (
            "denounced",
            &denounced,
            NOW,
            [
                Err(E::SeatLost),
                Err(E::SeatLost),
                Err(E::BadOpening),
                Err(E::SeatLost),
                Ok(()),
            ],
        ),
        (
            "conflicted",
            &conflicted,
            NOW,
            [
                Err(E::SeatLost),
                Err(E::SeatLost),
                Err(E::BadOpening),
                Err(E::SeatLost),
                Ok(()),
            ],
        ),
        (
            "late, nobody looked",
            &committed,
            LATER,
            [
                Err(E::CommitsOver),
                Ok(()),
                Err(E::CommitsOver),
                Ok(()),
                Ok(()),
            ],
        ),
        (
            "open",
            &open,
            LATER,
            [
                Err(E::CommitsOver),
                Ok(()),
                Err(E::CommitsOver),
                Ok(()),
                Ok(()),
            ],
        ),
        (
            "silent",
            &silent,
            LATER,
            [
                Err(E::CommitsOver),
                Err(E::NothingCommitted),
                Err(E::CommitsOver),
                Ok(()),
                Ok(()),
            ],
        ),
        (
            "revealed",
            &revealed,
            LATER,
            [
                Err(E::CommitsOver),
                Err(E::RevealedAlready),
                Err(E::CommitsOver),
                Ok(()),
                Ok(()),
            ],
        ),
        (
            "over",
            &over,
            OVER,
            [
                Err(E::Over),
                Err(E::Over),
                Err(E::Over),
                Err(E::Over),
                Err(E::Over),
            ],
        ),
        (
            "withdrawn",
            &withdrawn,
            NOW,
            [
                Err(E::Over),
                Err(E::Over),
                Err(E::Over),
                Err(E::Over),
                Err(E::Over),
            ],
        ),
    ];
    let events = [
        commit(0, yes),
        reveal(0, yes),
        denounce(0, yes),
        conflict(0),
        Event::Withdraw,
    ];
    for (state, panel, now, expected) in table {
        for (event, expected) in events.iter().zip(expected) {
            let found = step(panel, event, now).map(|_| ());
            assert_eq!(found, expected, "{state}: {event:?}");
        }
    }
}

#[test]
fn openings_must_match_and_outsiders_learn_nothing() {
    let yes = Vote::Bps(10_000);
    let committed = run(panel(3), &[(commit(0, yes), NOW)]);
    let open = run(committed.clone(), &[(Event::Tick, LATER)]);
    let wrong = reveal(0, Vote::Bps(9_999));
    assert_eq!(step(&open, &wrong, LATER), Err(PanelError::BadOpening));
    assert_eq!(step(&open, &reveal(9, yes), LATER), Err(PanelError::NoSeat));
    // Another's commitment copied cannot be opened: it is bound to its author.
    let copy = Event::Commit {
        account: name(1),
        commitment: opening(yes).commitment("p", &name(0)),
    };
    let copied = run(committed.clone(), &[(copy, NOW), (Event::Tick, LATER)]);
    assert_eq!(
        step(&copied, &reveal(1, yes), LATER),
        Err(PanelError::BadOpening)
    );
    // No seat, nothing committed, another vote: one answer.
    for event in [
        denounce(9, yes),
        denounce(1, yes),
        denounce(0, Vote::CannotTell),
    ] {
        assert_eq!(step(&committed, &event, NOW), Err(PanelError::BadOpening));
    }
}

#[test]
fn time_in_which_nobody_could_reveal_costs_nobody_the_window() {
    let committed = run(panel(1), &[(commit(0, Vote::Bps(1)), NOW)]);
    // Nobody looked for a long time, say because the service was down.
    let late = Time(9_000);
    let open = step(&committed, &Event::Tick, late).unwrap();
    assert_eq!(
        (open.phase, open.reveal_by),
        (Phase::Revealing, late.plus_millis(REVEAL))
    );
    let ended = run(
        open,
        &[
            (reveal(0, Vote::Bps(1)), late),
            (Event::Tick, late.plus_millis(REVEAL)),
        ],
    );
    assert!(matches!(ended.ruling(), Some(Ruling::Ruled { .. })));
}

#[test]
fn rulings_and_coherence_at_their_bounds() {
    let pi = |bps: u32| Ruling::Ruled {
        pi: Pi::new(f64::from(bps) / 10_000.0).unwrap(),
    };
    assert_eq!([1, 2, 3, 7, 15].map(quorum), [1, 2, 2, 5, 10]);
    assert_eq!(median(&[], 3), Ruling::NoQuorum);
    assert_eq!(median(&[5_000], 3), Ruling::NoQuorum);
    assert_eq!(median(&[0, 1_000], 3), pi(500));
    assert_eq!(median(&[0, 1_001], 3), Ruling::Tie);
    assert_eq!(median(&[10_000, 0, 7_000], 3), pi(7_000));
    assert_eq!(median(&[10_000, 10_000], 2), pi(10_000));
    let half_a_point = median(&[1, 2], 2);
    assert_eq!(
        half_a_point,
        Ruling::Ruled {
            pi: Pi::new(0.00015).unwrap()
        }
    );
    assert!(is_coherent(7_500, Pi::YES) && !is_coherent(7_499, Pi::YES));
    assert!(is_coherent(2_500, Pi::NO) && !is_coherent(2_501, Pi::NO));
    assert_eq!(
        voted(&[Some(Vote::CannotTell), bps(&[1])[0], None]).ruling(),
        Some(Ruling::NoQuorum)
    );
}

#[test]
fn the_bill_of_a_mixed_panel() {
    let votes = [bps(&[10_000, 9_000, 0]), vec![Some(Vote::CannotTell), None]].concat();
    let bill = settle(&voted(&votes), Some(Pi::YES), &terms()).unwrap();
    let lines: Vec<_> = bill
        .lines
        .iter()
        .map(|line| {
            (
                line.verdict.as_str(),
                line.slashed.get(),
                line.fee.get(),
                line.share.get(),
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            ("coherent", 0, 10, 50),
            ("coherent", 0, 10, 50),
            ("incoherent", 100, 0, 0),
            ("abstained", 0, 0, 0),
            ("silent", 200, 0, 0),
        ]
    );
    assert_eq!(bill.burnt, Micro(200));
    let off = settle(&voted(&votes), None, &terms()).unwrap();
    assert_eq!(
        off.burnt,
        Micro(200),
        "silence costs even where the case was called off"
    );
    assert_eq!(off.lines[2].verdict, Verdict::Unjudged);
    assert_eq!(settle(&panel(3), None, &terms()), Err(PanelError::Running));
    let withdrawn = run(panel(3), &[(Event::Withdraw, NOW)]);
    assert_eq!(
        settle(&withdrawn, None, &terms()).unwrap().burnt,
        Micro::ZERO
    );
}

fn votes() -> impl Strategy<Value = Vec<Option<Vote>>> {
    let vote = prop_oneof![
        4 => (0..=10_000_u16).prop_map(|bps| Some(Vote::Bps(bps))),
        1 => Just(Some(Vote::CannotTell)),
        1 => Just(None),
    ];
    proptest::collection::vec(vote, 1..=MAX_SEATS)
}

proptest! {
    /// Σ slashed = Σ share + burnt, and nobody both pays and is paid.
    #[test]
    fn bills_balance(votes in votes(), pi in 0..=1_000_000_000_u32, deposit in 0..=1_000_000_000_i64) {
        let terms = Terms { deposit: Micro(deposit), ..terms() };
        let pi = Pi::new(f64::from(pi) / 1e9).unwrap();
        for settlement in [Some(pi), None] {
            let bill = settle(&voted(&votes), settlement, &terms).unwrap();
            let sum = |f: fn(&Line) -> Micro| bill.lines.iter().map(|line| f(line).get()).sum::<i64>();
            prop_assert_eq!(sum(|line| line.slashed), sum(|line| line.share) + bill.burnt.get());
            prop_assert!(bill.burnt.get() >= 0);
            for line in &bill.lines {
                prop_assert!(line.slashed.get() <= deposit);
                prop_assert!(line.slashed.is_zero() || (line.fee.is_zero() && line.share.is_zero()));
            }
        }
    }

    /// The order in which jurors reveal changes neither ruling nor bill.
    #[test]
    fn the_order_of_reveals_does_not_matter(votes in votes(), seed in any::<u64>()) {
        let mut state = panel(votes.len());
        let cast: Vec<_> = votes.iter().enumerate().filter_map(|(n, vote)| Some((n, (*vote)?))).collect();
        for (n, vote) in &cast {
            state = step(&state, &commit(*n, *vote), NOW).unwrap();
        }
        state = step(&state, &Event::Tick, LATER).unwrap();
        let mut order = cast.clone();
        order.sort_by_key(|(n, _)| (*n as u64).wrapping_mul(seed | 1));
        for (n, vote) in order {
            state = step(&state, &reveal(n, vote), LATER).unwrap();
        }
        let shuffled = step(&state, &Event::Tick, OVER).unwrap();
        let straight = voted(&votes);
        prop_assert_eq!(shuffled.ruling(), straight.ruling());
        prop_assert_eq!(
            settle(&shuffled, Some(Pi::YES), &terms()),
            settle(&straight, Some(Pi::YES), &terms())
        );
    }

    /// A ruling lies among the votes, is that of a majority, and a minority cannot leave the
    /// range of the others.
    #[test]
    fn the_median_resists_a_minority(
        honest in proptest::collection::vec(4_000..=6_000_u16, 8..=15),
        bought in proptest::collection::vec(0..=10_000_u16, 0..=7),
    ) {
        let votes = [honest.clone(), bought].concat();
        if let Ruling::Ruled { pi } = median(&votes, votes.len()) {
            let (low, high) = (honest.iter().min().unwrap(), honest.iter().max().unwrap());
            prop_assert!(pi.billionths() >= u32::from(*low) * 100_000);
            prop_assert!(pi.billionths() <= u32::from(*high) * 100_000);
        }
    }

    /// Whatever happens in whatever order, a panel never leaves its end, deadlines never move
    /// back, and a revealed vote is one that was committed.
    #[test]
    fn any_history(events in proptest::collection::vec((0..6_usize, 0..4_usize, 0..=3_u16, 0..400_i64), 0..60)) {
        let mut state = panel(4);
        let mut now = NOW;
        for (kind, n, vote, pause) in events {
            now = now.plus_millis(pause / 10);
            let vote = Vote::Bps(vote);
            let event = match kind {
                0 => commit(n, vote),
                1 => reveal(n, vote),
                2 => denounce(n, vote),
                3 => conflict(n),
                _ => Event::Tick,
            };
            let before = state.clone();
            if let Ok(next) = step(&state, &event, now) {
                state = next;
            }
            prop_assert!(!before.is_over() || state == before);
            prop_assert!(state.reveal_by >= before.reveal_by);
            for seat in &state.seats {
                if let SeatState::Revealed { commitment, vote } = seat.state {
                    prop_assert_eq!(opening(vote).commitment("p", &seat.account), commitment);
                }
            }
        }
    }
}
