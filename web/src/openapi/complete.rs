//! What every operation of the document has and no handler says: a name, who may ask, bounds, the statuses of
//! refusals, examples.
//!
//! Bounds and examples of bodies are data, in `overlay.json`; the rest follows from the routes and the policy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use plumbline_service::{Need, needs};
use serde_json::{Map, Value, json};

use super::example::Examples;
use crate::problem::{CODES, PROBLEM_JSON};
use crate::routes;

/// Bounds of parameters and fields, examples of bodies and fields.
pub(super) static OVERLAY: LazyLock<Value> = LazyLock::new(|| {
    // Held to be JSON by a test; without it the document would only say less.
    serde_json::from_str(include_str!("overlay.json")).unwrap_or_default()
});

/// Completes a document as the handlers describe it.
pub(super) fn complete(document: &mut Value) {
    bound_schemas(document);
    size_tuples(&mut document["components"]["schemas"]);
    let needs = needs_by_route();
    let mut paths = document["paths"].take();
    let examples = Examples::of(document);
    for (path, item) in entries(&mut paths) {
        for (method, operation) in entries(item) {
            let route = format!("{} {}", method.to_uppercase(), nameless(path));
            operation["operationId"] = name_of(&route, operation);
            bound_parameters(path, operation);
            if let Some(need) = needs.get(&route) {
                secure(operation, need);
            }
            if method == "get" && path.starts_with("/api/v1/") {
                conditional(operation);
            }
            refusals(method, path, operation);
            illustrate(operation, &examples);
        }
    }
    document["paths"] = paths;
    for (status, response) in shared_refusals() {
        document["components"]["responses"][status] = response;
    }
}

fn entries(value: &mut Value) -> impl Iterator<Item = (&String, &mut Value)> {
    value.as_object_mut().into_iter().flatten()
}

/// A path without the names of its placeholders, which the document and the routes choose for themselves.
fn nameless(path: &str) -> String {
    let plain = |part: &str| match part.starts_with('{') {
        true => "{}".to_owned(),
        false => part.to_owned(),
    };
    path.split('/').map(plain).collect::<Vec<_>>().join("/")
}

fn needs_by_route() -> BTreeMap<String, Need> {
    let routes = routes::all();
    let actions: Vec<_> = routes.iter().map(|route| route.action).collect();
    // The policy is checked when the program starts, so there is always an answer.
    let needs = needs(&actions).unwrap_or_default();
    let named = routes
        .iter()
        .map(|route| format!("{} {}", route.method, nameless(&route.path)));
    named.zip(needs).collect()
}

/// A name for an operation, unique in the document: its tag and handler, or what the overlay says. Generated
/// clients name their functions so.
fn name_of(route: &str, operation: &Value) -> Value {
    let said = |field: &Value| field.as_str().unwrap_or_default().to_owned();
    match &OVERLAY["names"][route] {
        Value::Null => json!(format!(
            "{}_{}",
            said(&operation["tags"][0]),
            said(&operation["operationId"])
        )),
        chosen => chosen.clone(),
    }
}

/// Puts the bounds of the overlay into the schemas of bodies.
fn bound_schemas(document: &mut Value) {
    // Each kind of action refuses what it does not know, as every body does.
    let kinds = document.pointer_mut("/components/schemas/ProposedAction/oneOf");
    let kinds = kinds.and_then(Value::as_array_mut);
    for kind in kinds.into_iter().flatten() {
        kind["additionalProperties"] = json!(false);
    }
    for (place, bounds) in OVERLAY["bounds"].as_object().into_iter().flatten() {
        let Some((schema, field)) = place.split_once('.') else {
            continue;
        };
        let pointer = format!("/components/schemas/{schema}/properties/{field}");
        if let Some(found) = document.pointer_mut(&pointer) {
            merge(found, bounds);
        }
    }
}

/// Says how long tuples are by numbers: `items: false`, which says it too, is more than many generators of clients
/// can read.
fn size_tuples(schema: &mut Value) {
    let parts = schema.get("prefixItems").and_then(Value::as_array);
    let length = parts.map(Vec::len);
    if let Some(length) = length {
        schema["items"] = json!({});
        schema["minItems"] = json!(length);
        schema["maxItems"] = json!(length);
    }
    match schema {
        Value::Object(fields) => fields.values_mut().for_each(size_tuples),
        Value::Array(parts) => parts.iter_mut().for_each(size_tuples),
        _ => {}
    }
}

fn merge(into: &mut Value, from: &Value) {
    if let (Some(into), Some(from)) = (into.as_object_mut(), from.as_object()) {
        for (name, value) in from {
            into.insert(name.clone(), value.clone());
        }
    }
}

fn parameters(operation: &mut Value) -> impl Iterator<Item = &mut Value> {
    let listed = operation.get_mut("parameters");
    listed.and_then(Value::as_array_mut).into_iter().flatten()
}

fn bound_parameters(path: &str, operation: &mut Value) {
    for parameter in parameters(operation) {
        let name = parameter["name"].as_str().unwrap_or_default().to_owned();
        let own = &OVERLAY["parameters"][format!("{path} {name}")];
        let bounds = match own {
            Value::Null => &OVERLAY["parameters"][&name],
            own => own,
        };
        let schema = &mut parameter["schema"];
        let is_wide = schema["minimum"] == 0 && schema["format"] == "int64";
        merge(schema, bounds);
        if is_wide && let Some(schema) = schema.as_object_mut() {
            // An unsigned number of 64 bits has no name among the formats.
            schema.remove("format");
            schema.insert("maximum".to_owned(), json!(u64::MAX));
        }
    }
}

fn secure(operation: &mut Value, need: &Need) {
    let mut ways = Vec::new();
    if need.visitor {
        ways.push(json!({}));
    }
    if need.token {
        ways.push(json!({"token": []}));
    }
    ways.push(json!({"session": []}));
    operation["security"] = json!(ways);
    let about = match need {
        Need { visitor: true, .. } => "Open to visitors where reading is public.".to_owned(),
        Need { token: false, .. } => "Needs a session; API tokens are refused.".to_owned(),
        Need { scope: None, .. } => "Needs an account.".to_owned(),
        Need {
            scope: Some(scope), ..
        } => format!("Needs an account; of an API token the scope `{scope}`."),
    };
    let known = operation["description"].as_str().unwrap_or_default();
    operation["description"] = match known {
        "" => json!(about),
        known => json!(format!("{known}\n\n{about}")),
    };
}

/// What reads of JSON have: an entity tag, and 304 for whoever has that answer.
fn conditional(operation: &mut Value) {
    let tag = json!({"description": "Weak tag of the content", "schema": {"type": "string"}});
    let answer = &mut operation["responses"]["200"];
    if answer.pointer("/content/application~1json").is_none() {
        return;
    }
    answer["headers"]["ETag"] = tag;
    let unchanged = json!({"description": "Nothing changed since the answer with that ETag"});
    let responses = operation["responses"].as_object_mut();
    if let Some(responses) = responses {
        responses.entry("304").or_insert(unchanged);
    }
    let parameter = json!({
        "name": "If-None-Match", "in": "header", "required": false,
        "description": "ETag of an answer that the client has",
        "schema": {"type": "string"},
    });
    match operation.get_mut("parameters") {
        Some(Value::Array(parameters)) => parameters.push(parameter),
        _ => operation["parameters"] = json!([parameter]),
    }
}

/// Statuses of refusals with what they mean. Which codes come with them is in the list of problems.
const REFUSALS: [(u16, &str); 11] = [
    (400, "The request cannot be read"),
    (401, "Nobody is signed in, or the token is not valid"),
    (403, "The account may not"),
    (404, "Nothing has this id"),
    (409, "Not in the state that things are in"),
    (410, "Ahead of the server"),
    (413, "The body is too large"),
    (415, "The body is of another type"),
    (422, "The request can be read and makes no sense"),
    (429, "Too many requests"),
    (503, "Overloaded, or paused; nothing was done"),
];

/// The statuses that an operation may refuse with.
fn statuses(method: &str, path: &str, operation: &Value) -> BTreeSet<u16> {
    if matches!(path, "/healthz" | "/readyz") {
        // Probes are never counted; what is not ready says 503.
        return [400, 401, 503].into();
    }
    let writes = method != "get";
    let parameters = operation["parameters"].as_array();
    let has = |place: &str| {
        let all = parameters.into_iter().flatten();
        all.into_iter().any(|one| one["in"] == place)
    };
    let mut found: BTreeSet<u16> = [400, 401, 403, 429, 500, 503].into();
    if has("path") || writes {
        found.extend([404, 409]);
    }
    if has("path") || has("query") || writes {
        found.insert(422);
    }
    if has("query") {
        found.extend([404, 409]);
    }
    if path == "/api/v1/allocations" {
        found.insert(410);
    }
    if method == "post" {
        found.insert(413);
    }
    if !operation["requestBody"].is_null() {
        found.insert(415);
    }
    found
}

fn refusals(method: &str, path: &str, operation: &mut Value) {
    let statuses = statuses(method, path, operation);
    let gateway = path.starts_with("/v1/");
    let Some(responses) = operation["responses"].as_object_mut() else {
        return;
    };
    for status in statuses {
        let name = component(status, gateway);
        responses
            .entry(status.to_string())
            .or_insert_with(|| json!({"$ref": format!("#/components/responses/{name}")}));
    }
}

fn component(status: u16, gateway: bool) -> String {
    let kind = if gateway { "OpenAiError" } else { "Problem" };
    format!("{kind}{status}")
}

/// The answers that operations share.
fn shared_refusals() -> Vec<(String, Value)> {
    let internal = (500, "Something broke on our side");
    let both = REFUSALS.into_iter().chain([internal]);
    both.flat_map(|(status, about)| {
        [false, true].map(|gateway| (component(status, gateway), refusal(status, about, gateway)))
    })
    .collect()
}

fn refusal(status: u16, about: &str, gateway: bool) -> Value {
    let known = CODES.iter().filter(|(_, of, _)| *of == status);
    let codes: Vec<String> = known
        .clone()
        .map(|(code, _, about)| format!("- `{code}`: {about}"))
        .collect();
    let description = match codes.as_slice() {
        [] => format!("{about}."),
        codes => format!("{about}. Among the codes:\n\n{}", codes.join("\n")),
    };
    let (code, detail) = known
        .map(|(code, _, about)| (*code, *about))
        .next()
        .unwrap_or(("market-closed", "The market no longer takes orders."));
    let title = actix_web::http::StatusCode::from_u16(status).ok();
    let title = title.and_then(|status| status.canonical_reason());
    let (media, schema, example) = if gateway {
        let kind = if status == 401 {
            "authentication_error"
        } else {
            "invalid_request_error"
        };
        (
            "application/json",
            "OpenAiError",
            json!({"error": {"message": detail, "type": kind, "param": null, "code": code}}),
        )
    } else {
        (
            PROBLEM_JSON,
            "Problem",
            json!({"type": format!("/api/docs#problem-{code}"), "title": title, "status": status, "code": code,
                "detail": detail, "instance": "01961c5e-3f2a-7cc1-9d7e-2b1f6a0c4d11"}),
        )
    };
    let mut headers = Map::new();
    let header = |about: &str| json!({"description": about, "schema": {"type": "string"}});
    headers.insert("X-Request-Id".to_owned(), header("Id of the request"));
    if matches!(status, 429 | 503) {
        let about =
            json!({"description": "Seconds to wait", "schema": {"type": "integer", "minimum": 0}});
        headers.insert("Retry-After".to_owned(), about);
    }
    json!({
        "description": description,
        "headers": headers,
        "content": {media: {"schema": {"$ref": format!("#/components/schemas/{schema}")}, "example": example}},
    })
}

/// Puts an example beside every body that has a schema.
fn illustrate(operation: &mut Value, examples: &Examples) {
    let illustrate = |content: &mut Value| {
        for (_, media) in entries(content) {
            if !media["schema"].is_null() && media["example"].is_null() {
                media["example"] = examples.of_schema(&media["schema"]);
            }
        }
    };
    if let Some(content) = operation.pointer_mut("/requestBody/content") {
        illustrate(content);
    }
    for (_, response) in entries(&mut operation["responses"]) {
        if let Some(content) = response.get_mut("content") {
            illustrate(content);
        }
    }
    for parameter in parameters(operation) {
        let name = parameter["name"].as_str().unwrap_or_default().to_owned();
        parameter["example"] = examples.of_field(&name, &parameter["schema"]);
    }
}
