//! The simulated judge: it reads what an exhibit claims, and sees through some of it.

use plumbline_oracle::claim::Claim;
use plumbline_oracle::error::JudgeError;
use plumbline_oracle::exhibit::Exhibit;
use plumbline_oracle::judge::{Judge, JudgeContext, Judgement};

/// Reads reports of the form `claim: X; worth: Y; anything`: X are the log-odds that the report
/// argues for, Y how much of that the judge believes, which only the simulation knows to write.
#[derive(Debug)]
pub(crate) struct WeighingJudge;

/// The text of a report that argues for `claim` and is worth `worth` of it.
pub(crate) fn report(claim: f64, worth: f64, unique: &str) -> String {
    format!("claim: {claim:.3}; worth: {worth:.3}; {unique}")
}

fn believed(text: &str) -> Option<f64> {
    let mut parts = text.split(';');
    let number = |part: Option<&str>, name: &str| {
        let value = part?.trim().strip_prefix(name)?.trim();
        value
            .parse::<f64>()
            .ok()
            .filter(|number| number.is_finite())
    };
    let claim = number(parts.next(), "claim:")?;
    let worth = number(parts.next(), "worth:")?;
    Some((claim * worth).clamp(-6.0, 6.0))
}

impl Judge for WeighingJudge {
    fn name(&self) -> &str {
        "weighing"
    }

    fn family(&self) -> &str {
        "simulated"
    }

    fn version(&self) -> String {
        "1".to_owned()
    }

    fn judge(
        &self,
        _: &Claim,
        exhibits: &[Exhibit],
        _: &JudgeContext,
    ) -> Result<Judgement, JudgeError> {
        let texts = exhibits.iter().filter_map(|exhibit| match exhibit {
            Exhibit::Report(report) => believed(&report.text),
            _ => None,
        });
        let sum: f64 = texts.sum();
        Ok(Judgement {
            judge: "weighing".to_owned(),
            log_odds: sum.clamp(-12.0, 12.0),
            standard_error: 0.5,
            cost_micro: 0,
            latency_ms: 0,
            note: "sum of what the reports are worth".to_owned(),
            detail: None,
        })
    }
}
