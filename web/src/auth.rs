//! Who asks, and whether the route lets them.
//!
//! A handler takes a [`Caller`] of the kind of actor that it needs; there is
//! no other way to get a [`Context`], so a route that forgot to declare its
//! actor cannot call the service.

use std::marker::PhantomData;

use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpRequest, web};
use futures_util::future::LocalBoxFuture;
use plumbline_service::ServiceError;
use plumbline_service::context::{Actor, Context, Idempotency, Scope};

use crate::blocking::blocking;
use crate::config::WebConfig;
use crate::csrf;
use crate::problem::Problem;
use crate::state::AppState;

/// Name of the session cookie.
pub(crate) const SESSION_COOKIE: &str = "plumbline_session";

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anyone, even where reading needs an account: signing in, health, static files.
    Anyone,
    /// Whoever may read: everyone where reading is public, else the `read` scope.
    Reader,
    /// Anyone who is signed in, for their own affairs.
    Member,
    /// A signed-in account with that scope.
    Scoped(Scope),
}

/// A kind of actor, as a type, so that handlers state it in their signature.
pub(crate) trait Need: 'static {
    /// What is asked.
    const ACCESS: Access;
}

macro_rules! needs {
    ($($(#[$doc:meta])* $name:ident = $access:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $name;
        impl Need for $name {
            const ACCESS: Access = $access;
        }
    )*};
}

needs! {
    /// See [`Access::Anyone`].
    Anyone = Access::Anyone;
    /// See [`Access::Reader`].
    Reader = Access::Reader;
    /// See [`Access::Member`].
    Member = Access::Member;
    /// May quote and trade.
    Trader = Access::Scoped(Scope::Trade);
    /// May submit evidence.
    Witness = Access::Scoped(Scope::Evidence);
    /// May vote, as a juror where it has a seat.
    Juror = Access::Scoped(Scope::Govern);
    /// May stake, propose, vote and delegate.
    Voter = Access::Scoped(Scope::Govern);
    /// May register runs and checkpoints and acknowledge decisions.
    Scheduler = Access::Scoped(Scope::Schedule);
    /// May read with an account of their own; completions cost compute, so visitors are left out.
    SignedReader = Access::Scoped(Scope::Read);
    /// May create markets and see jobs.
    Admin = Access::Scoped(Scope::Admin);
}

/// A browser session behind a request.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// The cookie's value.
    pub(crate) secret: String,
    /// Token that its writes must carry.
    pub(crate) csrf: String,
}

/// The actor of a request to a route that needs an `N`.
#[derive(Debug)]
pub(crate) struct Caller<N> {
    /// Who asks.
    pub(crate) actor: Actor,
    /// Present when a session cookie said so.
    pub(crate) session: Option<Session>,
    need: PhantomData<N>,
}

impl<N: Need> Caller<N> {
    /// The context of a read.
    pub(crate) fn context(&self) -> Context {
        Context::of(self.actor.clone())
    }

    /// The context of a write, with the client's idempotency key if it sent one.
    pub(crate) fn writing(&self, idempotency: Option<Idempotency>) -> Context {
        Context {
            actor: self.actor.clone(),
            idempotency,
        }
    }

    /// Identifies and authorises without looking at CSRF, which forms carry in their body.
    pub(crate) async fn admit(req: &HttpRequest) -> Result<Self, Problem> {
        let (mut actor, session) = identify(req).await?;
        let state = AppState::of(req)?;
        authorise(N::ACCESS, &mut actor, &state.config)?;
        Ok(Self {
            actor,
            session,
            need: PhantomData,
        })
    }
}

impl<N: Need> FromRequest for Caller<N> {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        let req = req.clone();
        Box::pin(async move {
            let caller = Self::admit(&req).await?;
            if let Some(session) = &caller.session
                && !req.method().is_safe()
            {
                csrf::require_same_origin(&req)?;
                let given = req
                    .headers()
                    .get(csrf::CSRF_HEADER)
                    .and_then(|value| value.to_str().ok());
                csrf::require_token(given, &session.csrf)?;
            }
            Ok(caller)
        })
    }
}

/// Reads the credentials: a bearer token wins over a cookie, and a wrong one is never ignored.
async fn identify(req: &HttpRequest) -> Result<(Actor, Option<Session>), Problem> {
    let state = AppState::of(req)?;
    if let Some(value) = req.headers().get(header::AUTHORIZATION) {
        let token = bearer(value.to_str().unwrap_or_default())?;
        if let Some(actor) = state.service.known_actor(&token) {
            return Ok((actor, None));
        }
        let actor = blocking(&state.service, move |service| {
            service.actor_of_token(&token)
        })
        .await?;
        return Ok((actor, None));
    }
    let Some(cookie) = req.cookie(SESSION_COOKIE) else {
        return Ok((Actor::visitor(), None));
    };
    let secret = cookie.value().to_owned();
    let looked_up = secret.clone();
    let found = blocking(&state.service, move |service| {
        service.actor_of_session(&looked_up)
    })
    .await?;
    // A cookie that outlived its session is a visitor's, so that people see the page and not an error.
    Ok(found.map_or_else(
        || (Actor::visitor(), None),
        |(actor, csrf)| (actor, Some(Session { secret, csrf })),
    ))
}

fn bearer(value: &str) -> Result<String, Problem> {
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    let token = token.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= 512 {
        return Ok(token.to_owned());
    }
    Err(ServiceError::Unauthenticated.into())
}

fn authorise(access: Access, actor: &mut Actor, config: &WebConfig) -> Result<(), Problem> {
    let signed_in = actor.account_id.is_some();
    let scope = match access {
        Access::Anyone => return Ok(()),
        Access::Reader if !signed_in && config.public_read => {
            actor.scopes = vec![Scope::Read];
            return Ok(());
        }
        Access::Member if signed_in => return Ok(()),
        Access::Member => return Err(ServiceError::Unauthenticated.into()),
        Access::Reader => Scope::Read,
        Access::Scoped(scope) => scope,
    };
    if !signed_in {
        return Err(ServiceError::Unauthenticated.into());
    }
    if actor.scopes.contains(&scope) {
        return Ok(());
    }
    Err(ServiceError::Forbidden {
        needs: format!("the {} scope", scope.as_str()),
    }
    .into())
}

/// The cookie of a session that was just opened.
pub(crate) fn session_cookie(config: &WebConfig, secret: &str, max_age_s: i64) -> Cookie<'static> {
    Cookie::build(SESSION_COOKIE, secret.to_owned())
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(config.secure_cookies)
        .max_age(Duration::seconds(max_age_s))
        .finish()
}

/// The cookie that ends a session.
pub(crate) fn no_session_cookie(config: &WebConfig) -> Cookie<'static> {
    session_cookie(config, "", 0)
}

/// The state of the server behind a request, shared with every handler.
pub(crate) type State = web::Data<AppState>;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn actor(scopes: &[Scope]) -> Actor {
        Actor {
            account_id: Some("a".into()),
            handle: "ada".into(),
            roles: vec![],
            scopes: scopes.to_vec(),
        }
    }

    fn code(access: Access, mut actor: Actor, public_read: bool) -> Result<(), String> {
        let config = WebConfig {
            public_read,
            ..WebConfig::default()
        };
        authorise(access, &mut actor, &config).map_err(|problem| problem.code)
    }

    #[test]
    fn every_access_denies_by_default() {
        let visitor = Actor::visitor;
        assert_eq!(code(Access::Anyone, visitor(), false), Ok(()));
        assert_eq!(code(Access::Reader, visitor(), true), Ok(()));
        assert_eq!(
            code(Access::Reader, visitor(), false),
            Err("unauthenticated".into())
        );
        assert_eq!(
            code(Access::Reader, actor(&[Scope::Trade]), true),
            Err("forbidden".into())
        );
        assert_eq!(code(Access::Reader, actor(&[Scope::Read]), false), Ok(()));
        assert_eq!(
            code(Access::Member, visitor(), true),
            Err("unauthenticated".into())
        );
        assert_eq!(code(Access::Member, actor(&[]), false), Ok(()));
        assert_eq!(
            code(Access::Scoped(Scope::Trade), visitor(), true),
            Err("unauthenticated".into())
        );
        assert_eq!(
            code(Access::Scoped(Scope::Trade), actor(&[Scope::Read]), true),
            Err("forbidden".into())
        );
        assert_eq!(
            code(Access::Scoped(Scope::Trade), actor(&[Scope::Trade]), true),
            Ok(())
        );
    }

    #[test]
    fn only_bearer_tokens_count() {
        assert_eq!(bearer("Bearer plb_x").unwrap(), "plb_x");
        assert_eq!(bearer("bearer  plb_x").unwrap(), "plb_x");
        for bad in ["", "plb_x", "Basic abc", "Bearer ", "Bearer"] {
            assert_eq!(bearer(bad).unwrap_err().status, 401, "{bad}");
        }
        assert!(bearer(&format!("Bearer {}", "x".repeat(600))).is_err());
    }

    #[test]
    fn the_session_cookie_is_out_of_reach_of_scripts_and_other_sites() {
        let config = WebConfig {
            secure_cookies: true,
            ..WebConfig::default()
        };
        let text = session_cookie(&config, "s", 60).to_string();
        for part in [
            "plumbline_session=s",
            "HttpOnly",
            "SameSite=Lax",
            "Secure",
            "Path=/",
            "Max-Age=60",
        ] {
            assert!(text.contains(part), "{text} lacks {part}");
        }
        assert!(no_session_cookie(&config).to_string().contains("Max-Age=0"));
    }
}
