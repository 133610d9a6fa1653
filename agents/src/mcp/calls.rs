//! What each tool does: its arguments, checked, and the calls of the API behind it.

use std::time::Duration;

use rmcp::model::JsonObject;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::answer::{Fault, of_others, own};
use crate::client::{
    Client, NewEvidence, content_hash, evidence_commitment, fresh_nonce, usual_kind,
};

/// Rows of a page unless it is said.
const PAGE: u32 = 20;
/// Longest text of a list or a market unless it is said, characters.
const SHORT_TEXT: usize = 2_000;
/// Longest text of one submission unless it is said, characters.
const LONG_TEXT: usize = 20_000;
/// Longest wait for a judgement, seconds.
const MAX_WAIT: u64 = 60;
/// How often a wait looks.
const PAUSE: Duration = Duration::from_millis(250);
/// Most pages of a market's evidence that are searched for one's own.
const MAX_PAGES: usize = 100;

/// Calls a tool by its name; the server has checked that it is offered.
pub(super) async fn call(
    client: &Client,
    name: &str,
    arguments: JsonObject,
) -> Result<Value, Fault> {
    match name {
        "list_markets" => list_markets(client, read(arguments)?).await,
        "read_market" => read_market(client, read(arguments)?).await,
        "price_history" => price_history(client, read(arguments)?).await,
        "read_evidence" => read_evidence(client, read(arguments)?).await,
        "my_submissions" => my_submissions(client, read(arguments)?).await,
        "portfolio" => {
            let Nothing {} = read(arguments)?;
            Ok(own(client.document(&["portfolio"]).await?))
        }
        "evidence_fee" => evidence_fee(client, read(arguments)?).await,
        "quote" => quote(client, read(arguments)?).await,
        "trade" => trade(client, read(arguments)?).await,
        "submit_evidence" => submit(client, read(arguments)?).await,
        "commit_evidence" => commit(client, read(arguments)?).await,
        "dispute_evidence" => dispute(client, read(arguments)?).await,
        "list_orders" => list_orders(client, read(arguments)?).await,
        "place_order" => place_order(client, read(arguments)?).await,
        "cancel_order" => {
            let OneOrder { order_id } = read(arguments)?;
            Ok(own(client.take_back(&["orders", &order_id.0]).await?))
        }
        other => Err(Fault::Arguments(format!("there is no tool `{other}`"))),
    }
}

fn read<T: DeserializeOwned>(arguments: JsonObject) -> Result<T, Fault> {
    serde_json::from_value(Value::Object(arguments))
        .map_err(|error| Fault::Arguments(error.to_string()))
}

/// An identifier as the service makes them; nothing else may become part of a path.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
struct Id(String);

impl TryFrom<String> for Id {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let fits = (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
        if fits {
            Ok(Self(text))
        } else {
            Err("an id has 1 to 64 letters, digits, - and _".to_owned())
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListMarkets {
    status: Option<String>,
    run_id: Option<Id>,
    limit: Option<u32>,
    cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OneMarket {
    market_id: Id,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MarketPage {
    market_id: Id,
    limit: Option<u32>,
    cursor: Option<String>,
    text_limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Prices {
    market_id: Id,
    limit: Option<u32>,
    cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OneEvidence {
    evidence_id: Id,
    wait_s: Option<u64>,
    text_limit: Option<usize>,
}

/// An order; which sizes go together is for the service to say.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Order {
    #[serde(skip_serializing)]
    market_id: Id,
    outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    spend_micro: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shares_micro: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_probability: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit_probability: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_cost_micro: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    min_proceeds_micro: Option<i64>,
    #[serde(skip_serializing)]
    idempotency_key: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Submission {
    market_id: Id,
    title: String,
    #[serde(default)]
    body: String,
    kind: Option<String>,
    exhibits: Vec<Value>,
    stake_micro: i64,
    commitment_id: Option<Id>,
    nonce: Option<String>,
    wait_s: Option<u64>,
    idempotency_key: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Commit {
    market_id: Id,
    exhibits: Vec<Value>,
    idempotency_key: Option<String>,
    nonce: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Dispute {
    evidence_id: Id,
    reason: String,
    bond_micro: i64,
    idempotency_key: Option<String>,
}

/// A resting order; which sizes go together is for the service to say.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RestingOrder {
    #[serde(skip_serializing)]
    market_id: Id,
    outcome: String,
    limit_probability: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    spend_micro: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shares_micro: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<String>,
    #[serde(skip_serializing)]
    idempotency_key: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct OneOrder {
    order_id: Id,
}

fn page(limit: Option<u32>, cursor: Option<String>) -> Vec<(&'static str, String)> {
    let mut query = vec![("limit", limit.unwrap_or(PAGE).to_string())];
    query.extend(cursor.map(|cursor| ("cursor", cursor)));
    query
}

async fn list_markets(client: &Client, asked: ListMarkets) -> Result<Value, Fault> {
    let mut query = page(asked.limit, asked.cursor);
    query.extend(asked.status.map(|status| ("status", status)));
    query.extend(asked.run_id.map(|id| ("run_id", id.0)));
    let markets = client.page(&["markets"], query).await?;
    Ok(of_others(markets, SHORT_TEXT))
}

async fn read_market(client: &Client, asked: MarketPage) -> Result<Value, Fault> {
    let id = asked.market_id.0;
    let market = client.document(&["markets", &id]).await?;
    let query = page(asked.limit, asked.cursor);
    let evidence = client.page(&["markets", &id, "evidence"], query).await?;
    let limit = asked.text_limit.unwrap_or(SHORT_TEXT);
    Ok(of_others(
        json!({"market": market, "evidence": evidence}),
        limit,
    ))
}

async fn price_history(client: &Client, asked: Prices) -> Result<Value, Fault> {
    let path = ["markets", &asked.market_id.0, "prices"];
    let prices = client.page(&path, page(asked.limit, asked.cursor)).await?;
    Ok(own(prices))
}

async fn read_evidence(client: &Client, asked: OneEvidence) -> Result<Value, Fault> {
    let evidence = client.document(&["evidence", &asked.evidence_id.0]).await?;
    let evidence = judged(client, evidence, asked.wait_s.unwrap_or(0)).await?;
    followed(client, evidence, asked.text_limit.unwrap_or(LONG_TEXT)).await
}

/// A submission, and where its market is by now.
async fn followed(client: &Client, evidence: Value, limit: usize) -> Result<Value, Fault> {
    let market = evidence["market_id"].as_str().unwrap_or_default();
    let market = client.document(&["markets", market]).await?;
    let now = json!({
        "status": market["status"],
        "probability": market["probability"],
        "interval": market["interval"],
        "settlement": market["settlement"],
    });
    Ok(of_others(
        json!({"evidence": evidence, "market_now": now}),
        limit,
    ))
}

/// The submission once it is judged, or as it is when the time is over.
async fn judged(client: &Client, mut evidence: Value, wait_s: u64) -> Result<Value, Fault> {
    let deadline = Instant::now() + Duration::from_secs(wait_s.min(MAX_WAIT));
    while evidence["status"] == "pending" && Instant::now() < deadline {
        tokio::time::sleep(PAUSE).await;
        let id = evidence["id"].as_str().unwrap_or_default().to_owned();
        evidence = client.document(&["evidence", &id]).await?;
    }
    Ok(evidence)
}

async fn my_submissions(client: &Client, asked: OneMarket) -> Result<Value, Fault> {
    let me = client.me().await?.handle;
    let path = ["markets", &asked.market_id.0, "evidence"];
    let (mut mine, mut cursor, mut complete) = (Vec::new(), None, false);
    for _ in 0..MAX_PAGES {
        let mut rows = client.page(&path, page(None, cursor.take())).await?;
        if let Some(items) = rows["items"].as_array_mut() {
            let own = items.iter_mut().map(Value::take);
            mine.extend(own.filter(|one| one["account"] == me.as_str()).map(outline));
        }
        match rows["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => {
                complete = true;
                break;
            }
        }
    }
    Ok(own(json!({"items": mine, "complete": complete})))
}

/// A submission without what it brought.
fn outline(mut evidence: Value) -> Value {
    if let Some(fields) = evidence.as_object_mut() {
        for long in ["exhibits", "body", "replay"] {
            fields.remove(long);
        }
    }
    evidence
}

async fn evidence_fee(client: &Client, asked: OneMarket) -> Result<Value, Fault> {
    let path = ["markets", &asked.market_id.0, "evidence", "fee"];
    Ok(own(client.document(&path).await?))
}

async fn quote(client: &Client, order: Order) -> Result<Value, Fault> {
    if order.idempotency_key.is_some() {
        return Err(Fault::Arguments(
            "a quote does nothing, so it takes no idempotency_key".to_owned(),
        ));
    }
    let path = ["markets", &order.market_id.0, "quotes"];
    Ok(own(client.make(&path, &order).await?))
}

async fn trade(client: &Client, order: Order) -> Result<Value, Fault> {
    let path = ["markets", &order.market_id.0, "trades"];
    let key = checked(order.idempotency_key.as_deref())?;
    Ok(own(client.make_once(&path, &order, key).await?))
}

async fn submit(client: &Client, asked: Submission) -> Result<Value, Fault> {
    let key = checked(asked.idempotency_key.as_deref())?;
    let evidence = NewEvidence {
        kind: asked
            .kind
            .unwrap_or_else(|| usual_kind(&asked.exhibits).to_owned()),
        title: asked.title,
        body: asked.body,
        exhibits: asked.exhibits,
        stake_micro: asked.stake_micro,
        commitment: asked.commitment_id.map(|id| id.0),
        nonce: asked.nonce,
        ..NewEvidence::default()
    };
    let path = ["markets", &asked.market_id.0, "evidence"];
    let made = client.make_once(&path, &evidence, key).await?;
    // It is submitted: not being able to look at it is no error of the submission.
    let seen = async {
        let judged = judged(client, made.clone(), asked.wait_s.unwrap_or(5)).await?;
        followed(client, outline(judged), LONG_TEXT).await
    };
    let seen = seen.await;
    Ok(seen.unwrap_or_else(|_| of_others(json!({"evidence": outline(made)}), LONG_TEXT)))
}

/// Commits to exhibits by a hash. The nonce is part of the answer: nothing here remembers it. A repeat under
/// the same key has to bring the same nonce, or it would be another hash.
async fn commit(client: &Client, asked: Commit) -> Result<Value, Fault> {
    let key = checked(asked.idempotency_key.as_deref())?;
    if key.is_some() && asked.nonce.is_none() {
        return Err(Fault::Arguments(
            "with an idempotency_key give a nonce too: a repeat needs the same one".to_owned(),
        ));
    }
    let content = content_hash(&asked.exhibits)
        .ok_or_else(|| Fault::Arguments("an exhibit is not of any known form".to_owned()))?;
    let account = client.me().await?.id;
    let nonce = asked.nonce.unwrap_or_else(fresh_nonce);
    let hash = evidence_commitment(&asked.market_id.0, &account, &nonce, &content);
    let path = ["markets", &asked.market_id.0, "commitments"];
    let made = client
        .make_once(&path, &json!({"commitment": hash}), key)
        .await?;
    Ok(own(json!({"commitment": made, "nonce": nonce})))
}

async fn dispute(client: &Client, asked: Dispute) -> Result<Value, Fault> {
    let key = checked(asked.idempotency_key.as_deref())?;
    let body = json!({"reason": asked.reason, "bond_micro": asked.bond_micro});
    let path = ["evidence", &asked.evidence_id.0, "challenges"];
    Ok(own(client.make_once(&path, &body, key).await?))
}

async fn list_orders(client: &Client, asked: Prices) -> Result<Value, Fault> {
    let path = ["markets", &asked.market_id.0, "orders"];
    let orders = client.page(&path, page(asked.limit, asked.cursor)).await?;
    Ok(own(orders))
}

async fn place_order(client: &Client, order: RestingOrder) -> Result<Value, Fault> {
    let key = checked(order.idempotency_key.as_deref())?;
    let path = ["markets", &order.market_id.0, "orders"];
    Ok(own(client.make_once(&path, &order, key).await?))
}

/// A key as it can go into a header.
fn checked(key: Option<&str>) -> Result<Option<&str>, Fault> {
    let fits = |key: &str| {
        (1..=64).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match key {
        Some(key) if !fits(key) => Err(Fault::Arguments(
            "an idempotency_key has 1 to 64 visible ASCII characters".to_owned(),
        )),
        key => Ok(key),
    }
}
