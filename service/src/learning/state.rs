//! How the judges hang together, now and along the line of learnt versions.

use plumbline_access::Action;
use plumbline_oracle::Ensemble;
use plumbline_oracle::pool::{Opinion, PoolConfig, error_matrices, pool};
use plumbline_oracle::versions::Member;
use plumbline_store::oracle_versions::{self, OracleVersion};
use plumbline_store::{Tx, evidence};

use super::force::{content_of, start_of};
use super::versions::named;
use crate::context::Context;
use crate::time::rfc3339;
use crate::views::{JudgeView, OracleVersionView, OracleView, PoolPointView, PoolStateView};
use crate::{Result, Service, ServiceError};

/// Versions looked at for the line and for candidates, the latest.
const MOST_VERSIONS: i64 = 500;
/// Points of the line that are shown.
const MOST_POINTS: usize = 60;
/// Candidates that are shown.
const MOST_CANDIDATES: usize = 10;

/// What the store has of the oracle.
struct Found {
    in_force: OracleVersionView,
    learned: Option<OracleVersion>,
    candidates: Vec<OracleVersionView>,
    line: Vec<OracleVersion>,
    waiting: i64,
}

impl Service {
    /// The judges, how they are pooled, what was learnt, and how many independent votes they are worth.
    pub fn oracle(&self, ctx: &Context) -> Result<OracleView> {
        self.allow(&ctx.actor, Action::ReadOracle)?;
        let judges = self.judges()?;
        let found = self.read(find)?;
        let config = judges.ensemble.config();
        let members = start_of(&judges.ensemble).judges;
        let state = state_of(&judges.version, found.in_force.cases, &members, config);
        let learned = match &found.learned {
            Some(row) => {
                let content = content_of(&row.content)?;
                let cases = row.cases;
                Some(state_of(&row.id, cases, &members, &content.parameters))
            }
            None => None,
        };
        let history = history_of(&found.line, &members)?;
        Ok(OracleView {
            version: judges.ensemble.version().to_owned(),
            base_log_odds: config.base_log_odds,
            rho: state.rho,
            n_eff: state.n_eff,
            kappa: self.config.kappa,
            judges: self.judge_views(&judges.ensemble, &state, learned.as_ref())?,
            in_force: found.in_force,
            state,
            learned,
            candidates: found.candidates,
            history,
            waiting: found.waiting,
            waiting_limit: self.config.judging.overall,
        })
    }
}

impl Service {
    /// How each judge is doing and what it weighs now, for a monitor.
    pub(crate) fn judge_figures(&self) -> Result<Vec<JudgeView>> {
        let judges = self.judges()?;
        let members = start_of(&judges.ensemble).judges;
        let state = state_of(&judges.version, 0, &members, judges.ensemble.config());
        self.judge_views(&judges.ensemble, &state, None)
    }
}

fn find(tx: &mut Tx) -> Result<Found> {
    let in_force = oracle_versions::in_force(tx)?
        .ok_or_else(|| ServiceError::internal("no version of the oracle is in force"))?;
    let learned = oracle_versions::latest(tx, "learned")?;
    let rows = oracle_versions::list(tx, None, MOST_VERSIONS)?;
    let mut candidates = Vec::new();
    for row in &rows {
        let newest = learned.as_ref().is_some_and(|learned| learned.id == row.id);
        let offered = row.status == "candidate" && (newest || row.origin == "trained");
        if offered && candidates.len() < MOST_CANDIDATES {
            candidates.push(named(tx, row)?);
        }
    }
    Ok(Found {
        in_force: named(tx, &in_force)?,
        learned,
        candidates,
        line: rows
            .into_iter()
            .filter(|row| row.origin == "learned")
            .collect(),
        waiting: evidence::count_waiting(tx, "")?.1,
    })
}

/// Opinions of all judges that say the base rate: what the pool then shows is the covariance alone.
fn silent(members: &[Member], config: &PoolConfig) -> Vec<Opinion> {
    let opinion = |member: &Member| Opinion {
        judge: member.judge.clone(),
        family: member.family.clone(),
        log_odds: config.base_log_odds,
        standard_error: 0.0,
    };
    members.iter().map(opinion).collect()
}

fn state_of(version: &str, cases: i64, members: &[Member], config: &PoolConfig) -> PoolStateView {
    let opinions = silent(members, config);
    let pooled = pool(&opinions, 0, config);
    let (covariance, correlation) = error_matrices(&opinions, config);
    PoolStateView {
        version: version.to_owned(),
        cases,
        rho: mean_off_diagonal(&correlation),
        n_eff: pooled.n_eff,
        judges: members.iter().map(|member| member.judge.clone()).collect(),
        weights: pooled.weights,
        correlation,
        covariance,
    }
}

/// 0 for fewer than two judges.
fn mean_off_diagonal(matrix: &[Vec<f64>]) -> f64 {
    let n = matrix.len();
    if n < 2 {
        return 0.0;
    }
    let total: f64 = matrix.iter().flatten().sum();
    let diagonal: f64 = (0..n).map(|i| matrix[i][i]).sum();
    (total - diagonal) / (n * (n - 1)) as f64
}

/// The line, oldest first, thinned; its last point always in it. `line` is the latest first.
fn history_of(line: &[OracleVersion], members: &[Member]) -> Result<Vec<PoolPointView>> {
    let every = line.len().div_ceil(MOST_POINTS).max(1);
    let mut points = Vec::new();
    for row in line.iter().step_by(every) {
        let content = content_of(&row.content)?;
        let state = state_of(&row.id, row.cases, members, &content.parameters);
        points.push(PoolPointView {
            at: rfc3339(row.created_at),
            cases: row.cases,
            n_eff: state.n_eff,
            rho: state.rho,
            weights: state.judges.into_iter().zip(state.weights).collect(),
        });
    }
    points.reverse();
    Ok(points)
}

/// The names of an ensemble's judges.
pub(super) fn names_of(ensemble: &Ensemble) -> Vec<String> {
    ensemble
        .members()
        .into_iter()
        .map(|(name, _, _)| name)
        .collect()
}
