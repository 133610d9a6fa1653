//! How large a simulation is.

/// Numbers of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scale {
    /// People with an account.
    pub actors: usize,
    /// Markets.
    pub markets: usize,
    /// Runs that the markets are about.
    pub runs: usize,
    /// Turns of the clock in which people act.
    pub turns: usize,
    /// Actions in each turn.
    pub actions: usize,
    /// Whether there are markets that juries, judges or their last price settle, markets of several
    /// outcomes, and people who judge, dispute, commit and bet on it all. Without: people who trade and
    /// submit on questions of yes or no that a test settles.
    pub courts: bool,
    /// Pairs of cases with a known answer that the operator gives the jury.
    pub known_cases: usize,
    /// Deaths of the writing process, about.
    pub crashes: usize,
}

impl Default for Scale {
    fn default() -> Self {
        Self {
            actors: 2_000,
            markets: 200,
            runs: 20,
            turns: 50,
            actions: 100,
            courts: true,
            known_cases: 10,
            crashes: 12,
        }
    }
}

impl Scale {
    /// A small world with everything in it, for tests of the simulation itself.
    pub fn small_with_courts() -> Self {
        Self {
            courts: true,
            known_cases: 2,
            ..Self::small()
        }
    }

    /// A small world of trades and evidence only.
    pub fn small() -> Self {
        Self {
            actors: 60,
            markets: 8,
            runs: 3,
            turns: 12,
            actions: 40,
            courts: false,
            known_cases: 0,
            crashes: 6,
        }
    }
}
