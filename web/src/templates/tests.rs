//! Every template is rendered: as usual, empty, and with hostile text in every field.
#![allow(clippy::unwrap_used)]

mod juries;
mod log;
mod notices;
mod oracle;
mod people;
mod training;
mod voting;

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::samples::{self as s, HOSTILE, hostile};
use super::{FILES, Page, Templates};
use crate::chart::price::{draw, spark};
use crate::chart::scale;
use crate::pages::account::{AccountPage, ScopeChoice};
use crate::pages::allocations::{AllocationsPage, DecisionPage};
use crate::pages::dashboard::{Dashboard, RunRow, Slice, state_of, tone};
use crate::pages::decision::row;
use crate::pages::evidence::{Draft, EvidenceFormPage, EvidencePage};
use crate::pages::exhibit::{exhibit_view, facts_of, judgement_rows};
use crate::pages::feed::FeedItem;
use crate::pages::ledger::{JobsPage, LedgerPage};
use crate::pages::market::{EvidenceRow, MarketPage, OrderForm, outcome, steps};
use crate::pages::markets::MarketsPage;
use crate::pages::oracle::OraclePage;
use crate::pages::outcomes::OutcomesPart;
use crate::pages::run::RunPage;
use crate::pages::session::{LoginPage, SetUpPage, SignUpPage};
use crate::pages::settlement::CasePart;
use crate::pages::verdict::replays_of;
use crate::pages::visit::{Chrome, Flash, Follow, Viewer};
use crate::pages::{ErrorPage, reference};
use crate::problem::Problem;
use plumbline_service::views::*;

mod trading;

use trading::credentials;

/// How the samples are dressed.
#[derive(Clone, Copy, PartialEq)]
enum Dress {
    Usual,
    Empty,
    Hostile,
}

impl Dress {
    fn one<T: serde::Serialize + serde::de::DeserializeOwned>(self, view: T) -> T {
        if self == Self::Hostile {
            hostile(&view)
        } else {
            view
        }
    }

    fn many<T: serde::Serialize + serde::de::DeserializeOwned>(self, views: Vec<T>) -> Vec<T> {
        match self {
            Self::Empty => Vec::new(),
            _ => views.into_iter().map(|view| self.one(view)).collect(),
        }
    }

    fn text(self, usual: &str) -> String {
        if self == Self::Hostile {
            HOSTILE.to_owned()
        } else {
            usual.to_owned()
        }
    }
}

fn chrome(dress: Dress, theme: &str, path: &str) -> Chrome {
    let viewer = Viewer {
        handle: dress.text("ada"),
        trades: true,
        testifies: true,
        settles: dress != Dress::Empty,
        operates: true,
        sits: dress != Dress::Empty,
        votes: dress != Dress::Empty,
    };
    let flash = Flash {
        kind: "done".into(),
        text: dress.text("Bought 12.00 YES shares, paid 11.54 cr."),
    };
    Chrome {
        refused: None,
        toured: false,
        after: None,
        key: "018f-key".to_owned(),
        viewer: (dress != Dress::Empty).then_some(viewer),
        csrf: dress.text("csrf-token"),
        theme: theme.into(),
        here: dress.text(path),
        path: path.into(),
        flash: (dress == Dress::Hostile || path.starts_with("/markets/")).then_some(flash),
        assets: "test",
        sign_up: "open",
        version: "0.1.0",
        unread: if dress == Dress::Hostile { 120 } else { 3 },
        follow: (dress != Dress::Empty).then(|| Follow {
            topic: dress.text("market:m1"),
            following: dress == Dress::Hostile,
        }),
    }
}

fn now() -> i64 {
    scale::millis("2026-11-22T10:03:40Z").unwrap()
}

fn run_row(run: RunView) -> RunRow {
    RunRow {
        tone: tone(&run),
        state: state_of(&run),
        spark: run.risk.as_ref().and_then(|_| spark(&s::prices())),
        run,
    }
}

fn evidence_row(item: EvidenceView) -> EvidenceRow {
    EvidenceRow {
        judgements: judgement_rows(&item.judgements),
        replays: item.replay.as_ref().map(replays_of).unwrap_or_default(),
        item,
    }
}

fn dashboard(dress: Dress) -> Dashboard {
    let runs = dress.many(vec![s::clean_run(), s::run(), s::bare_run()]);
    let slice = |name: &str, from, width, share_bps, colour| Slice {
        name: dress.text(name),
        from,
        width,
        share_bps,
        colour,
    };
    let feed = |at: &str, kind, text: &str| FeedItem {
        at: at.into(),
        kind,
        text: dress.text(text),
        href: Some("/markets/018f-market-2".into()),
    };
    Dashboard {
        runs: runs.into_iter().map(run_row).collect(),
        slices: if dress == Dress::Empty {
            vec![]
        } else {
            vec![
                slice("clean", 0.0, 0.85, 8_500, 1),
                slice("sleeper", 0.85, 0.05, 500, 2),
            ]
        },
        allocated_bps: if dress == Dress::Empty { 0 } else { 9_000 },
        stop_coverage: (dress != Dress::Empty).then_some(1.0),
        tokens_per_second: 7_300.4,
        feed: if dress == Dress::Empty {
            vec![]
        } else {
            vec![
                feed(
                    "2026-11-22T10:04:02Z",
                    "allocation",
                    "sleeper: enforced at 5% by embedded",
                ),
                feed(
                    "2026-11-22T10:04:01Z",
                    "allocation",
                    "sleeper: throttle, 5% of the pool",
                ),
                feed(
                    "2026-11-22T10:03:48Z",
                    "settlement",
                    "sleeper: settled at 100.0%",
                ),
                feed(
                    "2026-11-22T10:02:44Z",
                    "evidence",
                    "sleeper: evidence moved 36.0% → 94.1%",
                ),
                feed(
                    "2026-11-22T10:02:09Z",
                    "price",
                    "sleeper: now 36.0% after a trade",
                ),
            ]
        },
        needs_setup: dress == Dress::Empty,
    }
}

fn market(dress: Dress, settled: bool) -> MarketPage {
    let market = dress.one(if settled {
        s::settled_market()
    } else {
        s::market()
    });
    let mut evidence = vec![s::evidence()];
    evidence.splice(0..0, s::more_evidence());
    let quote: QuoteView = serde_json::from_value(serde_json::json!({"outcome": "yes", "shares_micro": 11_540_000, "cost_micro": 10_000_000, "fee_micro": 150_000, "total_micro": 10_150_000,
        "average_price": 0.866, "probability_before": 0.968, "probability_after": 0.971, "truncated": true})).unwrap();
    let order = OrderForm {
        amount: dress.text("10"),
        error: (dress == Dress::Hostile).then(|| HOSTILE.to_owned()),
        quote: (dress == Dress::Usual).then_some(quote),
        ..OrderForm::empty()
    };
    MarketPage {
        decided: true,
        chart: draw(
            &market,
            &dress.many(s::prices()),
            &dress.many(s::share_changes()),
            now(),
        ),
        outcomes: None,
        trading: !settled,
        evidence: dress.many(evidence).into_iter().map(evidence_row).collect(),
        trades: dress.many(s::trades()),
        positions: dress.many(s::positions()),
        mine: dress.many(s::positions()).pop(),
        balance_micro: Some(961_870_000),
        order,
        orders: dress.many(trading::orders()),
        book: dress.one(trading::book(dress)),
        manipulation: Some(dress.one(trading::manipulation(dress))),
        steps: steps(&market),
        case: CasePart::of(dress.one(s::settlement_record())),
        plan: market
            .settlement
            .plan
            .as_ref()
            .map(facts_of)
            .unwrap_or_default(),
        outcome: outcome(&market),
        comments: dress.many(s::comments()),
        commitments: dress.many(vec![s::commitment()]),
        market,
    }
}

fn outcomes(dress: Dress, settled: bool) -> MarketPage {
    let view = dress.one(if settled {
        s::settled_outcomes_market()
    } else {
        s::outcomes_market()
    });
    let part = OutcomesPart::of(&view, &dress.many(s::outcome_prices()), now());
    MarketPage {
        decided: false,
        chart: draw(&view, &[], &[], now()),
        outcomes: Some(part),
        trades: dress.many(s::outcome_trades()),
        positions: dress.many(s::outcome_positions()),
        mine: dress.many(s::outcome_positions()).pop(),
        steps: steps(&view),
        market: view,
        ..market(dress, settled)
    }
}

fn evidence(dress: Dress) -> EvidencePage {
    let item = dress.one(s::evidence());
    EvidencePage {
        judgements: if dress == Dress::Empty {
            vec![]
        } else {
            judgement_rows(&item.judgements)
        },
        replays: item.replay.as_ref().map(replays_of).unwrap_or_default(),
        exhibits: s::evidence()
            .exhibits
            .iter()
            .map(|exhibit| exhibit_view(&hostile_exhibit(dress, exhibit)))
            .collect(),
        disputes: dress.many(s::disputes()),
        may_dispute: dress != Dress::Empty,
        least_bond_micro: 1_000_000,
        dispute_key: dress.text("key"),
        comments: dress.many(s::comments()),
        market: dress.one(s::market()),
        item,
    }
}

fn hostile_exhibit(dress: Dress, exhibit: &serde_json::Value) -> serde_json::Value {
    dress.one(exhibit.clone())
}

fn account(dress: Dress) -> AccountPage {
    let created = TokenCreated {
        id: "x".into(),
        name: dress.text("bot"),
        scopes: vec![],
        expires_at: None,
        token: dress.text("plb_3vQyX0hYc2m1"),
    };
    AccountPage {
        me: dress.one(s::me()),
        positions: dress.many(s::positions()),
        transfers: dress.many(s::transfers()),
        next_cursor: Some(dress.text("cursor")),
        tokens: dress.many(s::tokens()),
        scopes: vec![
            ScopeChoice {
                name: "read",
                about: "Read everything public and your own account; ask models",
                held: true,
            },
            ScopeChoice {
                name: "trade",
                about: "Quote and trade with your balance",
                held: true,
            },
            ScopeChoice {
                name: "admin",
                about: "Open markets, see operations",
                held: false,
            },
        ],
        created: (dress != Dress::Empty).then_some(created),
        error: (dress == Dress::Hostile).then(|| HOSTILE.to_owned()),
        key: "key".into(),
    }
}

/// Renders pages and remembers which templates were used.
struct Gallery {
    templates: Templates,
    dress: Dress,
    theme: &'static str,
    rendered: Vec<(&'static str, String, String)>,
}

impl Gallery {
    fn add<P: Page>(&mut self, name: &str, path: &str, page: &P) {
        let html = self
            .templates
            .render(&chrome(self.dress, self.theme, path), page)
            .unwrap_or_else(|problem| panic!("{name}: {problem}"));
        self.rendered.push((P::TEMPLATE, name.to_owned(), html));
    }
}

fn gallery(dress: Dress, theme: &'static str) -> Gallery {
    let templates = Templates::load().unwrap();
    let mut gallery = Gallery {
        templates,
        dress,
        theme,
        rendered: Vec::new(),
    };
    add_market_pages(&mut gallery, dress);
    trading::add_pages(&mut gallery, dress);
    add_governance_pages(&mut gallery, dress);
    add_account_pages(&mut gallery, dress);
    gallery
}

fn add_market_pages(g: &mut Gallery, dress: Dress) {
    g.add("dashboard", "/", &dashboard(dress));
    let run = dress.one(if dress == Dress::Empty {
        s::bare_run()
    } else {
        s::run()
    });
    let markets = dress.many(vec![s::settled_market(), s::outcomes_market(), s::market()]);
    let checkpoints = dress.many(s::checkpoints());
    g.add(
        "run",
        "/runs/x",
        &RunPage {
            tone: tone(&run),
            state: state_of(&run),
            markets,
            checkpoints,
            run,
        },
    );
    let markets = dress.many(vec![s::market(), s::outcomes_market(), s::settled_market()]);
    g.add(
        "markets",
        "/markets",
        &MarketsPage {
            markets,
            status: None,
            next_cursor: Some(dress.text("c")),
        },
    );
    g.add("market", "/markets/x", &market(dress, false));
    g.add("market-settled", "/markets/x", &market(dress, true));
    g.add("market-outcomes", "/markets/x", &outcomes(dress, false));
    g.add(
        "market-outcomes-settled",
        "/markets/x",
        &outcomes(dress, true),
    );
    g.add("evidence", "/evidence/x", &evidence(dress));
    let draft = Draft {
        title: dress.text(""),
        body: dress.text(""),
        exhibits: dress.text(""),
        error: (dress == Dress::Hostile).then(|| HOSTILE.to_owned()),
        ..Draft::empty()
    };
    let form = EvidenceFormPage {
        market: dress.one(s::market()),
        balance_micro: 5_000_000,
        fee: s::evidence_fee(),
        draft,
    };
    g.add("evidence-form", "/markets/x/evidence", &form);
}

fn add_governance_pages(g: &mut Gallery, dress: Dress) {
    let decision = dress.one(s::decision());
    let rows = || {
        dress
            .many(vec![s::decision()])
            .iter()
            .map(row)
            .collect::<Vec<_>>()
    };
    let (keys, next_cursor) = (dress.many(s::keys()), Some(dress.text("c")));
    let list = AllocationsPage {
        version: 9,
        current: rows(),
        history: rows(),
        next_cursor,
        enforcement: dress.one(s::enforcement()),
        keys,
    };
    g.add("allocations", "/allocations", &list);
    let (payload, envelope) = (decision.decision.to_string(), decision.envelope.to_string());
    g.add(
        "decision",
        "/allocations/x",
        &DecisionPage {
            row: row(&decision),
            payload,
            envelope,
            log_index: Some(17),
        },
    );
    g.add("training-list", "/training", &training::list(dress));
    g.add("training", "/training/x", &training::one(dress));
    g.add("oracle", "/oracle", &OraclePage::of(oracle::state(dress)));
    g.add(
        "ledger",
        "/ledger",
        &LedgerPage {
            ledger: s::ledger(),
            revenue: s::revenue(),
            shares: dress.many(s::revenue_shares()),
        },
    );
    g.add("log", "/log", &log::page(dress));
    g.add(
        "jobs",
        "/jobs",
        &JobsPage {
            jobs: dress.many(s::jobs()),
        },
    );
    g.add(
        "operations",
        "/operations",
        &s::operations(dress.many(s::jobs())),
    );
}

fn add_account_pages(g: &mut Gallery, dress: Dress) {
    juries::add(g, dress);
    people::add(g, dress);
    voting::add(g, dress);
    g.add("account", "/account", &account(dress));
    g.add("notifications", "/notifications", &notices::page(dress));
    g.add(
        "unsubscribe",
        "/notifications/unsubscribe/x",
        &notices::unsubscribe(dress),
    );
    g.add("webhooks", "/account/webhooks", &log::webhooks(dress));
    let needs_setup = dress == Dress::Empty;
    g.add(
        "login",
        "/login",
        &LoginPage {
            form: credentials(dress),
            needs_setup,
            passkeys: (!needs_setup).then(|| dress.text("https://plumbline.example.org")),
        },
    );
    g.add(
        "signup",
        "/signup",
        &SignUpPage {
            form: credentials(dress),
        },
    );
    g.add(
        "setup",
        "/setup",
        &SetUpPage {
            form: credentials(dress),
            needed: !needs_setup,
        },
    );
    let document = serde_json::from_str(crate::openapi::json()).unwrap();
    g.add("reference", "/api/docs", &reference::page(&document));
    let detail = dress.text("no market has the id 7");
    let mut problem = Problem::new(actix_web::http::StatusCode::NOT_FOUND, "not-found", detail);
    problem.instance = Some("0199-request".into());
    g.add(
        "error",
        "/nowhere",
        &ErrorPage {
            problem: problem.document(),
        },
    );
}

#[test]
fn every_template_renders_as_usual_and_empty() {
    for dress in [Dress::Usual, Dress::Empty] {
        let gallery = gallery(dress, "auto");
        for (_, name, html) in &gallery.rendered {
            assert!(html.contains("</html>"), "{name}");
            assert_eq!(
                html.matches("<h1").count(),
                1,
                "{name} needs exactly one h1"
            );
            assert!(
                (name == "reference" || !html.contains("NaN"))
                    && !html.contains("{{")
                    && !html.contains("{%"),
                "{name}"
            );
            assert!(
                !html.contains("style=\"")
                    && !html.contains("<script>")
                    && !html.contains(" onclick"),
                "{name} has something inline"
            );
            let ids: Vec<&str> = html
                .split(" id=\"")
                .skip(1)
                .filter_map(|rest| rest.split('"').next())
                .collect();
            let unique: BTreeSet<&str> = ids.iter().copied().collect();
            assert_eq!(ids.len(), unique.len(), "{name} has an id twice: {ids:?}");
        }
        let used: BTreeSet<&str> = gallery
            .rendered
            .iter()
            .map(|(template, ..)| *template)
            .collect();
        let expected: BTreeSet<&str> = FILES
            .iter()
            // Layout, components and parts of pages extend nothing.
            .filter(|(_, text)| text.starts_with("{% extends"))
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(
            used, expected,
            "every template has a page and every page a template"
        );
    }
}

#[test]
fn hostile_text_stays_text() {
    for (_, name, html) in &gallery(Dress::Hostile, "dark").rendered {
        assert!(
            !html.contains("<script>alert"),
            "{name} lets a script through"
        );
        assert!(!html.contains("<img"), "{name} lets an image through");
        assert!(
            !html.contains("\"'>"),
            "{name} lets text leave an attribute"
        );
        assert!(
            !html.contains("23331"),
            "{name} evaluates text as a template"
        );
    }
}

/// Writes every page to the folder in `PLUMBLINE_GALLERY`, to be looked at in a browser.
#[test]
fn gallery_for_looking_at() {
    let Some(folder) = std::env::var_os("PLUMBLINE_GALLERY") else {
        return;
    };
    let folder = std::path::PathBuf::from(folder);
    std::fs::create_dir_all(&folder).unwrap();
    for (suffix, dress, theme) in [
        ("light", Dress::Usual, "light"),
        ("dark", Dress::Usual, "dark"),
        ("empty", Dress::Empty, "light"),
        ("hostile", Dress::Hostile, "light"),
    ] {
        for (_, name, html) in gallery(dress, theme).rendered {
            std::fs::write(folder.join(format!("{name}-{suffix}.html")), html).unwrap();
        }
    }
    assert!(Timestamp::now() > Timestamp::UNIX_EPOCH);
}
