//! How far attacks on exhibits move a judge.

use serde::{Deserialize, Serialize};

use crate::attack::{ATTACKS, Aim, Attack, Case, transcript};
use crate::claim::Claim;
use crate::error::{DataError, JudgeError};
use crate::exhibit::Exhibit;
use crate::judge::{Judge, JudgeContext};
use crate::rows::Row;

/// Cases of the project's own making, each in several languages.
const TRANSLATED: &str = include_str!("../data/translated.json");

/// What one attack does to one judge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RobustnessRow {
    /// The judge.
    pub judge: String,
    /// The attack.
    pub attack: String,
    /// Cases attacked.
    pub cases: usize,
    /// Mean |Δℓ|, nats.
    pub mean_shift: f64,
    /// 95th percentile of |Δℓ|.
    pub p95_shift: f64,
    /// Largest |Δℓ|.
    pub max_shift: f64,
    /// Mean of Δℓ in the direction that the attacker wants; below 0 the attack backfires.
    pub towards_aim: f64,
    /// Share of cases whose verdict changed sides.
    pub flips: f64,
}

/// One case of the fixture: the same in every language, English first.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Translated {
    kind: String,
    versions: Vec<Version>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Version {
    #[allow(dead_code, reason = "for readers of the fixture, and for its test")]
    language: String,
    prompt: String,
    response: String,
}

/// A case before and after an attack.
#[derive(Debug, Clone, Copy)]
struct Moved {
    before: f64,
    after: f64,
}

/// Measures `judge` under every attack on `rows`, and on the fixture of translations. The attacker wants the
/// opposite of what the judge says without the attack. Log-odds are relative to the judge's base.
///
/// Errors: [`DataError::TooFew`] without rows; [`DataError::Row`] for one that is no claim. A case that the judge
/// cannot judge at all is left out.
pub fn measure(
    judge: &dyn Judge,
    rows: &[Row],
    seed: u64,
) -> Result<Vec<RobustnessRow>, DataError> {
    if rows.is_empty() {
        return Err(DataError::TooFew {
            what: "cases",
            have: 0,
            need: 1,
        });
    }
    let cases = rows
        .iter()
        .map(|row| Ok((claim_of(&row.claim_type)?, row)))
        .collect::<Result<Vec<_>, DataError>>()?;
    let mut table = Vec::with_capacity(ATTACKS.len() + 1);
    for attack in ATTACKS {
        let moved: Vec<Moved> = cases
            .iter()
            .enumerate()
            .filter_map(|(at, (claim, row))| {
                attacked(judge, attack, claim, row, seed.wrapping_add(at as u64))
            })
            .collect();
        table.push(summary(judge.name(), attack.name, &moved));
    }
    table.push(summary(judge.name(), "other-language", &translated(judge)?));
    Ok(table)
}

/// The English cases of the fixture as rows, for measurements without data.
///
/// Errors: [`DataError::Row`] when the fixture is damaged.
pub fn fixture() -> Result<Vec<Row>, DataError> {
    let rows = read_fixture()?
        .into_iter()
        .enumerate()
        .filter_map(|(at, case)| {
            let version = case.versions.into_iter().next()?;
            Some(Row {
                id: format!("fixture-{at}"),
                claim_type: case.kind,
                prompt: version.prompt,
                response: version.response,
                label: 0.5,
                group: format!("fixture-{at}"),
            })
        });
    Ok(rows.collect())
}

fn read_fixture() -> Result<Vec<Translated>, DataError> {
    serde_json::from_str(TRANSLATED).map_err(|error| DataError::Row {
        line: error.line(),
        reason: error.to_string(),
    })
}

fn claim_of(kind: &str) -> Result<Claim, DataError> {
    Claim::new(kind, "The response shows what its kind says.", "").map_err(|error| DataError::Row {
        line: 0,
        reason: error.to_string(),
    })
}

fn attacked(
    judge: &dyn Judge,
    attack: &Attack,
    claim: &Claim,
    row: &Row,
    seed: u64,
) -> Option<Moved> {
    let before = read(judge, claim, &transcript(&row.prompt, &row.response))?;
    let case = Case {
        prompt: &row.prompt,
        response: &row.response,
    };
    let aim = Aim {
        upwards: before < 0.0,
        seed,
    };
    let after = read(judge, claim, &attack.exhibit(case, aim))?;
    Some(Moved { before, after })
}

fn translated(judge: &dyn Judge) -> Result<Vec<Moved>, DataError> {
    let fixture = read_fixture()?;
    let mut moved = Vec::new();
    for case in &fixture {
        let claim = claim_of(&case.kind)?;
        let say = |version: &Version| {
            read(
                judge,
                &claim,
                &transcript(&version.prompt, &version.response),
            )
        };
        let Some((english, others)) = case.versions.split_first() else {
            continue;
        };
        let Some(before) = say(english) else { continue };
        moved.extend(others.iter().filter_map(|version| {
            let after = say(version)?;
            Some(Moved { before, after })
        }));
    }
    Ok(moved)
}

/// Log-odds on one exhibit, at even odds before it; `None` where the judge cannot judge.
fn read(judge: &dyn Judge, claim: &Claim, exhibit: &Exhibit) -> Option<f64> {
    let said = judge.judge(
        claim,
        std::slice::from_ref(exhibit),
        &JudgeContext::default(),
    );
    match said {
        Ok(judgement) if judgement.log_odds.is_finite() => Some(judgement.log_odds),
        Ok(_) | Err(JudgeError::NothingToJudge) => None,
        Err(_) => None,
    }
}

fn summary(judge: &str, attack: &str, moved: &[Moved]) -> RobustnessRow {
    let n = moved.len().max(1) as f64;
    let mut shifts: Vec<f64> = moved.iter().map(|m| (m.after - m.before).abs()).collect();
    shifts.sort_by(f64::total_cmp);
    let towards = |m: &Moved| (m.after - m.before) * if m.before < 0.0 { 1.0 } else { -1.0 };
    let flips = moved.iter().filter(|m| (m.before < 0.0) != (m.after < 0.0));
    let p95 = (shifts.len() as f64 * 0.95).ceil() as usize;
    RobustnessRow {
        judge: judge.to_owned(),
        attack: attack.to_owned(),
        cases: moved.len(),
        mean_shift: shifts.iter().sum::<f64>() / n,
        p95_shift: shifts.get(p95.saturating_sub(1)).copied().unwrap_or(0.0),
        max_shift: shifts.last().copied().unwrap_or(0.0),
        towards_aim: moved.iter().map(towards).sum::<f64>() / n,
        flips: flips.count() as f64 / n,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_fixture_is_whole() {
        let fixture: Vec<Translated> = serde_json::from_str(TRANSLATED).unwrap();
        assert!(fixture.len() >= 8);
        for case in &fixture {
            let languages: Vec<&str> = case.versions.iter().map(|v| v.language.as_str()).collect();
            assert_eq!(languages, ["en", "de", "es", "fr"], "{}", case.kind);
        }
    }

    #[test]
    fn figures_match_a_hand_worked_case() {
        let moved = [
            Moved {
                before: 1.0,
                after: -1.0,
            },
            Moved {
                before: -1.0,
                after: -0.5,
            },
            Moved {
                before: -2.0,
                after: -3.0,
            },
        ];
        let row = summary("j", "a", &moved);
        assert!((row.mean_shift - 3.5 / 3.0).abs() < 1e-12);
        assert!((row.towards_aim - 1.5 / 3.0).abs() < 1e-12);
        assert_eq!((row.max_shift, row.p95_shift), (2.0, 2.0));
        assert!((row.flips - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!(summary("j", "a", &[]).mean_shift, 0.0);
    }
}
