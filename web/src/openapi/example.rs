//! Values that fit a schema: as somebody wrote them down in the overlay, else by the name of the field, else by its type.

use serde_json::{Map, Value, json};

use super::complete::OVERLAY;

/// Deepest nesting of an example; below it lists are empty and optional fields left out.
const MAX_DEPTH: usize = 6;
/// A moment, an identifier, and the hash of something.
const MOMENT: &str = "2026-03-01T12:00:00Z";
const ID: &str = "01961c5e-3f2a-7cc1-9d7e-2b1f6a0c4d11";

/// Makes examples for the schemas of a document.
pub(super) struct Examples {
    schemas: Value,
}

impl Examples {
    /// For a document's schemas.
    pub(super) fn of(document: &Value) -> Self {
        let schemas = document["components"]["schemas"].clone();
        Self { schemas }
    }

    /// A value that fits `schema`.
    pub(super) fn of_schema(&self, schema: &Value) -> Value {
        self.value("", schema, 0)
    }

    /// A value that fits the schema of a field or parameter of that name.
    pub(super) fn of_field(&self, name: &str, schema: &Value) -> Value {
        self.value(name, schema, 0)
    }

    fn value(&self, name: &str, schema: &Value, depth: usize) -> Value {
        if let Some(target) = schema["$ref"].as_str() {
            let target = target.rsplit('/').next().unwrap_or_default();
            let written = &OVERLAY["bodies"][target];
            return match written {
                Value::Null => self.value(name, &self.schemas[target], depth + 1),
                written => written.clone(),
            };
        }
        for several in ["oneOf", "anyOf"] {
            let parts = schema[several].as_array().into_iter().flatten();
            if let Some(first) = parts.into_iter().find(|part| part["type"] != "null") {
                let too_deep = depth > MAX_DEPTH && is_nullable(schema);
                return match too_deep {
                    true => Value::Null,
                    false => self.value(name, first, depth + 1),
                };
            }
        }
        if let Some(parts) = schema["allOf"].as_array() {
            return self.merged(parts, depth);
        }
        if let Some(first) = schema["enum"].as_array().and_then(|all| all.first()) {
            return first.clone();
        }
        let known = &OVERLAY["fields"][name];
        if !known.is_null() && fits(known, schema) {
            return known.clone();
        }
        self.by_type(name, schema, depth)
    }

    fn merged(&self, parts: &[Value], depth: usize) -> Value {
        let mut whole = Map::new();
        for part in parts {
            if let Value::Object(fields) = self.value("", part, depth + 1) {
                whole.extend(fields);
            }
        }
        Value::Object(whole)
    }

    fn by_type(&self, name: &str, schema: &Value, depth: usize) -> Value {
        match kind(schema) {
            "string" => json!(text(name)),
            "integer" => integer(name, schema),
            "number" => number(schema),
            "boolean" => json!(true),
            "array" => self.list(name, schema, depth),
            "object" => self.object(schema, depth),
            _ => Value::Object(Map::new()),
        }
    }

    fn list(&self, name: &str, schema: &Value, depth: usize) -> Value {
        let fewest = schema["minItems"].as_u64().unwrap_or(0);
        let tuple = schema["prefixItems"].as_array();
        if let Some(parts) = tuple {
            let parts = parts.iter().map(|part| self.value(name, part, depth + 1));
            return Value::Array(parts.collect());
        }
        if depth > MAX_DEPTH && fewest == 0 {
            return json!([]);
        }
        json!([self.value(name, &schema["items"], depth + 1)])
    }

    fn object(&self, schema: &Value, depth: usize) -> Value {
        let required = schema["required"].as_array();
        let needed = |name: &String| {
            let mut all = required.into_iter().flatten();
            all.any(|one| one == name)
        };
        let mut fields = Map::new();
        let properties = schema["properties"].as_object();
        for (name, property) in properties.into_iter().flatten() {
            if depth <= MAX_DEPTH || needed(name) {
                fields.insert(name.clone(), self.value(name, property, depth + 1));
            }
        }
        let more = &schema["additionalProperties"];
        if more.is_object() && fields.is_empty() {
            fields.insert("sleeper".to_owned(), self.value("", more, depth + 1));
        }
        Value::Object(fields)
    }
}

fn is_nullable(schema: &Value) -> bool {
    let several = ["oneOf", "anyOf"].map(|name| schema[name].as_array());
    let mut parts = several.into_iter().flatten().flatten();
    parts.any(|part| part["type"] == "null")
}

/// The type, without `null` where there is another.
fn kind(schema: &Value) -> &str {
    match &schema["type"] {
        Value::String(kind) => kind,
        Value::Array(kinds) => {
            let mut kinds = kinds.iter().filter_map(Value::as_str);
            kinds.find(|kind| *kind != "null").unwrap_or_default()
        }
        _ => "",
    }
}

fn fits(value: &Value, schema: &Value) -> bool {
    let number = value.as_f64();
    let above = |bound: &Value| bound.as_f64().zip(number).is_none_or(|(b, n)| n >= b);
    let below = |bound: &Value| bound.as_f64().zip(number).is_none_or(|(b, n)| n <= b);
    let is_of_kind = match kind(schema) {
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value
            .as_array()
            .is_some_and(|items| items.iter().all(|item| fits(item, &schema["items"]))),
        _ => false,
    };
    is_of_kind && above(&schema["minimum"]) && below(&schema["maximum"])
}

fn text(name: &str) -> &'static str {
    let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
    if ends(&["_at", "_until", "_since"]) {
        MOMENT
    } else if name == "id" || ends(&["_id", "cursor"]) {
        ID
    } else if ends(&["hash", "commitment", "seed", "_root", "nonce"]) {
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    } else if ends(&["_by"]) {
        "operator"
    } else {
        "text"
    }
}

fn integer(name: &str, schema: &Value) -> Value {
    let usual = [
        ("_micro", 5_000_000),
        ("_bps", 2_500),
        ("_s", 600),
        ("_ms", 12),
    ];
    let found = usual.into_iter().find(|(ending, _)| name.ends_with(ending));
    let value = json!(found.map_or(3, |(_, value)| value));
    let bounds = [&schema["default"], &schema["minimum"], &schema["maximum"]];
    let other = || bounds.into_iter().find(|bound| bound.is_number()).cloned();
    match fits(&value, schema) {
        true => value,
        false => other().unwrap_or(value),
    }
}

fn number(schema: &Value) -> Value {
    let usual = json!(0.5);
    match fits(&usual, schema) {
        true => usual,
        false => schema["minimum"].clone(),
    }
}
