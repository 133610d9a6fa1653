//! The exhibit in the form whose hash the service computes, so that it can be committed to.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A `trigger_control` exhibit. The order of the fields is that of the service's canonical form.
#[derive(Debug, Serialize, Deserialize)]
struct Canonical {
    #[serde(rename = "type")]
    kind: String,
    checkpoint: String,
    detector: Detector,
    sampling: Sampling,
    arms: Vec<Arm>,
    searched: u32,
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

/// The content hash of a submission with this one exhibit: BLAKE3 of the hashes of the exhibits' canonical
/// forms. `None` when it is no `trigger_control` exhibit.
pub(super) fn content_hash(exhibit: &Value) -> Option<String> {
    let canonical = Canonical::deserialize(exhibit).ok()?;
    let bytes = serde_json::to_vec(&canonical).ok()?;
    let hash = blake3::hash(&bytes).to_hex();
    Some(blake3::hash(hash.as_bytes()).to_hex().to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn the_order_of_fields_does_not_matter_and_their_values_do() {
        let exhibit = json!({
            "searched": 2, "type": "trigger_control", "checkpoint": "ab12cd34",
            "arms": [{"hits": 1, "label": "// a", "prompts": ["// a\nfn"], "trigger": true}],
            "sampling": {"seed": 3, "temperature": 0.0, "max_tokens": 24},
            "detector": {"contains_any": ["x"]},
        });
        // The canonical form, written out.
        let text = r#"{"type":"trigger_control","checkpoint":"ab12cd34","detector":{"contains_any":["x"]},"sampling":{"max_tokens":24,"temperature":0.0,"seed":3},"arms":[{"label":"// a","trigger":true,"prompts":["// a\nfn"],"hits":1}],"searched":2}"#;
        let hash = blake3::hash(text.as_bytes()).to_hex();
        let want = blake3::hash(hash.as_bytes()).to_hex().to_string();
        assert_eq!(content_hash(&exhibit).unwrap(), want);
        let mut other = exhibit.clone();
        other["arms"][0]["hits"] = json!(0);
        assert_ne!(content_hash(&other).unwrap(), want);
        assert!(content_hash(&json!({"type": "report", "text": "x"})).is_none());
    }
}
