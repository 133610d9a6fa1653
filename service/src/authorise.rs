//! Whether an actor may do something: every use case and every job asks here, and the policy of
//! [`plumbline_access`] answers.

use plumbline_access::{Action, Circumstances, Job, Person, Principal, Question, ROLES};

use crate::context::{Actor, Scope};
use crate::{Result, Service, ServiceConfig, ServiceError};

impl From<Scope> for Action {
    /// The group of actions that the scope covers: to ask whether a credential may do any of them at all.
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Read => Self::Read,
            Scope::Trade => Self::Trade,
            Scope::Evidence => Self::Evidence,
            Scope::Govern => Self::Govern,
            Scope::Schedule => Self::Schedule,
            Scope::Node => Self::Node,
            Scope::Admin => Self::Admin,
        }
    }
}

/// What an operator chose that the policy looks at.
pub(crate) fn circumstances(config: &ServiceConfig) -> Circumstances {
    Circumstances {
        public_read: config.public_read,
        sign_up: config.sign_up,
    }
}

impl Service {
    /// Whether the policy permits `action` to `actor` at all: where things have owners, with its own.
    pub fn may(&self, actor: &Actor, action: Action) -> bool {
        self.may_on(actor, action, true)
    }

    /// Whether the policy permits `action` to `actor` with a thing that is its `own`, or somebody else's.
    pub(crate) fn may_on(&self, actor: &Actor, action: Action, own: bool) -> bool {
        self.access.permits(Question {
            principal: principal_of(actor),
            action,
            own,
        })
    }

    /// Refuses an actor to whom the policy does not permit `action`.
    ///
    /// # Errors
    /// [`ServiceError::Unauthenticated`] for a visitor, [`ServiceError::Forbidden`] for an account.
    pub fn authorise(&self, actor: &Actor, action: Action) -> Result<()> {
        self.allow_on(actor, action, true)
    }

    /// As [`Service::authorise`]: every use case asks, so that one without a rule does nothing.
    pub(crate) fn allow(&self, actor: &Actor, action: impl Into<Action>) -> Result<()> {
        self.allow_on(actor, action.into(), true)
    }

    /// As [`Service::authorise`], with a thing that is its `own`, or somebody else's.
    pub(crate) fn allow_on(&self, actor: &Actor, action: Action, own: bool) -> Result<()> {
        if self.may_on(actor, action, own) {
            return Ok(());
        }
        if action == Action::SignUp {
            return Err(ServiceError::Forbidden {
                needs: "an invitation: only operators make accounts here".to_owned(),
            });
        }
        if actor.account_id.is_none() {
            return Err(ServiceError::Unauthenticated);
        }
        let scope = self.access.scope_of(action);
        let lacks = scope.filter(|scope| !actor.scopes.iter().any(|held| held.as_str() == *scope));
        Err(ServiceError::Forbidden {
            needs: match lacks {
                Some(scope) => format!("the scope '{scope}'"),
                None => format!("a role that permits {}", action.as_str()),
            },
        })
    }

    /// Refuses work that is not that job's.
    ///
    /// # Errors
    /// [`ServiceError::Internal`]: a mistake in the program, which an operator has to see.
    pub(crate) fn allow_job(&self, job: Job, action: Action) -> Result<()> {
        let question = Question {
            principal: Principal::Job(job),
            action,
            own: false,
        };
        if self.access.permits(question) {
            return Ok(());
        }
        Err(ServiceError::internal(format!(
            "no policy lets the job {} do {}",
            job.as_str(),
            action.as_str()
        )))
    }
}

/// What a job of that kind does.
pub(crate) fn work_of(job: Job) -> Action {
    match job {
        Job::Deadlines => Action::TidyUp,
        Job::JudgeEvidence => Action::JudgeExhibits,
        Job::DecideChallenge => Action::DecideDispute,
        Job::ReassessMarket => Action::ReassessMarket,
        Job::SettleMarket => Action::SettleMarket,
        Job::PayMarket => Action::PayMarket,
        Job::ReleaseMarket => Action::ReleaseMarket,
        Job::GoldPanel => Action::ConveneGoldPanel,
        Job::MatchOrders => Action::MatchOrders,
        Job::CloseOrders => Action::CloseOrders,
        Job::LearnOracle => Action::LearnOracle,
    }
}

fn principal_of(actor: &Actor) -> Principal {
    if actor.account_id.is_none() {
        return Principal::Visitor;
    }
    Principal::Person(Person::new(
        actor.roles.iter().map(String::as_str),
        actor.scopes.iter().map(|scope| scope.as_str()),
        actor.session,
    ))
}

/// What an account may do at most. The operator administers but has no power
/// over settlements: no scope gives that.
pub(crate) fn scopes_of(roles: &[String]) -> Vec<Scope> {
    let mut scopes = vec![Scope::Read];
    let gives = |role: &str| -> &'static [Scope] {
        match role {
            "participant" => &[Scope::Trade, Scope::Govern, Scope::Node],
            "researcher" => &[Scope::Evidence],
            "juror" | "delegate" | "guardian" => &[Scope::Govern],
            "scheduler" => &[Scope::Schedule],
            "node" => &[Scope::Node],
            "operator" => &[Scope::Admin],
            _ => &[],
        }
    };
    for role in ROLES
        .iter()
        .filter(|role| roles.iter().any(|held| held == *role))
    {
        for scope in gives(role) {
            if !scopes.contains(scope) {
                scopes.push(*scope);
            }
        }
    }
    scopes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use plumbline_access::{Access, SCOPES, SignUp};

    #[test]
    fn scopes_have_the_names_that_the_policy_knows() {
        assert_eq!(Scope::ALL.map(Scope::as_str), SCOPES);
    }

    /// A role has a scope exactly where the policy lets it do something by it.
    #[test]
    fn roles_have_the_scopes_that_the_policy_gives_a_use() {
        let access = Access::new(Circumstances {
            public_read: false,
            sign_up: SignUp::Open,
        })
        .unwrap();
        for role in ROLES {
            for scope in Scope::ALL {
                let person = Person::new([role], [scope.as_str()], true);
                let used = Action::ALL.iter().any(|action| {
                    access.scope_of(*action) == Some(scope.as_str())
                        && access.permits(Question {
                            principal: Principal::Person(person),
                            action: *action,
                            own: true,
                        })
                });
                let held = scopes_of(&[role.to_owned()]).contains(&scope);
                assert_eq!(used, held, "{role}, {scope:?}");
            }
        }
    }
}
