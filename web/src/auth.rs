//! Who asks, and whether the policy lets them.
//!
//! [`admit`] runs before every handler, see [`crate::routing`]. A handler takes a [`Caller`]; there is no
//! other way to get a [`Context`], and none without having been admitted.

use std::time::Instant;

use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::{FromRequest, HttpMessage, HttpRequest, web};
use futures_util::future::{Ready, ready};
use plumbline_service::context::{Actor, Context, Idempotency};
use plumbline_service::{Action, ServiceError};

use crate::blocking::blocking;
use crate::config::WebConfig;
use crate::csrf;
use crate::limit::Client;
use crate::problem::Problem;
use crate::state::AppState;

/// Name of the session cookie.
pub(crate) const SESSION_COOKIE: &str = "plumbline_session";

/// A browser session behind a request.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    /// The cookie's value.
    pub(crate) secret: String,
    /// Token that its writes must carry.
    pub(crate) csrf: String,
    /// Notifications that were not read.
    pub(crate) unread: u64,
}

/// Who was let in to a route, as found by [`admit`].
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    /// Who asks.
    pub(crate) actor: Actor,
    /// Present when a session cookie said so.
    pub(crate) session: Option<Session>,
}

impl Caller {
    /// The secret of the session that asks, if it is one.
    pub(crate) fn secret(&self) -> Option<&str> {
        let session = self.session.as_ref();
        session.map(|session| session.secret.as_str())
    }

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

    /// Who was let in, without looking at CSRF, which forms carry in their body.
    pub(crate) fn of(req: &HttpRequest) -> Result<Self, Problem> {
        let admitted = req.extensions().get::<Self>().cloned();
        admitted.ok_or_else(|| Problem::internal("a handler without a gate before it"))
    }
}

/// Finds out who asks, and refuses whom the policy does not permit the route's action.
///
/// # Errors
/// 401 for a visitor and for a wrong token; 403 and 429 for an account.
pub(crate) async fn admit(req: &HttpRequest) -> Result<(), Problem> {
    let action = req.extensions().get::<Action>().copied();
    let action = action.ok_or_else(|| Problem::internal("a route without an action"))?;
    // Files are the same for everyone; looking for a session would cost more than serving them.
    let (actor, session) = match action {
        Action::FetchFile => (Actor::visitor(), None),
        _ => identify(req).await?,
    };
    let state = AppState::of(req)?;
    if let Some(id) = &actor.account_id {
        let client = Client::Account(id.clone());
        let quota = state.accounts.take(client, Instant::now());
        let quota = quota.map_err(|wait| Problem::too_many("requests of this account", wait))?;
        if let Some(quota) = quota {
            req.extensions_mut().insert(quota);
        }
    }
    state.service.authorise(&actor, action)?;
    req.extensions_mut().insert(Caller { actor, session });
    Ok(())
}

impl FromRequest for Caller {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Self::of(req).and_then(|caller| {
            if let Some(session) = &caller.session
                && !req.method().is_safe()
            {
                csrf::require_same_origin(req)?;
                let given = req
                    .headers()
                    .get(csrf::CSRF_HEADER)
                    .and_then(|value| value.to_str().ok());
                csrf::require_token(given, &session.csrf)?;
            }
            Ok(caller)
        }))
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
        let Some((actor, csrf)) = service.actor_of_session(&looked_up)? else {
            return Ok(None);
        };
        let account = actor.account_id.as_deref();
        let unread = account.map_or(Ok(0), |account| service.unread_notices(account))?;
        Ok(Some((actor, csrf, unread)))
    })
    .await?;
    // A cookie that outlived its session is a visitor's, so that people see the page and not an error.
    Ok(found.map_or_else(
        || (Actor::visitor(), None),
        |(actor, csrf, unread)| {
            let session = Session {
                secret,
                csrf,
                unread,
            };
            (actor, Some(session))
        },
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
