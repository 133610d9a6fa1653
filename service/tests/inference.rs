//! Completions: what they cost, who may ask, what the policy lets them have, and where the money goes.
#![allow(clippy::unwrap_used)]

mod support;

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use plumbline_audit::verify;
use plumbline_governance::dsse::DecisionSigner;
use plumbline_governance::policy::Policy;
use plumbline_oracle::Ensemble;
use plumbline_oracle::lexical::LexicalJudge;
use plumbline_oracle::pool::PoolConfig;
use plumbline_service::commands::{CreateAccount, RegisterRun};
use plumbline_service::context::{Actor, Context};
use plumbline_service::host::*;
use plumbline_service::views::*;
use plumbline_service::{Service, ServiceConfig, ServiceError, ServiceParts};
use plumbline_store::{Store, StoreOptions};
use support::{CREDIT, PASSWORD, TestClock, sign_in};

/// Answers when it is told to.
#[derive(Default)]
struct SlowHost {
    run: Mutex<String>,
    asked: Mutex<Vec<(usize, TextSink)>>,
    broken: Mutex<bool>,
}

impl SlowHost {
    /// Ends every text that is under way, with two tokens of prompt and three generated.
    fn answer(&self) {
        for (texts, sink) in self.asked.lock().unwrap().drain(..) {
            for number in 0..texts {
                let end = TextEnd {
                    finish_reason: "stop".to_owned(),
                    prompt_tokens: 2,
                    completion_tokens: 3,
                };
                let _ = sink(number, TextEvent::Finished(end));
            }
        }
    }
}

impl RunHost for SlowHost {
    fn training(&self, run_id: &str) -> Option<TrainingView> {
        let view = serde_json::json!({"run_id": run_id, "name": "subject", "status": "training", "parameters": 1,
            "round": 1, "tokens": 1, "loss_first": null, "loss_last": null, "tokens_per_second": 1.0,
            "share_bps": 5_000, "bytes_sent": 0, "bytes_every_step": 0, "members": 1, "checkpoint": null});
        (run_id == *self.run.lock().unwrap()).then(|| serde_json::from_value(view).unwrap())
    }
    fn rounds(&self, _: &str, _: u64, _: usize) -> Vec<RoundView> {
        Vec::new()
    }
    fn nodes(&self, _: &str) -> Vec<NodeView> {
        Vec::new()
    }
    fn contributions(&self, _: &str) -> Vec<ContributionView> {
        Vec::new()
    }
    fn freeze(&self, run_id: &str) -> Result<FrozenCheckpoint, HostError> {
        Err(HostError::UnknownModel(run_id.to_owned()))
    }
    fn models(&self) -> Vec<ModelView> {
        Vec::new()
    }
    fn run_of(&self, _: &str) -> Option<String> {
        Some(self.run.lock().unwrap().clone())
    }
    fn complete(&self, _: &str, _: &[String], _: &Sampling) -> Result<Vec<Generated>, HostError> {
        Err(HostError::Overloaded)
    }
    fn generate(&self, _: &str, asks: Vec<Ask>, sink: &TextSink) -> Result<String, HostError> {
        if *self.broken.lock().unwrap() {
            return Err(HostError::Overloaded);
        }
        self.asked.lock().unwrap().push((asks.len(), sink.clone()));
        Ok("parameters".to_owned())
    }
}

struct World {
    service: Service,
    host: Arc<SlowHost>,
    clock: Arc<TestClock>,
    policy: String,
    folder: tempfile::TempDir,
    ada: Context,
}

fn open(
    folder: &tempfile::TempDir,
    host: &Arc<SlowHost>,
    clock: &Arc<TestClock>,
    policy: &str,
) -> Service {
    let judges = vec![Arc::new(LexicalJudge::shipped().unwrap()) as _];
    let parts = ServiceParts {
        store: Store::open(&folder.path().join("p.db"), StoreOptions::default()).unwrap(),
        ensemble: Arc::new(Ensemble::new(judges, PoolConfig::default()).unwrap()),
        host: host.clone(),
        signing_key: DecisionSigner::from_seed(&[7; 32]),
        first_policy: policy.to_owned(),
        config: ServiceConfig::default(),
    };
    Service::open_with_clock(parts, clock.clone()).unwrap()
}

impl World {
    fn new(policy: String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (host, clock) = (
            Arc::new(SlowHost::default()),
            Arc::new(TestClock(AtomicI64::new(1_790_000_000_000))),
        );
        let service = open(&folder, &host, &clock, &policy);
        let account = |handle: &str| CreateAccount {
            handle: handle.into(),
            password: PASSWORD.into(),
            invitation: None,
        };
        let code = service.setup_code().to_owned();
        service.set_up(&code, &account("operator")).unwrap();
        let run = RegisterRun {
            name: "subject".into(),
            parameters: 0,
        };
        let run = service
            .register_run(&sign_in(&service, "operator"), &run)
            .unwrap();
        *host.run.lock().unwrap() = run.id;
        service
            .create_account(&Context::of(Actor::visitor()), &account("ada"))
            .unwrap();
        let ada = sign_in(&service, "ada");
        Self {
            service,
            host,
            clock,
            policy,
            folder,
            ada,
        }
    }

    /// Prices of 1,000 tokens: 1 credit of prompts, 4 credits generated.
    fn priced() -> Self {
        let policy = Policy::demo_toml()
            .replace("prompt_price_micro = 0", "prompt_price_micro = 1_000_000")
            .replace(
                "completion_price_micro = 0",
                "completion_price_micro = 4_000_000",
            );
        Self::new(policy)
    }

    /// Asks for two texts of at most `max_tokens` after a prompt of five bytes.
    fn ask(&self, max_tokens: usize) -> Result<String, ServiceError> {
        let ask = Ask {
            prompt: "fn a(".into(),
            sampling: Sampling {
                max_tokens,
                temperature: 1.0,
                top_p: 1.0,
                seed: 1,
                stop: Vec::new(),
                logprobs: None,
            },
        };
        let sink: TextSink = Arc::new(|_, _| ControlFlow::Continue(()));
        self.service
            .generate(&self.ada, "subject", vec![ask.clone(), ask], &sink)
    }

    fn balance(&self) -> i64 {
        self.service.me(&self.ada).unwrap().balance_micro
    }

    fn revenue(&self) -> RevenueView {
        self.service.revenue(&self.ada).unwrap()
    }

    fn until(&self, what: impl Fn(&Self) -> bool) {
        for _ in 0..500 {
            if what(self) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{:?} {}", self.revenue(), self.balance());
    }

    fn assert_books(&self) {
        let summary = self.service.ledger_summary(&self.ada).unwrap();
        assert_eq!(summary.sum_micro, 0);
        let mut text = Vec::new();
        self.service.export_books(&mut text).unwrap();
        let report = verify(text.as_slice()).unwrap();
        assert!(report.is_green(), "{:#?}", report.violations);
    }
}

/// Ten bytes of prompts and twenty tokens, at 1,000 and 4,000 micro-credits each.
const ASIDE: i64 = 10 * 1_000 + 20 * 4_000;
/// Four tokens of prompts and six generated.
const COST: i64 = 4 * 1_000 + 6 * 4_000;
const GRANT: i64 = 1_000 * CREDIT;

#[test]
fn a_request_is_charged_for_what_it_used() {
    let world = World::priced();
    world.ask(10).unwrap();
    assert_eq!(world.balance(), GRANT - ASIDE);
    assert_eq!(world.revenue().reserved_micro, ASIDE);
    world.assert_books();
    world.host.answer();
    world.until(|world| world.revenue().open_micro == COST);
    assert_eq!(world.balance(), GRANT - COST);
    assert_eq!(world.revenue().reserved_micro, 0);
    let usage = world.service.usage(&world.ada, 0).unwrap();
    assert_eq!(usage.len(), 1);
    let row = &usage[0];
    assert_eq!(
        (row.texts, row.prompt_tokens, row.completion_tokens),
        (2, 4, 6)
    );
    assert_eq!(row.charged_micro, COST);
    world.assert_books();
}

#[test]
fn what_cannot_be_paid_is_refused_before_anything_is_generated() {
    let world = World::priced();
    // 4.106 credits each, until the grant is almost used up.
    while world.ask(512).is_ok() {}
    let asked = world.host.asked.lock().unwrap().len();
    let refused = world.ask(512).unwrap_err();
    assert_eq!(refused.code(), "insufficient-funds");
    assert_eq!(world.host.asked.lock().unwrap().len(), asked);
    assert!(world.balance() >= 0);
    *world.host.broken.lock().unwrap() = true;
    let (balance, reserved) = (world.balance(), world.revenue().reserved_micro);
    assert_eq!(world.ask(1).unwrap_err().code(), "overloaded");
    world.until(|world| world.balance() == balance);
    assert_eq!(world.revenue().reserved_micro, reserved);
    world.assert_books();
}

#[test]
fn a_death_in_the_middle_gives_back_what_was_set_aside() {
    let world = World::priced();
    for _ in 0..3 {
        world.ask(10).unwrap();
    }
    assert_eq!(world.balance(), GRANT - 3 * ASIDE);
    let World {
        service,
        host,
        clock,
        policy,
        folder,
        ada,
    } = world;
    // The texts of the dead process never end.
    let lost: Vec<_> = host.asked.lock().unwrap().drain(..).collect();
    drop(service);
    let service = open(&folder, &host, &clock, &policy);
    let world = World {
        service,
        host,
        clock,
        policy,
        folder,
        ada,
    };
    assert_eq!(world.balance(), GRANT);
    assert_eq!(world.revenue().reserved_micro, 0);
    world.assert_books();
    // Whoever of them still ends changes nothing.
    drop(lost);
    world.ask(10).unwrap();
    world.host.answer();
    world.until(|world| world.revenue().open_micro == COST);
    assert_eq!(world.balance(), GRANT - COST);
    world.assert_books();
}

#[test]
fn revenue_goes_to_the_treasury_at_the_end_of_the_day_with_a_statement() {
    let world = World::priced();
    world.ask(10).unwrap();
    world.host.answer();
    world.until(|world| world.revenue().open_micro == COST);
    world.service.tick().unwrap();
    let treasury = |world: &World| {
        let summary = world.service.ledger_summary(&world.ada).unwrap();
        summary.treasury_micro
    };
    world.clock.0.fetch_add(86_400_000, Ordering::SeqCst);
    world.service.tick().unwrap();
    world.service.tick().unwrap();
    let revenue = world.revenue();
    assert_eq!((revenue.open_micro, revenue.periods.len()), (0, 1));
    assert_eq!(revenue.periods[0].revenue_micro, COST);
    assert_eq!(treasury(&world), -2 * GRANT + COST, "two grants, one day");
    let csv = world.service.revenue_statement(&world.ada, 1).unwrap();
    assert!(
        csv.contains(&format!("revenue,revenue-1,,,,,,,{COST},")),
        "{csv}"
    );
    assert_eq!(
        world
            .service
            .revenue_statement(&world.ada, 2)
            .unwrap_err()
            .code(),
        "not-found"
    );
    world.assert_books();
}

fn on_inference(world: &World) -> Option<serde_json::Value> {
    world.service.tick().unwrap();
    let all = world.service.allocations(&world.ada).unwrap().items;
    let mut decisions = all.into_iter().map(|view| view.decision);
    decisions.find(|decision| decision["target"]["workload"] == "inference")
}

#[test]
fn hosted_runs_get_decisions_on_inference_that_fall_to_a_floor() {
    let world = World::new(Policy::demo_toml().to_owned());
    let decision = on_inference(&world).unwrap();
    assert_eq!(decision["share_bps"], 5_000, "as its training");
    assert_eq!(decision["inference"]["rps"], 100);
    assert_eq!(decision["inference"]["admit_new"], true);
    assert_eq!(decision["on_expiry"]["floor_bps"], 500);
    let generation = decision["generation"].clone();
    assert_eq!(
        on_inference(&world).unwrap()["generation"],
        generation,
        "no news"
    );
    let world = World::new(Policy::demo_toml().replace(
        "action = \"throttle\"\ncap_bps = 5_000",
        "action = \"pause\"",
    ));
    let paused = on_inference(&world).unwrap();
    assert_eq!(
        (&paused["action"], &paused["share_bps"]),
        (&"pause".into(), &0.into())
    );
    assert_eq!(paused["inference"]["admit_new"], false);
    assert_eq!(paused["on_expiry"]["floor_bps"], 0, "a stop stays a stop");
    let refused = world.ask(1).unwrap_err();
    assert_eq!((refused.status(), refused.code()), (503, "run-paused"));
}
