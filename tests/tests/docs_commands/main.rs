//! Every command of the documentation is typed as it stands there, at a real service, in the page's order.
//!
//! A page has a session that says how each of its commands is typed: with what in the place of `MARKET` and the like,
//! what it must print, whether it goes on until it is told to end. A command without that fails its page, and so does a
//! session whose command is gone. What takes minutes or daemons names the test that runs it.
#![allow(clippy::unwrap_used)]

mod governors;
mod operators;
mod participants;
mod trainers;

use std::collections::BTreeSet;

use plumbline_tests::Typed;
use plumbline_tests::docs_text::{commands, name_of, pages};

/// A test for each page, and the list of them all. They start by their names: the longest first.
macro_rules! sessions {
    ($($name:ident: $page:literal => $session:path,)*) => {
        const PAGES: &[&str] = &[$($page),*];
        $(
            #[test]
            fn $name() {
                let mut page = Typed::open($page);
                $session(&mut page);
                page.end();
            }
        )*
    };
}

sessions! {
    readme: "README.md" => participants::readme,
    contributing: "CONTRIBUTING.md" => operators::contributing,
    api: "docs/api.md" => participants::api,
    audit: "docs/audit.md" => operators::audit,
    cli: "docs/cli.md" => participants::cli,
    concepts: "docs/concepts.md" => operators::concepts,
    decisions: "docs/decisions.md" => governors::decisions,
    enforcers: "docs/enforcers.md" => governors::enforcers,
    evidence: "docs/evidence.md" => participants::evidence,
    governance: "docs/governance.md" => governors::governance,
    a_learning_oracle: "docs/learning.md" => operators::learning,
    manipulators: "docs/manipulators.md" => trainers::simulation,
    mcp: "docs/mcp.md" => participants::mcp,
    models: "docs/models.md" => trainers::models,
    nodes: "docs/nodes.md" => trainers::nodes,
    notifications: "docs/notifications.md" => participants::notifications,
    operations: "docs/operations.md" => operators::operations,
    policy: "docs/policy.md" => governors::policy,
    a_new_operator: "docs/quickstart-operator.md" => trainers::operator,
    researcher: "docs/quickstart-researcher.md" => participants::researcher,
    scheduler: "docs/quickstart-scheduler.md" => governors::scheduler,
    simulation: "docs/simulation.md" => trainers::simulation,
    trading: "docs/trading.md" => participants::trading,
}

#[test]
fn every_page_with_commands_has_a_session() {
    let with_commands: BTreeSet<String> = pages()
        .iter()
        .filter(|(_, text)| !commands(text).is_empty())
        .map(|(path, _)| name_of(path))
        .collect();
    let sessions: BTreeSet<String> = PAGES.iter().map(|page| (*page).to_owned()).collect();
    assert_eq!(with_commands, sessions);
}
