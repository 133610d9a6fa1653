//! What every attack does to every aggregator, and to the whole defence.

use plumbline_training_core::aggregate::AggregatorSpec;
use plumbline_training_core::codec::{Scheme, SparseOptions};
use plumbline_training_core::testbed::{ArenaSpec, Attack, Hostility};
use plumbline_training_core::verify::VerifyRules;
use plumbline_training_model::ModelConfig;
use serde::Serialize;

use super::{BenchError, BenchOptions, OUTER, Stage, plan, schedule};

const NODES: usize = 20;
const STEPS: u64 = 5;
const BATCH: usize = 4;

/// One run with hostile nodes.
#[derive(Debug, Clone, Serialize)]
pub struct HostileRow {
    /// How contributions became one.
    pub aggregator: &'static str,
    /// What was exchanged: `diloco` or `sparseloco`.
    pub scheme: &'static str,
    /// Part of contributions that was recomputed; 0 where nobody looked.
    pub audit_share: f64,
    /// What the hostile nodes did; `none` for honest runs.
    pub attack: &'static str,
    /// Part of the nodes that were hostile.
    pub fraction: f64,
    /// Held-out loss over that of the honest run with the same settings.
    pub loss_ratio: f64,
    /// Held-out loss, nats per token.
    pub loss: f64,
    /// Rounds until the last hostile node was out; null where some stayed.
    pub rounds_to_ban: Option<u64>,
    /// Honest nodes that were banned.
    pub honest_bans: usize,
    /// Contributions of honest nodes, out of which none should be banned.
    pub node_rounds: u64,
    /// Seed of the run.
    pub seed: u64,
}

/// Runs the table; `told` hears every row as it is done.
///
/// # Errors
/// [`BenchError`].
pub fn hostile(
    options: &BenchOptions,
    told: &mut dyn FnMut(&HostileRow),
) -> Result<Vec<HostileRow>, BenchError> {
    let model = ModelConfig {
        vocabulary: 300,
        width: 32,
        layers: 1,
        heads: 2,
        hidden: 88,
        sequence: 32,
        ..ModelConfig::default()
    };
    let rounds = if options.quick { 20 } else { 40 };
    let stage = Stage::new(options, model.clone())?;
    let tokens = rounds * STEPS * (NODES * BATCH * model.sequence) as u64;
    let base = ArenaSpec {
        nodes: NODES,
        hostility: None,
        inner_steps: STEPS,
        rounds,
        plan: plan(&model, BATCH, schedule(1e-2, tokens)),
        outer: OUTER,
        aggregator: AggregatorSpec::Mean,
        verify: None,
        vocabulary: model.vocabulary as u32,
        held_out_rows: 256,
        measure_every: rounds,
        seed: options.seed,
    };
    let mut rows = Vec::new();
    for setting in settings(options.quick, tokens) {
        let mut clean = None;
        for hostility in hostilities(options.quick, setting.defended) {
            let mut spec = base.clone();
            (spec.aggregator, spec.plan.scheme) = (setting.aggregator, setting.scheme);
            spec.verify = setting.defended.then(VerifyRules::default);
            spec.hostility = hostility;
            let row = row(&stage, spec, &mut clean)?;
            told(&row);
            rows.push(row);
        }
    }
    Ok(rows)
}

struct Setting {
    aggregator: AggregatorSpec,
    scheme: Scheme,
    defended: bool,
}

/// The aggregators alone on full differences, then what runs that let
/// strangers in use: the robust rule with recomputation, on both schemes.
fn settings(quick: bool, tokens: u64) -> Vec<Setting> {
    let sparse = Scheme::SparseLoCo(SparseOptions::over(tokens));
    let alone = |aggregator| Setting {
        aggregator,
        scheme: Scheme::DiLoCo,
        defended: false,
    };
    let defended = |scheme| Setting {
        aggregator: AggregatorSpec::CenteredClip,
        scheme,
        defended: true,
    };
    let mut settings = vec![defended(sparse), defended(Scheme::DiLoCo)];
    if quick {
        settings.extend([AggregatorSpec::Mean, AggregatorSpec::CenteredClip].map(alone));
    } else {
        settings.extend(AggregatorSpec::ALL.map(alone));
    }
    settings
}

/// The honest run first.
fn hostilities(quick: bool, defended: bool) -> Vec<Option<Hostility>> {
    let fractions: &[f64] = match (quick, defended) {
        (true, false) => &[0.25],
        (true, true) => &[0.25, 0.4],
        (false, _) => &[0.1, 0.25, 0.4],
    };
    let hostile = Attack::ALL.into_iter().flat_map(|attack| {
        fractions.iter().map(move |fraction| {
            let nodes = (NODES as f64 * fraction).round() as usize;
            Some(Hostility { attack, nodes })
        })
    });
    std::iter::once(None).chain(hostile).collect()
}

fn row(stage: &Stage, spec: ArenaSpec, clean: &mut Option<f64>) -> Result<HostileRow, BenchError> {
    let (aggregator, scheme) = (spec.aggregator.name(), spec.plan.scheme);
    let (hostility, seed) = (spec.hostility, spec.seed);
    let report = stage.run(spec)?;
    let loss = report.final_loss();
    let clean = *clean.get_or_insert(loss);
    let hostile = hostility.map_or(0, |hostility| hostility.nodes);
    Ok(HostileRow {
        aggregator,
        scheme: match scheme {
            Scheme::SparseLoCo(_) => "sparseloco",
            Scheme::DiLoCo => "diloco",
            Scheme::EveryStep => "every_step",
        },
        audit_share: report.audits as f64 / report.contributions.max(1) as f64,
        attack: hostility.map_or("none", |hostility| hostility.attack.name()),
        fraction: hostile as f64 / NODES as f64,
        // What JSON cannot say is as large as it gets.
        loss_ratio: (loss / clean).min(f64::MAX),
        loss: loss.min(f64::MAX),
        rounds_to_ban: report.rounds_to_ban(),
        honest_bans: report.honest_bans(),
        node_rounds: (NODES - hostile) as u64 * report.rounds,
        seed,
    })
}
