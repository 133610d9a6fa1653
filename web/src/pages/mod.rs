//! Server-rendered pages: readable without JavaScript, live where there is some.
//!
//! A page handler says who may see it, loads a typed context from the service
//! on a blocking thread, and renders it. Forms post, then redirect with a
//! flash message, or show themselves again with what was wrong.

pub(crate) mod account;
pub(crate) mod allocations;
pub(crate) mod calibration;
pub(crate) mod comments;
pub(crate) mod dashboard;
pub(crate) mod decision;
pub(crate) mod diff;
pub(crate) mod dispute;
pub(crate) mod evidence;
pub(crate) mod exhibit;
pub(crate) mod feed;
pub(crate) mod form;
pub(crate) mod invitations;
pub(crate) mod juries;
pub(crate) mod ledger;
pub(crate) mod log;
pub(crate) mod market;
pub(crate) mod markets;
pub(crate) mod notices;
pub(crate) mod operations;
pub(crate) mod oracle;
pub(crate) mod orders;
pub(crate) mod outcomes;
pub(crate) mod passkeys;
pub(crate) mod policy;
pub(crate) mod portfolio;
pub(crate) mod proposal_form;
pub(crate) mod proposals;
pub(crate) mod reference;
pub(crate) mod refused;
pub(crate) mod run;
pub(crate) mod security;
pub(crate) mod session;
pub(crate) mod settlement;
pub(crate) mod stakes;
pub(crate) mod theme;
pub(crate) mod tour;
pub(crate) mod training;
pub(crate) mod verdict;
pub(crate) mod visit;
pub(crate) mod webhooks;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use serde::Serialize;

use crate::api::Answer;
use crate::problem::{Problem, ProblemDocument};
use crate::state::AppState;
use crate::templates::Page;
use visit::Facts;
pub(crate) use visit::{Chrome, Visit};

/// The page that says what went wrong.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorPage {
    /// What to show.
    pub(crate) problem: ProblemDocument,
}

impl Page for ErrorPage {
    const TEMPLATE: &'static str = "error.html";
}

/// An error as a page; signing in where that is all that is missing.
pub(crate) fn error_response(request: &HttpRequest, problem: &Problem) -> Option<HttpResponse> {
    let here = request
        .uri()
        .path_and_query()
        .map_or("/", |path| path.as_str());
    if problem.code == "unauthenticated" && request.method().is_safe() {
        return Some(see_other(&format!("/login?next={}", encode(here))));
    }
    let state = AppState::of(request).ok()?;
    // Bound first: reading cookies borrows the same extensions mutably.
    let known = request.extensions().get::<Facts>().cloned();
    let facts = known.unwrap_or_else(|| Facts::of(request));
    let page = ErrorPage {
        problem: problem.document(),
    };
    let html = state.templates.render(&facts.chrome(state), &page).ok()?;
    let mut response = HttpResponse::build(problem.http_status());
    if let Some(seconds) = problem.retry_after_s {
        response.insert_header((header::RETRY_AFTER, seconds.to_string()));
    }
    Some(response.content_type("text/html; charset=utf-8").body(html))
}

/// Any address that nothing else answers.
pub(crate) async fn not_found(_visit: Visit) -> Answer {
    Err(Problem::of_status(StatusCode::NOT_FOUND))
}

/// Browsers ask for this before they have read the page that names the icon.
pub(crate) async fn favicon() -> HttpResponse {
    HttpResponse::MovedPermanently()
        .insert_header((header::LOCATION, "/static/logo.svg"))
        .finish()
}

/// 303 to another page.
pub(crate) fn see_other(location: &str) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, location))
        .finish()
}

/// A value made safe inside a query.
pub(crate) fn encode(value: &str) -> String {
    form_urlencoded::byte_serialize(value.as_bytes()).collect()
}

/// An address of this site to go back to; anything else becomes the front page, so that links cannot send people away.
pub(crate) fn local_path(given: Option<&str>) -> String {
    let given = given.unwrap_or("/");
    let local = given.starts_with('/')
        && !given.starts_with("//")
        && given
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if local {
        given.to_owned()
    } else {
        "/".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_here() {
        for (given, expected) in [
            (Some("/markets/1?x=2"), "/markets/1?x=2"),
            (Some("//evil.example"), "/"),
            (Some("/\\evil.example"), "/"),
            (Some("https://evil.example"), "/"),
            (Some("/a\r\nSet-Cookie: x"), "/"),
            (None, "/"),
        ] {
            assert_eq!(local_path(given), expected);
        }
    }
}
