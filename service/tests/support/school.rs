//! A world of many small markets with judges of known quality, one settled after the other.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::sync::atomic::Ordering;

use plumbline_service::Service;
use plumbline_service::commands::*;
use plumbline_service::context::Context;
use plumbline_service::views::*;

use super::*;

/// Numbers of a seed's: uniform by splitmix, normal by Box and Muller.
pub struct Dice(pub u64);

impl Dice {
    pub fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    pub fn normal(&mut self) -> f64 {
        let (u, v) = (self.uniform().max(1e-300), self.uniform());
        (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
    }
}

/// A world whose judges are so many readers.
pub fn school(readers: usize) -> World {
    school_with(readers, |_| ())
}

pub fn school_with(readers: usize, change: impl FnOnce(&mut ServiceConfig)) -> World {
    let world = World::with(true, change);
    world.host.readers.store(readers, Ordering::SeqCst);
    world.reopen()
}

/// Opens a market of that kind on a run of its own, whose truth the settlement will find.
pub fn open(world: &World, name: &str, kind: &str, truth: bool) -> MarketView {
    let run = RegisterRun {
        name: name.into(),
        parameters: 0,
    };
    let run = world.service.register_run(&world.operator, &run).unwrap();
    if !truth {
        world
            .host
            .clean
            .lock()
            .unwrap()
            .push(checkpoint_of(&run.id));
    }
    let terms = OpenMarket {
        claim_kind: kind.into(),
        closes_after_tokens: None,
        ..world.terms(&run.id)
    };
    world.service.open_market(&world.operator, &terms).unwrap()
}

pub fn say(
    world: &World,
    service: &Service,
    who: &Context,
    market: &str,
    numbers: &[f64],
) -> EvidenceView {
    let texts: Vec<String> = numbers.iter().map(|n| format!("{n:.4}")).collect();
    let report = world.report(&texts.join("|"), 5 * CREDIT);
    service.submit_evidence(who, market, &report).unwrap()
}

/// Settles everything that is open.
pub fn settle(world: &World) {
    world.pass(61_000);
    for _ in 0..3 {
        world.service.run_due_jobs().unwrap();
        world.pass(1_000);
    }
}

/// So many cases: the first judge is near the truth, the second guesses, the third says what the second says.
pub fn teach(world: &World, who: &Context, dice: &mut Dice, kind: &str, cases: usize) {
    for n in 0..cases {
        let log_odds = 1.5 * dice.normal();
        let truth = dice.uniform() < 1.0 / (1.0 + (-log_odds).exp());
        let guess = 1.5 * dice.normal();
        let name = format!("{kind}-{}-{n}", dice.0 % 1_000_000);
        let market = open(world, &name, kind, truth);
        let numbers = [
            log_odds + 0.3 * dice.normal(),
            guess,
            guess + 0.2 * dice.normal(),
        ];
        say(world, &world.service, who, &market.id, &numbers);
        world.service.run_due_jobs().unwrap();
    }
    settle(world);
}
