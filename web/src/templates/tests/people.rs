//! The pages of credentials and invitations.

use serde_json::json;

use super::{Dress, Gallery, HOSTILE, s};
use crate::pages::invitations::InvitationsPage;
use crate::pages::security::{KeyShown, SecurityPage};
use crate::pages::tour::TourPage;
use plumbline_service::views::{
    InvitationMade, InvitationView, PasskeyView, PasskeysView, SecondFactorView, SessionInfo,
};

fn sessions() -> Vec<SessionInfo> {
    serde_json::from_value(json!([
        {"id": "0011223344556677", "current": true, "agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
            "created_at": "2026-11-22T09:00:00Z", "last_seen_at": "2026-11-22T10:00:00Z", "expires_at": "2026-12-06T09:00:00Z"},
        {"id": "8899aabbccddeeff", "current": false, "agent": "", "created_at": "2026-11-20T09:00:00Z",
            "last_seen_at": "2026-11-21T10:00:00Z", "expires_at": "2026-12-04T09:00:00Z"}]))
    .unwrap()
}

fn invitation(state: &str) -> InvitationView {
    serde_json::from_value(json!({"id": "0199-invitation", "state": state, "note": "Grace, who audits", "roles": ["participant", "juror"],
        "created_by": "ada", "created_at": "2026-11-22T09:00:00Z", "expires_at": "2026-11-29T09:00:00Z",
        "used_by": (state == "used").then_some("grace"), "used_at": null}))
    .unwrap()
}

fn passkeys(dress: Dress) -> PasskeysView {
    let listed: Vec<PasskeyView> = serde_json::from_value(json!([
        {"id": "0199-passkey", "name": "phone", "synced": true, "created_at": "2026-11-20T09:00:00Z",
            "last_used_at": "2026-11-22T10:00:00Z"},
        {"id": "0199-another", "name": "security key in the drawer", "synced": false, "created_at": "2026-11-21T09:00:00Z",
            "last_used_at": null}]))
    .unwrap();
    PasskeysView {
        origin: (dress != Dress::Empty).then(|| dress.text("https://plumbline.example.org")),
        unavailable: (dress == Dress::Empty)
            .then(|| "Browsers allow passkeys only over https.".to_owned()),
        passkeys: dress.many(listed),
    }
}

fn security(dress: Dress, enabled: bool, pending: bool) -> SecurityPage {
    SecurityPage {
        me: dress.one(s::me()),
        sessions: dress.many(sessions()),
        factor: SecondFactorView {
            enabled,
            pending,
            since: enabled.then(|| "2026-11-20T09:00:00Z".to_owned()),
            recovery_codes_left: 9,
        },
        passkeys: passkeys(dress),
        key: None,
        codes: Vec::new(),
        refused: if dress == Dress::Hostile { "close" } else { "" },
        error: (dress == Dress::Hostile).then(|| HOSTILE.to_owned()),
    }
}

pub(super) fn add(g: &mut Gallery, dress: Dress) {
    g.add("tour", "/tour", &tour(dress));
    let here = "/account/security";
    g.add("security", here, &security(dress, false, false));
    let mut enrolling = security(dress, false, true);
    enrolling.key = Some(KeyShown {
        secret: dress.text("JBSW Y3DP EHPK 3PXP"),
        path: "M4 4h1v1h-1zM6 4h1v1h-1zM5 6h1v1h-1z".into(),
        side: 41,
    });
    g.add("security-enrolling", here, &enrolling);
    let mut enabled = security(dress, true, false);
    enabled.codes = vec![dress.text("JBSW-Y3DP-EHPK-3PXP"); 10];
    g.add("security-enabled", here, &enabled);
    let made = InvitationMade {
        invitation: dress.one(invitation("open")),
        code: dress.text("plbi_3vQyX0hYc2m1"),
    };
    let page = InvitationsPage {
        invitations: dress.many(vec![
            invitation("open"),
            invitation("used"),
            invitation("expired"),
        ]),
        next_cursor: Some(dress.text("cursor")),
        made: (dress != Dress::Empty).then_some(made),
        error: (dress == Dress::Hostile).then(|| HOSTILE.to_owned()),
        note: dress.text("Grace"),
        sign_up: "invite",
    };
    g.add("invitations", "/invitations", &page);
}

fn tour(dress: Dress) -> TourPage {
    if dress == Dress::Empty {
        return TourPage::default();
    }
    TourPage {
        market: Some(dress.one(s::market())),
        run: Some(dress.one(s::run())),
        mine: dress.many(s::positions()).pop(),
        evidence: Some(dress.one(s::evidence())),
        decision: dress.many(s::share_changes()).pop(),
    }
}
