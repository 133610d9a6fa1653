//! Following, notifications, webhooks.

use plumbline_service::Action;

use crate::api::{notices, webhooks};
use crate::pages;
use crate::routing::{Routes, delete, get, post, put, resource};

/// The endpoints.
pub(super) fn api(api: &mut Routes<'_>) {
    api.service(resource("/notifications").route(get(Action::ReadNotices).to(notices::list)))
        .service(resource("/notifications/read").route(post(Action::ReadNotices).to(notices::mark)))
        .service(
            resource("/notifications/preferences")
                .route(get(Action::ManageNotices).to(notices::choices))
                .route(put(Action::ManageNotices).to(notices::choose)),
        )
        .service(
            resource("/follows")
                .route(get(Action::Follow).to(notices::follows))
                .route(post(Action::Follow).to(notices::follow)),
        )
        .service(resource("/follows/{topic}").route(delete(Action::Follow).to(notices::unfollow)))
        .service(
            resource("/me/mail")
                .route(get(Action::ManageMail).to(notices::mail))
                .route(put(Action::ManageMail).to(notices::set_mail))
                .route(delete(Action::ManageMail).to(notices::remove_mail)),
        )
        .service(
            resource("/me/mail/verification")
                .route(post(Action::ManageMail).to(notices::verify_mail)),
        )
        .service(
            resource("/webhooks")
                .route(get(Action::ListWebhooks).to(webhooks::list))
                .route(post(Action::CreateWebhook).to(webhooks::create)),
        )
        .service(
            resource("/webhooks/{id}").route(delete(Action::DeleteWebhook).to(webhooks::delete)),
        )
        .service(
            resource("/webhooks/{id}/deliveries")
                .route(get(Action::ListWebhooks).to(webhooks::deliveries)),
        );
}

/// The pages.
pub(super) fn pages(app: &mut Routes<'_>) {
    use pages::notices;
    app.service(resource("/notifications").route(get(Action::ReadNotices).to(notices::show)))
        .service(resource("/notifications/read").route(post(Action::ReadNotices).to(notices::mark)))
        .service(
            resource("/notifications/choices")
                .route(post(Action::ManageNotices).to(notices::choose)),
        )
        .service(
            resource("/notifications/mail").route(post(Action::ManageMail).to(notices::set_mail)),
        )
        .service(
            resource("/notifications/mail/verify")
                .route(post(Action::ManageMail).to(notices::verify_mail)),
        )
        .service(
            resource("/notifications/mail/remove")
                .route(post(Action::ManageMail).to(notices::remove_mail)),
        )
        .service(
            resource("/notifications/unsubscribe/{link}")
                .route(get(Action::Unsubscribe).to(notices::ask_to_unsubscribe))
                .route(post(Action::Unsubscribe).to(notices::unsubscribe)),
        )
        .service(resource("/follow").route(post(Action::Follow).to(notices::follow)))
        .service(
            resource("/account/webhooks")
                .route(get(Action::ListWebhooks).to(pages::webhooks::show))
                .route(post(Action::CreateWebhook).to(pages::webhooks::create)),
        )
        .service(
            resource("/account/webhooks/{id}/delete")
                .route(post(Action::DeleteWebhook).to(pages::webhooks::delete)),
        );
}
