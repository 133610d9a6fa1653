//! One market's books, for whoever wants to recompute them.

use actix_web::http::header::{self, ContentDisposition, DispositionParam, DispositionType};
use actix_web::{HttpResponse, web};

use super::Answer;
use crate::auth::{Caller, State};
use crate::blocking::blocking;

/// A market's public books as JSON lines, closed by their BLAKE3; check them with `plumbline audit verify`
#[utoipa::path(get, path = "/api/v1/markets/{id}/audit", tag = "markets", params(("id" = String, Path, description = "Market id")),
    responses((status = 200, description = "Header, one row a line, digest; the format is in docs/audit.md", body = String, content_type = "application/jsonl")))]
pub(crate) async fn market(state: State, caller: Caller, id: web::Path<String>) -> Answer {
    let name = format!("market-{id}.jsonl");
    let text = blocking(&state.service, move |service| {
        service.market_audit(&caller.context(), &id)
    })
    .await?;
    let disposition = ContentDisposition {
        disposition: DispositionType::Attachment,
        parameters: vec![DispositionParam::Filename(name)],
    };
    Ok(HttpResponse::Ok()
        .content_type("application/jsonl; charset=utf-8")
        .insert_header((header::CONTENT_DISPOSITION, disposition))
        .body(text))
}
