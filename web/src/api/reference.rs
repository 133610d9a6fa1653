//! The OpenAPI document.

use actix_web::HttpResponse;

use super::Answer;
use crate::auth::Caller;
use crate::openapi;

/// `GET /api/openapi.json`: readable by anyone, because it says nothing about this installation.
pub(crate) async fn document(_caller: Caller) -> Answer {
    Ok(HttpResponse::Ok()
        .content_type("application/json")
        .body(openapi::json()))
}
