//! Laws of counting, for every electorate and every set of ballots.
#![allow(clippy::unwrap_used)]

use plumbline_governance::voting::ballot::{Ballot, Conviction, Side};
use plumbline_governance::voting::tally::{Ballots, Elector, Electors, tally};
use plumbline_governance::voting::tracks::{Track, Tracks};
use proptest::prelude::*;

fn name(n: usize) -> String {
    format!("account-{n}")
}

fn any_conviction() -> impl Strategy<Value = Conviction> {
    (0u8..=6).prop_map(|level| Conviction::new(level).unwrap())
}

fn any_electors() -> impl Strategy<Value = Electors> {
    let elector = (
        0u64..1_000_000,
        prop::option::of(0usize..12),
        any_conviction(),
    );
    prop::collection::vec(elector, 1..12).prop_map(|rows| {
        let elector =
            |(stake_micro, delegate, conviction): (u64, Option<usize>, Conviction)| Elector {
                stake_micro,
                delegate: delegate.map(name),
                conviction,
            };
        rows.into_iter()
            .map(elector)
            .enumerate()
            .map(|(n, elector)| (name(n), elector))
            .collect()
    })
}

fn any_ballots() -> impl Strategy<Value = Ballots> {
    let side = prop::sample::select(vec![Side::For, Side::Against, Side::Abstain]);
    prop::collection::btree_map(
        (0usize..12).prop_map(name),
        (side, any_conviction()).prop_map(|(side, conviction)| Ballot { side, conviction }),
        0..12,
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Delegations may go in circles, to strangers and to each other: no stake is counted twice, and no
    /// weight comes from nowhere.
    #[test]
    fn stakes_are_conserved(electors in any_electors(), ballots in any_ballots()) {
        let count = tally(&electors, &ballots);
        let all: u64 = electors.values().map(|elector| elector.stake_micro).sum();
        let counted = count.for_stake_micro + count.against_stake_micro + count.abstain_stake_micro;
        prop_assert_eq!(count.electorate_micro, all);
        prop_assert!(counted <= all);
        let most = u128::from(Conviction::MAX.tenths());
        prop_assert!(count.for_weight <= u128::from(count.for_stake_micro) * most);
        prop_assert!(count.for_weight >= u128::from(count.for_stake_micro));
        prop_assert!(count.against_weight <= u128::from(count.against_stake_micro) * most);
        // Everybody who votes is counted by the own ballot.
        let voters = electors.iter().filter(|(who, _)| ballots.contains_key(*who));
        let own: u64 = voters.map(|(_, elector)| elector.stake_micro).sum();
        prop_assert!(counted >= own);
        prop_assert!(count.delegated <= count.counted && count.counted as usize <= electors.len());
    }

    /// One more ballot never works against itself: for does not lower approval and support, against does
    /// not raise them.
    #[test]
    fn a_ballot_moves_the_count_its_own_way(
        electors in any_electors(), ballots in any_ballots(), voter in 0usize..12, conviction in any_conviction(),
    ) {
        let who = name(voter);
        let mut without = ballots;
        without.remove(&who);
        // The voter's own stake alone: what a delegate carries goes with the delegate's word.
        let mut alone = electors;
        for elector in alone.values_mut() {
            elector.delegate = None;
        }
        let before = tally(&alone, &without);
        for side in [Side::For, Side::Against, Side::Abstain] {
            let mut with = without.clone();
            with.insert(who.clone(), Ballot { side, conviction });
            let after = tally(&alone, &with);
            let (approval, support) = (after.approval_bps(), after.support_bps());
            match side {
                Side::For => {
                    prop_assert!(approval >= before.approval_bps() && support >= before.support_bps());
                }
                Side::Against => {
                    prop_assert!(approval <= before.approval_bps() && support <= before.support_bps());
                }
                Side::Abstain => {
                    prop_assert!(approval == before.approval_bps() && support >= before.support_bps());
                }
            }
        }
    }

    /// What passes at some time of the vote passes at every later one with the same ballots.
    #[test]
    fn time_alone_never_turns_an_approval_down(
        electors in any_electors(), ballots in any_ballots(), early in 0u64..800_000, later in 0u64..800_000,
    ) {
        let count = tally(&electors, &ballots);
        for track in Track::ALL.iter().copied() {
            let terms = Tracks::default().of(track);
            if count.passes(&terms, early) {
                prop_assert!(count.passes(&terms, early.saturating_add(later)));
                prop_assert!(count.for_weight > count.against_weight);
            }
        }
    }
}
