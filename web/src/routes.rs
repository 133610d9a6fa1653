//! The table of contents: every path, its method, its action and its handler.
//!
//! Who may do an action is for the policy of `plumbline_access` to say; see `docs/authorisation.md`.

mod notices;
mod people;
mod swarm;

use actix_web::web::ServiceConfig;
use plumbline_service::Action;

use crate::api::outcomes;
use crate::api::{
    allocations, audit, evidence, health, juries, keys, ledger, log, markets, oracle, orders,
    portfolio, reference, runs, settlement,
};
use crate::api::{attachments, comments, voting};
use crate::routing::{Mounted, Routes, delete, get, post, resource};
use crate::{gateway, pages, static_files};

/// Mounts everything.
pub(crate) fn configure(app: &mut ServiceConfig) {
    mount(app, &mut Vec::new());
}

/// Every route of the application with its action, in the order in which paths are tried.
pub fn all() -> Vec<Mounted> {
    let mut mounted = Vec::new();
    // An application that serves nothing: mounting is what fills the list.
    let _ = actix_web::App::new().configure(|app| mount(app, &mut mounted));
    mounted
}

fn mount(app: &mut ServiceConfig, mounted: &mut Vec<Mounted>) {
    // Patterns are tried in this order, so what programs ask for comes first.
    Routes::new(app, mounted)
        .scope("/api/v1", api)
        .configure(operations)
        .scope("/v1", openai)
        .configure(page_routes)
        .otherwise(Action::MissPage, pages::not_found);
}

fn operations(app: &mut Routes<'_>) {
    app.service(resource("/healthz").route(get(Action::ReadHealth).to(health::alive)))
        .service(resource("/readyz").route(get(Action::ReadHealth).to(health::ready)))
        .service(resource("/metrics").route(get(Action::ReadMetrics).to(health::metrics)))
        .service(
            resource("/static/{name:.*}").route(get(Action::FetchFile).to(static_files::serve)),
        )
        .service(resource("/favicon.ico").route(get(Action::FetchFile).to(pages::favicon)))
        .service(
            resource("/api/openapi.json").route(get(Action::ReadReference).to(reference::document)),
        )
        .service(
            resource("/api/docs").route(get(Action::ReadReference).to(pages::reference::show)),
        );
}

fn api(api: &mut Routes<'_>) {
    api.configure(trades)
        .configure(people::api)
        // runs
        .service(
            resource("/runs")
                .route(get(Action::ListRuns).to(runs::list))
                .route(post(Action::RegisterRun).to(runs::register)),
        )
        .service(resource("/runs/{id}").route(get(Action::ReadRun).to(runs::show)))
        .service(
            resource("/runs/{id}/checkpoints")
                .route(get(Action::ListCheckpoints).to(runs::checkpoints))
                .route(post(Action::RegisterCheckpoint).to(runs::register_checkpoint)),
        )
        // markets
        .service(
            resource("/markets")
                .route(get(Action::ListMarkets).to(markets::list))
                .route(post(Action::OpenMarket).to(markets::open)),
        )
        .service(resource("/markets/{id}").route(get(Action::ReadMarket).to(markets::show)))
        .service(
            resource("/markets/{id}/prices").route(get(Action::ReadPrices).to(markets::prices)),
        )
        .service(
            resource("/markets/{id}/positions")
                .route(get(Action::ListPositions).to(markets::positions)),
        )
        .service(
            resource("/markets/{id}/freeze").route(post(Action::FreezeMarket).to(markets::freeze)),
        )
        .service(resource("/markets/{id}/audit").route(get(Action::AuditMarket).to(audit::market)))
        .configure(trading)
        // evidence
        .service(
            resource("/markets/{id}/evidence")
                .route(get(Action::ListEvidence).to(evidence::list))
                .route(post(Action::SubmitEvidence).to(evidence::submit)),
        )
        .service(resource("/evidence/{id}").route(get(Action::ReadEvidence).to(evidence::show)))
        .configure(juries)
        .configure(outcomes)
        .configure(settlement)
        .configure(beside_evidence)
        .configure(votes)
        .configure(governance)
        // events
        .service(resource("/events").route(get(Action::FollowEvents).to(health::events)));
}

/// What is asked for most, and so tried first.
fn trades(api: &mut Routes<'_>) {
    api.service(
        resource("/markets/{id}/trades")
            .route(post(Action::PlaceTrade).to(markets::trade))
            .route(get(Action::ListTrades).to(markets::trades)),
    )
    .service(resource("/markets/{id}/quotes").route(post(Action::Quote).to(markets::quote)));
}

fn trading(api: &mut Routes<'_>) {
    api.service(
        resource("/markets/{id}/orders")
            .route(get(Action::ListOwnOrders).to(orders::list))
            .route(post(Action::PlaceOrder).to(orders::place)),
    )
    .service(resource("/markets/{id}/book").route(get(Action::ReadBook).to(orders::book)))
    .service(resource("/orders/{id}").route(delete(Action::CancelOrder).to(orders::cancel)))
    .service(resource("/portfolio").route(get(Action::ReadPortfolio).to(portfolio::show)))
    .service(
        resource("/portfolio/history").route(get(Action::ReadPortfolio).to(portfolio::history)),
    )
    .service(
        resource("/leaderboard").route(get(Action::ReadLeaderboard).to(portfolio::leaderboard)),
    )
    .service(
        resource("/calibration").route(get(Action::ReadCalibration).to(portfolio::calibration)),
    )
    .service(
        resource("/markets/{id}/manipulation")
            .route(get(Action::ReadManipulation).to(portfolio::manipulation)),
    );
}

fn juries(api: &mut Routes<'_>) {
    api.service(
        resource("/accounts/{handle}/roles").route(post(Action::GrantRole).to(juries::grant_roles)),
    )
    .service(
        resource("/accounts/{handle}/roles/{role}")
            .route(delete(Action::RevokeRole).to(juries::revoke_role)),
    )
    .service(
        resource("/jurors")
            .route(get(Action::ListJurors).to(juries::jurors))
            .route(post(Action::JoinJury).to(juries::join))
            .route(delete(Action::LeaveJury).to(juries::leave)),
    )
    .service(resource("/panels").route(get(Action::ListPanels).to(juries::panels)))
    .service(resource("/panels/draws").route(get(Action::ListDraws).to(juries::draws)))
    .service(resource("/panels/{id}").route(get(Action::ReadPanel).to(juries::panel)))
    .service(resource("/panels/{id}/commits").route(post(Action::CommitVote).to(juries::commit)))
    .service(resource("/panels/{id}/reveals").route(post(Action::RevealVote).to(juries::reveal)))
    .service(
        resource("/panels/{id}/denouncements")
            .route(post(Action::DenounceJuror).to(juries::denounce)),
    )
    .service(
        resource("/gold-cases")
            .route(get(Action::ListGoldCases).to(juries::gold_cases))
            .route(post(Action::CreateGoldCase).to(juries::create_gold_case)),
    )
    .service(
        resource("/gold-cases/{id}")
            .route(delete(Action::RetireGoldCase).to(juries::retire_gold_case)),
    );
}

/// Markets of several outcomes.
fn outcomes(api: &mut Routes<'_>) {
    api.service(
        resource("/markets/{id}/outcomes/prices")
            .route(get(Action::ReadPrices).to(outcomes::prices)),
    );
}

fn settlement(api: &mut Routes<'_>) {
    api.service(
        resource("/markets/{id}/settlement")
            .route(get(Action::ReadSettlement).to(settlement::show))
            .route(post(Action::ProposeSettlement).to(settlement::propose)),
    )
    .service(
        resource("/markets/{id}/challenges")
            .route(post(Action::ChallengeSettlement).to(settlement::challenge)),
    )
    .service(resource("/markets/{id}/void").route(post(Action::VoidMarket).to(settlement::void)))
    .service(
        resource("/evidence/{id}/inclusion")
            .route(get(Action::ReadInclusion).to(settlement::inclusion)),
    );
}

fn beside_evidence(api: &mut Routes<'_>) {
    api.service(
        resource("/markets/{id}/evidence/fee")
            .route(get(Action::ReadEvidenceFee).to(evidence::fee)),
    )
    .service(
        resource("/markets/{id}/commitments")
            .route(get(Action::ListCommitments).to(evidence::commitments))
            .route(post(Action::CommitEvidence).to(evidence::commit)),
    )
    .service(
        resource("/evidence/{id}/challenges")
            .route(get(Action::ListDisputes).to(evidence::challenges))
            .route(post(Action::DisputeExhibit).to(evidence::challenge)),
    )
    .service(
        resource("/markets/{id}/comments")
            .route(get(Action::ListComments).to(comments::list))
            .route(post(Action::WriteComment).to(comments::write)),
    )
    .service(resource("/comments/{id}").route(delete(Action::RemoveComment).to(comments::remove)))
    .service(resource("/attachments").route(post(Action::AttachFile).to(attachments::attach)))
    .service(
        resource("/attachments/{hash}").route(get(Action::ReadAttachment).to(attachments::show)),
    );
}

/// Proposals, stakes, delegations, seals.
fn votes(api: &mut Routes<'_>) {
    api.service(
        resource("/proposals")
            .route(get(Action::ListProposals).to(voting::list))
            .route(post(Action::CreateProposal).to(voting::create)),
    )
    .service(
        resource("/proposals/preview").route(post(Action::PreviewProposal).to(voting::preview)),
    )
    .service(
        resource("/proposals/{id}")
            .route(get(Action::ReadProposal).to(voting::show))
            .route(delete(Action::WithdrawProposal).to(voting::withdraw)),
    )
    .service(
        resource("/proposals/{id}/deposits").route(post(Action::FundProposal).to(voting::deposit)),
    )
    .service(
        resource("/proposals/{id}/votes")
            .route(get(Action::ListVotes).to(voting::votes))
            .route(post(Action::CastVote).to(voting::vote)),
    )
    .service(
        resource("/proposals/{id}/execution")
            .route(post(Action::ExecuteProposal).to(voting::execute)),
    )
    .service(resource("/tracks").route(get(Action::ListTracks).to(voting::tracks)))
    .service(
        resource("/stakes")
            .route(get(Action::ReadOwnStake).to(voting::own_stake))
            .route(post(Action::ChangeStake).to(voting::stake)),
    )
    .service(
        resource("/stakes/withdrawals")
            .route(post(Action::WithdrawStake).to(voting::withdraw_stake)),
    )
    .service(resource("/delegations").route(post(Action::Delegate).to(voting::delegate)))
    .service(
        resource("/delegations/{track}")
            .route(delete(Action::EndDelegation).to(voting::undelegate)),
    )
    .service(resource("/seals").route(get(Action::ListSeals).to(voting::seals)))
    .service(resource("/seals/{id}").route(get(Action::ReadSeal).to(voting::seal)))
    .service(resource("/seals/{id}/use").route(post(Action::UseSeal).to(voting::use_seal)))
    .service(resource("/standing-orders").route(get(Action::ListStandingOrders).to(voting::orders)))
    .service(resource("/policy/simulate").route(post(Action::SimulatePolicy).to(voting::simulate)))
    .service(resource("/policy/assume").route(get(Action::AssumePrice).to(voting::assume)));
}

/// Keys that verify decisions, and the signatures of guardians.
fn signers(api: &mut Routes<'_>) {
    api.service(
        resource("/keys")
            .route(get(Action::ReadKeys).to(keys::list))
            .route(post(Action::RegisterKey).to(keys::register)),
    )
    .service(resource("/keys/{key_id}").route(delete(Action::RetireKey).to(keys::retire)))
    .service(resource("/keys/{key_id}/signatures").route(post(Action::VouchForKey).to(keys::vouch)))
    .service(
        resource("/allocations/{decision_id}/signatures")
            .route(post(Action::Cosign).to(keys::cosign)),
    );
}

fn transparency_log(api: &mut Routes<'_>) {
    api.service(resource("/log/checkpoint").route(get(Action::ReadLog).to(log::checkpoint)))
        .service(resource("/log/checkpoints").route(get(Action::ReadLog).to(log::checkpoints)))
        .service(resource("/log/entries").route(get(Action::ReadLog).to(log::entries)))
        .service(resource("/log/proof").route(get(Action::ReadLog).to(log::proof)))
        .service(resource("/log/consistency").route(get(Action::ReadLog).to(log::consistency)));
}

fn governance(api: &mut Routes<'_>) {
    api
        // allocations and policy
        .service(resource("/allocations").route(get(Action::ListAllocations).to(allocations::list)))
        .service(
            resource("/allocations/stream")
                .route(get(Action::ListAllocations).to(allocations::stream)),
        )
        .service(
            resource("/allocations/{id}").route(get(Action::ReadDecision).to(allocations::show)),
        )
        .service(resource("/decisions").route(get(Action::ListDecisions).to(allocations::history)))
        .service(resource("/acks").route(post(Action::Acknowledge).to(allocations::acknowledge)))
        .service(
            resource("/enforcement")
                .route(get(Action::ReadEnforcement).to(allocations::enforcement))
                .route(post(Action::Acknowledge).to(allocations::report)),
        )
        .configure(signers)
        .service(resource("/policy").route(get(Action::ReadPolicy).to(allocations::policy)))
        .service(
            resource("/policy/versions")
                .route(get(Action::ListPolicyVersions).to(allocations::policy_versions)),
        )
        .configure(transparency_log)
        .configure(notices::api)
        // oracle, training, ledger
        .configure(oracle_routes)
        .configure(swarm::api)
        .service(resource("/ledger").route(get(Action::ReadLedger).to(ledger::summary)))
        .service(
            resource("/ledger/accounts/{id}/transfers")
                .route(get(Action::ReadStatement).to(ledger::transfers)),
        )
        .service(resource("/usage").route(get(Action::ReadStatement).to(ledger::usage)))
        .service(resource("/treasury").route(get(Action::ReadLedger).to(ledger::treasury)))
        .service(
            resource("/treasury/statements/{version}")
                .route(get(Action::ReadLedger).to(ledger::statement)),
        )
        .service(resource("/treasury/shares").route(get(Action::ReadStatement).to(ledger::shares)))
        .service(
            resource("/treasury/shares/{id}/claim")
                .route(post(Action::ClaimRevenue).to(ledger::claim)),
        )
        .service(resource("/jobs").route(get(Action::ListJobs).to(ledger::jobs)))
        .service(resource("/operations").route(get(Action::ReadOperations).to(ledger::operations)));
}

fn oracle_routes(api: &mut Routes<'_>) {
    api.service(resource("/oracle").route(get(Action::ReadOracle).to(oracle::show)))
        .service(resource("/oracle/judges").route(get(Action::ListJudges).to(oracle::judges)))
        .service(
            resource("/oracle/calibration").route(get(Action::ReadOracle).to(oracle::calibration)),
        )
        .service(resource("/oracle/cases").route(get(Action::ListCases).to(oracle::cases)))
        .service(
            resource("/oracle/versions")
                .route(get(Action::ListVersions).to(oracle::versions))
                .route(post(Action::RegisterVersion).to(oracle::register)),
        )
        .service(
            resource("/oracle/versions/{id}").route(get(Action::ReadVersion).to(oracle::version)),
        )
        .service(
            resource("/oracle/versions/{id}/adopt")
                .route(post(Action::AdoptVersion).to(oracle::adopt)),
        );
}

fn openai(api: &mut Routes<'_>) {
    api.service(resource("/models").route(get(Action::ListModels).to(gateway::models)))
        .service(resource("/models/{model}").route(get(Action::ListModels).to(gateway::model)))
        .service(resource("/completions").route(post(Action::AskModel).to(gateway::complete)))
        .service(resource("/chat/completions").route(post(Action::AskModel).to(gateway::chat)));
}

fn page_routes(app: &mut Routes<'_>) {
    app.service(resource("/").route(get(Action::ReadDashboard).to(pages::dashboard::show)))
        .service(resource("/runs/{id}").route(get(Action::ReadRun).to(pages::run::show)))
        .service(resource("/markets").route(get(Action::ListMarkets).to(pages::markets::list)))
        .service(resource("/tour").route(get(Action::ReadDashboard).to(pages::tour::show)))
        .service(resource("/tour/skip").route(get(Action::ChooseTheme).to(pages::tour::skip)))
        .configure(market_pages)
        .service(
            resource("/allocations")
                .route(get(Action::ListAllocations).to(pages::allocations::list)),
        )
        .service(
            resource("/allocations/{id}")
                .route(get(Action::ReadDecision).to(pages::allocations::show)),
        )
        .configure(swarm::pages)
        .service(resource("/oracle").route(get(Action::ReadOracle).to(pages::oracle::show)))
        .service(
            resource("/oracle/versions/{id}/adopt")
                .route(post(Action::AdoptVersion).to(pages::oracle::adopt)),
        )
        .configure(vote_pages)
        .service(resource("/ledger").route(get(Action::ReadLedger).to(pages::ledger::show)))
        .service(resource("/jobs").route(get(Action::ListJobs).to(pages::ledger::jobs)))
        .service(
            resource("/operations").route(get(Action::ReadOperations).to(pages::operations::show)),
        )
        .service(resource("/log").route(get(Action::ReadLog).to(pages::log::show)))
        .configure(trading_pages)
        .configure(notices::pages)
        .configure(people::pages)
        .configure(jury_pages)
        .service(resource("/theme").route(get(Action::ChooseTheme).to(pages::theme::choose)));
}

/// A market with its evidence, its comments and how it ends.
fn market_pages(app: &mut Routes<'_>) {
    app.service(
        resource("/markets/{id}")
            .route(get(Action::ReadMarket).to(pages::market::show))
            .route(post(Action::PlaceTrade).to(pages::market::trade)),
    )
    .service(
        resource("/markets/{id}/evidence")
            .route(get(Action::SubmitEvidence).to(pages::evidence::form))
            .route(post(Action::SubmitEvidence).to(pages::evidence::submit)),
    )
    .service(
        resource("/markets/{id}/settlement")
            .route(post(Action::ProposeSettlement).to(pages::settlement::propose)),
    )
    .service(
        resource("/markets/{id}/challenges")
            .route(post(Action::ChallengeSettlement).to(pages::settlement::challenge)),
    )
    .service(
        resource("/markets/{id}/void").route(post(Action::VoidMarket).to(pages::settlement::void)),
    )
    .service(resource("/evidence/{id}").route(get(Action::ReadEvidence).to(pages::evidence::show)))
    .service(
        resource("/evidence/{id}/challenges")
            .route(post(Action::DisputeExhibit).to(pages::dispute::challenge)),
    )
    .service(
        resource("/markets/{id}/comments")
            .route(post(Action::WriteComment).to(pages::comments::write)),
    )
    .service(
        resource("/comments/{id}/remove")
            .route(post(Action::RemoveComment).to(pages::comments::remove)),
    );
}

/// Proposals, stakes, seals, and the policy that votes change.
fn vote_pages(app: &mut Routes<'_>) {
    app.service(resource("/policy").route(get(Action::ReadPolicy).to(pages::policy::show)))
        .service(
            resource("/policy/versions/{version}")
                .route(get(Action::ListPolicyVersions).to(pages::policy::version)),
        )
        .service(
            resource("/policy/simulation")
                .route(get(Action::SimulatePolicy).to(pages::policy::simulation_form))
                .route(post(Action::SimulatePolicy).to(pages::policy::simulate)),
        )
        .service(
            resource("/proposals").route(get(Action::ListProposals).to(pages::proposals::list)),
        )
        .service(
            resource("/proposals/new")
                .route(get(Action::CreateProposal).to(pages::proposals::new))
                .route(post(Action::CreateProposal).to(pages::proposals::create)),
        )
        .service(
            resource("/proposals/{id}").route(get(Action::ReadProposal).to(pages::proposals::show)),
        )
        .service(
            resource("/proposals/{id}/vote")
                .route(post(Action::CastVote).to(pages::proposals::vote)),
        )
        .service(
            resource("/proposals/{id}/deposit")
                .route(post(Action::FundProposal).to(pages::proposals::deposit)),
        )
        .service(
            resource("/proposals/{id}/withdraw")
                .route(post(Action::WithdrawProposal).to(pages::proposals::withdraw)),
        )
        .service(
            resource("/stake")
                .route(get(Action::ReadOwnStake).to(pages::stakes::show))
                .route(post(Action::ChangeStake).to(pages::stakes::change)),
        )
        .service(resource("/seals").route(get(Action::ListSeals).to(pages::stakes::seals)))
        .service(
            resource("/seals/{id}/use").route(post(Action::UseSeal).to(pages::stakes::use_seal)),
        );
}

fn jury_pages(app: &mut Routes<'_>) {
    app.service(resource("/panels").route(get(Action::ListPanels).to(pages::juries::list)))
        .service(resource("/panels/stake").route(post(Action::JoinJury).to(pages::juries::join)))
        .service(resource("/panels/leave").route(post(Action::LeaveJury).to(pages::juries::leave)))
        .service(resource("/panels/{id}").route(get(Action::ReadPanel).to(pages::juries::show)))
        .service(
            resource("/panels/{id}/commit")
                .route(post(Action::CommitVote).to(pages::juries::commit)),
        )
        .service(
            resource("/panels/{id}/reveal")
                .route(post(Action::RevealVote).to(pages::juries::reveal)),
        );
}

fn trading_pages(app: &mut Routes<'_>) {
    app.service(
        resource("/markets/{id}/orders").route(post(Action::PlaceOrder).to(pages::orders::place)),
    )
    .service(
        resource("/orders/{id}/cancel").route(post(Action::CancelOrder).to(pages::orders::cancel)),
    )
    .service(
        resource("/treasury/shares/{id}/claim")
            .route(post(Action::ClaimRevenue).to(pages::ledger::claim)),
    )
    .service(resource("/portfolio").route(get(Action::ReadPortfolio).to(pages::portfolio::show)))
    .service(
        resource("/portfolio/history")
            .route(get(Action::ReadPortfolio).to(pages::portfolio::history)),
    )
    .service(
        resource("/leaderboard")
            .route(get(Action::ReadLeaderboard).to(pages::portfolio::leaderboard)),
    )
    .service(
        resource("/calibration").route(get(Action::ReadCalibration).to(pages::calibration::show)),
    );
}
