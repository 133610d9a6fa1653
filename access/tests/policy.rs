//! What the embedded policy permits, and that it fits its schema.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use plumbline_access::{
    Access, Action, Circumstances, Job, POLICY, Person, Principal, Question, ROLES, SCHEMA, SCOPES,
    SignUp, table,
};

const OPEN: Circumstances = Circumstances {
    public_read: true,
    sign_up: SignUp::Open,
};

fn person(roles: &[&str], scopes: &[&str], session: bool) -> Principal {
    let (roles, scopes) = (roles.iter().copied(), scopes.iter().copied());
    Principal::Person(Person::new(roles, scopes, session))
}

fn may(access: &Access, principal: Principal, action: Action, own: bool) -> bool {
    let question = Question {
        principal,
        action,
        own,
    };
    let answer = access.permits(question);
    assert_eq!(answer, access.permits(question), "remembered as it was");
    answer
}

/// Strict validation is part of opening it; here that it would find a mistake.
#[test]
fn policies_fit_the_schema() {
    let access = Access::new(OPEN).unwrap();
    let (schema, _) = cedar_policy::Schema::from_cedarschema_str(SCHEMA).unwrap();
    let groups: BTreeSet<String> = schema
        .action_groups()
        .map(|g| g.id().unescaped().to_owned())
        .collect();
    let declared: BTreeSet<String> = schema
        .actions()
        .map(|action| action.id().unescaped().to_owned())
        .filter(|name| !groups.contains(name))
        .collect();
    let named: BTreeSet<String> = Action::ALL
        .iter()
        .map(|action| action.as_str().to_owned())
        .collect();
    let missing: Vec<_> = declared.difference(&named).collect();
    assert!(
        missing.is_empty(),
        "in the schema and not in Action: {missing:?}"
    );
    for action in Action::ALL {
        assert!(!access.subject_of(*action).is_empty(), "{action:?}");
    }
    for bad in [
        r#"permit (principal in Role::"king", action, resource);"#,
        r#"permit (principal, action == Action::"Levitate", resource);"#,
        r#"permit (principal is Account, action, resource) when { principal.name == "x" };"#,
        r#"permit (principal is Account, action == Action::"SettleMarket", resource);"#,
        "permit (",
    ] {
        assert!(Access::of(bad, SCHEMA, OPEN).is_err(), "{bad}");
    }
}

#[test]
fn what_nothing_permits_is_denied() {
    let empty = Access::of("", SCHEMA, OPEN).unwrap();
    for action in Action::ALL {
        for principal in [
            Principal::Visitor,
            person(&ROLES, &SCOPES, true),
            Principal::Job(Job::Deadlines),
        ] {
            assert!(!empty.permits(Question {
                principal,
                action: *action,
                own: true
            }));
        }
    }
}

#[test]
fn every_policy_has_a_name() {
    let policies: cedar_policy::PolicySet = POLICY.parse().unwrap();
    let names: BTreeSet<&str> = policies
        .policies()
        .map(|policy| policy.annotation("id").unwrap())
        .collect();
    assert_eq!(names.len(), policies.policies().count());
}

#[test]
fn a_scope_takes_and_never_gives() {
    let access = Access::new(OPEN).unwrap();
    for action in Action::ALL {
        for role in ROLES {
            let all = may(&access, person(&[role], &SCOPES, false), *action, true);
            for scope in SCOPES {
                let narrow = may(&access, person(&[role], &[scope], false), *action, true);
                assert!(all || !narrow, "{role} may {action:?} by {scope} alone");
            }
            let nothing = may(&access, person(&[role], &[], false), *action, true);
            assert!(
                !nothing || access.scope_of(*action).is_none(),
                "{action:?} needs no scope"
            );
        }
        let roleless = may(&access, person(&[], &SCOPES, true), *action, false);
        let reads = access.scope_of(*action) == Some("read") || access.scope_of(*action).is_none();
        assert!(!roleless || reads, "{action:?} needs no role");
    }
}

#[test]
fn nobody_but_its_job_settles_pays_or_decides() {
    let access = Access::new(OPEN).unwrap();
    let work = [
        Action::SettleMarket,
        Action::PayMarket,
        Action::DecideDispute,
        Action::ConveneGoldPanel,
        Action::AdvancePanels,
        Action::EvaluatePolicy,
    ];
    for action in work {
        assert!(
            !may(&access, person(&ROLES, &SCOPES, true), action, true),
            "{action:?}"
        );
        assert!(!may(&access, Principal::Visitor, action, true));
        let jobs = Job::ALL
            .iter()
            .filter(|job| may(&access, Principal::Job(**job), action, false));
        assert_eq!(jobs.count(), 1, "{action:?}");
    }
    assert!(!may(
        &access,
        Principal::Job(Job::SettleMarket),
        Action::PayMarket,
        false
    ));
    assert!(!may(
        &access,
        Principal::Job(Job::Deadlines),
        Action::OpenMarket,
        false
    ));
}

#[test]
fn the_operator_has_no_part_in_how_a_case_ends() {
    let access = Access::new(OPEN).unwrap();
    let settle = [
        Action::ProposeSettlement,
        Action::ChallengeSettlement,
        Action::CommitVote,
        Action::RevealVote,
        Action::DenounceJuror,
        Action::JoinJury,
    ];
    for action in settle {
        assert!(may(
            &access,
            person(&["participant", "juror"], &SCOPES, true),
            action,
            true
        ));
        // Not by taking every other role either.
        assert!(
            !may(&access, person(&ROLES, &SCOPES, true), action, true),
            "{action:?}"
        );
    }
}

/// A signature that counts beside the service's must not be had by signing up.
#[test]
fn only_guardians_sign_beside_the_service() {
    let access = Access::new(OPEN).unwrap();
    let others: Vec<&str> = ROLES
        .into_iter()
        .filter(|role| *role != "guardian")
        .collect();
    for action in [Action::RegisterKey, Action::VouchForKey, Action::Cosign] {
        assert!(may(
            &access,
            person(&["guardian"], &SCOPES, false),
            action,
            true
        ));
        assert!(!may(&access, person(&others, &SCOPES, true), action, true));
    }
    assert!(may(
        &access,
        person(&["guardian"], &SCOPES, false),
        Action::RetireKey,
        true
    ));
    assert!(!may(
        &access,
        person(&["guardian"], &SCOPES, false),
        Action::RetireKey,
        false
    ));
    assert!(may(
        &access,
        person(&["operator"], &SCOPES, false),
        Action::RetireKey,
        false
    ));
}

#[test]
fn circumstances_count() {
    for (public_read, sign_up, reads, signs_up) in [
        (true, SignUp::Open, true, true),
        (false, SignUp::Invite, false, true),
        (false, SignUp::Closed, false, false),
    ] {
        let access = Access::new(Circumstances {
            public_read,
            sign_up,
        })
        .unwrap();
        assert_eq!(
            may(&access, Principal::Visitor, Action::ReadMarket, false),
            reads
        );
        assert_eq!(
            may(&access, Principal::Visitor, Action::SignUp, false),
            signs_up
        );
        assert!(may(
            &access,
            person(&["operator"], &["admin"], false),
            Action::SignUp,
            false
        ));
        assert!(may(&access, Principal::Visitor, Action::SignIn, false));
    }
}

#[test]
fn what_is_ones_own_is_ones_own() {
    let access = Access::new(OPEN).unwrap();
    let ada = person(&["participant"], &SCOPES, true);
    for action in [
        Action::ReadStatement,
        Action::RevokeToken,
        Action::RemoveComment,
        Action::ReadOwnAccount,
    ] {
        assert!(may(&access, ada, action, true), "{action:?}");
        assert!(!may(&access, ada, action, false), "{action:?}");
    }
    let operator = person(&["operator"], &SCOPES, true);
    assert!(may(&access, operator, Action::ReadStatement, false));
    assert!(may(&access, operator, Action::RemoveComment, false));
    assert!(!may(&access, operator, Action::RevokeToken, false));
    assert!(!may(
        &access,
        person(&["participant"], &SCOPES, false),
        Action::Secure,
        true
    ));
}

/// The table in the documentation is the policy's. `BLESS=1` writes it anew.
#[test]
fn the_documented_table_is_the_policys() {
    const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/authorisation.md");
    const MARK: &str =
        "<!-- written by the tests of access/ from the policy; BLESS=1 writes it anew -->\n";
    let before = std::fs::read_to_string(PATH).unwrap();
    let (text, _) = before.split_once(MARK).expect("the mark of the table");
    let now = format!("{text}{MARK}\n{}", table::markdown().unwrap());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(PATH, &now).unwrap();
    }
    assert!(
        std::fs::read_to_string(PATH).unwrap() == now,
        "the policy has changed; if that was meant, run the test with BLESS=1 and review the diff"
    );
}

/// Prints what a decision costs; `cargo test -p plumbline-access --release -- --nocapture cost`.
#[test]
fn a_remembered_answer_costs_little() {
    let access = Access::new(OPEN).unwrap();
    let question = Question {
        principal: person(&["participant", "researcher"], &SCOPES, false),
        action: Action::PlaceTrade,
        own: false,
    };
    let time = |times: u32, f: &dyn Fn() -> bool| {
        let start = std::time::Instant::now();
        assert!((0..times).all(|_| f()));
        start.elapsed().as_secs_f64() / f64::from(times)
    };
    let asked = time(200, &|| access.decide(question).unwrap());
    let remembered = time(100_000, &|| access.permits(question));
    println!(
        "asked: {:.1} µs, remembered: {:.3} µs",
        asked * 1e6,
        remembered * 1e6
    );
    assert!(remembered * 10.0 < asked);
}
