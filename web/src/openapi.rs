//! The OpenAPI document, generated from the handlers and completed from the routes and the access policy.

mod complete;
mod example;

use std::sync::LazyLock;

use serde_json::Value;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{self, OpenApi as Document, RefOr};
use utoipa::{Modify, OpenApi, PartialSchema, ToSchema};

use crate::problem::ProblemDocument;
use crate::{api, gateway};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Plumbline",
        description = "Prices the probability that an AI run is misaligned, pays those whose evidence moves that price toward the truth, and turns prices and settlements into signed compute allocations.\n\nTimes are RFC 3339 in UTC, money is integer micro-credits (`_micro`), shares of compute are basis points (`_bps`), probabilities are numbers in (0, 1). Lists are pages: pass `next_cursor` as `cursor`. Every POST takes an `Idempotency-Key`: the same key with the same request returns the same answer. Errors are RFC 9457 problem documents with a stable `code`."
    ),
    paths(
        api::accounts::sign_up, api::accounts::sign_in, api::accounts::sign_out, api::accounts::me,
        api::accounts::create_token, api::accounts::tokens, api::accounts::revoke_token,
        api::people::sessions, api::people::revoke_session, api::people::change_password, api::people::second_factor,
        api::people::begin_second_factor, api::people::confirm_second_factor, api::people::remove_second_factor,
        api::passkeys::passkeys, api::passkeys::begin_passkey, api::passkeys::add_passkey, api::passkeys::remove_passkey,
        api::passkeys::begin_passkey_sign_in, api::passkeys::sign_in_with_passkey,
        api::people::export, api::people::close, api::people::invite, api::people::invitations,
        api::people::revoke_invitation,
        api::runs::list, api::runs::register, api::runs::show, api::runs::checkpoints, api::runs::register_checkpoint,
        api::markets::list, api::markets::open, api::markets::show, api::markets::prices, api::markets::trades,
        api::markets::positions, api::markets::quote, api::markets::trade, api::markets::freeze,
        api::audit::market,
        api::orders::list, api::orders::place, api::orders::book, api::orders::cancel,
        api::outcomes::prices,
        api::settlement::show, api::settlement::propose, api::settlement::challenge, api::settlement::void,
        api::settlement::inclusion,
        api::portfolio::show, api::portfolio::history, api::portfolio::leaderboard, api::portfolio::calibration,
        api::portfolio::manipulation,
        api::evidence::list, api::evidence::submit, api::evidence::show,
        api::juries::grant_roles, api::juries::revoke_role, api::juries::jurors, api::juries::join, api::juries::leave,
        api::juries::panels, api::juries::draws, api::juries::panel, api::juries::commit, api::juries::reveal,
        api::juries::denounce, api::juries::gold_cases, api::juries::create_gold_case, api::juries::retire_gold_case,
        api::evidence::fee, api::evidence::commit, api::evidence::commitments, api::evidence::challenge,
        api::evidence::challenges, api::comments::list, api::comments::write, api::comments::remove,
        api::attachments::attach, api::attachments::show,
        api::allocations::list, api::allocations::stream, api::allocations::show, api::allocations::history, api::allocations::acknowledge,
        api::allocations::enforcement, api::allocations::report, api::keys::list, api::keys::register, api::keys::retire, api::keys::vouch, api::keys::cosign,
        api::allocations::policy, api::allocations::policy_versions,
        api::oracle::show, api::oracle::judges, api::oracle::calibration, api::oracle::cases, api::oracle::versions,
        api::oracle::version, api::oracle::register, api::oracle::adopt,
        api::voting::list, api::voting::create, api::voting::preview, api::voting::show, api::voting::withdraw,
        api::voting::deposit, api::voting::votes, api::voting::vote, api::voting::execute, api::voting::tracks,
        api::voting::own_stake, api::voting::stake, api::voting::withdraw_stake, api::voting::delegate,
        api::voting::undelegate, api::voting::seals, api::voting::seal, api::voting::use_seal, api::voting::orders,
        api::voting::simulate, api::voting::assume,
        api::ledger::summary, api::ledger::transfers, api::ledger::usage, api::ledger::treasury, api::ledger::statement, api::ledger::shares,
        api::ledger::claim, api::ledger::jobs, api::ledger::operations,
        api::log::checkpoint, api::log::checkpoints, api::log::entries, api::log::proof, api::log::consistency,
        api::training::show, api::training::rounds, api::training::nodes, api::training::contributions, api::training::bans,
        api::training_runs::start, api::training_runs::stop, api::training_runs::resume, api::training_runs::ticket,
        api::training_runs::swarm, api::training_runs::stakes, api::training_runs::bond, api::training_runs::release,
        api::notices::list, api::notices::mark, api::notices::choices, api::notices::choose, api::notices::follows,
        api::notices::follow, api::notices::unfollow, api::notices::mail, api::notices::set_mail,
        api::notices::verify_mail, api::notices::remove_mail,
        api::webhooks::list, api::webhooks::create, api::webhooks::delete, api::webhooks::deliveries,
        api::health::events, api::health::alive, api::health::ready, api::health::metrics,
        gateway::models, gateway::model, gateway::complete, gateway::chat,
    ),
    components(schemas(ProblemDocument)),
    modifiers(&Security, &Common),
    tags(
        (name = "accounts", description = "Sign-up, sessions, second factors, passkeys, API tokens, invitations"),
        (name = "notifications", description = "What you follow and are told, and by which way"),
        (name = "runs", description = "Governed runs and their checkpoints"),
        (name = "markets", description = "Claims, prices, trades, settlement"),
        (name = "evidence", description = "Exhibits, judgements, replay"),
        (name = "juries", description = "Jurors, panels, secret votes"),
        (name = "allocations", description = "The signed decision contract with schedulers"),
        (name = "policy", description = "The rules that turn prices into decisions"),
        (name = "oracle", description = "The ensemble of judges, its versions, what it learns from"),
        (name = "governance", description = "Stakes, proposals, votes, delegations, seals"),
        (name = "training", description = "Live figures of runs hosted here"),
        (name = "ledger", description = "Totals and statements"),
        (name = "log", description = "The transparency log: entries, proofs, signed checkpoints"),
        (name = "events", description = "Server-sent events"),
        (name = "operations", description = "Health, metrics, jobs"),
        (name = "gateway", description = "OpenAI-compatible inference, limited by the run's allocation"),
    )
)]
struct Api;

/// Declares the two ways to sign a request.
struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut Document) {
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("plb_…")
            .build();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
        let cookie = ApiKey::Cookie(ApiKeyValue::with_description(
            crate::auth::SESSION_COOKIE,
            "As `POST /api/v1/sessions` sets it. Writes carry its `csrf_token` in the header `X-CSRF-Token`.",
        ));
        components.add_security_scheme("session", SecurityScheme::ApiKey(cookie));
    }
}

/// Adds the key of writes and the errors of the gateway.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut Document) {
        for (path, item) in &mut document.paths.paths {
            if let Some(post) = &mut item.post
                && !path.starts_with("/v1/")
            {
                post.parameters
                    .get_or_insert_default()
                    .push(idempotency_parameter());
            }
        }
        let components = document.components.get_or_insert_default();
        components
            .schemas
            .insert("OpenAiError".to_owned(), gateway::OpenAiError::schema());
        let mut nested = Vec::new();
        gateway::OpenAiError::schemas(&mut nested);
        components.schemas.extend(nested);
    }
}

fn idempotency_parameter() -> RefOr<openapi::path::Parameter> {
    use openapi::path::{ParameterBuilder, ParameterIn};
    let parameter = ParameterBuilder::new()
        .name("Idempotency-Key")
        .parameter_in(ParameterIn::Header)
        .required(openapi::Required::False)
        .description(Some(
            "1 to 128 visible ASCII characters; makes the request safe to repeat",
        ))
        .schema(Some(String::schema()))
        .build();
    parameter.into()
}

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
    // A document of plain strings and maps always serialises.
    let mut document = serde_json::to_value(Api::openapi()).unwrap_or_default();
    complete::complete(&mut document);
    document
});

static JSON: LazyLock<String> =
    LazyLock::new(|| serde_json::to_string_pretty(&*DOCUMENT).unwrap_or_default());

/// The OpenAPI document of this version.
pub fn document() -> &'static Value {
    &DOCUMENT
}

static TAG: LazyLock<String> = LazyLock::new(|| crate::etag::weak(json().as_bytes()));

/// The entity tag of [`json`].
pub(crate) fn tag() -> &'static str {
    &TAG
}

/// The document as JSON.
pub(crate) fn json() -> &'static str {
    &JSON
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const SNAPSHOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/openapi.json");

    /// The document is a contract with clients: a change must be seen in a diff. `BLESS=1` accepts it.
    #[test]
    fn snapshot() {
        let now = format!("{}\n", json());
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(SNAPSHOT, &now).unwrap();
        }
        let before = std::fs::read_to_string(SNAPSHOT).unwrap_or_default();
        // The order of members is the business of whoever serialises.
        let parsed = serde_json::from_str::<Value>(&before).unwrap_or_default();
        assert!(
            parsed == *document(),
            "the API has changed; if that was meant, run the tests with BLESS=1 and review the diff"
        );
    }

    #[test]
    fn every_reference_resolves() {
        let document: serde_json::Value = serde_json::from_str(json()).unwrap();
        let mut queue = vec![&document];
        let mut references = 0;
        while let Some(value) = queue.pop() {
            match value {
                serde_json::Value::Object(map) => {
                    if let Some(target) = map.get("$ref").and_then(|target| target.as_str()) {
                        references += 1;
                        assert!(
                            document.pointer(target.trim_start_matches('#')).is_some(),
                            "{target} is missing"
                        );
                    }
                    queue.extend(map.values());
                }
                serde_json::Value::Array(items) => queue.extend(items),
                _ => {}
            }
        }
        assert!(references > 50);
    }

    /// What a reader needs of each operation is there: a name of its own, what it does, who may, what it refuses
    /// with, and an example of every body.
    #[test]
    fn every_operation_is_whole() {
        let overlay = complete::OVERLAY.as_object().unwrap();
        assert!(overlay.len() >= 5, "overlay.json is not JSON");
        let mut names = std::collections::BTreeSet::new();
        let paths = document()["paths"].as_object().unwrap();
        let operations = paths
            .iter()
            .flat_map(|(path, item)| item.as_object().unwrap().iter().map(move |one| (path, one)));
        for (path, (method, operation)) in operations {
            let place = format!("{method} {path}");
            let text = |field: &str| operation[field].as_str().unwrap_or_default();
            assert!(!text("summary").is_empty(), "{place} says nothing");
            assert!(names.insert(text("operationId")), "{place}: a name twice");
            assert!(operation["security"].is_array(), "{place}: who may?");
            let responses = operation["responses"].as_object().unwrap();
            let succeeds = responses.keys().any(|status| status.starts_with('2'));
            assert!(succeeds && responses.contains_key("400"), "{place}");
            assert!(!responses.contains_key("default"), "{place}");
            let bodies = responses.values().chain([&operation["requestBody"]]);
            for content in bodies.filter_map(|body| body["content"].as_object()) {
                for (media, body) in content {
                    assert!(!body["example"].is_null(), "{place}: no example of {media}");
                }
            }
        }
        let components = &document()["components"]["schemas"];
        for place in overlay["bounds"].as_object().unwrap().keys() {
            let (schema, field) = place.split_once('.').unwrap();
            let found = &components[schema]["properties"][field];
            assert!(
                found.is_object(),
                "overlay.json bounds {place}, which is not there"
            );
        }
        for schema in overlay["bodies"].as_object().unwrap().keys() {
            assert!(components[schema].is_object(), "no schema {schema}");
        }
    }
}
