//! Questions and their answers.

use std::collections::{HashMap, HashSet};
use std::sync::{PoisonError, RwLock};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    PolicySet, Request, RestrictedExpression, Schema, ValidationMode, Validator,
};

use crate::{Action, POLICY, ROLES, SCHEMA, SCOPES};

/// Answers remembered at most. There are thousands of questions at the very most in earnest use; past this
/// all are forgotten, so that odd credentials cannot fill the memory.
const MAX_REMEMBERED: usize = 65_536;
/// Name of who asks, and of the one thing that is asked about.
const SELF: &str = "self";
/// Name of an account that is not the one who asks.
const OTHER: &str = "other";

/// Why the policy cannot be used; a mistake in this crate, found when the program starts.
#[derive(Debug, thiserror::Error)]
#[error("the access policy is broken: {0}")]
pub struct AccessError(String);

fn broken(error: impl std::fmt::Display) -> AccessError {
    AccessError(error.to_string())
}

/// Who makes accounts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum SignUp {
    /// Anybody.
    #[default]
    Open,
    /// Whoever brings an invitation.
    Invite,
    /// Operators alone.
    Closed,
}

impl SignUp {
    /// What [`SignUp::as_str`] says.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Open, Self::Invite, Self::Closed]
            .into_iter()
            .find(|one| one.as_str() == name)
    }

    /// `open`, `invite` or `closed`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Invite => "invite",
            Self::Closed => "closed",
        }
    }
}

/// What an operator chose that the policy looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances {
    /// Visitors may read.
    pub public_read: bool,
    /// Who makes accounts.
    pub sign_up: SignUp,
}

/// An account as far as the policy knows it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Person {
    /// Bit *i* says that the account holds the *i*-th of [`ROLES`].
    roles: u16,
    /// Bit *i* says that the credential carries the *i*-th of [`SCOPES`].
    scopes: u8,
    session: bool,
}

impl Person {
    /// An account with these roles and a credential of these scopes; names that are none count for nothing.
    /// `session` says that the credential is a session, not an API token.
    pub fn new<'a>(
        roles: impl IntoIterator<Item = &'a str>,
        scopes: impl IntoIterator<Item = &'a str>,
        session: bool,
    ) -> Self {
        let bit = |names: &[&str], name: &str| {
            let at = names.iter().position(|known| *known == name);
            at.map_or(0, |at| 1_u16 << at)
        };
        let all = |bits: u16, bit: u16| bits | bit;
        Self {
            roles: roles.into_iter().map(|name| bit(&ROLES, name)).fold(0, all),
            scopes: scopes
                .into_iter()
                .map(|name| bit(&SCOPES, name))
                .fold(0, all) as u8,
            session,
        }
    }

    fn held<'a>(bits: u16, names: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
        let held = names.iter().enumerate();
        held.filter(move |(at, _)| bits & (1 << at) != 0)
            .map(|(_, name)| *name)
    }
}

macro_rules! jobs {
    ($($name:ident = $text:literal,)*) => {
        /// Who does the service's own work: a thread's deadlines, or a kind of queued job.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "named after the kinds of jobs")]
        pub enum Job { $($name,)* }

        impl Job {
            /// All of them.
            pub const ALL: &'static [Job] = &[$(Job::$name,)*];

            /// The name in the policy, which is the job's kind.
            pub fn as_str(self) -> &'static str {
                match self { $(Job::$name => $text,)* }
            }

            /// The job of that kind.
            pub fn parse(name: &str) -> Option<Job> {
                Job::ALL.iter().copied().find(|job| job.as_str() == name)
            }
        }
    };
}

jobs! {
    Deadlines = "deadlines",
    JudgeEvidence = "judge-evidence",
    DecideChallenge = "decide-exhibit-challenge",
    ReassessMarket = "reassess-market",
    SettleMarket = "settle-market",
    PayMarket = "pay-market",
    ReleaseMarket = "release-market",
    GoldPanel = "gold-panel",
    MatchOrders = "match-orders",
    CloseOrders = "close-orders",
    LearnOracle = "learn-oracle",
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Principal {
    /// Nobody who is signed in.
    Visitor,
    /// A signed-in account.
    Person(Person),
    /// The service itself.
    Job(Job),
}

/// May `principal` do `action` with a thing of its own (`own`) or of somebody else?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Question {
    /// Who asks.
    pub principal: Principal,
    /// What for.
    pub action: Action,
    /// Whether what it is about belongs to who asks. Where things of the kind belong to nobody, no matter.
    pub own: bool,
}

/// The policy in force.
#[derive(Debug)]
pub struct Access {
    authorizer: Authorizer,
    policies: PolicySet,
    schema: Schema,
    circumstances: Circumstances,
    /// What the schema says of each action, in the order of [`Action::ALL`].
    facts: Vec<Facts>,
    remembered: RwLock<HashMap<Question, bool>>,
}

/// What the schema says of an action.
#[derive(Debug)]
struct Facts {
    kind: String,
    scope: Option<&'static str>,
}

impl Access {
    /// The embedded policy.
    ///
    /// # Errors
    /// [`AccessError`] where policy, schema and [`Action`] do not fit each other: a fault of the program.
    pub fn new(circumstances: Circumstances) -> Result<Self, AccessError> {
        Self::of(POLICY, SCHEMA, circumstances)
    }

    /// As [`Access::new`], of other texts.
    ///
    /// # Errors
    /// [`AccessError`] naming the first mistake.
    pub fn of(
        policy: &str,
        schema: &str,
        circumstances: Circumstances,
    ) -> Result<Self, AccessError> {
        let (schema, warnings) = Schema::from_cedarschema_str(schema).map_err(broken)?;
        if let Some(warning) = warnings.into_iter().next() {
            return Err(broken(warning));
        }
        let policies: PolicySet = policy.parse().map_err(broken)?;
        let checked = Validator::new(schema.clone()).validate(&policies, ValidationMode::Strict);
        if let Some(error) = checked.validation_errors().next() {
            return Err(broken(error));
        }
        if let Some(warning) = checked.validation_warnings().next() {
            return Err(broken(warning));
        }
        let facts = Action::ALL.iter().map(|action| facts_of(&schema, *action));
        Ok(Self {
            authorizer: Authorizer::new(),
            policies,
            facts: facts.collect::<Result<_, _>>()?,
            schema,
            circumstances,
            remembered: RwLock::default(),
        })
    }

    /// Whether the policy permits it. What cannot be answered is denied.
    pub fn permits(&self, question: Question) -> bool {
        // Entries are written whole, so a poisoned lock is still good.
        let known = self.remembered.read();
        let known = known.unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = known.get(&question) {
            return *answer;
        }
        drop(known);
        let answer = self.decide(question).unwrap_or(false);
        let remembered = self.remembered.write();
        let mut remembered = remembered.unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= MAX_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(question, answer);
        answer
    }

    /// As [`Access::permits`], asking the policy every time.
    ///
    /// # Errors
    /// A question that the schema does not have, such as one about an account's action by a job.
    pub fn decide(&self, question: Question) -> Result<bool, AccessError> {
        let principal = principal_of(question.principal)?;
        let resource = self.resource_of(question, &principal)?;
        let request = Request::new(
            principal.uid(),
            uid("Action", question.action.as_str())?,
            resource.uid(),
            self.context()?,
            Some(&self.schema),
        )
        .map_err(broken)?;
        // An account that asks about itself is one entity, not two.
        let asked = (resource.uid() != principal.uid()).then_some(resource);
        let entities =
            Entities::from_entities(asked.into_iter().chain([principal]), Some(&self.schema))
                .map_err(broken)?;
        let answer = self
            .authorizer
            .is_authorized(&request, &self.policies, &entities);
        if let Some(error) = answer.diagnostics().errors().next() {
            return Err(broken(error));
        }
        Ok(answer.decision() == Decision::Allow)
    }

    /// The scope that an action asks for, if it is one of those that a scope covers.
    pub fn scope_of(&self, action: Action) -> Option<&'static str> {
        self.facts.get(action as usize)?.scope
    }

    /// The kind of thing that an action is about, as in the schema.
    pub fn subject_of(&self, action: Action) -> &str {
        self.facts
            .get(action as usize)
            .map_or("", |facts| facts.kind.as_str())
    }

    fn context(&self) -> Result<Context, AccessError> {
        let pairs = [
            (
                "public_read".to_owned(),
                RestrictedExpression::new_bool(self.circumstances.public_read),
            ),
            (
                "sign_up".to_owned(),
                RestrictedExpression::new_string(self.circumstances.sign_up.as_str().to_owned()),
            ),
        ];
        Context::from_pairs(pairs).map_err(broken)
    }

    fn resource_of(&self, question: Question, principal: &Entity) -> Result<Entity, AccessError> {
        let kind = self.subject_of(question.action);
        let owner = if question.own { SELF } else { OTHER };
        if kind == "Account" {
            if question.own && matches!(question.principal, Principal::Person(_)) {
                return Ok(principal.clone());
            }
            return account(OTHER, &Person::default());
        }
        let owned = [
            "Session",
            "Token",
            "Statement",
            "Comment",
            "Key",
            "Webhook",
            "Notice",
        ]
        .contains(&kind);
        let owner = owned.then(|| uid("Account", owner)).transpose()?;
        let attributes = owner.map(|owner| {
            (
                "owner".to_owned(),
                RestrictedExpression::new_entity_uid(owner),
            )
        });
        Entity::new(
            uid(kind, SELF)?,
            attributes.into_iter().collect(),
            HashSet::new(),
        )
        .map_err(broken)
    }
}

fn facts_of(schema: &Schema, action: Action) -> Result<Facts, AccessError> {
    let name = uid("Action", action.as_str())?;
    let kinds = schema.resources_for_action(&name);
    let kinds: HashSet<String> = kinds
        .ok_or_else(|| broken(format!("the schema lacks {name}")))?
        .map(ToString::to_string)
        .collect();
    let [kind] = <[String; 1]>::try_from(Vec::from_iter(kinds))
        .map_err(|kinds| broken(format!("{name} is about {} kinds of things", kinds.len())))?;
    let entities = schema.action_entities().map_err(broken)?;
    let above = entities.ancestors(&name).into_iter().flatten();
    let groups: Vec<String> = above
        .map(|group| group.id().unescaped().to_owned())
        .chain([action.as_str().to_owned()])
        .collect();
    let of_scope = |scope: &&str| groups.iter().any(|group| group.eq_ignore_ascii_case(scope));
    let scope = match action {
        // Policies of their own ask for these scopes.
        Action::AskModel
        | Action::ReadStatement
        | Action::ReadPortfolio
        | Action::ListOwnOrders => Some("read"),
        Action::RemoveComment => Some("trade"),
        Action::RegisterKey | Action::VouchForKey | Action::Cosign | Action::RetireKey => {
            Some("govern")
        }
        _ => SCOPES.into_iter().find(of_scope),
    };
    Ok(Facts { kind, scope })
}

fn principal_of(principal: Principal) -> Result<Entity, AccessError> {
    match principal {
        Principal::Visitor => Ok(Entity::with_uid(uid("Visitor", SELF)?)),
        Principal::Job(job) => Ok(Entity::with_uid(uid("Job", job.as_str())?)),
        Principal::Person(person) => account(SELF, &person),
    }
}

fn account(name: &str, person: &Person) -> Result<Entity, AccessError> {
    let id = uid("Account", name)?;
    let roles = Person::held(person.roles, &ROLES).map(|role| uid("Role", role));
    let scopes = Person::held(person.scopes.into(), &SCOPES);
    let scopes = scopes.map(|scope| RestrictedExpression::new_string(scope.to_owned()));
    let attributes = HashMap::from([
        (
            "owner".to_owned(),
            RestrictedExpression::new_entity_uid(id.clone()),
        ),
        ("scopes".to_owned(), RestrictedExpression::new_set(scopes)),
        (
            "session".to_owned(),
            RestrictedExpression::new_bool(person.session),
        ),
    ]);
    Entity::new(id, attributes, roles.collect::<Result<_, _>>()?).map_err(broken)
}

fn uid(kind: &str, name: &str) -> Result<EntityUid, AccessError> {
    let kind: EntityTypeName = kind.parse().map_err(broken)?;
    Ok(EntityUid::from_type_name_and_id(kind, EntityId::new(name)))
}
