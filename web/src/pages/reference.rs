//! The API reference, rendered from the OpenAPI document.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::Visit;
use crate::api::Answer;
use crate::auth::State;
use crate::openapi;
use crate::problem::CODES;
use crate::templates::Page;

/// The reference's context.
#[derive(Debug, Serialize)]
pub(crate) struct ReferencePage {
    /// What the API is.
    pub(crate) about: Vec<String>,
    /// Operations by tag.
    pub(crate) groups: Vec<Group>,
    /// Bodies by name.
    pub(crate) schemas: Vec<Schema>,
    /// Problem codes.
    pub(crate) codes: Vec<Code>,
}

/// Operations of one tag.
#[derive(Debug, Serialize)]
pub(crate) struct Group {
    /// The tag.
    pub(crate) name: String,
    /// What it is about.
    pub(crate) about: String,
    /// Its operations.
    pub(crate) operations: Vec<Operation>,
}

/// One operation.
#[derive(Debug, Serialize)]
pub(crate) struct Operation {
    /// `get`, `post` or `delete`.
    pub(crate) method: String,
    /// Path.
    pub(crate) path: String,
    /// What it does.
    pub(crate) summary: String,
    /// Parameters.
    pub(crate) parameters: Vec<Field>,
    /// Name of the body's schema.
    pub(crate) body: Option<String>,
    /// Status, meaning and schema of each answer.
    pub(crate) answers: Vec<Field>,
    /// An example for the command line.
    pub(crate) example: String,
}

/// A named thing with a type and a meaning.
#[derive(Debug, Serialize)]
pub(crate) struct Field {
    /// Its name.
    pub(crate) name: String,
    /// Its type.
    pub(crate) kind: String,
    /// Schema to link to, when the type is one.
    pub(crate) link: Option<String>,
    /// Whether it must be there.
    pub(crate) required: bool,
    /// What it means.
    pub(crate) about: String,
}

/// A body's fields.
#[derive(Debug, Serialize)]
pub(crate) struct Schema {
    /// Its name.
    pub(crate) name: String,
    /// What it is.
    pub(crate) about: String,
    /// Its fields.
    pub(crate) fields: Vec<Field>,
}

/// A problem code.
#[derive(Debug, Serialize)]
pub(crate) struct Code {
    /// The code.
    pub(crate) code: &'static str,
    /// HTTP status.
    pub(crate) status: u16,
    /// What it means.
    pub(crate) about: &'static str,
}

impl Page for ReferencePage {
    const TEMPLATE: &'static str = "reference.html";
}

/// `GET /api/docs`
pub(crate) async fn show(state: State, visit: Visit) -> Answer {
    visit
        .page(&state, |_, _| {
            let document = serde_json::from_str(openapi::json())
                .map_err(plumbline_service::ServiceError::internal)?;
            Ok(page(&document))
        })
        .await
}

fn text(value: &Value, path: &str) -> String {
    value
        .pointer(path)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn entries<'a>(value: &'a Value, path: &str) -> Vec<(&'a String, &'a Value)> {
    value
        .pointer(path)
        .and_then(Value::as_object)
        .map_or(Vec::new(), |map| map.iter().collect())
}

fn items<'a>(value: &'a Value, path: &str) -> &'a [Value] {
    value
        .pointer(path)
        .and_then(Value::as_array)
        .map_or(&[], |items| items.as_slice())
}

/// Reads the document.
pub(crate) fn page(document: &Value) -> ReferencePage {
    let mut by_tag: BTreeMap<String, Vec<Operation>> = BTreeMap::new();
    for (path, item) in entries(document, "/paths") {
        for method in ["get", "post", "put", "delete"] {
            if let Some(found) = item.get(method) {
                by_tag
                    .entry(text(found, "/tags/0"))
                    .or_default()
                    .push(operation(method, path, found));
            }
        }
    }
    let groups = items(document, "/tags").iter().map(|tag| {
        let name = text(tag, "/name");
        Group {
            operations: by_tag.remove(&name).unwrap_or_default(),
            about: text(tag, "/description"),
            name,
        }
    });
    let schemas = entries(document, "/components/schemas")
        .into_iter()
        .map(|(name, schema)| Schema {
            name: name.clone(),
            about: text(schema, "/description"),
            fields: fields(schema),
        });
    ReferencePage {
        about: text(document, "/info/description")
            .replace('`', "")
            .split(
                "

",
            )
            .map(str::to_owned)
            .collect(),
        groups: groups.collect(),
        schemas: schemas.collect(),
        codes: CODES
            .iter()
            .map(|(code, status, about)| Code {
                code,
                status: *status,
                about,
            })
            .collect(),
    }
}

fn operation(method: &str, path: &str, found: &Value) -> Operation {
    let parameters = items(found, "/parameters").iter().map(|parameter| {
        let (kind, link) = kind_of(parameter.get("schema").unwrap_or(&Value::Null));
        Field {
            name: text(parameter, "/name"),
            kind: format!("{kind}, {}", text(parameter, "/in")),
            link,
            required: parameter
                .get("required")
                .and_then(Value::as_bool)
                .unwrap_or(false),
            about: text(parameter, "/description"),
        }
    });
    let body = found
        .pointer("/requestBody/content/application~1json/schema")
        .map(|schema| kind_of(schema).0);
    let answers = entries(found, "/responses")
        .into_iter()
        // Refusals are the same everywhere, and in the list of problems.
        .filter(|(_, answer)| answer.get("$ref").is_none());
    let answers = answers.map(|(status, answer)| {
        let schema = entries(answer, "/content")
            .first()
            .and_then(|(_, content)| content.get("schema"));
        let (kind, link) = schema.map(kind_of).unwrap_or_default();
        Field {
            name: status.clone(),
            kind,
            link,
            required: false,
            about: text(answer, "/description"),
        }
    });
    let summary = text(found, "/summary");
    Operation {
        method: method.to_owned(),
        path: path.to_owned(),
        summary: if summary.is_empty() {
            text(found, "/description")
        } else {
            summary
        },
        parameters: parameters.collect(),
        example: example(method, path, body.is_some()),
        body,
        answers: answers.collect(),
    }
}

fn example(method: &str, path: &str, has_body: bool) -> String {
    let mut command = format!(
        "curl -X {} \"$PLUMBLINE{path}\" -H \"Authorization: Bearer $TOKEN\"",
        method.to_uppercase()
    );
    if method == "post" && path.starts_with("/api/") {
        command.push_str(" -H \"Idempotency-Key: $(uuidgen)\"");
    }
    if has_body {
        command.push_str(" -H \"Content-Type: application/json\" -d @body.json");
    }
    command
}

fn fields(schema: &Value) -> Vec<Field> {
    let required: Vec<&str> = items(schema, "/required")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    let field = |(name, field): (&String, &Value)| {
        let (kind, link) = kind_of(field);
        let required = required.contains(&name.as_str());
        Field {
            name: name.clone(),
            kind,
            link,
            required,
            about: text(field, "/description"),
        }
    };
    entries(schema, "/properties")
        .into_iter()
        .map(field)
        .collect()
}

/// A type in words, and the schema it refers to.
fn kind_of(schema: &Value) -> (String, Option<String>) {
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let name = target.rsplit('/').next().unwrap_or_default().to_owned();
        return (name.clone(), Some(name));
    }
    for combination in ["/oneOf", "/anyOf", "/allOf"] {
        let parts = items(schema, combination);
        if !parts.is_empty() {
            let kinds: Vec<_> = parts
                .iter()
                .map(kind_of)
                .filter(|(kind, _)| kind != "null")
                .collect();
            let link = kinds.iter().find_map(|(_, link)| link.clone());
            return (
                kinds
                    .into_iter()
                    .map(|(kind, _)| kind)
                    .collect::<Vec<_>>()
                    .join(" or "),
                link,
            );
        }
    }
    let kind = match schema.get("type") {
        Some(Value::String(kind)) => kind.clone(),
        Some(Value::Array(kinds)) => kinds
            .iter()
            .filter_map(Value::as_str)
            .filter(|kind| *kind != "null")
            .collect::<Vec<_>>()
            .join(" or "),
        _ => "any".to_owned(),
    };
    if kind == "array" {
        let (inner, link) = kind_of(schema.get("items").unwrap_or(&Value::Null));
        return (format!("list of {inner}"), link);
    }
    (kind, None)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_operation_is_in_the_reference() {
        let document: Value = serde_json::from_str(openapi::json()).unwrap();
        let page = page(&document);
        let shown: usize = page.groups.iter().map(|group| group.operations.len()).sum();
        let listed: usize = entries(&document, "/paths")
            .iter()
            .map(|(_, item)| item.as_object().unwrap().len())
            .sum();
        assert_eq!(shown, listed);
        for group in &page.groups {
            for operation in &group.operations {
                assert!(
                    !operation.summary.is_empty(),
                    "{} {} says nothing",
                    operation.method,
                    operation.path
                );
            }
        }
        let links = page
            .schemas
            .iter()
            .flat_map(|schema| &schema.fields)
            .filter_map(|field| field.link.as_ref());
        for link in links {
            assert!(
                page.schemas.iter().any(|schema| schema.name == *link),
                "{link}"
            );
        }
    }
}
