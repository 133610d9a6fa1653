//! The OpenAPI document.

use actix_web::HttpResponse;
use actix_web::http::header;

use super::Answer;
use crate::auth::Caller;
use crate::openapi;

/// `GET /api/openapi.json`: readable by anyone, because it says nothing about this installation.
pub(crate) async fn document(_caller: Caller) -> Answer {
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .insert_header((header::ETAG, openapi::tag()))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(openapi::json()))
}
