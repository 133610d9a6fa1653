//! Forms: same origin, CSRF token, bounded body, no surprises.

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::{FromRequest, HttpMessage, HttpRequest};
use futures_util::future::LocalBoxFuture;
use plumbline_service::context::{Context, Idempotency};
use plumbline_service::{Service, ServiceError};

use super::visit::{Facts, render};
use crate::api::Answer;
use crate::auth::Caller;
use crate::blocking::blocking;
use crate::csrf;
use crate::extract::{keyed, read_body};
use crate::problem::Problem;
use crate::state::AppState;
use crate::templates::Page;

/// Most fields of a form.
const MAX_FIELDS: usize = 256;

/// A submitted form, by someone who was let in.
pub(crate) struct Form {
    /// Who.
    pub(crate) caller: Caller,
    /// The visit that posted it.
    pub(crate) facts: Facts,
    /// Its fields.
    pub(crate) fields: Fields,
    /// From the hidden field that makes a double click harmless.
    pub(crate) idempotency: Option<Idempotency>,
}

impl Form {
    /// The context of the write.
    pub(crate) fn writing(&self) -> Context {
        self.caller.writing(self.idempotency.clone())
    }
}

/// A form's fields in order; a name may come several times.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields(Vec<(String, String)>);

impl FromIterator<(String, String)> for Fields {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(fields: I) -> Self {
        Self(fields.into_iter().collect())
    }
}

impl Fields {
    /// Names and values in order.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, (String, String)> {
        self.0.iter()
    }

    /// The first value of a field, trimmed; empty when it is missing.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(field, _)| field == name)
            .map_or("", |(_, value)| value.trim())
    }

    /// The first value as typed, for passwords and long texts.
    pub(crate) fn raw(&self, name: &str) -> &str {
        self.0
            .iter()
            .find(|(field, _)| field == name)
            .map_or("", |(_, value)| value.as_str())
    }

    /// Every value of a field.
    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        self.0
            .iter()
            .filter(|(field, _)| field == name)
            .map(|(_, value)| value.clone())
            .collect()
    }
}

impl FromRequest for Form {
    type Error = Problem;
    type Future = LocalBoxFuture<'static, Result<Self, Problem>>;

    fn from_request(req: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (req, payload) = (req.clone(), payload.take());
        Box::pin(async move {
            csrf::require_same_origin(&req)?;
            let caller = Caller::of(&req)?;
            let facts = Facts::of(&req).with(&caller, &AppState::of(&req)?.service);
            req.extensions_mut().insert(facts.clone());
            let body = read_body(&req, payload).await?;
            let text = std::str::from_utf8(&body)
                .map_err(|_| Problem::bad_request("not-utf8", "the form is not UTF-8"))?;
            let pairs = form_urlencoded::parse(text.as_bytes()).take(MAX_FIELDS);
            let fields = Fields(
                pairs
                    .map(|(name, value)| (name.into_owned(), value.into_owned()))
                    .collect(),
            );
            if let Some(session) = &caller.session {
                csrf::require_token(Some(fields.get("csrf")), &session.csrf)?;
            }
            let key = fields.get("idempotency");
            let idempotency = if key.is_empty() {
                None
            } else {
                Some(keyed(key, &req, &body)?)
            };
            Ok(Self {
                caller,
                facts,
                fields,
                idempotency,
            })
        })
    }
}

/// Shows the page of `id` again because one of its forms, `which`, was refused: `load` reads the page.
pub(crate) async fn show_again<P: Page + Send + 'static>(
    state: &AppState,
    form: &Form,
    id: &str,
    (which, text): (&'static str, &str),
    load: impl FnOnce(&Service, &Context, &str) -> Result<P, ServiceError> + Send + 'static,
) -> Answer {
    let (context, id) = (form.caller.context(), id.to_owned());
    let page = blocking(&state.service, move |service| load(service, &context, &id)).await?;
    let facts = form.refused(which, text);
    render(state, &facts, StatusCode::UNPROCESSABLE_ENTITY, &page)
}

/// Answers a form with the page itself, because a redirect would have to carry what was made: 201 with it, or 422 with
/// what was wrong, as `show` puts it into the page. Errors: those that are nobody's fault who filled it in.
pub(crate) fn answer_with_page<P: Page, T>(
    state: &AppState,
    form: &Form,
    made: Result<T, Problem>,
    mut page: P,
    show: impl FnOnce(&mut P, Result<T, String>),
) -> Answer {
    match made {
        Ok(made) => {
            show(&mut page, Ok(made));
            render(state, &form.facts, StatusCode::CREATED, &page)
        }
        Err(problem) if problem.status < 500 => {
            let facts = form.refused("", &problem.detail);
            show(&mut page, Err(problem.detail));
            render(state, &facts, StatusCode::UNPROCESSABLE_ENTITY, &page)
        }
        Err(problem) => Err(problem),
    }
}

/// A key for a form that is about to be shown.
pub(crate) fn fresh_key() -> String {
    uuid::Uuid::now_v7().to_string()
}

/// Credits as typed (`12`, `12.5`, `1,000`) in micro-credits. Errors: a sentence for the person.
pub(crate) fn micro_of(field: &str, text: &str) -> Result<i64, String> {
    let cleaned: String = text
        .chars()
        .filter(|c| !matches!(c, ',' | ' ' | '_'))
        .collect();
    let (sign, digits) = cleaned
        .strip_prefix('-')
        .map_or((1, cleaned.as_str()), |rest| (-1, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let readable = plain(whole)
        && plain(fraction)
        && fraction.len() <= 6
        && !(whole.is_empty() && fraction.is_empty());
    if !readable {
        return Err(format!(
            "{field} must be a number with at most six decimals, such as 12.5"
        ));
    }
    let whole: i64 = if whole.is_empty() {
        Ok(0)
    } else {
        whole.parse()
    }
    .map_err(|_| too_large(field))?;
    let fraction: i64 = format!("{fraction:0<6}")
        .parse()
        .map_err(|_| too_large(field))?;
    let micro = whole
        .checked_mul(1_000_000)
        .and_then(|micro| micro.checked_add(fraction));
    micro
        .map(|micro| sign * micro)
        .ok_or_else(|| too_large(field))
}

fn too_large(field: &str) -> String {
    format!("{field} is too large")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_exact() {
        for (text, micro) in [
            ("12", Some(12_000_000)),
            ("12.5", Some(12_500_000)),
            ("1,000.000001", Some(1_000_000_001)),
            (".5", Some(500_000)),
            ("-2", Some(-2_000_000)),
            ("9223372036854", Some(9_223_372_036_854_000_000)),
            ("9223372036855", None),
            ("1e3", None),
            ("NaN", None),
            ("", None),
            ("1.0000001", None),
            ("∞", None),
        ] {
            assert_eq!(micro_of("amount", text).ok(), micro, "{text}");
        }
    }
}
