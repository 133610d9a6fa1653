//! Attachments: small files by the hash of their content.

use actix_web::http::header;
use actix_web::{HttpResponse, web};
use plumbline_service::views::AttachmentView;

use super::{Answer, created};
use crate::auth::{Caller, State};
use crate::blocking::blocking;
use crate::extract::Raw;

/// What a browser may do with a file that it opens after all: nothing.
const SANDBOX: &str = "default-src 'none'; sandbox; frame-ancestors 'none'";

/// Attach a file: the raw body, at most 1 MiB, of one of a short list of media types
///
/// Bringing the same content again changes nothing. An account brings at most 20 MiB in all.
#[utoipa::path(post, path = "/api/v1/attachments", tag = "evidence",
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description =
        "text/plain, text/markdown, text/csv, application/json, application/jsonl, image/png, image/jpeg or application/pdf"),
    responses((status = 201, description = "Its hash", body = AttachmentView)))]
pub(crate) async fn attach(state: State, caller: Caller, body: Raw) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.attach(&context, &body.media_type, body.data.to_vec())
        })
        .await?,
    )
}

/// A file by its hash, always as a download
#[utoipa::path(get, path = "/api/v1/attachments/{hash}", tag = "evidence",
    params(("hash" = String, Path, description = "BLAKE3 of the content, 64 hex digits")),
    responses((status = 200, description = "The content", body = Vec<u8>, content_type = "application/octet-stream")))]
pub(crate) async fn show(state: State, caller: Caller, hash: web::Path<String>) -> Answer {
    let hash = hash.into_inner();
    let wanted = hash.clone();
    let file = blocking(&state.service, move |service| {
        service.attachment(&caller.context(), &wanted)
    })
    .await?;
    // The hash is one that the store knows, so it can stand in a header.
    let disposition = format!("attachment; filename=\"{}\"", &hash[..hash.len().min(16)]);
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, file.media_type))
        .insert_header((header::CONTENT_DISPOSITION, disposition))
        .insert_header((header::CONTENT_SECURITY_POLICY, SANDBOX))
        // It cannot change under its name; whether one may read it is the server's to say.
        .insert_header((
            header::CACHE_CONTROL,
            "private, max-age=31536000, immutable",
        ))
        .body(file.data))
}
