//! Runs that are trained here, and the nodes that work in them.

use plumbline_service::Action;

use crate::api::{training, training_runs};
use crate::pages as page;
use crate::routing::{Routes, delete, get, post, resource};

/// Runs that are trained here, and the nodes that work in them.
pub(super) fn api(api: &mut Routes<'_>) {
    api.service(
        resource("/training/runs").route(post(Action::StartTraining).to(training_runs::start)),
    )
    .service(resource("/training/runs/{id}").route(get(Action::ReadTraining).to(training::show)))
    .service(
        resource("/training/runs/{id}/rounds").route(get(Action::ListRounds).to(training::rounds)),
    )
    .service(
        resource("/training/runs/{id}/nodes").route(get(Action::ListNodes).to(training::nodes)),
    )
    .service(
        resource("/training/runs/{id}/contributions")
            .route(get(Action::ListContributions).to(training::contributions)),
    )
    .service(resource("/training/runs/{id}/bans").route(get(Action::ListBans).to(training::bans)))
    .service(
        resource("/training/runs/{id}/stop")
            .route(post(Action::StopTraining).to(training_runs::stop)),
    )
    .service(
        resource("/training/runs/{id}/resume")
            .route(post(Action::StartTraining).to(training_runs::resume)),
    )
    .service(
        resource("/training/runs/{id}/ticket")
            .route(get(Action::ReadTicket).to(training_runs::ticket)),
    )
    .service(
        resource("/training/runs/{id}/swarm")
            .route(get(Action::ReadSwarm).to(training_runs::swarm)),
    )
    .service(
        resource("/training/runs/{id}/stakes")
            .route(get(Action::ListNodeStakes).to(training_runs::stakes))
            .route(post(Action::BondNode).to(training_runs::bond)),
    )
    .service(
        resource("/training/runs/{id}/stakes/{stake}")
            .route(delete(Action::ReleaseNode).to(training_runs::release)),
    );
}

/// Their pages.
pub(super) fn pages(app: &mut Routes<'_>) {
    app.service(resource("/training").route(get(Action::ReadTraining).to(page::training::list)))
        .service(
            resource("/training/{id}").route(get(Action::ReadTraining).to(page::training::show)),
        )
        .service(
            resource("/training/{id}/stop")
                .route(post(Action::StopTraining).to(page::training::stop)),
        )
        .service(
            resource("/training/{id}/resume")
                .route(post(Action::StartTraining).to(page::training::resume)),
        );
}
