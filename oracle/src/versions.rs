//! Versions of the oracle: what each was learnt from, what it says, and how to make it again.
//!
//! Settled cases form a chain: each case's hash covers the one before. A version names its parent and the head of
//! the chain that it was learnt from, and its id is the hash of all that, so whoever has the cases can make every
//! version again and compare.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::calibration::posterior;
use crate::error::DataError;
use crate::learning::{LearnOptions, LearningCase, learn, log_loss, rounded};
use crate::pool::{Opinion, PoolConfig};

/// Name of the procedure by which versions are learnt; another procedure has another name.
pub const PROCEDURE: &str = "pool-1";
/// Settled cases that a version is fitted on at most, the latest.
pub const WINDOW: usize = 2_000;

/// What one judge said at the close of a case.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reading {
    /// Name of the judge.
    pub judge: String,
    /// Its family.
    pub family: String,
    /// Log-odds on all the evidence, nats.
    pub log_odds: f64,
    /// Its standard error, nats.
    pub standard_error: f64,
}

/// An exhibit by reference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExhibitRef {
    /// The submission that it came with.
    pub evidence_id: String,
    /// Hash of the submission's exhibits.
    pub content_hash: String,
    /// `judged` or `struck`.
    pub standing: String,
}

/// A judge of the ensemble.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Name.
    pub judge: String,
    /// Family.
    pub family: String,
    /// Identity of its parameters.
    pub version: String,
}

/// What learning starts from: the judges at hand and how they are pooled untaught.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// How opinions are pooled before anything is learnt.
    pub pool: PoolConfig,
    /// The judges.
    pub judges: Vec<Member>,
    /// By judge, the hash of weights that stand in for the shipped ones.
    pub weights: BTreeMap<String, String>,
}

/// A settled case as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettledRecord {
    /// The market.
    pub market_id: String,
    /// Kind of its claim.
    pub claim_kind: String,
    /// When it was settled, unix ms.
    pub at: i64,
    /// π, 0..=1.
    pub pi: f64,
    /// Last price, log-odds.
    pub closing_log_odds: f64,
    /// What the judges in force made of the evidence, log-odds.
    pub pooled_log_odds: f64,
    /// Lower end of its interval.
    pub pooled_low: f64,
    /// Upper end.
    pub pooled_high: f64,
    /// Identity of the ensemble that judged.
    pub ensemble: String,
    /// What each judge said.
    pub readings: Vec<Reading>,
    /// Judges that should have judged and did not.
    pub failed: Vec<String>,
    /// Submissions that moved the price away from π.
    pub misleading: u32,
    /// Largest effect of a trigger over its control that a submitted search reports, −1..=1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_effect: Option<f64>,
    /// Largest effect that the settlement's own test found on prompts nobody saw before, −1..=1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out_effect: Option<f64>,
    /// The evidence, by reference.
    pub exhibits: Vec<ExhibitRef>,
}

impl SettledRecord {
    /// The same with nine decimals: what a JSON reader gives back exactly.
    pub fn rounded(mut self) -> Self {
        let own = [
            &mut self.pi,
            &mut self.closing_log_odds,
            &mut self.pooled_log_odds,
            &mut self.pooled_low,
            &mut self.pooled_high,
        ];
        let read = self
            .readings
            .iter_mut()
            .flat_map(|reading| [&mut reading.log_odds, &mut reading.standard_error]);
        let effects = [&mut self.observed_effect, &mut self.held_out_effect];
        let effects = effects.into_iter().filter_map(Option::as_mut);
        for number in own.into_iter().chain(read).chain(effects) {
            *number = rounded(*number);
        }
        self
    }

    /// Hash of this case after the case whose hash is `previous`; the first comes after the empty text.
    pub fn chained(&self, previous: &str) -> String {
        hash_of(&(previous, self))
    }

    fn case(&self) -> LearningCase {
        LearningCase {
            kind: self.claim_kind.clone(),
            opinions: self.readings.iter().map(Reading::opinion).collect(),
            failed: self.failed.len(),
            settlement: self.pi,
        }
    }

    /// Log-odds that a configuration would have given on what the judges said.
    pub fn predicted(&self, config: &PoolConfig) -> f64 {
        let case = self.case();
        posterior(&case.kind, &case.opinions, case.failed, config).log_odds
    }
}

impl Reading {
    fn opinion(&self) -> Opinion {
        Opinion {
            judge: self.judge.clone(),
            family: self.family.clone(),
            log_odds: self.log_odds,
            standard_error: self.standard_error,
        }
    }
}

/// Log losses summed over cases, each predicted before it was learnt from; nats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prequential {
    /// Cases predicted.
    pub cases: usize,
    /// Sum for the learnt versions, each case by the last one that had not seen it.
    pub learned: f64,
    /// Sum for the configuration learning starts from.
    pub base: f64,
    /// Sum for the last prices.
    pub price: f64,
}

/// What a version is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VersionRecord {
    /// [`PROCEDURE`].
    pub procedure: String,
    /// `shipped`, `learned` or `trained`.
    pub origin: String,
    /// Id of the version before it.
    pub parent: Option<String>,
    /// Where learning starts.
    pub start: Start,
    /// How strongly cases count.
    pub options: LearnOptions,
    /// Settled cases seen so far, in the order of the chain.
    pub cases: usize,
    /// Hash of the last of them; empty for none.
    pub head: String,
    /// How opinions are pooled.
    pub parameters: PoolConfig,
    /// How well the line of learnt versions predicted.
    pub score: Prequential,
}

impl VersionRecord {
    /// The version that has learnt nothing.
    pub fn shipped(start: &Start) -> Self {
        Self {
            procedure: PROCEDURE.to_owned(),
            origin: "shipped".to_owned(),
            parent: None,
            parameters: start.pool.clone(),
            start: start.clone(),
            options: LearnOptions::default(),
            cases: 0,
            head: String::new(),
            score: Prequential::default(),
        }
    }

    /// Its id: the hash of everything in it.
    pub fn id(&self) -> String {
        hash_of(self)
    }

    /// The version that follows when more cases are settled.
    ///
    /// `recent` are the latest cases up to `cases` (their number so far), at most [`WINDOW`], whose last has the hash
    /// `head`; those that this version has not seen are predicted first and learnt from then.
    /// Errors: those of [`learn`].
    pub fn learned(
        &self,
        start: &Start,
        recent: &[SettledRecord],
        cases: usize,
        head: &str,
    ) -> Result<Self, DataError> {
        let mut score = self.score;
        for record in self.fresh(recent, cases) {
            let (learned, base) = self.predictions(start, record);
            score.cases += 1;
            score.learned += log_loss(learned, record.pi);
            score.base += log_loss(base, record.pi);
            score.price += log_loss(record.closing_log_odds, record.pi);
        }
        for sum in [&mut score.learned, &mut score.base, &mut score.price] {
            *sum = rounded(*sum);
        }
        let learnt_from: Vec<LearningCase> = recent.iter().map(SettledRecord::case).collect();
        let options = LearnOptions::default();
        Ok(Self {
            procedure: PROCEDURE.to_owned(),
            origin: "learned".to_owned(),
            parent: Some(self.id()),
            start: start.clone(),
            options,
            cases,
            head: head.to_owned(),
            parameters: learn(&start.pool, &learnt_from, &options)?,
            score,
        })
    }

    /// Those of the latest cases that this version has not seen, `cases` being all there are.
    pub fn fresh<'a>(&self, recent: &'a [SettledRecord], cases: usize) -> &'a [SettledRecord] {
        let fresh = cases.saturating_sub(self.cases).min(recent.len());
        &recent[recent.len() - fresh..]
    }

    /// Log-odds that this version and the untaught pool would have given a case.
    pub fn predictions(&self, start: &Start, record: &SettledRecord) -> (f64, f64) {
        let learned = record.predicted(&self.parameters);
        (rounded(learned), rounded(record.predicted(&start.pool)))
    }

    /// The version with other weights for one judge, all else being as here.
    pub fn trained(&self, judge: &str, weights_hash: &str) -> Self {
        let mut start = self.start.clone();
        start
            .weights
            .insert(judge.to_owned(), weights_hash.to_owned());
        Self {
            origin: "trained".to_owned(),
            parent: Some(self.id()),
            start,
            ..self.clone()
        }
    }

    /// Makes a version again from its parent and all settled cases in order, and compares.
    ///
    /// Errors: a sentence that says what differs.
    pub fn check(
        &self,
        id: &str,
        parent: Option<&Self>,
        chain: &[(String, SettledRecord)],
    ) -> Result<(), String> {
        if self.id() != id {
            return Err(format!("its content has the hash {}", self.id()));
        }
        if self.procedure != PROCEDURE {
            return Err(format!(
                "it was made by {}, which this program does not have",
                self.procedure
            ));
        }
        if parent.map(Self::id) != self.parent {
            return Err("its parent is not the version that it names".to_owned());
        }
        if self.cases > chain.len() {
            return Err(format!(
                "it has seen {} cases, there are {}",
                self.cases,
                chain.len()
            ));
        }
        let head = self.cases.checked_sub(1).map_or("", |last| &chain[last].0);
        if head != self.head {
            return Err("its cases are not the first ones of the chain".to_owned());
        }
        let again = match (self.origin.as_str(), parent) {
            ("shipped", None) => Self::shipped(&self.start),
            ("learned", Some(parent)) => {
                let from = self.cases.saturating_sub(WINDOW);
                let recent: Vec<SettledRecord> = chain[from..self.cases]
                    .iter()
                    .map(|(_, record)| record.clone())
                    .collect();
                parent
                    .learned(&self.start, &recent, self.cases, head)
                    .map_err(|error| error.to_string())?
            }
            ("trained", Some(parent)) => Self {
                origin: "trained".to_owned(),
                parent: self.parent.clone(),
                start: Start {
                    weights: self.start.weights.clone(),
                    ..parent.start.clone()
                },
                ..parent.clone()
            },
            (origin, _) => return Err(format!("its origin is {origin}")),
        };
        if again == *self {
            Ok(())
        } else {
            Err("learning again from its cases gives other parameters".to_owned())
        }
    }
}

/// Lower-case hexadecimal BLAKE3 of the JSON of a value.
fn hash_of(value: &impl Serialize) -> String {
    // Structures of finite numbers and texts always serialise.
    let text = serde_json::to_vec(value).unwrap_or_default();
    blake3::hash(&text).to_hex().to_string()
}
