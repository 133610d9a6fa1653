//! Files that ship inside the binary.

use std::sync::LazyLock;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};

use crate::problem::Problem;

/// One embedded file.
struct Asset {
    name: &'static str,
    media_type: &'static str,
    body: &'static [u8],
}

macro_rules! asset {
    ($name:literal, $media_type:literal) => {
        Asset {
            name: $name,
            media_type: $media_type,
            body: include_bytes!(concat!("../static/", $name)),
        }
    };
}

static ASSETS: &[Asset] = &[
    asset!("app.css", "text/css; charset=utf-8"),
    asset!("app.js", "text/javascript; charset=utf-8"),
    asset!("passkeys.js", "text/javascript; charset=utf-8"),
    asset!("logo.svg", "image/svg+xml"),
    asset!("fonts/inter-latin.woff2", "font/woff2"),
];

/// Changes whenever any file does, so that browsers may keep them for good.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut hasher = blake3::Hasher::new();
    for asset in ASSETS {
        hasher.update(asset.name.as_bytes()).update(asset.body);
    }
    hasher.finalize().to_hex()[..12].to_owned()
});

/// The version in the addresses of embedded files.
pub(crate) fn version() -> &'static str {
    &VERSION
}

/// `GET /static/{name}`
pub(crate) async fn serve(
    req: HttpRequest,
    name: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name.as_str()) else {
        return Err(Problem::of_status(actix_web::http::StatusCode::NOT_FOUND));
    };
    let pinned = req.query_string() == format!("v={}", version());
    let caching = if pinned {
        "public, max-age=31536000, immutable"
    } else {
        "public, max-age=300"
    };
    Ok(HttpResponse::Ok()
        .content_type(asset.media_type)
        .insert_header((header::CACHE_CONTROL, caching))
        .insert_header((header::ETAG, format!("W/\"{}\"", version())))
        .body(asset.body))
}
