//! A visit to a page: who, where from, in which theme, with which message.

use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::dev::Payload;
use actix_web::http::{StatusCode, header};
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse};
use futures_util::future::{Ready, ready};
use plumbline_service::context::Context;
use plumbline_service::{Action, Service};
use serde::Serialize;

use super::form::fresh_key;
use super::refused::Refused;
use crate::api::Answer;
use crate::auth::{Caller, State};
use crate::blocking::blocking;
use crate::problem::Problem;
use crate::state::AppState;
use crate::static_files;
use crate::templates::Page;

/// Cookie with the message that the next page shows once.
const FLASH_COOKIE: &str = "plumbline_flash";
/// Cookie with the chosen theme.
pub(crate) const THEME_COOKIE: &str = "plumbline_theme";
/// Cookie of those who have seen the tour or waved it off.
pub(crate) const TOUR_COOKIE: &str = "plumbline_tour";
/// Longest message, bytes.
const MAX_FLASH: usize = 1_000;

/// What stands round every page.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Chrome {
    /// Who is signed in.
    pub(crate) viewer: Option<Viewer>,
    /// Token for forms of this session.
    pub(crate) csrf: String,
    /// `auto`, `light` or `dark`.
    pub(crate) theme: String,
    /// Path and query of this page.
    pub(crate) here: String,
    /// Path of this page, for the navigation.
    pub(crate) path: String,
    /// Message of the action before.
    pub(crate) flash: Option<Flash>,
    /// The last event that the page knows of.
    pub(crate) after: Option<i64>,
    /// The tour was seen or waved off.
    pub(crate) toured: bool,
    /// The form that was refused, where the page shows one again.
    pub(crate) refused: Option<Refused>,
    /// A key for forms of this very rendering, which makes a double click harmless.
    pub(crate) key: String,
    /// Version in the addresses of static files.
    pub(crate) assets: &'static str,
    /// Who may sign up: `open`, `invite` or `closed`.
    pub(crate) sign_up: &'static str,
    /// Version of the program.
    pub(crate) version: &'static str,
    /// Notifications that the viewer has not read.
    pub(crate) unread: u64,
    /// Whether the viewer follows what the page is about.
    pub(crate) follow: Option<Follow>,
}

/// What a page is about, for whoever wants to be told of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Follow {
    /// Its topic.
    pub(crate) topic: String,
    /// The viewer follows it.
    pub(crate) following: bool,
}

/// Who is signed in.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Viewer {
    /// Their handle.
    pub(crate) handle: String,
    /// May trade.
    pub(crate) trades: bool,
    /// May submit evidence.
    pub(crate) testifies: bool,
    /// May propose settlements and challenge them.
    pub(crate) settles: bool,
    /// May see operations.
    pub(crate) operates: bool,
    /// Is a juror, or may become one.
    pub(crate) sits: bool,
    /// May stake, propose and vote.
    pub(crate) votes: bool,
}

/// A message shown once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Flash {
    /// `done` or `error`.
    pub(crate) kind: String,
    /// The message.
    pub(crate) text: String,
}

/// What is known about a visit before its page is loaded.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    here: String,
    path: String,
    theme: String,
    flash: Option<Flash>,
    viewer: Option<Viewer>,
    csrf: String,
    refused: Option<Refused>,
    toured: bool,
    after: Option<i64>,
    unread: u64,
    follow: Option<Follow>,
}

impl Facts {
    /// What the request itself says; nobody is signed in yet.
    pub(crate) fn of(req: &HttpRequest) -> Self {
        let theme_query = req
            .query_string()
            .split('&')
            .find_map(|pair| pair.strip_prefix("theme="));
        let theme = theme_query.map(str::to_owned).or_else(|| {
            let cookie = req.cookie(THEME_COOKIE)?;
            Some(cookie.value().to_owned())
        });
        let theme = theme
            .filter(|theme| matches!(theme.as_str(), "light" | "dark"))
            .unwrap_or("auto".to_owned());
        let flash = req
            .cookie(FLASH_COOKIE)
            .and_then(|cookie| read_flash(cookie.value()));
        let here = req
            .uri()
            .path_and_query()
            .map_or("/", |path| path.as_str())
            .to_owned();
        Self {
            here,
            path: req.path().to_owned(),
            theme,
            flash,
            viewer: None,
            csrf: String::new(),
            refused: None,
            toured: req.cookie(TOUR_COOKIE).is_some(),
            after: None,
            unread: 0,
            follow: None,
        }
    }

    /// The same, with a form that was refused.
    pub(crate) fn with_refused(self, refused: Refused) -> Self {
        Self {
            refused: Some(refused),
            ..self
        }
    }

    /// The same, with whoever is signed in.
    pub(crate) fn with(mut self, caller: &Caller, service: &Service) -> Self {
        let actor = &caller.actor;
        if actor.account_id.is_some() {
            let may = |action| service.may(actor, action);
            self.viewer = Some(Viewer {
                handle: actor.handle.clone(),
                trades: may(Action::PlaceTrade),
                testifies: may(Action::SubmitEvidence),
                settles: may(Action::ProposeSettlement),
                operates: may(Action::ListJobs),
                sits: actor.has_role("juror"),
                votes: may(Action::CastVote),
            });
        }
        self.csrf = caller
            .session
            .as_ref()
            .map(|session| session.csrf.clone())
            .unwrap_or_default();
        self.unread = caller.session.as_ref().map_or(0, |session| session.unread);
        self
    }

    /// The chrome of a page.
    pub(crate) fn chrome(&self, state: &AppState) -> Chrome {
        Chrome {
            viewer: self.viewer.clone(),
            csrf: self.csrf.clone(),
            theme: self.theme.clone(),
            here: self.here.clone(),
            path: self.path.clone(),
            flash: self.flash.clone(),
            after: self.after,
            toured: self.toured,
            refused: self.refused.clone(),
            key: fresh_key(),
            assets: static_files::version(),
            sign_up: state.service.sign_up().as_str(),
            version: env!("CARGO_PKG_VERSION"),
            unread: self.unread,
            follow: self.follow.clone(),
        }
    }
}

/// A visit to a page by someone who was let in.
pub(crate) struct Visit {
    /// Who.
    pub(crate) caller: Caller,
    /// Everything else.
    pub(crate) facts: Facts,
}

impl FromRequest for Visit {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Caller::of(req).and_then(|caller| {
            let facts = Facts::of(req).with(&caller, &AppState::of(req)?.service);
            // Left for the error page, should the handler fail.
            req.extensions_mut().insert(facts.clone());
            Ok(Self { caller, facts })
        }))
    }
}

impl Visit {
    /// Loads a page on a blocking thread and renders it.
    pub(crate) async fn page<P, F>(self, state: &State, load: F) -> Answer
    where
        P: Page + Send + 'static,
        F: FnOnce(&Service, &Context) -> plumbline_service::Result<P> + Send + 'static,
    {
        let context = self.caller.context();
        let (after, page, follow) = blocking(&state.service, move |service| {
            // Read first: what happens while the page is loaded, or before its script listens, is then told to it.
            let after = service.last_event_id()?;
            let page = load(service, &context)?;
            let topic = page.about().filter(|_| context.actor.session);
            let follow = topic.map(|topic| {
                let following = service.is_following(&context, &topic)?;
                plumbline_service::Result::Ok(Follow { topic, following })
            });
            Ok((after, page, follow.transpose()?))
        })
        .await?;
        let facts = Facts {
            after: Some(after),
            follow,
            ..self.facts
        };
        render(state, &facts, StatusCode::OK, &page)
    }
}

/// Renders a loaded page; a shown message is then forgotten.
pub(crate) fn render<P: Page>(
    state: &AppState,
    facts: &Facts,
    status: StatusCode,
    page: &P,
) -> Answer {
    let html = written(state, facts.chrome(state), page)?;
    let mut response = HttpResponse::build(status);
    if facts.flash.is_some() {
        response.insert_header((header::SET_COOKIE, flash_cookie(String::new(), 0)));
    }
    Ok(response.content_type("text/html; charset=utf-8").body(html))
}

/// The page's text. What was wrong with a form is always somewhere on it: at its field, else above the form, else, where
/// the page has no longer such a form, above everything.
fn written<P: Page>(
    state: &AppState,
    mut chrome: Chrome,
    page: &P,
) -> std::result::Result<String, Problem> {
    let html = state.templates.render(&chrome, page)?;
    let Some(refused) = &mut chrome.refused else {
        return Ok(html);
    };
    if html.contains(&format!("id=\"{}-fault\"", refused.at)) {
        return Ok(html);
    }
    refused.at.clear();
    let html = state.templates.render(&chrome, page)?;
    if html.contains("role=\"alert\"") {
        return Ok(html);
    }
    chrome.flash = chrome.refused.take().map(|refused| Flash {
        kind: "error".to_owned(),
        text: refused.text,
    });
    state.templates.render(&chrome, page)
}

fn flash_cookie(value: String, max_age_s: i64) -> String {
    let cookie = Cookie::build(FLASH_COOKIE, value)
        .path("/")
        .http_only(true)
        .same_site(SameSite::Lax);
    cookie
        .max_age(Duration::seconds(max_age_s))
        .finish()
        .encoded()
        .to_string()
}

/// 303 to another page, which will show the message.
pub(crate) fn redirect_with(location: &str, kind: &str, text: &str) -> HttpResponse {
    let mut end = text.len().min(MAX_FLASH);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let cookie = flash_cookie(format!("{kind}:{}", &text[..end]), 60);
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, location))
        .insert_header((header::SET_COOKIE, cookie))
        .finish()
}

fn read_flash(value: &str) -> Option<Flash> {
    let (kind, text) = value.split_once(':')?;
    let known = matches!(kind, "done" | "error") && !text.is_empty();
    known.then(|| Flash {
        kind: kind.to_owned(),
        text: text.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn a_message_survives_the_redirect() {
        let text = "Bought 12 shares; it's \"done\" — 100 %";
        let response = redirect_with("/x", "done", text);
        let cookie = response
            .headers()
            .get(header::SET_COOKIE)
            .unwrap()
            .to_str()
            .unwrap();
        let pair = cookie.split(';').next().unwrap();
        let req = TestRequest::get()
            .insert_header((header::COOKIE, pair))
            .to_http_request();
        assert_eq!(
            Facts::of(&req).flash,
            Some(Flash {
                kind: "done".into(),
                text: text.into()
            })
        );
        assert!(
            redirect_with("/x", "error", &"é".repeat(2_000))
                .headers()
                .contains_key(header::SET_COOKIE)
        );
    }

    #[test]
    fn themes_are_known_ones() {
        for (uri, theme) in [
            ("/?theme=dark", "dark"),
            ("/?a=b&theme=light", "light"),
            ("/?theme=x%22", "auto"),
        ] {
            assert_eq!(
                Facts::of(&TestRequest::get().uri(uri).to_http_request()).theme,
                theme
            );
        }
    }
}
