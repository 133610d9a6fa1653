//! HTTP: the JSON API, the pages, the OpenAI-compatible gateway, sessions and
//! tokens, server-sent events. The only crate that knows actix.
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`], [`server`] | [`WebConfig`], [`serve`], [`RunningServer`] |
//! | `routes` | the table of contents: every path and its handler |
//! | `api` | handlers of `/api/v1`, one file per aggregate |
//! | `gateway` | `/v1/models`, `/v1/completions`, `/v1/chat/completions` |
//! | `pages` | server-rendered pages and their forms |
//! | `chart` | geometry of the SVG charts |
//! | `templates` | the embedded templates, their filters and typed contexts |
//! | `routes`, `routing` | every path with its action; the gate before every handler |
//! | `auth`, `csrf`, `limit`, `envelope`, `etag` | who asks, from where, how often, and what every answer carries |
//! | `problem` | the one error type and its RFC 9457 form |
//!
//! **Invariant.** No rule of the market, the oracle or governance lives here:
//! a handler extracts a request, calls one use case of the service, and turns
//! the answer into JSON or a page. Every route names the action it stands for; one
//! without does not compile, and the policy is asked before the handler runs. No service call runs
//! on an event-loop thread, because every one of them may block.

mod api;
mod auth;
pub mod bench;
mod blocking;
mod chart;
pub mod config;
mod csrf;
mod envelope;
mod etag;
mod extract;
mod gateway;
mod limit;
mod markup;
mod news;
mod openapi;
mod pages;
mod problem;
mod request_id;
mod routes;
mod routing;
pub mod server;
mod state;
mod static_files;
mod stream;
mod tail;
mod templates;
mod traffic;
mod waiters;
mod wake;

pub use config::{RateLimits, WebConfig};
pub use openapi::document as openapi_document;
pub use routes::all as routes;
pub use routing::Mounted;
pub use server::{RunningServer, WebError, serve};
