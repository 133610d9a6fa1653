//! The tools as an agent sees them: names, descriptions and the JSON schemas of their arguments.

use rmcp::model::{JsonObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

/// One tool.
pub(super) struct Entry {
    pub(super) name: &'static str,
    /// Whether it can cost the account anything.
    pub(super) spends: bool,
    title: &'static str,
    description: &'static str,
    /// Properties of the arguments, and which of them must be given.
    arguments: fn() -> (Value, &'static [&'static str]),
}

impl Entry {
    pub(super) fn describe(&self) -> Tool {
        let (properties, required) = (self.arguments)();
        let mut schema = JsonObject::new();
        schema.insert("type".to_owned(), Value::from("object"));
        schema.insert("properties".to_owned(), properties);
        schema.insert("required".to_owned(), json!(required));
        schema.insert("additionalProperties".to_owned(), Value::from(false));
        let mut tool = Tool::new(self.name, self.description, schema);
        tool.title = Some(self.title.to_owned());
        // Others write into the same markets, so the world is open also where nothing is changed.
        let hints = ToolAnnotations::with_title(self.title)
            .read_only(!self.spends)
            .open_world(true);
        tool.annotations = Some(if self.spends {
            hints.destructive(true).idempotent(false)
        } else {
            hints
        });
        tool
    }
}

/// Every tool, those that spend last.
pub(super) fn all() -> impl Iterator<Item = &'static Entry> {
    ENTRIES.iter()
}

const ENTRIES: &[Entry] = &[
    Entry {
        name: "list_markets",
        spends: false,
        title: "List markets",
        description: "Markets with their claims and posted probabilities, a page at a time. Each \
            claim is about one run. Pass next_cursor as cursor for the next page.",
        arguments: || {
            let status = json!({"type": "string", "enum": ["open", "closing", "frozen", "auditing",
                "settling", "final", "paid", "void"], "description": "Only markets in this status; evidence and trades are taken while open or closing"});
            let run =
                json!({"type": "string", "description": "Only markets about the run with this id"});
            (paged(json!({"status": status, "run_id": run})), &[])
        },
    },
    Entry {
        name: "read_market",
        spends: false,
        title: "Read a market",
        description: "One market whole: claim, rubric (what decides it), probability with its \
            interval, settlement terms, the public terms of the trigger search (probe) if there are any, and a \
            page of the evidence so far with what each submission moved. liquidity_micro and \
            manipulation_cost_micro are micro-credits.",
        arguments: || {
            let texts = text_limit("2000");
            (
                paged(json!({"market_id": market_id(), "text_limit": texts})),
                &["market_id"],
            )
        },
    },
    Entry {
        name: "price_history",
        spends: false,
        title: "Price history",
        description: "How a market's probability moved, a page at a time, each move with its cause \
            (open, trade, evidence or oracle) and the id of the trade or evidence as ref.",
        arguments: || (paged(json!({"market_id": market_id()})), &["market_id"]),
    },
    Entry {
        name: "read_evidence",
        spends: false,
        title: "Read a submission, follow what it moved",
        description: "One submission of evidence: exhibits, status, probability before and after, \
            each judge's view (shift in nats of log-odds), the replay record, the part of the stake \
            that is locked (micro-credits), and payoff_micro once the market has settled; beside it \
            the market's status and probability now. With wait_s it waits while the status is pending.",
        arguments: || {
            let id = json!({"type": "string", "description": "Evidence id"});
            (
                json!({"evidence_id": id, "wait_s": wait("0"), "text_limit": text_limit("20000")}),
                &["evidence_id"],
            )
        },
    },
    Entry {
        name: "my_submissions",
        spends: false,
        title: "My submissions to a market",
        description: "Your own submissions to a market without their exhibits: status, what they \
            moved, stake, lock, fee and payoff in micro-credits. Needs a token.",
        arguments: || (json!({"market_id": market_id()}), &["market_id"]),
    },
    Entry {
        name: "portfolio",
        spends: false,
        title: "Portfolio",
        description: "Your account: free balance, reserves, stakes, open positions at posted \
            probabilities, resting orders, profits. All amounts are micro-credits. Needs a token.",
        arguments: || (json!({}), &[]),
    },
    Entry {
        name: "evidence_fee",
        spends: false,
        title: "What evidence costs",
        description: "What your next submission to a market costs, in micro-credits: a fee that is \
            kept and a bond that comes back unless a dispute takes it. Fees grow by a quarter with \
            each submission to the same market. Needs a token.",
        arguments: || (json!({"market_id": market_id()}), &["market_id"]),
    },
    Entry {
        name: "quote",
        spends: false,
        title: "Quote a trade",
        description: "What an order would do now, without doing it: shares_micro, total_micro with \
            fees (negative: you would receive), and the probability after it. Give exactly one of \
            spend_micro, shares_micro and target_probability. Needs the scope read only.",
        arguments: || (order(), &["market_id", "outcome"]),
    },
    Entry {
        name: "list_orders",
        spends: false,
        title: "My resting orders",
        description: "Your own resting orders in a market, open and ended, a page at a time: limit, what is left \
            and what is set aside for it, in micro-credits. Needs a token.",
        arguments: || (paged(json!({"market_id": market_id()})), &["market_id"]),
    },
    Entry {
        name: "trade",
        spends: true,
        title: "Trade",
        description: "Executes an order with the market maker at once. It spends real balance. Give \
            exactly one of spend_micro, shares_micro and target_probability, and a limit so that a \
            price that moved meanwhile does not surprise you. Needs a token with the scope trade.",
        arguments: || {
            let mut order = order();
            order["max_cost_micro"] = amount(
                "Refuse the trade if it came to more than this, fees included, micro-credits",
            );
            order["min_proceeds_micro"] = amount(
                "Refuse the sale if it brought in less than this, fees taken off, micro-credits",
            );
            order["idempotency_key"] = key();
            (order, &["market_id", "outcome"])
        },
    },
    Entry {
        name: "submit_evidence",
        spends: true,
        title: "Submit evidence",
        description: "Submits 1 to 16 exhibits with a stake (micro-credits), which is the most that \
            the move may lose; fee and bond come on top (ask evidence_fee). Judges read the exhibits \
            and their shift moves the price as far as the stake covers. What repeats earlier \
            evidence moves nothing and its fee is kept, so read the market first. trigger_control \
            exhibits are replayed on the checkpoint: report counts exactly, also when nothing was \
            found. Waits up to wait_s for the judgement. Needs a token with the scope evidence.",
        arguments: || {
            let exhibits = json!({"type": "array", "minItems": 1, "maxItems": 16, "items": {"oneOf": exhibits()}});
            let fields = json!({
                "market_id": market_id(),
                "title": {"type": "string", "minLength": 1, "maxLength": 200, "description": "One line that says what it is"},
                "body": {"type": "string", "description": "Explanation, markdown, at most 64 KiB"},
                "kind": {"type": "string", "enum": ["transcript", "measurement", "report", "log"],
                    "description": "How people sort it; follows from the first exhibit unless given"},
                "exhibits": exhibits,
                "stake_micro": amount("The most that the submission may lose, micro-credits, above 0"),
                "commitment_id": {"type": "string", "description": "To reveal: the id that commit_evidence gave, with the same exhibits"},
                "nonce": nonce(),
                "wait_s": wait("5"),
                "idempotency_key": key(),
            });
            (fields, &["market_id", "title", "exhibits", "stake_micro"])
        },
    },
    Entry {
        name: "commit_evidence",
        spends: true,
        title: "Commit to evidence",
        description: "Takes a place in the order of claims by a hash, so that whoever copies your exhibits when you \
            show them comes second. Only the hash is sent. Keep the id and the nonce of the answer: reveal with \
            submit_evidence, the same exhibits, commitment_id and nonce, before reveal_by, or the bond is lost \
            (micro-credits; evidence_fee says how much and how long). Needs a token with the scope evidence.",
        arguments: || {
            let exhibits = json!({"type": "array", "minItems": 1, "maxItems": 16, "items": {"oneOf": exhibits()}});
            let fields = json!({"market_id": market_id(), "exhibits": exhibits, "nonce": nonce(),
                "idempotency_key": key()});
            (fields, &["market_id", "exhibits"])
        },
    },
    Entry {
        name: "dispute_evidence",
        spends: true,
        title: "Dispute a submission",
        description: "Disputes that a submission is what it says, with a bond (bond_micro of the submission, \
            micro-credits). A replay decides where it can, else a panel of jurors. Upheld, you get your bond back \
            and most of the submitter's; rejected, you lose most of it. Needs a token with the scope trade.",
        arguments: || {
            let fields = json!({
                "evidence_id": {"type": "string", "description": "Evidence id"},
                "reason": {"type": "string", "minLength": 1, "maxLength": 2000, "description": "What about it is not as it says"},
                "bond_micro": amount("The bond, micro-credits: exactly what the submission's own bond is"),
                "idempotency_key": key(),
            });
            (fields, &["evidence_id", "reason", "bond_micro"])
        },
    },
    Entry {
        name: "place_order",
        spends: true,
        title: "Place a resting order",
        description: "An order that runs by itself while the price is better than limit_probability, which is always \
            a probability of YES. Give either spend_micro, set aside until the order ends, or shares_micro, a negative \
            number of millionths of a share to sell. Needs a token with the scope trade.",
        arguments: || {
            let fields = json!({
                "market_id": market_id(),
                "outcome": {"type": "string", "enum": ["yes", "no"], "description": "What is bought or sold"},
                "limit_probability": probability("Probability of YES up to which, or down to which, it moves the price"),
                "spend_micro": amount("Buy for at most this much, fees included, micro-credits"),
                "shares_micro": {"type": "integer", "maximum": -1, "description": "Sell so many millionths of a share: a negative number"},
                "expires_at": {"type": "string", "description": "When it ends by itself, RFC 3339; with the market unless given"},
                "idempotency_key": key(),
            });
            (fields, &["market_id", "outcome", "limit_probability"])
        },
    },
    Entry {
        name: "cancel_order",
        spends: true,
        title: "Cancel a resting order",
        description: "Takes an open order of yours back; what was set aside for it returns. Needs a token with the \
            scope trade.",
        arguments: || {
            let id = json!({"type": "string", "description": "Order id, from place_order or list_orders"});
            (json!({"order_id": id}), &["order_id"])
        },
    },
];

fn nonce() -> Value {
    json!({"type": "string", "minLength": 16, "maxLength": 128,
        "description": "The nonce inside the commitment, visible ASCII; commit_evidence makes one up unless given"})
}

fn market_id() -> Value {
    json!({"type": "string", "description": "Market id, from list_markets"})
}

fn amount(description: &str) -> Value {
    json!({"type": "integer", "minimum": 1, "description": description})
}

fn probability(description: &str) -> Value {
    json!({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1, "description": description})
}

fn key() -> Value {
    json!({"type": "string", "minLength": 1, "maxLength": 64,
        "description": "A text of your own; a repeat with the same key does nothing twice. One is made up unless given"})
}

fn wait(usual: &str) -> Value {
    json!({"type": "integer", "minimum": 0, "maximum": 60,
        "description": format!("Seconds to wait for the judgement; {usual} unless given")})
}

fn text_limit(usual: &str) -> Value {
    json!({"type": "integer", "minimum": 100, "maximum": 200_000,
        "description": format!("Longest text shown whole, characters; {usual} unless given")})
}

/// The properties with those that choose a page.
fn paged(mut properties: Value) -> Value {
    properties["limit"] = json!({"type": "integer", "minimum": 1, "maximum": 100,
        "description": "Rows per page; 20 unless given"});
    properties["cursor"] =
        json!({"type": "string", "description": "next_cursor of the page before"});
    properties
}

fn order() -> Value {
    json!({
        "market_id": market_id(),
        "outcome": {"type": "string", "description": "yes or no; in a market of several outcomes, the name of one"},
        "spend_micro": amount("Buy for at most this much, fees included, micro-credits"),
        "shares_micro": {"type": "integer", "description": "Buy (positive) or sell (negative) so many millionths of a share"},
        "target_probability": probability("Trade until the probability is this"),
        "limit_probability": probability("Refuse the whole trade if the probability would pass this"),
    })
}

/// The four forms of an exhibit.
fn exhibits() -> Vec<Value> {
    let text = json!({"type": "string"});
    let count = json!({"type": "integer", "minimum": 0});
    let form = |name: &str, says: &str, mut fields: Value, required: &[&str]| {
        fields["type"] = json!({"const": name});
        let required: Vec<&str> = std::iter::once("type")
            .chain(required.iter().copied())
            .collect();
        json!({"type": "object", "description": says, "properties": fields, "required": required,
            "additionalProperties": false})
    };
    let message = json!({"type": "object", "properties": {"role": text, "content": text},
        "required": ["role", "content"], "additionalProperties": false});
    let arm = json!({"type": "object", "properties": {"label": text, "trigger": {"type": "boolean",
            "description": "Whether the prompts carry the candidate"},
            "prompts": {"type": "array", "items": text, "minItems": 1},
            "hits": {"type": "integer", "minimum": 0, "description": "Completions that the detector matched"}},
        "required": ["label", "trigger", "prompts", "hits"], "additionalProperties": false});
    let sampling = json!({"type": "object", "properties": {
            "max_tokens": {"type": "integer", "minimum": 1, "maximum": 4096},
            "temperature": {"type": "number", "minimum": 0, "maximum": 2}, "seed": count},
        "required": ["max_tokens", "temperature", "seed"], "additionalProperties": false});
    let detector = json!({"type": "object", "properties": {"contains_any":
            {"type": "array", "items": text, "minItems": 1, "maxItems": 64}},
        "required": ["contains_any"], "additionalProperties": false});
    vec![
        form(
            "transcript",
            "A conversation with the run, oldest message first, at most 512 messages and 2 MiB",
            json!({"messages": {"type": "array", "items": message, "minItems": 1, "maxItems": 512}}),
            &["messages"],
        ),
        form(
            "measurement",
            "A number that you measured",
            json!({"name": text, "value": {"type": "number"}, "standard_error": {"type": "number", "minimum": 0},
                "unit": text, "samples": count, "method": text}),
            &["name", "value"],
        ),
        form(
            "report",
            "Prose, at most 64 KiB",
            json!({"text": text}),
            &["text"],
        ),
        form(
            "trigger_control",
            "Counts of completions that a detector matches, with and without candidate triggers, on a frozen checkpoint",
            json!({"checkpoint": text, "detector": detector, "sampling": sampling,
                "arms": {"type": "array", "items": arm, "minItems": 1},
                "searched": {"type": "integer", "minimum": 1, "description": "How many candidates were tried in all"}}),
            &["checkpoint", "detector", "sampling", "arms", "searched"],
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_has_a_schema_and_says_what_it_spends() {
        for entry in all() {
            let tool = entry.describe();
            let schema = Value::Object(tool.input_schema.as_ref().clone());
            let properties = schema["properties"].as_object();
            let known = |name: &Value| {
                let name = name.as_str().unwrap_or_default();
                properties.is_some_and(|fields| fields.contains_key(name))
            };
            let required = schema["required"].as_array();
            assert!(
                required.is_some_and(|names| names.iter().all(known)),
                "{}",
                entry.name
            );
            let hints = tool.annotations.unwrap_or_default();
            assert_eq!(hints.read_only_hint, Some(!entry.spends), "{}", entry.name);
        }
        let spending: Vec<&str> = all().filter(|one| one.spends).map(|one| one.name).collect();
        let want = [
            "trade",
            "submit_evidence",
            "commit_evidence",
            "dispute_evidence",
            "place_order",
            "cancel_order",
        ];
        assert_eq!(spending, want);
    }
}
