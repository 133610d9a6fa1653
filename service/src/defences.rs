//! The defences against known attacks, each with a switch.
//!
//! A running service has them all. The switches exist so that an attack can be run
//! against a service without one of them: only an attack that pays there, and does not
//! pay here, shows that the defence is what stops it. No option of a running service reaches them.

/// Which defences stand. [`Defences::default`] is all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defences {
    /// Orders stop at a drawn moment inside the announced window, not at its start.
    pub random_close: bool,
    /// Exhibits close to earlier ones move nothing.
    pub novelty: bool,
    /// The fee of a submission grows with each one by the same account in the same market.
    pub escalating_fees: bool,
    /// A submission waits for older commitments, so that the first to commit is the first judged.
    pub commit_priority: bool,
    /// Cases are drawn for the strongest method whatever the cheap one says.
    pub audit_draw: bool,
    /// Accounts with a stake in a case never sit on its panel.
    pub conflict_bar: bool,
    /// Part of a losing bond is burnt to the treasury, so that disputing with oneself never pays.
    pub bond_burn: bool,
    /// A juror who commits and does not reveal loses part of the deposit.
    pub reveal_slash: bool,
    /// Jurors are drawn by their accuracy on cases with a known answer.
    pub gold_cases: bool,
    /// Whoever shows a juror's secret vote before the reveal takes the juror's seat deposit.
    pub denouncement: bool,
}

impl Default for Defences {
    fn default() -> Self {
        Self {
            random_close: true,
            novelty: true,
            escalating_fees: true,
            commit_priority: true,
            audit_draw: true,
            conflict_bar: true,
            bond_burn: true,
            reveal_slash: true,
            gold_cases: true,
            denouncement: true,
        }
    }
}

macro_rules! by_name {
    ($($name:ident),+ $(,)?) => {
        impl Defences {
            /// The names of all, as [`Defences::switch_off`] takes them.
            pub const NAMES: &'static [&'static str] = &[$(stringify!($name)),+];

            /// Switches the named defence off; false when there is none of that name.
            pub fn switch_off(&mut self, name: &str) -> bool {
                match name {
                    $(stringify!($name) => self.$name = false,)+
                    _ => return false,
                }
                true
            }
        }
    };
}

by_name!(
    random_close,
    novelty,
    escalating_fees,
    commit_priority,
    audit_draw,
    conflict_bar,
    bond_burn,
    reveal_slash,
    gold_cases,
    denouncement,
);
