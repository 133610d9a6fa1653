//! What settled markets teach the oracle, through the use cases: cases, versions, adoption, and deaths between.
#![allow(clippy::unwrap_used)]

mod support;

use std::sync::atomic::Ordering;

use plumbline_oracle::versions::{SettledRecord, VersionRecord};
use plumbline_service::Service;
use plumbline_service::context::Context;
use plumbline_service::views::*;
use support::death::{at_every_commit, copy};
use support::school::*;
use support::*;

fn all_cases(service: &Service, who: &Context) -> Vec<OracleCaseView> {
    let (mut cases, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = service.oracle_cases(who, cursor.as_deref(), 7).unwrap();
        cases.extend(page.items);
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => return cases,
        }
    }
}

fn all_versions(service: &Service, who: &Context) -> Vec<OracleVersionView> {
    let (mut versions, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let page = service
            .oracle_versions(who, cursor.as_deref(), 200)
            .unwrap();
        versions.extend(page.items);
        match page.next_cursor {
            Some(next) => cursor = Some(next),
            None => return versions,
        }
    }
}

/// Makes every version again from the settled cases, as an auditor does.
fn check_versions(service: &Service, who: &Context) -> usize {
    let mut chain: Vec<(String, SettledRecord)> = Vec::new();
    for case in all_cases(service, who) {
        let record: SettledRecord = serde_json::from_value(case.record).unwrap();
        let previous = chain.last().map_or("", |link| link.0.as_str());
        assert_eq!(record.chained(previous), case.hash, "case {}", case.number);
        chain.push((case.hash, record));
    }
    let versions = all_versions(service, who);
    let content = |id: &str| -> Option<VersionRecord> {
        let found = versions.iter().find(|version| version.id == id)?;
        serde_json::from_value(found.content.clone()).ok()
    };
    for version in &versions {
        let record = content(&version.id).unwrap();
        let parent = version.parent.as_deref().and_then(content);
        record.check(&version.id, parent.as_ref(), &chain).unwrap();
    }
    versions.len()
}

fn weight(state: &PoolStateView, judge: &str) -> f64 {
    let at = state.judges.iter().position(|name| name == judge).unwrap();
    state.weights[at]
}

#[test]
fn the_good_judge_gains_and_the_pool_learns() {
    let world = school(3);
    let ada = world.person("ada");
    let before = world.service.oracle(&ada).unwrap();
    assert!(before.learned.is_none());
    let mut dice = Dice(5);
    teach(&world, &ada, &mut dice, "first", 20);
    let early = world.service.oracle(&ada).unwrap().learned.unwrap();
    teach(&world, &ada, &mut dice, "second", 40);
    let after = world.service.oracle(&ada).unwrap();
    let late = after.learned.clone().unwrap();
    assert_eq!((early.cases, late.cases), (20, 60));
    let good = [&before.state, &early, &late].map(|state| weight(state, "reader-0"));
    assert!(good[0] < good[1] && good[1] < good[2], "{good:?}");
    // The two that guess alike are found out.
    let at = |judge: &str| late.judges.iter().position(|name| name == judge).unwrap();
    let shared = late.correlation[at("reader-1")][at("reader-2")];
    assert!(shared > before.state.correlation[1][2] + 0.2, "{shared}");
    // Nothing of it judges yet.
    assert_eq!(after.in_force.origin, "shipped");
    assert_eq!(after.state.weights, before.state.weights);
    assert_eq!(after.candidates[0].id, late.version);
    let measures = world.service.oracle_calibration(&ada).unwrap();
    let learning = measures.learning.unwrap();
    assert_eq!(learning.cases, 60);
    assert!(
        learning.learned_log_loss < learning.untaught_log_loss,
        "{learning:?}"
    );
    assert_eq!(measures.kinds.len(), 2);
    assert_eq!(measures.kinds[0].claim_kind, "second");
    assert_eq!(measures.kinds[0].points.last().unwrap().cases, 40);
    assert_eq!(measures.judges.len(), 3);
    assert_eq!(measures.pool.as_ref().unwrap().bins.len(), 10);
    let losses: Vec<f64> = measures.judges.iter().map(|j| j.scores.log_loss).collect();
    assert!(losses[0] < losses[1] && losses[0] < losses[2], "{losses:?}");
    assert_eq!(world.sum(), 0);
    assert_eq!(
        check_versions(&world.service, &ada),
        2 + after.history.len(),
        "two shipped: before and after the judges were changed"
    );
}

#[test]
fn a_version_judges_once_it_is_adopted_and_moves_no_open_price() {
    let world = school(3);
    let ada = world.person("ada");
    teach(&world, &ada, &mut Dice(9), "kind", 25);
    let learned = world.service.oracle(&ada).unwrap().learned.unwrap().version;
    let open = open(&world, "open", "kind", true);
    say(&world, &world.service, &ada, &open.id, &[1.0, 0.5, 0.4]);
    world.service.run_due_jobs().unwrap();
    let before = world.service.market(&ada, &open.id).unwrap();
    let shipped = world.service.oracle(&ada).unwrap();
    let refused = world.service.adopt_oracle_version(&ada, &learned);
    assert_eq!(refused.unwrap_err().code(), "forbidden");
    let missing = world
        .service
        .adopt_oracle_version(&world.operator, "nothing");
    assert_eq!(missing.unwrap_err().code(), "not-found");
    let adopted = world
        .service
        .adopt_oracle_version(&world.operator, &learned);
    let adopted = adopted.unwrap();
    assert_eq!(adopted.status, "in_force");
    assert_eq!(adopted.adopted_by.as_deref(), Some("operator"));
    // Again, and after a restart, it is the same.
    let again = world
        .service
        .adopt_oracle_version(&world.operator, &learned);
    assert_eq!(again.unwrap().adopted_at, adopted.adopted_at);
    assert_eq!(world.service.market(&ada, &open.id).unwrap(), before);
    let world = world.reopen();
    world.pass(10);
    let now = world.service.oracle(&ada).unwrap();
    assert_eq!(now.in_force.id, learned);
    assert_ne!(now.version, shipped.version);
    assert_eq!(now.state.weights, now.learned.unwrap().weights);
    let second = say(&world, &world.service, &ada, &open.id, &[0.5, 0.2, 0.2]);
    world.service.run_due_jobs().unwrap();
    let second = world.service.evidence(&ada, &second.id).unwrap();
    assert_eq!(second.oracle_version.as_deref(), Some(learned.as_str()));
    let first = world
        .service
        .evidence_list(&ada, &open.id, None, 9)
        .unwrap();
    let first = first.items[0].oracle_version.clone();
    assert_eq!(first.as_deref(), Some(shipped.in_force.id.as_str()));
    let events = world
        .service
        .events_after(&ada, 0, &["oracle".to_owned()], 500);
    let changed = events
        .unwrap()
        .iter()
        .filter(|e| e.kind == "oracle-changed")
        .count();
    assert_eq!(changed, 3, "shipped with other judges, shipped, learnt");
    // The shipped one can come back.
    let back = world
        .service
        .adopt_oracle_version(&world.operator, &shipped.in_force.id);
    back.unwrap();
    assert_eq!(world.service.oracle(&ada).unwrap().version, shipped.version);
}

#[test]
fn only_what_was_settled_by_others_than_the_judges_teaches() {
    let world = school_with(2, |config| config.defences.audit_draw = false);
    let ada = world.person("ada");
    let off = open(&world, "called-off", "kind", true);
    say(&world, &world.service, &ada, &off.id, &[1.0, 1.0]);
    let silent = open(&world, "silent", "kind", true);
    let run = plumbline_service::commands::RegisterRun {
        name: "by-judges".into(),
        parameters: 0,
    };
    let run = world
        .service
        .register_run(&world.operator, &run)
        .unwrap()
        .id;
    let mut terms = world.terms(&run);
    terms.settlement.method = "ensemble".into();
    terms.settlement.challenge_window_s = Some(60);
    terms.settlement.bond_micro = None;
    let judged = world.service.open_market(&world.operator, &terms).unwrap();
    say(&world, &world.service, &ada, &judged.id, &[2.0, 2.0]);
    world.service.run_due_jobs().unwrap();
    let void = plumbline_service::commands::VoidMarket {
        reason: "a mistake".into(),
    };
    world.service.void(&world.operator, &off.id, &void).unwrap();
    settle(&world);
    settle(&world);
    for (market, status) in [(&off, "void"), (&silent, "paid"), (&judged, "paid")] {
        let now = world.service.market(&ada, &market.id).unwrap();
        assert_eq!(now.status, status, "{}", now.claim);
    }
    assert!(all_cases(&world.service, &ada).is_empty());
    let measures = world.service.oracle_calibration(&ada).unwrap();
    assert!(measures.pool.is_none() && measures.comparisons.is_empty() && !measures.enough);
}

#[test]
fn prices_are_compared_with_the_pool_where_somebody_misled() {
    let world = school(2);
    let (ada, eve) = (world.person("ada"), world.person("eve"));
    let mut dice = Dice(31);
    for n in 0..12 {
        let truth = n % 2 == 0;
        let right = if truth { 1.0 } else { -1.0 };
        let market = open(&world, &format!("run-{n}"), "kind", truth);
        if n % 3 == 0 {
            // Both judges swallow it; a trader who knows better moves the price back.
            say(
                &world,
                &world.service,
                &eve,
                &market.id,
                &[-2.0 * right, -1.5 * right],
            );
            world.service.run_due_jobs().unwrap();
            let outcome = if truth { "yes" } else { "no" };
            world
                .service
                .trade(&ada, &market.id, &spend(outcome, 30 * CREDIT))
                .unwrap();
        } else {
            let found = right * (1.0 + dice.uniform());
            say(&world, &world.service, &ada, &market.id, &[found, found]);
        }
        world.service.run_due_jobs().unwrap();
    }
    settle(&world);
    let cases = all_cases(&world.service, &ada);
    assert_eq!(cases.iter().filter(|case| case.misleading == 1).count(), 4);
    let measures = world.service.oracle_calibration(&ada).unwrap();
    let misled = &measures.comparisons[1];
    assert_eq!((misled.cases_of.as_str(), misled.cases), ("misled", 4));
    assert!(
        misled.difference < 0.0 && misled.high.unwrap() < 0.0,
        "{misled:?}"
    );
    assert_eq!(measures.comparisons[0].cases, 12);
}

#[test]
fn a_death_at_any_commit_loses_no_case_and_learns_none_twice() {
    let world = school(2);
    let ada = world.person("ada");
    for (n, numbers) in [[1.0, 0.5], [-2.0, 0.1], [0.4, 0.3]].iter().enumerate() {
        let market = open(&world, &format!("run-{n}"), "kind", n != 1);
        say(&world, &world.service, &ada, &market.id, numbers);
    }
    world.service.run_due_jobs().unwrap();
    world.pass(61_000);
    let folder = tempfile::tempdir().unwrap();
    let start = folder.path().join("start.db");
    copy(&world.folder.path().join("plumbline.db"), &start);
    let finish = |service: &Service| {
        for _ in 0..5 {
            if service.run_due_jobs().is_err() {
                return false;
            }
            world.pass(2_000);
        }
        true
    };
    let open = |store| open_on(store, &world.host, &world.clock, &world.config);
    let check = |service: &Service, at: usize| {
        let cases = all_cases(service, &ada);
        assert_eq!(cases.len(), 3, "death at commit {at}");
        assert!(cases.iter().all(|case| case.learned_probability.is_some()));
        check_versions(service, &ada);
        let newest = service.oracle(&ada).unwrap().learned.unwrap();
        assert_eq!(newest.cases, 3, "death at commit {at}");
        let score = service.oracle_calibration(&ada).unwrap().learning.unwrap();
        assert_eq!(score.cases, 3, "death at commit {at}");
    };
    let deaths = at_every_commit(&start, open, finish, check);
    assert!(deaths >= 10, "{deaths}");
}

#[test]
fn judges_are_shown_with_what_they_did_and_an_outlier_is_marked() {
    let world = school(3);
    let ada = world.person("ada");
    let market = open(&world, "run", "kind", true);
    // The third judge finds nothing for it; the second disagrees wildly.
    let evidence = say(&world, &world.service, &ada, &market.id, &[1.0, -7.5]);
    world.service.run_due_jobs().unwrap();
    let evidence = world.service.evidence(&ada, &evidence.id).unwrap();
    let outcomes: Vec<&str> = evidence
        .judgements
        .iter()
        .map(|j| j.outcome.as_str())
        .collect();
    assert_eq!(outcomes, ["judged", "judged", "skipped"]);
    assert!(evidence.judgements[1].deviation.unwrap() > 3.0);
    assert_eq!(evidence.judgements[0].cost_micro, 5);
    let oracle = world.service.oracle(&ada).unwrap();
    let second = &oracle.judges[1];
    assert_eq!(
        (second.judged, second.outliers, second.status.as_str()),
        (1, 1, "ok")
    );
    assert_eq!((second.cost_micro, second.latency_p99_ms), (5, Some(3)));
    assert_eq!(oracle.judges[2].skipped, 1);
    // A judge that is gone is named, not forgotten.
    world.host.readers.store(2, Ordering::SeqCst);
    let world = world.reopen();
    let oracle = world.service.oracle(&ada).unwrap();
    assert_eq!(oracle.judges.len(), 3);
    assert_eq!(oracle.judges[2].status, "missing");
}
