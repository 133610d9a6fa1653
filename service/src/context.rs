//! Who asks, and with which idempotency key: the first argument of every use case.

/// What a bearer token may do. A browser session has all scopes that its roles allow.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    serde::Serialize,
    serde::Deserialize,
    utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Read everything that is not another account's private matter.
    Read,
    /// Quote and trade.
    Trade,
    /// Submit evidence.
    Evidence,
    /// Vote, delegate, change policy where the role allows it.
    Govern,
    /// Register runs and checkpoints, acknowledge decisions.
    Schedule,
    /// Join training runs as a node.
    Node,
    /// Create markets, accounts and roles where the role allows it.
    Admin,
}

impl Scope {
    /// Every scope, in the order shown to people.
    pub const ALL: [Scope; 7] = [
        Scope::Read,
        Scope::Trade,
        Scope::Evidence,
        Scope::Govern,
        Scope::Schedule,
        Scope::Node,
        Scope::Admin,
    ];

    /// The scope's name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Read => "read",
            Scope::Trade => "trade",
            Scope::Evidence => "evidence",
            Scope::Govern => "govern",
            Scope::Schedule => "schedule",
            Scope::Node => "node",
            Scope::Admin => "admin",
        }
    }

    /// The scope of that name.
    pub fn parse(name: &str) -> Option<Scope> {
        Scope::ALL.into_iter().find(|scope| scope.as_str() == name)
    }
}

/// The account behind a request, or nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    /// Account id; `None` for a visitor.
    pub account_id: Option<String>,
    /// Handle shown to people; empty for a visitor.
    pub handle: String,
    /// Roles of the account: `participant`, `researcher`, `scheduler`, `operator`, …
    pub roles: Vec<String>,
    /// What this credential may do.
    pub scopes: Vec<Scope>,
    /// Whether that credential is a browser session and not an API token.
    pub session: bool,
}

impl Actor {
    /// A visitor who did not sign in.
    pub fn visitor() -> Self {
        Self {
            account_id: None,
            handle: String::new(),
            roles: Vec::new(),
            scopes: Vec::new(),
            session: false,
        }
    }

    /// Whether the account holds `role`.
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|held| held == role)
    }
}

/// An idempotency key with the hash of the body that it came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The client's key, 1 to 128 visible ASCII characters.
    pub key: String,
    /// BLAKE3 of method, path and body, hex.
    pub request_hash: String,
}

/// One request's context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Who asks.
    pub actor: Actor,
    /// Present on writes whose client sent a key.
    pub idempotency: Option<Idempotency>,
}

impl Context {
    /// A context for `actor` without an idempotency key.
    pub fn of(actor: Actor) -> Self {
        Self {
            actor,
            idempotency: None,
        }
    }
}
