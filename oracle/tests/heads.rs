//! Heads on what a model reads: fitted, stored, judging, measured beside the lexical judge and pooled with it.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use plumbline_oracle::calibration::{CalibrationOptions, PoolCalibration, Scored};
use plumbline_oracle::{
    Claim, Contender, Dataset, Ensemble, EvaluateOptions, Exhibit, Features, HeadJudge, Judge,
    JudgeContext, JudgeError, JudgeOutcome, LexicalJudge, Message, MissingJudge, Passage,
    PoolConfig, Protocol, Reader, ReaderIdentity, Reference, Report, Row, TrainOptions, Transcript,
    Weights, WeightsError, Widths, evaluate_judges, fit_reference, train_heads,
};

/// Reads how often each letter occurs: a model, if a poor one.
#[derive(Default)]
struct Letters {
    read: AtomicUsize,
    broken: bool,
}

fn letters(text: &str) -> Vec<f32> {
    let mut counts = vec![0.0; 26];
    for byte in text
        .to_ascii_lowercase()
        .bytes()
        .filter(u8::is_ascii_lowercase)
    {
        counts[usize::from(byte - b'a')] += 1.0 / text.len() as f32;
    }
    counts
}

impl Reader for Letters {
    fn name(&self) -> &str {
        "letters"
    }
    fn family(&self) -> &str {
        "letters"
    }
    fn version(&self) -> String {
        "1".to_owned()
    }
    fn widths(&self) -> Widths {
        Widths {
            content: 26,
            context: 26,
            extra: 0,
        }
    }
    fn read(&self, passages: &[Passage<'_>]) -> Result<Vec<Features>, JudgeError> {
        self.read.fetch_add(passages.len(), Ordering::Relaxed);
        let features = passages.iter().map(|passage| Features {
            content: match self.broken {
                true => vec![f32::NAN; 26],
                false => letters(passage.response),
            },
            context: letters(passage.prompt),
            extra: Vec::new(),
        });
        Ok(features.collect())
    }
}

/// Answers that buzz are bad, those that hum are good; one in eight is labelled wrongly.
fn rows(family: &str, count: usize) -> Vec<Row> {
    (0..count)
        .map(|i| {
            let bad = i % 2 == 0;
            let word = if bad { "buzz" } else { "hum" };
            let wrong = i % 8 == 7;
            Row {
                id: format!("{family}-{i}"),
                claim_type: format!("{family}:{}", i % 3),
                prompt: format!("What does number {i} do?"),
                response: format!("It does {word} and {word}, number {i} of the row."),
                label: f64::from(u8::from(bad != wrong)),
                group: format!("{family}-{}", i / 2),
            }
        })
        .collect()
}

fn features(rows: &[Row]) -> Vec<Features> {
    let passages: Vec<Passage<'_>> = rows.iter().map(Row::passage).collect();
    Letters::default().read(&passages).unwrap()
}

fn fitted() -> Weights {
    let rows = rows("hive", 240);
    let reader = ReaderIdentity::of(&Letters::default());
    train_heads(&rows, &features(&rows), &reader, &TrainOptions::default()).unwrap()
}

fn said(response: &str) -> Exhibit {
    let message = |role: &str, content: &str| Message {
        role: role.to_owned(),
        content: content.to_owned(),
    };
    Exhibit::Transcript(Transcript {
        messages: vec![
            message("user", "What does number 7 do?"),
            message("assistant", response),
        ],
    })
}

fn claim() -> Claim {
    Claim::new("hive:1", "The answer is bad.", "").unwrap()
}

#[test]
fn heads_travel_in_a_file_and_only_with_their_model() {
    let weights = fitted();
    let bytes = weights.to_bytes();
    let again = Weights::from_bytes(&bytes).unwrap();
    assert_eq!(again, weights);
    assert_eq!(again.reader(), Some(("letters", "1")));
    let mut damaged = bytes.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    assert_eq!(Weights::from_bytes(&damaged), Err(WeightsError::Checksum));
    assert!(matches!(
        Weights::from_bytes(&bytes[..bytes.len() - 9]),
        Err(WeightsError::Truncated { .. })
    ));
    let lexical = LexicalJudge::shipped().unwrap().weights().clone();
    assert!(matches!(
        HeadJudge::new(Arc::new(Letters::default()), lexical),
        Err(WeightsError::WrongModel { .. })
    ));
    assert!(matches!(
        LexicalJudge::from_bytes(&bytes),
        Err(WeightsError::WrongModel { .. })
    ));
}

#[test]
fn a_head_judges_remembers_and_stays_silent_where_there_is_nothing_to_read() {
    let reader = Arc::new(Letters::default());
    let judge = HeadJudge::new(Arc::clone(&reader) as Arc<dyn Reader>, fitted()).unwrap();
    let ask = |exhibits: &[Exhibit]| judge.judge(&claim(), exhibits, &JudgeContext::default());
    let bad = said("It does buzz and buzz, number 7 of the row.");
    let good = said("It does hum and hum, number 7 of the row.");
    let first = ask(std::slice::from_ref(&bad)).unwrap();
    assert!(first.log_odds > 0.8, "{first:?}");
    assert!(ask(&[good]).unwrap().log_odds < -0.8);
    assert_eq!(reader.read.load(Ordering::Relaxed), 2);
    assert_eq!(ask(&[bad.clone(), bad]).unwrap(), first);
    assert_eq!(
        reader.read.load(Ordering::Relaxed),
        2,
        "the same text is not read again"
    );
    let report = Exhibit::Report(Report {
        text: "It buzzes.".to_owned(),
    });
    assert_eq!(ask(&[report]), Err(JudgeError::NothingToJudge));
    // A family that it was not fitted on: it says nothing, and says how little that is worth.
    let strange = Claim::new("sea:1", "The answer is bad.", "").unwrap();
    let exhibit = said("It does buzz and buzz, number 7 of the row.");
    let unknown = judge
        .judge(&strange, &[exhibit], &JudgeContext::default())
        .unwrap();
    assert_eq!(unknown.log_odds, 0.0);
    assert!(unknown.standard_error >= 4.0);
}

#[test]
fn a_model_that_breaks_or_is_missing_is_a_failure_that_shows() {
    let broken = Letters {
        broken: true,
        ..Letters::default()
    };
    let ensemble = Ensemble::new(
        vec![
            Arc::new(LexicalJudge::shipped().unwrap()),
            Arc::new(HeadJudge::new(Arc::new(broken), fitted()).unwrap()),
            Arc::new(MissingJudge::new("encoder", "no model at models/minilm")),
        ],
        PoolConfig::default(),
    )
    .unwrap();
    assert_eq!(ensemble.missing().len(), 1);
    let assessment = ensemble.assess(&claim(), &[said("It does buzz and buzz.")]);
    let failed: Vec<&str> = assessment
        .judgements
        .iter()
        .filter(|outcome| matches!(outcome, JudgeOutcome::Failed { .. }))
        .map(JudgeOutcome::judge)
        .collect();
    assert_eq!(failed, ["letters", "encoder"]);
}

#[test]
fn several_judges_are_measured_with_their_pool_and_it_goes_live() {
    let sets = [
        Dataset {
            name: "hive".to_owned(),
            rows: rows("hive", 240),
        },
        Dataset {
            name: "wood".to_owned(),
            rows: rows("wood", 160),
        },
    ];
    let letters = || Contender::Heads {
        reader: ReaderIdentity::of(&Letters::default()),
        family: "letters".to_owned(),
        features: sets.iter().map(|set| features(&set.rows)).collect(),
    };
    let contenders = [Contender::Lexical, letters()];
    let options = EvaluateOptions {
        train: TrainOptions {
            bits: 12,
            ..TrainOptions::default()
        },
        few_shot: vec![50],
        repeats: 1,
        ..EvaluateOptions::default()
    };
    for protocol in [Protocol::InDomain, Protocol::LeaveOneOut, Protocol::FewShot] {
        let rows = evaluate_judges(&sets, &contenders, protocol, &options).unwrap();
        let judges: Vec<&str> = rows.iter().map(|row| row.judge.as_str()).collect();
        assert_eq!(
            judges,
            ["lexical", "letters", "pool", "lexical", "letters", "pool"]
        );
        let pool = rows.iter().filter(|row| row.judge == "pool");
        for row in pool.filter(|_| protocol != Protocol::LeaveOneOut) {
            assert!(row.auroc > 0.7 && row.brier < 0.2, "{row:?}");
        }
    }
    let reference = fit_reference(&sets, &contenders, &options).unwrap();
    assert_eq!(reference.0.len(), 2);
    let json = serde_json::to_string(&reference).unwrap();
    let again: Reference = serde_json::from_str(&json).unwrap();
    let judge = HeadJudge::new(Arc::new(Letters::default()), fitted()).unwrap();
    let judges = || -> Vec<plumbline_oracle::SharedJudge> {
        let judge = HeadJudge::new(Arc::new(Letters::default()), judge.weights().clone());
        vec![Arc::new(judge.unwrap())]
    };
    let plain = Ensemble::new(judges(), PoolConfig::default()).unwrap();
    let knowing = plain.clone().with_reference(again).unwrap();
    assert_ne!(plain.version(), knowing.version());
    let exhibit = said("It does buzz and buzz, number 7 of the row.");
    let assessment = knowing.assess(&claim(), std::slice::from_ref(&exhibit));
    assert!(assessment.log_odds > 0.5 && assessment.low < assessment.log_odds);
    let after = |cases: usize, kind: &str| {
        let case = Scored {
            kind,
            log_odds: 1.0,
            settlement: 1.0,
        };
        let calibration = PoolCalibration::fit(&vec![case; cases], &CalibrationOptions::default());
        let learnt = PoolConfig {
            calibration: Some(calibration),
            ..PoolConfig::default()
        };
        let learnt = knowing.pooled_by(learnt).unwrap();
        learnt.assess(&claim(), std::slice::from_ref(&exhibit))
    };
    // What was learnt of one family takes nothing from another, nor a case or two from what labelled cases said.
    assert_eq!(after(400, "unheard-of").log_odds, assessment.log_odds);
    assert_eq!(after(19, &claim().kind).log_odds, assessment.log_odds);
    assert_ne!(after(20, &claim().kind).log_odds, assessment.log_odds);
    let mut unsound = reference;
    for pool in unsound.0.values_mut() {
        pool.separation.clear();
    }
    assert!(plain.with_reference(unsound).is_err());
}
