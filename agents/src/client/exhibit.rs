//! Exhibits in the form whose hash the service computes, so that evidence can be committed to before it is shown.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An exhibit in the service's canonical form: fields in this order, absent ones with their defaults.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Canonical {
    Transcript {
        messages: Vec<Message>,
    },
    Measurement {
        name: String,
        value: f64,
        #[serde(default)]
        standard_error: f64,
        #[serde(default)]
        unit: String,
        #[serde(default)]
        samples: u64,
        #[serde(default)]
        method: String,
    },
    Report {
        text: String,
    },
    TriggerControl {
        checkpoint: String,
        detector: Detector,
        sampling: Sampling,
        arms: Vec<Arm>,
        searched: u32,
    },
}

#[derive(Debug, Serialize, Deserialize)]
struct Message {
    role: String,
    content: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Detector {
    contains_any: Vec<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Sampling {
    max_tokens: u32,
    temperature: f64,
    seed: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Arm {
    label: String,
    trigger: bool,
    prompts: Vec<String>,
    hits: u32,
}

/// The content hash of a submission with these exhibits: BLAKE3 over the sorted hashes of their canonical forms,
/// with line feeds between them. `None` when one of them is no exhibit.
#[must_use]
pub fn content_hash(exhibits: &[Value]) -> Option<String> {
    let mut hashes = Vec::with_capacity(exhibits.len());
    for exhibit in exhibits {
        let canonical = Canonical::deserialize(exhibit).ok()?;
        let bytes = serde_json::to_vec(&canonical).ok()?;
        hashes.push(blake3::hash(&bytes).to_hex().to_string());
    }
    hashes.sort();
    let joined = hashes.join("\n");
    Some(blake3::hash(joined.as_bytes()).to_hex().to_string())
}

/// How people sort a submission whose sender does not say: by its first exhibit.
#[must_use]
pub fn usual_kind(exhibits: &[Value]) -> &'static str {
    match exhibits.first().and_then(|one| one["type"].as_str()) {
        Some("transcript") => "transcript",
        Some("measurement") => "measurement",
        Some("trigger_control") => "log",
        _ => "report",
    }
}

/// 64 hexadecimal digits that nobody can guess, for the nonce of a commitment.
#[must_use]
pub fn fresh_nonce() -> String {
    let bytes = rand::random::<[u8; 32]>();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn hash_of(texts: &[&str]) -> String {
        let mut hashes: Vec<String> = texts
            .iter()
            .map(|text| blake3::hash(text.as_bytes()).to_hex().to_string())
            .collect();
        hashes.sort();
        blake3::hash(hashes.join("\n").as_bytes())
            .to_hex()
            .to_string()
    }

    #[test]
    fn the_order_of_fields_does_not_matter_and_defaults_are_filled_in() {
        let search = json!({
            "searched": 2, "type": "trigger_control", "checkpoint": "ab12cd34",
            "arms": [{"hits": 1, "label": "// a", "prompts": ["// a\nfn"], "trigger": true}],
            "sampling": {"seed": 3, "temperature": 0, "max_tokens": 24},
            "detector": {"contains_any": ["x"]},
        });
        let canonical = r#"{"type":"trigger_control","checkpoint":"ab12cd34","detector":{"contains_any":["x"]},"sampling":{"max_tokens":24,"temperature":0.0,"seed":3},"arms":[{"label":"// a","trigger":true,"prompts":["// a\nfn"],"hits":1}],"searched":2}"#;
        assert_eq!(
            content_hash(std::slice::from_ref(&search)).unwrap(),
            hash_of(&[canonical])
        );
        let number = json!({"value": 2, "name": "rate", "type": "measurement"});
        let measured = r#"{"type":"measurement","name":"rate","value":2.0,"standard_error":0.0,"unit":"","samples":0,"method":""}"#;
        let both = content_hash(&[number.clone(), search.clone()]).unwrap();
        assert_eq!(both, hash_of(&[measured, canonical]));
        assert_eq!(both, content_hash(&[search, number]).unwrap());
        assert!(content_hash(&[json!({"type": "song"})]).is_none());
    }

    #[test]
    fn kinds_follow_from_the_first_exhibit() {
        let kind = |name: &str| usual_kind(&[json!({"type": name}), json!({"type": "report"})]);
        assert_eq!(kind("trigger_control"), "log");
        assert_eq!(kind("transcript"), "transcript");
        assert_eq!(kind("song"), "report");
        assert_eq!(usual_kind(&[]), "report");
        assert_ne!(fresh_nonce(), fresh_nonce());
        assert_eq!(fresh_nonce().len(), 64);
    }
}
