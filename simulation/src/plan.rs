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
    /// Deaths of the writing process, about.
    pub crashes: usize,
}

impl Default for Scale {
    fn default() -> Self {
        Self {
            actors: 2_000,
            markets: 200,
            runs: 20,
            turns: 60,
            actions: 110,
            crashes: 12,
        }
    }
}

impl Scale {
    /// A small world with everything in it, for tests of the simulation itself.
    pub fn small() -> Self {
        Self {
            actors: 60,
            markets: 8,
            runs: 3,
            turns: 12,
            actions: 40,
            crashes: 6,
        }
    }
}
