//! One's own notifications: the list, what one follows, what comes by which way, and where it is mailed.

use actix_web::http::StatusCode;
use actix_web::web;
use plumbline_service::commands::{
    ChooseKind, ChooseNotices, FollowTopic, MarkRead, SetMailAddress, VerifyMailAddress,
};
use plumbline_service::context::Context;
use plumbline_service::views::{ChoiceView, FollowView, MailView, NoticeView};
use plumbline_service::{Result, Service};
use serde::{Deserialize, Serialize};

use super::form::{Fields, Form, fresh_key};
use super::visit::{Facts, redirect_with, render};
use super::{Visit, local_path};
use crate::api::Answer;
use crate::auth::State;
use crate::blocking::blocking;
use crate::extract::{NoBody, Params};
use crate::problem::Problem;
use crate::templates::Page;

/// Notifications on a page.
const SHOWN: usize = 50;
/// Things followed that the page lists.
const FOLLOWS: usize = 100;
/// The page.
const HERE: &str = "/notifications";

/// Which page of the list.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Cursor {
    cursor: Option<String>,
}

/// The page's context.
#[derive(Debug, Serialize)]
pub(crate) struct NotificationsPage {
    /// Notifications, newest first.
    pub(crate) notices: Vec<NoticeView>,
    /// Where the list goes on.
    pub(crate) next_cursor: Option<String>,
    /// Unread ones.
    pub(crate) unread: u64,
    /// What is followed.
    pub(crate) follows: Vec<FollowView>,
    /// More is followed than is listed.
    pub(crate) more_follows: bool,
    /// Which kinds come by which way.
    pub(crate) choices: Vec<ChoiceView>,
    /// Where they are mailed.
    pub(crate) mail: Option<MailView>,
    /// What is wrong with the form about mail.
    pub(crate) error: Option<String>,
    /// The address as typed.
    pub(crate) address: String,
    /// Makes a double click harmless.
    pub(crate) key: String,
}

impl Page for NotificationsPage {
    const TEMPLATE: &'static str = "notifications.html";
    fn topics(&self) -> String {
        "notices".to_owned()
    }
}

/// Where a link in a mail leads.
#[derive(Debug, Serialize)]
pub(crate) struct UnsubscribePage {
    /// The end of the link.
    pub(crate) link: String,
    /// It has been done.
    pub(crate) done: bool,
}

impl Page for UnsubscribePage {
    const TEMPLATE: &'static str = "unsubscribe.html";
}

fn load(service: &Service, context: &Context, cursor: Option<&str>) -> Result<NotificationsPage> {
    let page = service.notices(context, false, cursor, SHOWN)?;
    let follows = service.follows(context, None, FOLLOWS)?;
    // Where a browser's session asks: the address is none of a token's business.
    let mail = if context.actor.session {
        Some(service.mail_address(context)?)
    } else {
        None
    };
    Ok(NotificationsPage {
        notices: page.items,
        next_cursor: page.next_cursor,
        unread: page.unread,
        more_follows: follows.next_cursor.is_some(),
        follows: follows.items,
        choices: service.notice_choices(context)?,
        address: mail
            .as_ref()
            .and_then(|mail| mail.address.clone())
            .unwrap_or_default(),
        mail,
        error: None,
        key: fresh_key(),
    })
}

/// `GET /notifications`
pub(crate) async fn show(state: State, visit: Visit, cursor: Params<Cursor>) -> Answer {
    visit
        .page(&state, move |service, context| {
            load(service, context, cursor.0.cursor.as_deref())
        })
        .await
}

/// `POST /notifications/read`
pub(crate) async fn mark(state: State, form: Form) -> Answer {
    let context = form.writing();
    let command = MarkRead {
        id: form.fields.get("id").parse().ok(),
        up_to: form.fields.get("up_to").parse().ok(),
    };
    blocking(&state.service, move |service| {
        service.mark_read(&context, &command)
    })
    .await?;
    Ok(redirect_with(HERE, "done", "Marked as read."))
}

/// `POST /notifications/choices`
pub(crate) async fn choose(state: State, form: Form) -> Answer {
    let context = form.writing();
    let chosen = |fields: &Fields, way: &str| fields.all(way);
    let (app, mail) = (chosen(&form.fields, "app"), chosen(&form.fields, "mail"));
    blocking(&state.service, move |service| {
        let choices = service.notice_choices(&context)?;
        let choice = |now: ChoiceView| ChooseKind {
            app: now.app_fixed || app.contains(&now.kind),
            mail: mail.contains(&now.kind),
            kind: now.kind,
        };
        let command = ChooseNotices {
            choices: choices.into_iter().map(choice).collect(),
        };
        service.choose_notices(&context, &command)
    })
    .await?;
    Ok(redirect_with(HERE, "done", "Kept."))
}

/// `POST /follow`: follows, or leaves where `leave` says so
pub(crate) async fn follow(state: State, form: Form) -> Answer {
    let context = form.writing();
    let topic = form.fields.get("topic").to_owned();
    let leave = form.fields.get("leave") == "1";
    blocking(&state.service, move |service| {
        if leave {
            return service.unfollow(&context, &topic);
        }
        service.follow(&context, &FollowTopic { topic }).map(drop)
    })
    .await?;
    let said = if leave {
        "You are not told of this any more."
    } else {
        "You are told of what happens here."
    };
    let back = local_path(Some(form.fields.get("back")));
    Ok(redirect_with(&back, "done", said))
}

/// Shows the page again with what was wrong, or goes to it with what was done.
async fn answered<T>(
    state: &State,
    form: &Form,
    made: std::result::Result<T, Problem>,
    said: &str,
) -> Answer {
    let problem = match made {
        Ok(_) => return Ok(redirect_with("/notifications#mail", "done", said)),
        Err(problem) if problem.status >= 500 => return Err(problem),
        Err(problem) => problem,
    };
    let context = form.caller.context();
    let mut page = blocking(&state.service, move |service| load(service, &context, None)).await?;
    page.error = Some(problem.detail);
    if !form.fields.get("address").is_empty() {
        page.address = form.fields.get("address").to_owned();
    }
    render(state, &form.facts, StatusCode::UNPROCESSABLE_ENTITY, &page)
}

/// `POST /notifications/mail`
pub(crate) async fn set_mail(state: State, form: Form) -> Answer {
    let context = form.writing();
    let command = SetMailAddress {
        address: form.fields.get("address").to_owned(),
        pace: form.fields.get("pace").to_owned(),
    };
    let made = blocking(&state.service, move |service| {
        service.set_mail_address(&context, &command)
    })
    .await;
    let said = match &made {
        Ok(mail) if mail.verified_at.is_some() => "Kept.",
        _ => "A code is on its way. Enter it below.",
    };
    answered(&state, &form, made, said).await
}

/// `POST /notifications/mail/verify`
pub(crate) async fn verify_mail(state: State, form: Form) -> Answer {
    let context = form.writing();
    let command = VerifyMailAddress {
        code: form.fields.get("code").to_owned(),
    };
    let made = blocking(&state.service, move |service| {
        service.verify_mail_address(&context, &command)
    })
    .await;
    answered(&state, &form, made, "The address is verified.").await
}

/// `POST /notifications/mail/remove`
pub(crate) async fn remove_mail(state: State, form: Form) -> Answer {
    let context = form.writing();
    let made = blocking(&state.service, move |service| {
        service.remove_mail_address(&context)
    })
    .await;
    answered(&state, &form, made, "The address is forgotten.").await
}

/// `GET /notifications/unsubscribe/{link}`: asks first, because programs that scan mail follow links
pub(crate) async fn ask_to_unsubscribe(
    state: State,
    visit: Visit,
    link: web::Path<String>,
) -> Answer {
    let page = UnsubscribePage {
        link: link.into_inner(),
        done: false,
    };
    render(&state, &visit.facts, StatusCode::OK, &page)
}

/// `POST /notifications/unsubscribe/{link}`: also what a mail program posts by itself, as RFC 8058 has it. The link
/// is the proof, so no session is looked at and none is needed.
pub(crate) async fn unsubscribe(
    state: State,
    request: actix_web::HttpRequest,
    link: web::Path<String>,
    _body: NoBody,
) -> Answer {
    let link = link.into_inner();
    let ended = link.clone();
    blocking(&state.service, move |service| service.unsubscribe(&ended)).await?;
    let page = UnsubscribePage { link, done: true };
    render(&state, &Facts::of(&request), StatusCode::OK, &page)
}
