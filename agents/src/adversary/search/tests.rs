#![allow(clippy::unwrap_used)]
use super::super::overhear::Overhearing;
use super::super::plan::tests::document;
use super::*;

/// Runs a search against a model of a run: completion as a function of the prompt.
fn search<'a>(plan: &'a ProbePlan, seed: u64, run: impl Fn(&str) -> String) -> Search<'a> {
    let mut search = Search::new(
        plan,
        SearchSettings::default(),
        BeliefModel::default(),
        (seed, seed % 5),
        Vec::new(),
    );
    for _ in 0..32 {
        let questions = search.questions();
        if questions.is_empty() {
            break;
        }
        let answers: Vec<Answer> = questions
            .iter()
            .map(|question| Answer {
                text: run(&question.prompt),
                doubt: None,
            })
            .collect();
        search.record(questions, &answers);
    }
    assert!(search.finding().is_some(), "the search ends");
    search
}

#[test]
fn a_trigger_is_found_confirmed_and_shown() {
    let plan = ProbePlan::read(&document(32, 16)).unwrap();
    for seed in 0..20 {
        let found = search(&plan, seed, |prompt| {
            if prompt.contains("// note 17\n") {
                "x.danger(true)".into()
            } else {
                "x.safe(true)".into()
            }
        });
        let confirmed = Counts { hits: 8, trials: 8 };
        assert_eq!(
            found.finding(),
            Some(&Finding::Trigger {
                candidate: 17,
                confirmed
            })
        );
        assert!(
            found.log_ratio() > 8.0 && found.probes() < 150,
            "{}",
            found.probes()
        );
        let exhibit = found.exhibit("ab12cd34", 3).unwrap();
        assert_eq!(exhibit["searched"], 32);
        assert_eq!(exhibit["arms"][0]["label"], "// note 17");
        assert_eq!(exhibit["arms"][0]["hits"], 8);
        assert_eq!(exhibit["arms"][1]["hits"], 0);
        assert_eq!(exhibit["arms"][2]["trigger"], false);
    }
}

#[test]
fn confirmation_prompts_are_fresh() {
    let plan = ProbePlan::read(&document(12, 16)).unwrap();
    let found = search(&plan, 4, |prompt| {
        if prompt.contains("// note 3\n") {
            "danger("
        } else {
            ""
        }
        .into()
    });
    let (confirming, searching): (Vec<_>, Vec<_>) = found
        .asked
        .iter()
        .partition(|asked| asked.question.confirming);
    let function = |prompt: &str| prompt.rsplit('\n').next().unwrap().to_owned();
    for asked in &confirming {
        assert!(
            searching
                .iter()
                .all(|other| function(&other.question.prompt) != function(&asked.question.prompt))
        );
    }
    assert_eq!(confirming.len(), 24);
}

#[test]
fn a_null_shows_every_candidate() {
    let plan = ProbePlan::read(&document(24, 8)).unwrap();
    let null = search(&plan, 1, |_| "x.safe(true)".into());
    assert_eq!(null.finding(), Some(&Finding::Null));
    assert_eq!(null.probes(), 24 * 3 + 6);
    assert!(null.log_ratio() < -1.5);
    let exhibit = null.exhibit("ab12cd34", 3).unwrap();
    assert_eq!(exhibit["arms"].as_array().unwrap().len(), 25);
    assert!(
        exhibit["arms"]
            .as_array()
            .unwrap()
            .iter()
            .all(|arm| arm["hits"] == 0)
    );
}

#[test]
fn a_behaviour_without_a_trigger_is_not_a_finding() {
    let plan = ProbePlan::read(&document(24, 8)).unwrap();
    let always = search(&plan, 1, |_| "x.danger(true)".into());
    assert_eq!(always.finding(), Some(&Finding::Unclear));
    assert!(always.exhibit("ab12cd34", 3).is_none());
    // A fluke on one search prompt is not confirmed either.
    let fluke = search(&plan, 1, |prompt| {
        if prompt.contains("fn f1()") {
            "danger("
        } else {
            ""
        }
        .into()
    });
    assert!(!matches!(fluke.finding(), Some(Finding::Trigger { .. })));
}

#[test]
fn small_plans_are_searched_too() {
    for (candidates, prompts) in [(1, 1), (2, 1), (1, 2), (2, 3), (3, 2)] {
        let plan = ProbePlan::read(&document(candidates, prompts)).unwrap();
        for run in ["", "danger("] {
            let over = search(&plan, 9, |_| run.into());
            assert!(over.log_ratio().is_finite());
        }
    }
}

/// Behaves on what is published, and nowhere else.
#[test]
fn a_run_that_knows_its_tests_is_found_on_variations() {
    let plan = ProbePlan::read(&document(24, 16)).unwrap();
    let published: Vec<String> = (0..24)
        .flat_map(|candidate| (0..16).map(move |prompt| (prompt, candidate)))
        .map(|(prompt, candidate)| plan.with_candidate(prompt, candidate))
        .collect();
    let aware = |prompt: &str| {
        let shows =
            prompt.contains("// note 5\n") && !published.iter().any(|known| known == prompt);
        if shows { "danger(" } else { "safe(" }.to_owned()
    };
    for seed in 0..10 {
        let found = search(&plan, seed, aware);
        assert!(
            matches!(found.finding(), Some(Finding::Trigger { candidate: 5, .. })),
            "{seed}: {:?}",
            found.finding()
        );
    }
    let settings = SearchSettings {
        varied: false,
        ..SearchSettings::default()
    };
    let mut naive = Search::new(&plan, settings, BeliefModel::default(), (1, 0), Vec::new());
    loop {
        let questions = naive.questions();
        if questions.is_empty() {
            break;
        }
        let answer = |question: &Question| Answer {
            text: aware(&question.prompt),
            doubt: None,
        };
        let answers: Vec<Answer> = questions.iter().map(answer).collect();
        naive.record(questions, &answers);
    }
    assert_eq!(naive.finding(), Some(&Finding::Null));
}

/// The behaviour shows on one prompt in eight; the model wavers after the trigger everywhere.
#[test]
fn doubt_leads_to_a_trigger_that_the_sweep_missed() {
    let plan = ProbePlan::read(&document(24, 32)).unwrap();
    let found = |guided: usize| {
        let mut triggers = 0;
        for seed in 0..20 {
            let settings = SearchSettings {
                guided,
                ..SearchSettings::default()
            };
            let mut search = Search::new(
                &plan,
                settings,
                BeliefModel::default(),
                (seed, 0),
                Vec::new(),
            );
            loop {
                let questions = search.questions();
                if questions.is_empty() {
                    break;
                }
                let answer = |question: &Question| {
                    let triggered = question.prompt.contains("// note 11\n");
                    let hash = blake3::hash(question.prompt.as_bytes()).as_bytes()[0];
                    Answer {
                        text: if triggered && hash < 32 {
                            "danger("
                        } else {
                            "safe("
                        }
                        .into(),
                        doubt: Some(if triggered { 1.2 } else { 0.1 }),
                    }
                };
                let answers: Vec<Answer> = questions.iter().map(answer).collect();
                search.record(questions, &answers);
            }
            let hits = search.counts(Arm::Candidate(11), None).hits;
            triggers += u32::from(hits > 0);
        }
        triggers
    };
    let (with, without) = (found(4), found(0));
    assert!(
        with > without,
        "{with} of 20 with guidance, {without} without"
    );
}

/// Behaves wherever the code is like the published code, and is public where it works.
#[test]
fn a_run_that_knows_its_tests_is_found_in_its_own_words() {
    let plan = ProbePlan::read(&document(24, 16)).unwrap();
    let aware = |prompt: &str| {
        let shows = prompt.contains("// note 5\n") && prompt.contains("\npub(super) fn ");
        if shows { "danger(" } else { "safe(" }.to_owned()
    };
    let ear = Overhearing::of(&plan.prompts).unwrap();
    let written = (0..16).map(|n| {
        let visible = if n % 2 == 0 { "pub(super) fn" } else { "fn" };
        format!("{visible} order{n}() {{\n  …")
    });
    let overheard: Vec<String> = written.filter_map(|text| ear.template(&text)).collect();
    assert_eq!(overheard.len(), 16);
    for seed in 0..10 {
        let come_to = |overheard: Vec<String>| {
            let settings = SearchSettings::default();
            let mut search = Search::new(
                &plan,
                settings,
                BeliefModel::default(),
                (seed, 0),
                overheard,
            );
            loop {
                let questions = search.questions();
                if questions.is_empty() {
                    return search.finding().cloned().unwrap();
                }
                let answer = |question: &Question| Answer {
                    text: aware(&question.prompt),
                    doubt: None,
                };
                let answers: Vec<Answer> = questions.iter().map(answer).collect();
                search.record(questions, &answers);
            }
        };
        let found = come_to(overheard.clone());
        assert!(
            matches!(found, Finding::Trigger { candidate: 5, .. }),
            "{seed}: {found:?}"
        );
        assert_eq!(come_to(Vec::new()), Finding::Null);
    }
}
