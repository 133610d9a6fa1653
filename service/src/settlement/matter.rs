//! A market at a step of its life, and what follows from the step.

use plumbline_market::digest::Digest;
use plumbline_market::draw::{draw, panel_purpose};
use plumbline_market::life::{
    Effect, Event, Life, Proposer, Ruler, Search, Source, Status, Time, step,
};
use plumbline_market::probability::Pi;
use plumbline_store::cases::{self, Case};
use plumbline_store::claims::{self, Claim};
use plumbline_store::markets::{self, Market};
use plumbline_store::{Tx, accounts, jobs, panels};
use serde_json::json;

use super::closing::Frozen;
use super::terms::{CaseTerms, HouseTerms};
use crate::jobs::{PAY_MARKET, RELEASE_MARKET, SETTLE_MARKET};
use crate::ledger::{TREASURY, ensure_holding, post};
use crate::markets::{announce, life_error, life_of, with_life};
use crate::outcomes::{opened_at, require_binary};
use crate::panels::{Convene, Subject, convene};
use crate::time::Millis;
use crate::{Result, ServiceConfig, ServiceError, learning};

/// The account that holds the bonds of a market's disputes.
pub(super) fn bonds_account(market_id: &str) -> String {
    format!("bonds-{market_id}")
}

/// Opens the case of a market that was just stored: publishes its terms, keeps its seed, and
/// notes when its closing window begins.
pub(crate) fn open_case(
    tx: &mut Tx,
    market: &Market,
    house: HouseTerms,
    seed: &[u8; 32],
) -> Result<()> {
    let rules = life_of(market)?.rules;
    let terms = CaseTerms {
        outcomes: opened_at(tx, market)?,
        ..house.with(market, rules)
    };
    let terms = serde_json::to_string(&terms).map_err(ServiceError::internal)?;
    let case = Case {
        market_id: market.id.clone(),
        terms,
        due_at: Some(rules.window_begins_at().0),
        closing: None,
        frozen: None,
        void_reason: None,
    };
    Ok(cases::insert(tx, &case, &Digest(*seed).to_string())?)
}

/// A market with its life and its case, inside one transaction.
pub(super) struct Matter {
    pub(super) market: Market,
    pub(super) life: Life,
    pub(super) case: Case,
    pub(super) record: Vec<Claim>,
}

impl Matter {
    pub(super) fn load(tx: &mut Tx, market_id: &str) -> Result<Self> {
        let market = markets::get(tx, market_id)?;
        let case = cases::get(tx, market_id)?.unwrap_or_else(|| Case {
            market_id: market_id.to_owned(),
            terms: String::new(),
            due_at: None,
            closing: None,
            frozen: None,
            void_reason: None,
        });
        Ok(Self {
            life: life_of(&market)?,
            record: claims::list(tx, market_id)?,
            market,
            case,
        })
    }

    /// What was promised; nothing for markets from before there were cases.
    pub(super) fn terms(&self) -> Result<Option<CaseTerms>> {
        if self.case.terms.is_empty() {
            return Ok(None);
        }
        serde_json::from_str(&self.case.terms)
            .map(Some)
            .map_err(ServiceError::internal)
    }

    pub(super) fn step(&mut self, event: &Event, now: Millis) -> Result<Vec<Effect>> {
        let (life, effects) = step(&self.life, event, Time(now)).map_err(step_error)?;
        self.life = life;
        Ok(effects)
    }

    /// Writes market and case back; the last thing done with a matter.
    pub(super) fn save(mut self, tx: &mut Tx) -> Result<Market> {
        self.case.due_at = self.life.due_at().map(|at| at.0);
        cases::put(tx, &self.case)?;
        let market = with_life(self.market, &self.life)?;
        let version = markets::update(tx, &market)?;
        Ok(Market { version, ..market })
    }

    /// The round of the claim that stands: the last proposal or ruling.
    pub(super) fn standing(&self) -> Option<&Claim> {
        let stands = |claim: &&Claim| ["proposal", "ruling"].contains(&claim.kind.as_str());
        self.record.iter().rev().find(stands)
    }

    /// Adds to the record.
    pub(super) fn note(&mut self, tx: &mut Tx, entry: Entry, now: Millis) -> Result<i64> {
        let round = self.record.len() as i64;
        let claim = Claim {
            market_id: self.market.id.clone(),
            round,
            kind: entry.kind.to_owned(),
            source: entry.source.to_owned(),
            account_id: entry.account,
            pi_billionths: entry.pi.map(|pi| i64::from(pi.billionths())),
            bond_micro: entry.bond_micro,
            paid_micro: None,
            disputes: entry.disputes,
            jurors: entry.jurors,
            panel_id: entry.panel_id,
            reason: entry.reason,
            at: now,
        };
        claims::insert(tx, &claim)?;
        self.record.push(claim);
        Ok(round)
    }

    /// Takes a bond in.
    pub(super) fn hold(
        &self,
        tx: &mut Tx,
        account: &str,
        micro: i64,
        transfer_id: String,
        now: Millis,
    ) -> Result<()> {
        let available = accounts::get(tx, account)?.balance_micro;
        if account != TREASURY && micro > available {
            return Err(ServiceError::refused(
                "insufficient-funds",
                format!("the bond is {micro} micro-credits, {available} are available"),
            ));
        }
        let bonds = bonds_account(&self.market.id);
        ensure_holding(tx, &bonds, now)?;
        post(
            tx,
            transfer_id,
            now,
            "bond",
            &self.market.id,
            vec![(account.to_owned(), -micro), (bonds, micro)],
        )
    }

    /// Does what the effects of a step ask for, until nothing is left to do at once.
    pub(super) fn pursue(
        &mut self,
        tx: &mut Tx,
        config: &ServiceConfig,
        mut effects: Vec<Effect>,
        now: Millis,
    ) -> Result<()> {
        while let Some(effect) = effects.pop() {
            match effect {
                Effect::Find(search) => effects.extend(self.find(tx, config, search, now)?),
                Effect::FinaliseAt(at) if at.0 <= now => {
                    effects.extend(self.step(&Event::Finalise, now)?);
                }
                Effect::Payout(pi) => self.settled(tx, pi, now)?,
                Effect::Refund => self.refund(tx, "no jury could decide", now)?,
                Effect::FinaliseAt(_)
                | Effect::LockSubsidy
                | Effect::StopOrdersAt(_)
                | Effect::DrawAudit => {}
            }
        }
        Ok(())
    }

    /// Sets a search off. A jury that cannot be drawn has not ruled.
    fn find(
        &mut self,
        tx: &mut Tx,
        config: &ServiceConfig,
        search: Search,
        now: Millis,
    ) -> Result<Vec<Effect>> {
        let round = self.record.len() as u32;
        let mut entry = Entry::search(search);
        if let Search::Panel { size } = search {
            entry.panel_id = self.call_panel(tx, config, round, size, now)?;
            if entry.panel_id.is_none() {
                entry = Entry {
                    reason: "not enough jurors without a part in the case".to_owned(),
                    ..Entry::no_ruling(size)
                };
                self.note(tx, entry, now)?;
                return self.step(&Event::NoRuling, now);
            }
        } else if !matches!(search, Search::Proposals { .. }) {
            let key = format!("{SETTLE_MARKET}:{}:{round}", self.market.id);
            let payload = json!({"market_id": self.market.id}).to_string();
            jobs::enqueue(tx, SETTLE_MARKET, &key, &payload, now)?;
        }
        self.note(tx, entry, now)?;
        Ok(vec![])
    }

    /// Draws a jury from the head of the log at the freeze.
    fn call_panel(
        &self,
        tx: &mut Tx,
        config: &ServiceConfig,
        round: u32,
        size: u8,
        now: Millis,
    ) -> Result<Option<String>> {
        // Jurors vote a number; a market of several outcomes needs one for each.
        if require_binary(&self.market).is_err() {
            return Ok(None);
        }
        let (Some(terms), Some(frozen)) = (self.terms()?, Frozen::of(&self.case)?) else {
            return Ok(None);
        };
        let Some(seed) = cases::seed(tx, &self.market.id)? else {
            return Ok(None);
        };
        let seed: Digest = seed.parse().map_err(ServiceError::internal)?;
        let claimants = self
            .record
            .iter()
            .filter_map(|claim| claim.account_id.clone());
        let mut barred: Vec<String> = claimants.collect();
        barred.extend(earlier_jurors(tx, &self.record)?);
        let contested = self
            .record
            .iter()
            .rev()
            .find(|claim| claim.kind == "challenge");
        let ask = Convene {
            subject: Subject::Settlement {
                market_id: self.market.id.clone(),
                round,
            },
            size: usize::from(size),
            barred,
            seed: draw(&seed.0, &frozen.log.head.head, &panel_purpose(round)).0,
            note: contested.map(|claim| claim.reason.clone()),
            now,
            commit_ms: terms.jury_commit_millis,
            reveal_ms: terms.jury_reveal_millis,
        };
        convene(tx, config, &ask)
    }

    /// The settlement stands: everybody can be paid.
    fn settled(&mut self, tx: &mut Tx, pi: Pi, now: Millis) -> Result<()> {
        self.market.settlement = Some(pi.get());
        self.market.settled_at = Some(now);
        let by_judges = self
            .standing()
            .is_some_and(|claim| claim.source == "ensemble");
        learning::record(tx, &self.market, by_judges, now)?;
        self.owe(tx, now)?;
        self.tell(tx, "settled", now)
    }

    /// The market is called off: everybody can be refunded.
    pub(super) fn refund(&mut self, tx: &mut Tx, why: &str, now: Millis) -> Result<()> {
        self.market.statistics = Some(json!({"void": why}).to_string());
        self.case.void_reason = Some(why.to_owned());
        self.owe(tx, now)?;
        self.tell(tx, "void", now)
    }

    fn owe(&self, tx: &mut Tx, now: Millis) -> Result<()> {
        for kind in [PAY_MARKET, RELEASE_MARKET] {
            let payload = json!({"market_id": self.market.id}).to_string();
            jobs::enqueue(
                tx,
                kind,
                &format!("{kind}:{}", self.market.id),
                &payload,
                now,
            )?;
        }
        Ok(())
    }

    pub(super) fn tell(&self, tx: &mut Tx, kind: &str, now: Millis) -> Result<()> {
        let market = Market {
            status: self.life.status.as_str().to_owned(),
            ..self.market.clone()
        };
        announce(tx, now, &market, kind)
    }

    /// A first proposal, bonded by whoever makes it.
    pub(super) fn propose(
        &mut self,
        tx: &mut Tx,
        config: &ServiceConfig,
        proposal: &NewClaim,
        by: Proposer,
        now: Millis,
    ) -> Result<()> {
        let effects = self.step(
            &Event::Propose {
                by,
                pi: proposal.pi,
            },
            now,
        )?;
        // What cannot be disputed needs no bond.
        let bond_micro = if matches!(by, Proposer::Reference) {
            0
        } else {
            self.life.rules.bond.get()
        };
        self.hold(
            tx,
            &proposal.account,
            bond_micro,
            proposal.transfer_id.clone(),
            now,
        )?;
        let source = self
            .life
            .proposal
            .map_or(Source::Person, |stands| stands.source);
        let entry = Entry {
            account: Some(proposal.account.clone()),
            pi: Some(proposal.pi),
            bond_micro,
            reason: proposal.reason.clone(),
            ..Entry::new("proposal", source.as_str())
        };
        self.note(tx, entry, now)?;
        self.tell(tx, "proposed", now)?;
        self.pursue(tx, config, effects, now)
    }

    /// A ruling on a challenge, or of the first jury.
    pub(super) fn rule(
        &mut self,
        tx: &mut Tx,
        config: &ServiceConfig,
        by: Ruler,
        pi: Pi,
        now: Millis,
    ) -> Result<()> {
        let panel_id = self
            .record
            .last()
            .and_then(|search| search.panel_id.clone());
        let effects = self.step(&Event::Rule { by, pi }, now)?;
        let source = match by {
            Ruler::Test { .. } => Source::Test,
            Ruler::Panel => Source::Panel,
        };
        let entry = Entry {
            pi: Some(pi),
            panel_id,
            ..Entry::new("ruling", source.as_str())
        };
        self.note(tx, entry, now)?;
        self.tell(tx, "ruled", now)?;
        self.pursue(tx, config, effects, now)
    }

    /// A jury takes over from what could not find the settlement.
    pub(super) fn hand_over(
        &mut self,
        tx: &mut Tx,
        config: &ServiceConfig,
        why: &str,
        now: Millis,
    ) -> Result<()> {
        let source = self
            .record
            .last()
            .map_or("test", |claim| claim.source.as_str());
        let entry = Entry {
            reason: why.to_owned(),
            ..Entry::new("no_ruling", source)
        };
        let effects = self.step(&Event::CallPanel, now)?;
        self.note(tx, entry, now)?;
        self.tell(tx, "panel-called", now)?;
        self.pursue(tx, config, effects, now)
    }
}

/// Accounts that sat on the earlier panels of a case.
fn earlier_jurors(tx: &mut Tx, record: &[Claim]) -> Result<Vec<String>> {
    let mut accounts = Vec::new();
    for panel in record.iter().filter_map(|claim| claim.panel_id.as_deref()) {
        let seats = panels::seats(tx, panel)?;
        accounts.extend(seats.into_iter().map(|seat| seat.account_id));
    }
    Ok(accounts)
}

/// A proposal or challenge that is about to be made.
pub(super) struct NewClaim {
    pub(super) account: String,
    pub(super) pi: Pi,
    pub(super) reason: String,
    pub(super) transfer_id: String,
}

/// One entry of the record, before it has its place.
pub(super) struct Entry {
    pub(super) kind: &'static str,
    pub(super) source: String,
    pub(super) account: Option<String>,
    pub(super) pi: Option<Pi>,
    pub(super) bond_micro: i64,
    pub(super) disputes: Option<i64>,
    pub(super) jurors: Option<i64>,
    pub(super) panel_id: Option<String>,
    pub(super) reason: String,
}

impl Entry {
    pub(super) fn new(kind: &'static str, source: &str) -> Self {
        Self {
            kind,
            source: source.to_owned(),
            account: None,
            pi: None,
            bond_micro: 0,
            disputes: None,
            jurors: None,
            panel_id: None,
            reason: String::new(),
        }
    }

    fn search(search: Search) -> Self {
        let (source, jurors) = match search {
            Search::Test => ("test", None),
            Search::Ensemble => ("ensemble", None),
            Search::Reference => ("reference", None),
            Search::Proposals { .. } => ("proposals", None),
            Search::Panel { size } => ("panel", Some(i64::from(size))),
        };
        Self {
            jurors,
            ..Self::new("search", source)
        }
    }

    pub(super) fn no_ruling(jurors: u8) -> Self {
        Self {
            jurors: Some(i64::from(jurors)),
            ..Self::new("no_ruling", "panel")
        }
    }
}

/// A step that the rules refuse, as the caller sees it.
pub(super) fn step_error(error: plumbline_market::life::LifeError) -> ServiceError {
    use plumbline_market::life::LifeError;
    let detail = error.to_string();
    match error {
        LifeError::BondTooSmall(_) => ServiceError::invalid("bond-too-small", detail),
        LifeError::SameSettlement => ServiceError::invalid("same-settlement", detail),
        LifeError::TooLate => ServiceError::refused("too-late", "the window for this has passed"),
        other => life_error(other),
    }
}

/// Whether a status still belongs to a dispute or the search before it.
pub(super) const fn is_settling(status: Status) -> bool {
    matches!(status, Status::Settling | Status::Challenged)
}
