//! Webhooks: one's own addresses that are told of events.

use actix_web::web;
use plumbline_service::commands::CreateWebhook;
use plumbline_service::views::{DeliveryView, WebhookCreated, WebhookView};

use super::{Answer, created, done, ok};
use crate::auth::{Caller, State};
use crate::blocking::blocking;
use crate::extract::Json;

/// Your webhooks
#[utoipa::path(get, path = "/api/v1/webhooks", tag = "events",
    responses((status = 200, description = "The webhooks, without their secrets", body = Vec<WebhookView>)))]
pub(crate) async fn list(state: State, caller: Caller) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.webhooks(&caller.context())
    })
    .await?)
}

/// Subscribe an address to topics: signed notices as Standard Webhooks describes them
#[utoipa::path(post, path = "/api/v1/webhooks", tag = "events", request_body = CreateWebhook,
    responses((status = 201, description = "The webhook, and its secret this once", body = WebhookCreated)))]
pub(crate) async fn create(state: State, caller: Caller, body: Json<CreateWebhook>) -> Answer {
    let context = caller.writing(body.idempotency);
    created(
        &blocking(&state.service, move |service| {
            service.create_webhook(&context, &body.value)
        })
        .await?,
    )
}

/// Take a webhook back
#[utoipa::path(delete, path = "/api/v1/webhooks/{id}", tag = "events",
    params(("id" = String, Path, description = "Webhook id")),
    responses((status = 204, description = "It is gone")))]
pub(crate) async fn delete(state: State, caller: Caller, id: web::Path<String>) -> Answer {
    blocking(&state.service, move |service| {
        service.delete_webhook(&caller.context(), &id)
    })
    .await?;
    done()
}

/// How the notices of a webhook went, newest first; the last hundred attempts
#[utoipa::path(get, path = "/api/v1/webhooks/{id}/deliveries", tag = "events",
    params(("id" = String, Path, description = "Webhook id")),
    responses((status = 200, description = "The attempts", body = Vec<DeliveryView>)))]
pub(crate) async fn deliveries(state: State, caller: Caller, id: web::Path<String>) -> Answer {
    ok(&blocking(&state.service, move |service| {
        service.webhook_deliveries(&caller.context(), &id)
    })
    .await?)
}
