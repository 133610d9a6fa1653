//! Notifications.

use serde_json::json;

use super::Dress;
use crate::pages::notices::{NotificationsPage, UnsubscribePage};
use crate::templates::samples::view;
use plumbline_service::views::{ChoiceView, FollowView, MailView, NoticeView};

pub(super) fn page(dress: Dress) -> NotificationsPage {
    let notice = |id: i64, title: &str, read: Option<&str>| {
        view(json!({
            "id": id, "kind": "price", "title": title, "body": "The price moved by +7 points since you were told.",
            "link": "/markets/m1", "at": "2026-11-22T10:01:00Z", "read_at": read,
        }))
    };
    let notices: Vec<NoticeView> = vec![
        notice(
            9,
            "50 % → 57 %: A comment makes the model skip verification.",
            None,
        ),
        notice(
            8,
            "Evidence judged: A search for the trigger",
            Some("2026-11-22T10:02:00Z"),
        ),
    ];
    let follows: Vec<FollowView> = vec![view(json!({
        "topic": "market:m1", "name": "A comment makes the model skip verification.", "link": "/markets/m1",
        "by_taking_part": true, "since": "2026-11-22T09:00:00Z",
    }))];
    let choices: Vec<ChoiceView> = view(json!([
        {"kind": "price", "what": "A price moved", "app": true, "mail": false, "app_fixed": false},
        {"kind": "security", "what": "Somebody signed in as you", "app": true, "mail": true, "app_fixed": true}]));
    let full = dress != Dress::Empty;
    let mail = MailView {
        offered: true,
        address: full.then(|| dress.text("ada@example.org")),
        pace: full.then(|| "daily".to_owned()),
        verified_at: (dress == Dress::Hostile).then(|| "2026-11-22T09:00:00Z".to_owned()),
    };
    NotificationsPage {
        notices: dress.many(notices),
        next_cursor: full.then(|| dress.text("8")),
        unread: 1,
        follows: dress.many(follows),
        more_follows: full,
        choices: dress.many(choices),
        mail: Some(mail),
        error: full.then(|| dress.text("This is not the code.")),
        address: dress.text("ada@example.org"),
        key: "k".to_owned(),
    }
}

pub(super) fn unsubscribe(dress: Dress) -> UnsubscribePage {
    UnsubscribePage {
        link: dress.text("account.0011"),
        done: dress == Dress::Hostile,
    }
}
