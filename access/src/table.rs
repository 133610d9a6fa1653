//! The policy as a table for people: every action with who may do it.

use std::fmt::Write;

use crate::{
    Access, AccessError, Action, Circumstances, Job, Person, Principal, Question, ROLES, SCOPES,
    SignUp,
};

/// Whether a kind of caller may do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Never.
    No,
    /// With what is its own.
    Own,
    /// Always.
    Yes,
}

/// One action's row: visitors first, then an account without a role, then one for each of [`ROLES`].
#[derive(Debug, Clone)]
pub struct Row {
    /// The action.
    pub action: Action,
    /// The kind of thing that it is about.
    pub about: String,
    /// The scope that a token needs; `None` where it needs none.
    pub scope: Option<&'static str>,
    /// What each kind of caller may do, with a session.
    pub rights: Vec<Right>,
    /// Whether an API token is refused whatever its scopes.
    pub session_only: bool,
}

/// Columns of [`Row::rights`].
pub fn columns() -> Vec<&'static str> {
    ["visitor", "any account"]
        .into_iter()
        .chain(ROLES)
        .collect()
}

/// Every action that accounts can be asked about, without the groups.
///
/// # Errors
/// As [`Access::new`].
pub fn rows(circumstances: Circumstances) -> Result<Vec<Row>, AccessError> {
    let access = Access::new(circumstances)?;
    let groups = Action::ALL.iter().take_while(|a| **a != Action::ReadHealth);
    let actions = Action::ALL.iter().skip(groups.count());
    Ok(actions
        .filter(|action| jobs_of(**action, &access).is_empty())
        .map(|action| row(&access, *action))
        .collect())
}

fn jobs_of(action: Action, access: &Access) -> Vec<&'static str> {
    let may = |job: &&Job| {
        access.permits(Question {
            principal: Principal::Job(**job),
            action,
            own: false,
        })
    };
    Job::ALL
        .iter()
        .filter(may)
        .map(|job| job.as_str())
        .collect()
}

fn row(access: &Access, action: Action) -> Row {
    let person =
        |role: Option<&str>, session| Principal::Person(Person::new(role, SCOPES, session));
    let kinds = [Principal::Visitor, person(None, true)]
        .into_iter()
        .chain(ROLES.map(|role| person(Some(role), true)));
    let may = |principal, own| {
        access.permits(Question {
            principal,
            action,
            own,
        })
    };
    let right = |principal| match (may(principal, true), may(principal, false)) {
        (_, true) => Right::Yes,
        (true, false) => Right::Own,
        (false, false) => Right::No,
    };
    let by_token = ROLES
        .iter()
        .any(|role| may(person(Some(role), false), true));
    let rights: Vec<Right> = kinds.map(right).collect();
    Row {
        action,
        about: access.subject_of(action).to_owned(),
        scope: access.scope_of(action),
        session_only: !by_token && rights.iter().any(|right| *right != Right::No),
        rights,
    }
}

/// The table in Markdown, with reading public and sign-up open, and below it what jobs may do.
///
/// # Errors
/// As [`Access::new`].
pub fn markdown() -> Result<String, AccessError> {
    let circumstances = Circumstances {
        public_read: true,
        sign_up: SignUp::Open,
    };
    let mut text = String::new();
    line(&mut text, ["action", "about", "scope"], &columns());
    let rule = vec!["---"; columns().len()];
    line(&mut text, ["---"; 3], &rule);
    for row in rows(circumstances)? {
        let scope = if row.session_only {
            "session only"
        } else {
            row.scope.unwrap_or("")
        };
        let cells: Vec<&str> = row
            .rights
            .iter()
            .map(|right| match right {
                Right::No => "",
                Right::Own => "own",
                Right::Yes => "yes",
            })
            .collect();
        line(&mut text, [row.action.as_str(), &row.about, scope], &cells);
    }
    let access = Access::new(circumstances)?;
    text.push_str("\n| work | done by |\n| --- | --- |\n");
    for action in Action::ALL {
        let jobs = jobs_of(*action, &access);
        if !jobs.is_empty() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "| {} | {} |", action.as_str(), jobs.join(", "));
        }
    }
    Ok(text)
}

fn line(text: &mut String, first: [&str; 3], rest: &[&str]) {
    let cells: Vec<&str> = first.into_iter().chain(rest.iter().copied()).collect();
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

/// What a request needs for an action, where reading is public and sign-up open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Whether a visitor may.
    pub visitor: bool,
    /// Whether an API token can be enough, with whatever scopes.
    pub token: bool,
    /// The scope that a token needs, where it needs one.
    pub scope: Option<&'static str>,
}

/// What each of `actions` needs, in their order.
///
/// # Errors
/// As [`Access::new`].
pub fn needs(actions: &[Action]) -> Result<Vec<Need>, AccessError> {
    let access = Access::new(Circumstances {
        public_read: true,
        sign_up: SignUp::Open,
    })?;
    let may = |principal, action| {
        access.permits(Question {
            principal,
            action,
            own: true,
        })
    };
    let need = |action: &Action| {
        let by_token = |role| Principal::Person(Person::new(Some(role), SCOPES, false));
        Need {
            visitor: may(Principal::Visitor, *action),
            token: ROLES.into_iter().any(|role| may(by_token(role), *action)),
            scope: access.scope_of(*action),
        }
    };
    Ok(actions.iter().map(need).collect())
}
