//! The pages of training.

use super::{Dress, s};
use crate::chart::Frame;
use crate::pages::dashboard::{state_of, tone};
use crate::pages::training::{
    TrainingCard, TrainingListPage, TrainingPage, loss_chart, saving, share_chart, speed_chart,
};
use plumbline_service::views::RunView;

/// One run's training.
pub(super) fn one(dress: Dress) -> TrainingPage {
    let (run, training, rounds) = (
        dress.one(s::run()),
        dress.one(s::training()),
        dress.many(s::rounds()),
    );
    TrainingPage {
        tone: tone(&run),
        state: state_of(&run),
        saving: saving(&training),
        loss: loss_chart(&rounds, Frame::FULL),
        speed: speed_chart(&rounds),
        share: share_chart(&rounds),
        rounds: rounds.into_iter().rev().take(12).collect(),
        nodes: dress.many(s::nodes()),
        contributions: dress.many(s::contributions()),
        bans: dress.many(s::bans()),
        swarm: Some(dress.one(s::swarm())),
        stakes: dress.many(s::node_stakes()),
        join: Some(dress.one(s::ticket())),
        may_stop: true,
        training,
        run,
    }
}

/// The list of runs that train here.
pub(super) fn list(dress: Dress) -> TrainingListPage {
    let card = |run: RunView| TrainingCard {
        tone: tone(&run),
        state: state_of(&run),
        loss: loss_chart(&dress.many(s::rounds()), Frame::HALF),
        training: dress.one(run.training.clone().unwrap_or_else(s::training)),
        run,
    };
    TrainingListPage {
        cards: dress
            .many(vec![s::clean_run(), s::run()])
            .into_iter()
            .map(card)
            .collect(),
    }
}
