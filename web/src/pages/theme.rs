//! Light, dark, or as the system says; works without JavaScript.

use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};

use super::local_path;
use super::visit::THEME_COOKIE;

/// `GET /theme?to=dark&back=/`: only a cosmetic cookie is set, so a link is enough.
pub(crate) async fn choose(req: HttpRequest) -> HttpResponse {
    let find = |name: &str| {
        form_urlencoded::parse(req.query_string().as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value)
    };
    let to = match find("to").as_deref() {
        Some("light") => "light",
        Some("dark") => "dark",
        _ => "auto",
    };
    let cookie = Cookie::build(THEME_COOKIE, to)
        .path("/")
        .same_site(SameSite::Lax)
        .max_age(Duration::days(365))
        .finish();
    HttpResponse::SeeOther()
        .insert_header((header::LOCATION, local_path(find("back").as_deref())))
        .cookie(cookie)
        .finish()
}
