//! Notices of events to addresses that accounts chose, as Standard Webhooks describes them.
//!
//! Each webhook has a place in the outbox. The next event on its topics is posted until the receiver answers with
//! 2xx; then the next one. So a notice may come twice, and never in another order. About
//! decisions it says only that a version exists: acting on a notice would be acting on nothing signed.

mod delivery;
mod signature;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plumbline_access::Action;
use plumbline_store::outbox;
use plumbline_store::webhooks::{self, Delivery, Webhook};

use crate::accounts::account_of;
use crate::commands::CreateWebhook;
use crate::context::Context;
use crate::time::rfc3339;
use crate::views::{DeliveryView, WebhookCreated, WebhookView};
use crate::{Result, Service, ServiceError};

/// Webhooks of one account.
const MOST: usize = 10;
/// Topics of one webhook.
const MOST_TOPICS: usize = 16;
/// Longest topic, bytes.
const LONGEST_TOPIC: usize = 128;
/// Longest address, bytes.
const LONGEST_URL: usize = 2_000;
/// Attempts that are shown.
const SHOWN: i64 = 100;

/// A signed notice, ready to be posted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Where it goes.
    pub url: String,
    /// `webhook-id`, `webhook-timestamp` and `webhook-signature`.
    pub headers: [(&'static str, String); 3],
    /// JSON.
    pub body: String,
}

/// Carries notices out. What it may reach is its to decide: addresses come from strangers.
pub trait Courier: Send + Sync {
    /// Whether notices can go to the address at all; else a sentence that says why not.
    ///
    /// # Errors
    /// The sentence.
    fn check(&self, url: &str) -> std::result::Result<(), String>;

    /// Posts a notice; the HTTP status of the answer. Bounded in time, follows no redirect.
    ///
    /// # Errors
    /// Why there was no answer.
    fn post(&self, notice: &Notice) -> std::result::Result<u16, String>;
}

/// What is in memory about webhooks.
#[derive(Default)]
pub(crate) struct Desk {
    courier: OnceLock<Arc<dyn Courier>>,
    /// How far each webhook's topics were searched in vain.
    searched: Mutex<HashMap<String, i64>>,
}

impl Service {
    /// Gives the service somebody who carries notices out; without one there are no webhooks. Only the first
    /// one counts.
    pub fn connect_courier(&self, courier: Arc<dyn Courier>) {
        let _ = self.webhooks.courier.set(courier);
    }

    /// Subscribes an address to topics. The secret that signs its notices is in the answer and nowhere else.
    ///
    /// # Errors
    /// `webhooks-off`; `bad-topic`; `bad-address` with what is wrong with it, also for one that is private;
    /// `too-many-webhooks`.
    pub fn create_webhook(&self, ctx: &Context, cmd: &CreateWebhook) -> Result<WebhookCreated> {
        self.allow(&ctx.actor, Action::CreateWebhook)?;
        self.allow(&ctx.actor, Action::FollowEvents)?;
        let account_id = account_of(&ctx.actor)?;
        let courier = self.webhooks.courier.get().ok_or_else(|| {
            ServiceError::refused("webhooks-off", "this service sends no webhooks")
        })?;
        check_topics(&cmd.topics)?;
        if cmd.url.len() > LONGEST_URL {
            return Err(ServiceError::invalid(
                "bad-address",
                "url has at most 2000 bytes",
            ));
        }
        courier
            .check(&cmd.url)
            .map_err(|why| ServiceError::invalid("bad-address", why))?;
        let secret = format!(
            "{}{}",
            signature::SECRET_PREFIX,
            STANDARD.encode(self.random_seed()?)
        );
        let (id, cmd) = (self.new_id(), cmd.clone());
        self.write_once(ctx, move |tx, now| {
            let own = webhooks::of_account(tx, &account_id)?;
            if own.len() >= MOST {
                return Err(ServiceError::refused(
                    "too-many-webhooks",
                    "delete one first: an account has ten at most",
                ));
            }
            let row = Webhook {
                id,
                account_id,
                url: cmd.url,
                topics: cmd.topics,
                secret: secret.clone(),
                created_at: now,
                event_id: outbox::last_id(tx)?,
                failures: 0,
                failing_since: None,
                due_at: Some(now),
                ended_why: None,
            };
            webhooks::insert(tx, &row)?;
            Ok(WebhookCreated {
                webhook: view(row),
                secret,
            })
        })
    }

    /// The actor's webhooks, without their secrets.
    pub fn webhooks(&self, ctx: &Context) -> Result<Vec<WebhookView>> {
        self.allow(&ctx.actor, Action::ListWebhooks)?;
        let account = account_of(&ctx.actor)?;
        let rows = self.read(move |tx| Ok(webhooks::of_account(tx, &account)?))?;
        Ok(rows.into_iter().map(view).collect())
    }

    /// Takes one of the actor's webhooks back.
    pub fn delete_webhook(&self, ctx: &Context, id: &str) -> Result<()> {
        self.allow(&ctx.actor, Action::DeleteWebhook)?;
        let (account, id) = (account_of(&ctx.actor)?, id.to_owned());
        self.write(move |tx| Ok(webhooks::delete(tx, &id, &account)?))
    }

    /// How the notices of one of the actor's webhooks went, newest first; the last hundred attempts.
    pub fn webhook_deliveries(&self, ctx: &Context, id: &str) -> Result<Vec<DeliveryView>> {
        self.allow(&ctx.actor, Action::ListWebhooks)?;
        let (account, id) = (account_of(&ctx.actor)?, id.to_owned());
        self.read(move |tx| {
            let row = webhooks::get(tx, &id)?;
            if row.account_id != account {
                return Err(ServiceError::not_found("webhook", id));
            }
            let rows = webhooks::deliveries(tx, &id, SHOWN)?;
            Ok(rows.into_iter().map(delivery_view).collect())
        })
    }
}

fn check_topics(topics: &[String]) -> Result<()> {
    let fits = |topic: &String| {
        let name = topic.strip_suffix('*').unwrap_or(topic);
        (1..=LONGEST_TOPIC).contains(&topic.len())
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b":-_".contains(&byte))
            && (name.len() == topic.len() || name.ends_with(':'))
    };
    if (1..=MOST_TOPICS).contains(&topics.len()) && topics.iter().all(fits) {
        return Ok(());
    }
    Err(ServiceError::invalid(
        "bad-topic",
        "name 1 to 16 topics, such as allocations, market:ID or market:*",
    ))
}

fn view(row: Webhook) -> WebhookView {
    WebhookView {
        id: row.id,
        url: row.url,
        topics: row.topics,
        created_at: rfc3339(row.created_at),
        failures: row.failures,
        failing_since: row.failing_since.map(rfc3339),
        next_attempt_at: row.due_at.filter(|_| row.failures > 0).map(rfc3339),
        ended: row.ended_why,
    }
}

fn delivery_view(row: Delivery) -> DeliveryView {
    DeliveryView {
        event_id: row.event_id,
        at: rfc3339(row.at),
        attempt: row.attempt,
        status: row.status,
        error: row.error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_names_and_patterns() {
        let check = |topics: &[&str]| {
            let topics: Vec<String> = topics.iter().map(|&topic| topic.to_owned()).collect();
            check_topics(&topics).is_ok()
        };
        assert!(check(&["allocations", "market:0199-a", "market:*"]));
        for bad in [&[][..], &["*"], &["mark*"], &["a b"], &[""], &["x"; 17]] {
            assert!(!check(bad), "{bad:?}");
        }
    }
}
