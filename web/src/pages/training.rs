//! Training: loss, throughput, share, bytes, members.

use actix_web::web;
use plumbline_service::context::Context;
use plumbline_service::views::{
    BanView, ContributionView, NodeStakeView, NodeView, RoundView, RunView, SwarmView, TicketView,
    TrainingView,
};
use plumbline_service::{Action, Result, Service};
use serde::Serialize;

use super::Visit;
use super::dashboard::{state_of, tone};
use super::form::Form;
use super::visit::redirect_with;
use crate::api::Answer;
use crate::auth::State;
use crate::blocking::blocking;
use crate::chart::Frame;
use crate::chart::line::{Labels, Series, draw};
use crate::chart::shape::Chart;
use crate::templates::Page;
use crate::templates::format::{count, decimal};

/// Rounds per query.
const BATCH: usize = 1_000;
/// Most rounds drawn, newest kept.
const MAX_ROUNDS: u64 = 5_000;
/// Rounds in the table.
const LISTED: usize = 12;
/// Stakes in the table.
const STAKES_LISTED: usize = 100;

/// The list's context.
#[derive(Debug, Serialize)]
pub(crate) struct TrainingListPage {
    /// Runs that are trained here.
    pub(crate) cards: Vec<TrainingCard>,
}

/// One run of the list.
#[derive(Debug, Serialize)]
pub(crate) struct TrainingCard {
    /// The run.
    pub(crate) run: RunView,
    /// Its progress.
    pub(crate) training: TrainingView,
    /// `good`, `warn`, `bad` or `none`.
    pub(crate) tone: &'static str,
    /// State in one word.
    pub(crate) state: &'static str,
    /// Loss by tokens.
    pub(crate) loss: Chart,
}

impl Page for TrainingListPage {
    const TEMPLATE: &'static str = "training_list.html";
    fn topics(&self) -> String {
        "training:*,allocations".to_owned()
    }
    fn every_s(&self) -> u32 {
        3
    }
}

/// One run's context.
#[derive(Debug, Serialize)]
pub(crate) struct TrainingPage {
    /// The run.
    pub(crate) run: RunView,
    /// Its progress.
    pub(crate) training: TrainingView,
    /// `good`, `warn`, `bad` or `none`.
    pub(crate) tone: &'static str,
    /// State in one word.
    pub(crate) state: &'static str,
    /// How many times fewer bytes than synchronising at every step.
    pub(crate) saving: Option<f64>,
    /// Loss by tokens, aggregate and per node.
    pub(crate) loss: Chart,
    /// Tokens per second by round.
    pub(crate) speed: Chart,
    /// Share in force by round.
    pub(crate) share: Chart,
    /// Newest rounds, newest first.
    pub(crate) rounds: Vec<RoundView>,
    /// Members.
    pub(crate) nodes: Vec<NodeView>,
    /// Verified work.
    pub(crate) contributions: Vec<ContributionView>,
    /// Nodes removed for good.
    pub(crate) bans: Vec<BanView>,
    /// How its nodes work together.
    pub(crate) swarm: Option<SwarmView>,
    /// Stakes of nodes, newest first.
    pub(crate) stakes: Vec<NodeStakeView>,
    /// What lets a machine of the visitor's in, where they may have it.
    pub(crate) join: Option<TicketView>,
    /// The visitor may stop and resume it.
    pub(crate) may_stop: bool,
}

impl Page for TrainingPage {
    const TEMPLATE: &'static str = "training.html";
    fn topics(&self) -> String {
        format!("training:{0},run:{0},allocations", self.run.id)
    }
    fn every_s(&self) -> u32 {
        3
    }
}

/// `GET /training`
pub(crate) async fn list(state: State, visit: Visit) -> Answer {
    visit
        .page(&state, |service, context| {
            let mut cards = Vec::new();
            for run in service.runs(context, None, 100)?.items {
                if let Some(training) = run.training.clone() {
                    let rounds = all_rounds(service, context, &run.id, training.round)?;
                    let loss = loss_chart(&rounds, Frame::HALF);
                    cards.push(TrainingCard {
                        tone: tone(&run),
                        state: state_of(&run),
                        loss,
                        training,
                        run,
                    });
                }
            }
            Ok(TrainingListPage { cards })
        })
        .await
}

/// `GET /training/{id}`
pub(crate) async fn show(state: State, visit: Visit, id: web::Path<String>) -> Answer {
    visit
        .page(&state, move |service, context| {
            let run = service.run(context, &id)?;
            let training = service.training(context, &run.id)?;
            let rounds = all_rounds(service, context, &run.id, training.round)?;
            let stakes = service.node_stakes(context, &run.id, None, STAKES_LISTED)?;
            Ok(TrainingPage {
                // A host that says nothing of it has no nodes elsewhere; no ticket is no door.
                swarm: service.swarm(context, &run.id).ok(),
                join: service.ticket(context, &run.id).ok(),
                stakes: stakes.items.into_iter().rev().collect(),
                may_stop: run.kind == "embedded"
                    && service.may(&context.actor, Action::StopTraining)
                    && service.is_hosted(&run.id)?,
                tone: tone(&run),
                state: state_of(&run),
                saving: saving(&training),
                loss: loss_chart(&rounds, Frame::FULL),
                speed: speed_chart(&rounds),
                share: share_chart(&rounds),
                nodes: service.nodes(context, &run.id)?,
                contributions: service.contributions(context, &run.id)?,
                bans: service.bans(context, &run.id)?,
                rounds: rounds.into_iter().rev().take(LISTED).collect(),
                training,
                run,
            })
        })
        .await
}

/// `POST /training/{id}/stop`
pub(crate) async fn stop(state: State, form: Form, id: web::Path<String>) -> Answer {
    let context = form.writing();
    let run = blocking(&state.service, move |service| {
        service.stop_training(&context, &id)
    })
    .await?;
    let page = format!("/training/{}", run.id);
    Ok(redirect_with(
        &page,
        "done",
        "Training has stopped; what it has reached is kept.",
    ))
}

/// `POST /training/{id}/resume`
pub(crate) async fn resume(state: State, form: Form, id: web::Path<String>) -> Answer {
    let context = form.writing();
    let run = blocking(&state.service, move |service| {
        service.resume_training(&context, &id)
    })
    .await?;
    let page = format!("/training/{}", run.id);
    Ok(redirect_with(
        &page,
        "done",
        "Training goes on as soon as a decision lets it.",
    ))
}

fn all_rounds(
    service: &Service,
    context: &Context,
    run_id: &str,
    newest: u64,
) -> Result<Vec<RoundView>> {
    let mut after = newest.saturating_sub(MAX_ROUNDS);
    let mut rounds: Vec<RoundView> = Vec::new();
    loop {
        let batch = service.rounds(context, run_id, after, BATCH)?;
        let Some(last) = batch.last() else {
            return Ok(rounds);
        };
        // A host that answered with nothing newer would keep this loop busy for ever.
        if last.round <= after || rounds.len() as u64 >= MAX_ROUNDS {
            return Ok(rounds);
        }
        after = last.round;
        rounds.extend(batch);
    }
}

pub(crate) fn saving(training: &TrainingView) -> Option<f64> {
    (training.bytes_sent > 0).then(|| training.bytes_every_step as f64 / training.bytes_sent as f64)
}

/// Loss by tokens: one line per node, thin, and the run's mean above them.
pub(crate) fn loss_chart(rounds: &[RoundView], frame: Frame) -> Chart {
    let mut names: Vec<&str> = rounds
        .iter()
        .flat_map(|round| round.node_losses.iter().map(|(node, _)| node.as_str()))
        .collect();
    names.sort_unstable();
    names.dedup();
    let mut series: Vec<Series> = names
        .iter()
        .take(6)
        .enumerate()
        .map(|(index, name)| Series {
            name: (*name).to_owned(),
            class: format!("line-node line-{}", index + 1),
            points: rounds
                .iter()
                .filter_map(|round| node_point(round, name))
                .collect(),
            steps: false,
            read: true,
        })
        .collect();
    let mean = rounds
        .iter()
        .map(|round| (round.tokens as f64, round.loss))
        .collect();
    series.insert(
        0,
        Series {
            name: "run".to_owned(),
            class: "line-main".to_owned(),
            points: mean,
            steps: false,
            read: true,
        },
    );
    let summary = match (rounds.first(), rounds.last()) {
        (Some(first), Some(last)) => {
            format!(
                "Loss from {:.3} to {:.3} nats per token over {} tokens.",
                first.loss,
                last.loss,
                count(last.tokens as f64)
            )
        }
        _ => "No round has completed yet.".to_owned(),
    };
    let labels = Labels {
        x: count,
        y: |value| decimal(value, 2),
        x_unit: "tokens",
        from_zero: false,
    };
    draw(&series, labels, frame, summary)
}

fn node_point(round: &RoundView, node: &str) -> Option<(f64, f64)> {
    let found = round.node_losses.iter().find(|(name, _)| name == node);
    found.map(|(_, loss)| (round.tokens as f64, *loss))
}

/// Tokens per second of each round: the round's tokens over its seconds.
pub(crate) fn speed_chart(rounds: &[RoundView]) -> Chart {
    let points: Vec<(f64, f64)> = rounds
        .windows(2)
        .filter(|pair| pair[1].seconds > 0.0)
        .map(|pair| {
            (
                pair[1].round as f64,
                pair[1].tokens.saturating_sub(pair[0].tokens) as f64 / pair[1].seconds,
            )
        })
        .collect();
    let summary = points.last().map_or(
        "No round has completed yet.".to_owned(),
        |(round, speed)| format!("{} tokens per second in round {round}.", decimal(*speed, 0)),
    );
    let series = Series {
        name: "tokens/s".to_owned(),
        class: "line-main".to_owned(),
        points,
        steps: true,
        read: true,
    };
    let labels = Labels {
        x: count,
        y: count,
        x_unit: "rounds",
        from_zero: true,
    };
    draw(&[series], labels, Frame::HALF, summary)
}

/// Share in force at the end of each round.
pub(crate) fn share_chart(rounds: &[RoundView]) -> Chart {
    let points: Vec<(f64, f64)> = rounds
        .iter()
        .map(|round| (round.round as f64, f64::from(round.share_bps) / 100.0))
        .collect();
    let summary = points.last().map_or(
        "No round has completed yet.".to_owned(),
        |(round, share)| format!("{share}% of the pool in round {round}."),
    );
    let series = Series {
        name: "share".to_owned(),
        class: "line-main".to_owned(),
        points,
        steps: true,
        read: true,
    };
    let labels = Labels {
        x: count,
        y: |value| format!("{}%", decimal(value, 0)),
        x_unit: "rounds",
        from_zero: true,
    };
    draw(&[series], labels, Frame::HALF, summary)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::templates::samples;

    #[test]
    fn speed_is_tokens_over_seconds() {
        let mut rounds = samples::rounds();
        rounds.truncate(2);
        rounds[1].tokens = rounds[0].tokens + 8_000;
        rounds[1].seconds = 2.0;
        assert!(
            speed_chart(&rounds)
                .summary
                .starts_with("4,000 tokens per second")
        );
        rounds[1].seconds = 0.0;
        assert_eq!(speed_chart(&rounds).summary, "No round has completed yet.");
    }

    #[test]
    fn saving_is_a_ratio_once_bytes_were_sent() {
        let mut training = samples::training();
        training.bytes_sent = 10;
        training.bytes_every_step = 1_000;
        assert_eq!(saving(&training), Some(100.0));
        training.bytes_sent = 0;
        assert_eq!(saving(&training), None);
    }

    #[test]
    fn every_node_has_a_line_under_the_mean() {
        let chart = loss_chart(&samples::rounds(), Frame::WIDE);
        let names: Vec<&str> = chart
            .wide
            .lines
            .iter()
            .map(|line| line.name.as_str())
            .collect();
        assert_eq!(names, ["run", "node-a", "node-b"]);
    }
}
