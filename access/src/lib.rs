//! Who may do what: the policy in `policies/plumbline.cedar`, its schema, and one answer for one question.
//!
//! A [`Question`] is a principal (nobody, an account with the roles and scopes of its credential, or a
//! job), an [`Action`] and whether what it is about belongs to who asks. [`Access::permits`] answers it by
//! the policy, and remembers the answer: there are few different questions, and asking cedar takes tens of
//! microseconds. What nothing permits is denied.
//!
//! **Invariant.** Pure: no clock, no randomness, no IO beyond the embedded texts. It knows kinds of
//! things and no single account, market or panel; who owns what is for the caller to find out.

mod action;
mod decide;
pub mod table;

pub use action::Action;
pub use decide::{Access, AccessError, Circumstances, Job, Person, Principal, Question, SignUp};

/// The policy, as it is embedded.
pub const POLICY: &str = include_str!("../policies/plumbline.cedar");
/// Its schema.
pub const SCHEMA: &str = include_str!("../policies/plumbline.cedarschema");

/// Every role that an account may hold, in the order shown to people.
pub const ROLES: [&str; 8] = [
    "participant",
    "researcher",
    "juror",
    "delegate",
    "guardian",
    "scheduler",
    "node",
    "operator",
];

/// Every scope that a credential may carry, in the order shown to people.
pub const SCOPES: [&str; 7] = [
    "read", "trade", "evidence", "govern", "schedule", "node", "admin",
];
