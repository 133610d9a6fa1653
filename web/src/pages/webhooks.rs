//! One's own webhooks and how their notices went.

use actix_web::web;
use plumbline_service::commands::CreateWebhook;
use plumbline_service::context::Context;
use plumbline_service::views::{DeliveryView, WebhookCreated, WebhookView};
use plumbline_service::{Result, Service};
use serde::Serialize;

use super::Visit;
use super::form::{Form, answer_with_page, fresh_key};
use super::visit::redirect_with;
use crate::api::Answer;
use crate::auth::State;
use crate::blocking::blocking;
use crate::templates::Page;

/// Attempts that are shown of each.
const SHOWN: usize = 10;

/// A webhook with its last attempts.
#[derive(Debug, Serialize)]
pub(crate) struct WebhookRow {
    /// The webhook.
    pub(crate) view: WebhookView,
    /// Its last attempts, newest first.
    pub(crate) deliveries: Vec<DeliveryView>,
}

/// The page's context.
#[derive(Debug, Serialize)]
pub(crate) struct WebhooksPage {
    /// The webhooks.
    pub(crate) webhooks: Vec<WebhookRow>,
    /// One that was just made, with its secret, shown this once.
    pub(crate) created: Option<WebhookCreated>,
    /// What is wrong with the form.
    pub(crate) error: Option<String>,
    /// The address as typed.
    pub(crate) url: String,
    /// Makes a double click harmless.
    pub(crate) key: String,
}

impl Page for WebhooksPage {
    const TEMPLATE: &'static str = "webhooks.html";
}

fn load(service: &Service, context: &Context) -> Result<WebhooksPage> {
    let row = |view: WebhookView| {
        let mut deliveries = service.webhook_deliveries(context, &view.id)?;
        deliveries.truncate(SHOWN);
        Ok(WebhookRow { view, deliveries })
    };
    let webhooks = service.webhooks(context)?;
    Ok(WebhooksPage {
        webhooks: webhooks.into_iter().map(row).collect::<Result<_>>()?,
        created: None,
        error: None,
        url: String::new(),
        key: fresh_key(),
    })
}

/// `GET /account/webhooks`
pub(crate) async fn show(state: State, visit: Visit) -> Answer {
    visit.page(&state, load).await
}

/// `POST /account/webhooks`: answers with the page itself, because a redirect would have to carry the secret
pub(crate) async fn create(state: State, form: Form) -> Answer {
    let (writing, context) = (form.writing(), form.caller.context());
    let topics = form.fields.get("topics").split([',', ' ']);
    let command = CreateWebhook {
        url: form.fields.get("url").to_owned(),
        topics: topics
            .filter(|topic| !topic.is_empty())
            .map(str::to_owned)
            .collect(),
    };
    let made = blocking(&state.service, move |service| {
        service.create_webhook(&writing, &command)
    })
    .await;
    let page = blocking(&state.service, move |service| load(service, &context)).await?;
    answer_with_page(&state, &form, made, page, |page, made| match made {
        Ok(created) => page.created = Some(created),
        Err(error) => {
            page.error = Some(error);
            page.url = form.fields.get("url").to_owned();
        }
    })
}

/// `POST /account/webhooks/{id}/delete`
pub(crate) async fn delete(state: State, form: Form, id: web::Path<String>) -> Answer {
    let context = form.writing();
    blocking(&state.service, move |service| {
        service.delete_webhook(&context, &id)
    })
    .await?;
    Ok(redirect_with(
        "/account/webhooks",
        "done",
        "The webhook is gone.",
    ))
}
