//! The table of contents: every path, its method and its handler.
//!
//! Who may call a handler is in its signature, as the type of its `Caller`.

use actix_web::web::{ServiceConfig, delete, get, post, resource, scope, to};

use crate::api::outcomes;
use crate::api::{
    accounts, allocations, audit, evidence, health, juries, ledger, log, markets, oracle, orders,
    portfolio, reference, runs, settlement, training,
};
use crate::api::{attachments, comments, voting};
use crate::{gateway, pages, static_files};

/// Mounts everything.
pub(crate) fn configure(app: &mut ServiceConfig) {
    // Patterns are tried in this order, so what programs ask for comes first.
    app.configure(api)
        .configure(operations)
        .configure(openai)
        .configure(page_routes)
        .default_service(to(pages::not_found));
}

fn operations(app: &mut ServiceConfig) {
    app.service(resource("/healthz").route(get().to(health::alive)))
        .service(resource("/readyz").route(get().to(health::ready)))
        .service(resource("/metrics").route(get().to(health::metrics)))
        .service(resource("/static/{name:.*}").route(get().to(static_files::serve)))
        .service(resource("/favicon.ico").route(get().to(pages::favicon)))
        .service(resource("/api/openapi.json").route(get().to(reference::document)))
        .service(resource("/api/docs").route(get().to(pages::reference::show)));
}

fn api(app: &mut ServiceConfig) {
    app.service(
        scope("/api/v1")
            .configure(trades)
            // accounts
            .service(resource("/accounts").route(post().to(accounts::sign_up)))
            .service(
                resource("/sessions")
                    .route(post().to(accounts::sign_in))
                    .route(delete().to(accounts::sign_out)),
            )
            .service(resource("/me").route(get().to(accounts::me)))
            .service(
                resource("/tokens")
                    .route(get().to(accounts::tokens))
                    .route(post().to(accounts::create_token)),
            )
            .service(resource("/tokens/{id}").route(delete().to(accounts::revoke_token)))
            // runs
            .service(
                resource("/runs")
                    .route(get().to(runs::list))
                    .route(post().to(runs::register)),
            )
            .service(resource("/runs/{id}").route(get().to(runs::show)))
            .service(
                resource("/runs/{id}/checkpoints")
                    .route(get().to(runs::checkpoints))
                    .route(post().to(runs::register_checkpoint)),
            )
            // markets
            .service(
                resource("/markets")
                    .route(get().to(markets::list))
                    .route(post().to(markets::open)),
            )
            .service(resource("/markets/{id}").route(get().to(markets::show)))
            .service(resource("/markets/{id}/prices").route(get().to(markets::prices)))
            .service(resource("/markets/{id}/positions").route(get().to(markets::positions)))
            .service(resource("/markets/{id}/freeze").route(post().to(markets::freeze)))
            .service(resource("/markets/{id}/audit").route(get().to(audit::market)))
            .configure(trading)
            // evidence
            .service(
                resource("/markets/{id}/evidence")
                    .route(get().to(evidence::list))
                    .route(post().to(evidence::submit)),
            )
            .service(resource("/evidence/{id}").route(get().to(evidence::show)))
            .configure(juries)
            .configure(outcomes)
            .configure(settlement)
            .configure(beside_evidence)
            .configure(votes)
            .configure(governance)
            // events
            .service(resource("/events").route(get().to(health::events))),
    );
}

/// What is asked for most, and so tried first.
fn trades(api: &mut ServiceConfig) {
    api.service(
        resource("/markets/{id}/trades")
            .route(post().to(markets::trade))
            .route(get().to(markets::trades)),
    )
    .service(resource("/markets/{id}/quotes").route(post().to(markets::quote)));
}

fn trading(api: &mut ServiceConfig) {
    api.service(
        resource("/markets/{id}/orders")
            .route(get().to(orders::list))
            .route(post().to(orders::place)),
    )
    .service(resource("/markets/{id}/book").route(get().to(orders::book)))
    .service(resource("/orders/{id}").route(delete().to(orders::cancel)))
    .service(resource("/portfolio").route(get().to(portfolio::show)))
    .service(resource("/portfolio/history").route(get().to(portfolio::history)))
    .service(resource("/leaderboard").route(get().to(portfolio::leaderboard)))
    .service(resource("/calibration").route(get().to(portfolio::calibration)))
    .service(resource("/markets/{id}/manipulation").route(get().to(portfolio::manipulation)));
}

fn juries(api: &mut ServiceConfig) {
    api.service(resource("/accounts/{handle}/roles").route(post().to(juries::grant_roles)))
        .service(
            resource("/accounts/{handle}/roles/{role}").route(delete().to(juries::revoke_role)),
        )
        .service(
            resource("/jurors")
                .route(get().to(juries::jurors))
                .route(post().to(juries::join))
                .route(delete().to(juries::leave)),
        )
        .service(resource("/panels").route(get().to(juries::panels)))
        .service(resource("/panels/draws").route(get().to(juries::draws)))
        .service(resource("/panels/{id}").route(get().to(juries::panel)))
        .service(resource("/panels/{id}/commits").route(post().to(juries::commit)))
        .service(resource("/panels/{id}/reveals").route(post().to(juries::reveal)))
        .service(resource("/panels/{id}/denouncements").route(post().to(juries::denounce)))
        .service(
            resource("/gold-cases")
                .route(get().to(juries::gold_cases))
                .route(post().to(juries::create_gold_case)),
        )
        .service(resource("/gold-cases/{id}").route(delete().to(juries::retire_gold_case)));
}

/// Markets of several outcomes.
fn outcomes(api: &mut ServiceConfig) {
    api.service(resource("/markets/{id}/outcomes/prices").route(get().to(outcomes::prices)));
}

fn settlement(api: &mut ServiceConfig) {
    api.service(
        resource("/markets/{id}/settlement")
            .route(get().to(settlement::show))
            .route(post().to(settlement::propose)),
    )
    .service(resource("/markets/{id}/challenges").route(post().to(settlement::challenge)))
    .service(resource("/markets/{id}/void").route(post().to(settlement::void)))
    .service(resource("/evidence/{id}/inclusion").route(get().to(settlement::inclusion)));
}

fn beside_evidence(api: &mut ServiceConfig) {
    api.service(resource("/markets/{id}/evidence/fee").route(get().to(evidence::fee)))
        .service(
            resource("/markets/{id}/commitments")
                .route(get().to(evidence::commitments))
                .route(post().to(evidence::commit)),
        )
        .service(
            resource("/evidence/{id}/challenges")
                .route(get().to(evidence::challenges))
                .route(post().to(evidence::challenge)),
        )
        .service(
            resource("/markets/{id}/comments")
                .route(get().to(comments::list))
                .route(post().to(comments::write)),
        )
        .service(resource("/comments/{id}").route(delete().to(comments::remove)))
        .service(resource("/attachments").route(post().to(attachments::attach)))
        .service(resource("/attachments/{hash}").route(get().to(attachments::show)));
}

/// Proposals, stakes, delegations, seals.
fn votes(api: &mut ServiceConfig) {
    api.service(
        resource("/proposals")
            .route(get().to(voting::list))
            .route(post().to(voting::create)),
    )
    .service(resource("/proposals/preview").route(post().to(voting::preview)))
    .service(
        resource("/proposals/{id}")
            .route(get().to(voting::show))
            .route(delete().to(voting::withdraw)),
    )
    .service(resource("/proposals/{id}/deposits").route(post().to(voting::deposit)))
    .service(
        resource("/proposals/{id}/votes")
            .route(get().to(voting::votes))
            .route(post().to(voting::vote)),
    )
    .service(resource("/proposals/{id}/execution").route(post().to(voting::execute)))
    .service(resource("/tracks").route(get().to(voting::tracks)))
    .service(
        resource("/stakes")
            .route(get().to(voting::own_stake))
            .route(post().to(voting::stake)),
    )
    .service(resource("/stakes/withdrawals").route(post().to(voting::withdraw_stake)))
    .service(resource("/delegations").route(post().to(voting::delegate)))
    .service(resource("/delegations/{track}").route(delete().to(voting::undelegate)))
    .service(resource("/seals").route(get().to(voting::seals)))
    .service(resource("/seals/{id}").route(get().to(voting::seal)))
    .service(resource("/seals/{id}/use").route(post().to(voting::use_seal)))
    .service(resource("/standing-orders").route(get().to(voting::orders)))
    .service(resource("/policy/simulate").route(post().to(voting::simulate)))
    .service(resource("/policy/assume").route(get().to(voting::assume)));
}

fn governance(api: &mut ServiceConfig) {
    api
        // allocations and policy
        .service(resource("/allocations").route(get().to(allocations::list)))
        .service(resource("/allocations/{id}").route(get().to(allocations::show)))
        .service(resource("/decisions").route(get().to(allocations::history)))
        .service(resource("/acks").route(post().to(allocations::acknowledge)))
        .service(resource("/keys").route(get().to(allocations::keys)))
        .service(resource("/policy").route(get().to(allocations::policy)))
        .service(resource("/policy/versions").route(get().to(allocations::policy_versions)))
        .configure(log::routes)
        // oracle, training, ledger
        .configure(oracle_routes)
        .service(resource("/training/runs/{id}").route(get().to(training::show)))
        .service(resource("/training/runs/{id}/rounds").route(get().to(training::rounds)))
        .service(resource("/training/runs/{id}/nodes").route(get().to(training::nodes)))
        .service(
            resource("/training/runs/{id}/contributions").route(get().to(training::contributions)),
        )
        .service(resource("/training/runs/{id}/bans").route(get().to(training::bans)))
        .service(resource("/ledger").route(get().to(ledger::summary)))
        .service(resource("/ledger/accounts/{id}/transfers").route(get().to(ledger::transfers)))
        .service(resource("/jobs").route(get().to(ledger::jobs)))
        .service(resource("/operations").route(get().to(ledger::operations)));
}

fn oracle_routes(api: &mut ServiceConfig) {
    api.service(resource("/oracle").route(get().to(oracle::show)))
        .service(resource("/oracle/judges").route(get().to(oracle::judges)))
        .service(resource("/oracle/calibration").route(get().to(oracle::calibration)))
        .service(resource("/oracle/cases").route(get().to(oracle::cases)))
        .service(
            resource("/oracle/versions")
                .route(get().to(oracle::versions))
                .route(post().to(oracle::register)),
        )
        .service(resource("/oracle/versions/{id}").route(get().to(oracle::version)))
        .service(resource("/oracle/versions/{id}/adopt").route(post().to(oracle::adopt)));
}

fn openai(app: &mut ServiceConfig) {
    app.service(
        scope("/v1")
            .service(resource("/models").route(get().to(gateway::models)))
            .service(resource("/completions").route(post().to(gateway::complete)))
            .service(resource("/chat/completions").route(post().to(gateway::chat))),
    );
}

fn page_routes(app: &mut ServiceConfig) {
    app.service(resource("/").route(get().to(pages::dashboard::show)))
        .service(resource("/runs/{id}").route(get().to(pages::run::show)))
        .service(resource("/markets").route(get().to(pages::markets::list)))
        .service(
            resource("/markets/{id}")
                .route(get().to(pages::market::show))
                .route(post().to(pages::market::trade)),
        )
        .service(
            resource("/markets/{id}/evidence")
                .route(get().to(pages::evidence::form))
                .route(post().to(pages::evidence::submit)),
        )
        .service(resource("/markets/{id}/settlement").route(post().to(pages::settlement::act)))
        .service(resource("/evidence/{id}").route(get().to(pages::evidence::show)))
        .service(resource("/evidence/{id}/challenges").route(post().to(pages::dispute::challenge)))
        .service(resource("/markets/{id}/comments").route(post().to(pages::comments::write)))
        .service(resource("/comments/{id}/remove").route(post().to(pages::comments::remove)))
        .service(resource("/allocations").route(get().to(pages::allocations::list)))
        .service(resource("/allocations/{id}").route(get().to(pages::allocations::show)))
        .service(resource("/training").route(get().to(pages::training::list)))
        .service(resource("/training/{id}").route(get().to(pages::training::show)))
        .service(resource("/oracle").route(get().to(pages::oracle::show)))
        .service(resource("/oracle/versions/{id}/adopt").route(post().to(pages::oracle::adopt)))
        .configure(vote_pages)
        .service(resource("/ledger").route(get().to(pages::ledger::show)))
        .service(resource("/jobs").route(get().to(pages::ledger::jobs)))
        .service(resource("/operations").route(get().to(pages::operations::show)))
        .service(resource("/log").route(get().to(pages::log::show)))
        .configure(trading_pages)
        .service(resource("/account").route(get().to(pages::account::show)))
        .service(resource("/account/tokens").route(post().to(pages::account::create_token)))
        .service(
            resource("/account/tokens/{id}/revoke").route(post().to(pages::account::revoke_token)),
        )
        .service(
            resource("/login")
                .route(get().to(pages::session::login_form))
                .route(post().to(pages::session::login)),
        )
        .service(
            resource("/signup")
                .route(get().to(pages::session::sign_up_form))
                .route(post().to(pages::session::sign_up)),
        )
        .service(
            resource("/setup")
                .route(get().to(pages::session::set_up_form))
                .route(post().to(pages::session::set_up)),
        )
        .configure(jury_pages)
        .service(resource("/logout").route(post().to(pages::session::logout)))
        .service(resource("/theme").route(get().to(pages::theme::choose)));
}

/// Proposals, stakes, seals, and the policy that votes change.
fn vote_pages(app: &mut ServiceConfig) {
    app.service(resource("/policy").route(get().to(pages::policy::show)))
        .service(resource("/policy/versions/{version}").route(get().to(pages::policy::version)))
        .service(
            resource("/policy/simulation")
                .route(get().to(pages::policy::simulation_form))
                .route(post().to(pages::policy::simulate)),
        )
        .service(resource("/proposals").route(get().to(pages::proposals::list)))
        .service(
            resource("/proposals/new")
                .route(get().to(pages::proposals::new))
                .route(post().to(pages::proposals::create)),
        )
        .service(resource("/proposals/{id}").route(get().to(pages::proposals::show)))
        .service(resource("/proposals/{id}/vote").route(post().to(pages::proposals::vote)))
        .service(resource("/proposals/{id}/deposit").route(post().to(pages::proposals::deposit)))
        .service(resource("/proposals/{id}/withdraw").route(post().to(pages::proposals::withdraw)))
        .service(
            resource("/stake")
                .route(get().to(pages::stakes::show))
                .route(post().to(pages::stakes::change)),
        )
        .service(resource("/seals").route(get().to(pages::stakes::seals)))
        .service(resource("/seals/{id}/use").route(post().to(pages::stakes::use_seal)));
}

fn jury_pages(app: &mut ServiceConfig) {
    app.service(resource("/panels").route(get().to(pages::juries::list)))
        .service(resource("/panels/stake").route(post().to(pages::juries::join)))
        .service(resource("/panels/leave").route(post().to(pages::juries::leave)))
        .service(resource("/panels/{id}").route(get().to(pages::juries::show)))
        .service(resource("/panels/{id}/commit").route(post().to(pages::juries::commit)))
        .service(resource("/panels/{id}/reveal").route(post().to(pages::juries::reveal)));
}

fn trading_pages(app: &mut ServiceConfig) {
    app.service(resource("/markets/{id}/orders").route(post().to(pages::orders::place)))
        .service(resource("/orders/{id}/cancel").route(post().to(pages::orders::cancel)))
        .service(resource("/portfolio").route(get().to(pages::portfolio::show)))
        .service(resource("/portfolio/history").route(get().to(pages::portfolio::history)))
        .service(resource("/leaderboard").route(get().to(pages::portfolio::leaderboard)))
        .service(resource("/calibration").route(get().to(pages::calibration::show)));
}
