//! Draws, commitments and rulings against an independent program; `data/sortition.py` makes them.
#![allow(clippy::unwrap_used)]

use plumbline_market::Digest;
use plumbline_market::panel::{Opening, Ruling, Vote, median};
use plumbline_market::sortition::{Candidate, draw, subseed, weight};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors {
    draws: Vec<Draw>,
    subseeds: Vec<Subseed>,
    weights: Vec<Weight>,
    commitments: Vec<Commitment>,
    rulings: Vec<Count>,
}

#[derive(Deserialize)]
struct Draw {
    seed: Digest,
    candidates: Vec<Candidate>,
    drawn: Vec<String>,
}

#[derive(Deserialize)]
struct Subseed {
    seeds: Vec<Digest>,
    purpose: String,
    subseed: Digest,
}

#[derive(Deserialize)]
struct Weight {
    stake: i64,
    cap: i64,
    right: u64,
    cases: u64,
    weight: u64,
}

#[derive(Deserialize)]
struct Commitment {
    panel: String,
    account: String,
    vote: Option<i64>,
    nonce: Digest,
    justification: String,
    commitment: Digest,
}

#[derive(Deserialize)]
struct Count {
    seats: usize,
    votes: Vec<u16>,
    ruling: serde_json::Value,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("data/sortition.json")).unwrap()
}

#[test]
fn draws_are_those_of_another_program() {
    let vectors = vectors();
    assert!(vectors.draws.len() > 20);
    for one in vectors.draws {
        let drawn = draw(&one.seed.0, &one.candidates, one.drawn.len()).unwrap();
        let names: Vec<_> = drawn
            .into_iter()
            .map(|position| one.candidates[position].account.clone())
            .collect();
        assert_eq!(names, one.drawn, "seed {}", one.seed);
    }
    for one in vectors.subseeds {
        let seeds: Vec<[u8; 32]> = one.seeds.iter().map(|seed| seed.0).collect();
        assert_eq!(Digest(subseed(&seeds, &one.purpose)), one.subseed);
    }
    for one in vectors.weights {
        assert_eq!(weight(one.stake, one.cap, one.right, one.cases), one.weight);
    }
}

#[test]
fn commitments_are_those_of_another_program() {
    for one in vectors().commitments {
        let opening = Opening {
            vote: one
                .vote
                .map_or(Vote::CannotTell, |bps| Vote::of_bps(bps).unwrap()),
            nonce: one.nonce,
            justification: Digest::of(one.justification.as_bytes()),
        };
        assert_eq!(opening.commitment(&one.panel, &one.account), one.commitment);
    }
}

#[test]
fn rulings_are_those_of_another_program() {
    for one in vectors().rulings {
        let found = match median(&one.votes, one.seats) {
            Ruling::Ruled { pi } => serde_json::Value::from(pi.billionths()),
            Ruling::Tie => "tie".into(),
            Ruling::NoQuorum => "no_quorum".into(),
        };
        assert_eq!(found, one.ruling, "{:?} of {}", one.votes, one.seats);
    }
}
