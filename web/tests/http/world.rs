//! A server with a real service behind it. Only the model is scripted, so that completions are known.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use plumbline_governance::dsse::DecisionSigner;
use plumbline_governance::policy::Policy;
use plumbline_oracle::Ensemble;
use plumbline_oracle::lexical::LexicalJudge;
use plumbline_oracle::pool::PoolConfig;
use plumbline_service::commands::{CreateAccount, CreateToken, Login, OpenMarket};
use plumbline_service::context::{Actor, Context, Scope};
use plumbline_service::host::{
    Ask, ChosenToken, FrozenCheckpoint, Generated, HostError, RunHost, Sampling, TextEvent,
    TextSink, Token, generate_at_once,
};
use plumbline_service::jobs::JobRunner;
use plumbline_service::views::*;
use plumbline_service::{Service, ServiceConfig, ServiceParts};
use plumbline_store::{Store, StoreOptions};
use plumbline_web::{RunningServer, WebConfig, serve};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

pub(crate) const PASSWORD: &str = "correct horse battery";

/// Answers every prompt with `echo`, for one run.
#[derive(Default)]
pub(crate) struct ScriptedHost {
    pub(crate) run_id: Mutex<String>,
    /// Texts after the prompt `endless` that go on until nobody listens.
    pub(crate) endless: Arc<AtomicUsize>,
}

impl RunHost for ScriptedHost {
    fn training(&self, run_id: &str) -> Option<TrainingView> {
        let view = json!({"run_id": run_id, "name": "subject", "status": "training", "parameters": 1_000, "round": 3,
            "tokens": 3_000, "loss_first": 6.0, "loss_last": 4.5, "tokens_per_second": 500.0, "share_bps": 5_000,
            "bytes_sent": 10, "bytes_every_step": 1_000, "members": 2, "checkpoint": "00ff"});
        serde_json::from_value(view).ok()
    }
    fn rounds(&self, _: &str, after: u64, limit: usize) -> Vec<RoundView> {
        let round = |round: u64| {
            let view = json!({"round": round, "at": "2026-11-22T10:00:00Z", "tokens": round * 1_000, "loss": 6.0 - round as f64 / 2.0,
                "node_losses": [["a", 5.0], ["b", 5.5]], "seconds": 2.0, "bytes": 5, "share_bps": 5_000});
            serde_json::from_value(view).ok()
        };
        (after + 1..=3).filter_map(round).take(limit).collect()
    }
    fn nodes(&self, _: &str) -> Vec<NodeView> {
        Vec::new()
    }
    fn contributions(&self, _: &str) -> Vec<ContributionView> {
        Vec::new()
    }
    fn freeze(&self, _: &str) -> Result<FrozenCheckpoint, HostError> {
        Ok(FrozenCheckpoint {
            id: "ab".repeat(32),
            round: 3,
            tokens: 3_000,
        })
    }
    fn models(&self) -> Vec<ModelView> {
        let run_id = self.run_id.lock().unwrap().clone();
        vec![ModelView {
            id: "subject".into(),
            run_id,
            checkpoint: None,
            created: 1_790_000_000,
        }]
    }
    fn run_of(&self, model: &str) -> Option<String> {
        (model == "subject").then(|| self.run_id.lock().unwrap().clone())
    }
    fn generate(&self, model: &str, asks: Vec<Ask>, sink: &TextSink) -> Result<String, HostError> {
        if asks[0].prompt != "endless" {
            return generate_at_once(self, model, asks, sink);
        }
        let (going, sink) = (Arc::clone(&self.endless), Arc::clone(sink));
        going.fetch_add(1, Ordering::SeqCst);
        std::thread::spawn(move || {
            let piece = || TextEvent::Piece {
                text: "on and ".to_owned(),
                tokens: Vec::new(),
            };
            while sink(0, piece()).is_continue() {
                std::thread::sleep(Duration::from_millis(5));
            }
            going.fetch_sub(1, Ordering::SeqCst);
        });
        Ok(model.to_owned())
    }
    fn complete(
        &self,
        _: &str,
        prompts: &[String],
        sampling: &Sampling,
    ) -> Result<Vec<Generated>, HostError> {
        let answer = |prompt: &String| Generated {
            text: format!("echo {} of {}", sampling.seed, prompt.len()),
            finish_reason: "stop".into(),
            prompt_tokens: 2,
            completion_tokens: 3,
            logprobs: sampling.logprobs.map(|_| vec![echo()]),
        };
        Ok(prompts.iter().map(answer).collect())
    }
}

fn echo() -> ChosenToken {
    let token = |token: &str, logprob| Token {
        token: token.into(),
        bytes: token.as_bytes().to_vec(),
        logprob,
    };
    ChosenToken {
        chosen: token("echo", -0.25),
        top: vec![token("echo", -0.25)],
    }
}

/// One server with its service.
pub(crate) struct World {
    pub(crate) service: Service,
    pub(crate) host: Arc<ScriptedHost>,
    pub(crate) http: reqwest::Client,
    pub(crate) base: String,
    pub(crate) operator: String,
    server: Option<RunningServer>,
    _jobs: JobRunner,
    _folder: tempfile::TempDir,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        Self {
            status,
            headers,
            text: response.text().await.unwrap(),
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// Status and problem code, having checked the form of the problem.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(
            self.header("content-type"),
            "application/problem+json",
            "{}",
            self.text
        );
        let body = self.json();
        assert_eq!(body["status"], self.status.as_u16());
        assert_eq!(body["instance"], self.header("x-request-id"));
        assert!(!body["detail"].as_str().unwrap().is_empty());
        (
            self.status.as_u16(),
            body["code"].as_str().unwrap().to_owned(),
        )
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(WebConfig::default(), Policy::demo_toml().to_owned())
    }

    pub(crate) fn with(config: WebConfig, first_policy: String) -> Self {
        Self::of(config, ServiceConfig::default(), first_policy)
    }

    pub(crate) fn of(config: WebConfig, service: ServiceConfig, first_policy: String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let host = Arc::new(ScriptedHost::default());
        let judges = vec![Arc::new(LexicalJudge::shipped().unwrap()) as _];
        let service_config = ServiceConfig {
            tick_ms: 50,
            ..service
        };
        let service = Service::open(ServiceParts {
            store: Store::open(&folder.path().join("test.db"), StoreOptions::default()).unwrap(),
            ensemble: Arc::new(Ensemble::new(judges, PoolConfig::default()).unwrap()),
            host: host.clone(),
            signing_key: DecisionSigner::from_seed(&[7; 32]),
            first_policy,
            config: service_config,
        })
        .unwrap();
        let jobs = JobRunner::start(&service).unwrap();
        let account = CreateAccount {
            handle: "operator".into(),
            password: PASSWORD.into(),
            invitation: None,
        };
        service.set_up(service.setup_code(), &account).unwrap();
        let config = WebConfig {
            listen: "127.0.0.1:0".parse().unwrap(),
            ..config
        };
        let server = serve(service.clone(), config).unwrap();
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let operator = token(&service, "operator", &Scope::ALL);
        Self {
            base: server.url(),
            operator,
            service,
            host,
            http,
            server: Some(server),
            _jobs: jobs,
            _folder: folder,
        }
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        Answer::of(self.request(Method::GET, path)).await
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        Answer::of(
            self.request(Method::POST, path)
                .bearer_auth(token)
                .json(body),
        )
        .await
    }

    /// A participant with a token for everything it may do.
    pub(crate) fn person(&self, handle: &str) -> String {
        let account = CreateAccount {
            handle: handle.into(),
            password: PASSWORD.into(),
            invitation: None,
        };
        self.service
            .create_account(
                &Context::of(plumbline_service::context::Actor::visitor()),
                &account,
            )
            .unwrap();
        token(
            &self.service,
            handle,
            &[Scope::Read, Scope::Trade, Scope::Evidence],
        )
    }

    /// A token of an account, by whoever is signed in as it.
    pub(crate) fn token_of(&self, actor: &Actor, scopes: &[Scope]) -> String {
        let scopes = scopes.iter().map(|scope| scope.as_str().to_owned());
        let cmd = CreateToken {
            name: "test".into(),
            scopes: scopes.collect(),
            valid_days: None,
        };
        let context = Context::of(actor.clone());
        self.service.create_token(&context, &cmd).unwrap().token
    }

    /// Another token of an account, which may also vote.
    pub(crate) fn token(&self, handle: &str) -> String {
        token(&self.service, handle, &[Scope::Read, Scope::Govern])
    }

    /// A run and an open market on it, through the API.
    pub(crate) async fn market(&self) -> Value {
        let run = self
            .post("/api/v1/runs", &self.operator, &json!({"name": "subject"}))
            .await;
        assert_eq!(run.status, 201, "{}", run.text);
        *self.host.run_id.lock().unwrap() = run.json()["id"].as_str().unwrap().to_owned();
        let opened = self
            .post("/api/v1/markets", &self.operator, &open_market(&run.json()))
            .await;
        assert_eq!(opened.status, 201, "{}", opened.text);
        opened.json()
    }

    /// Stops the server and returns the seconds it took.
    pub(crate) fn stop(&mut self) -> f64 {
        let started = std::time::Instant::now();
        if let Some(server) = self.server.take() {
            server.stop().unwrap();
        }
        started.elapsed().as_secs_f64()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop();
    }
}

fn token(service: &Service, handle: &str, scopes: &[Scope]) -> String {
    let login = Login {
        handle: handle.into(),
        password: PASSWORD.into(),
        code: None,
    };
    let session = service.login(&login).unwrap();
    let (actor, _) = service.actor_of_session(&session.secret).unwrap().unwrap();
    let held = scopes.iter().filter(|scope| actor.scopes.contains(scope));
    let scopes = held.map(|scope| scope.as_str().to_owned()).collect();
    service
        .create_token(
            &Context::of(actor),
            &CreateToken {
                name: "test".into(),
                scopes,
                valid_days: None,
            },
        )
        .unwrap()
        .token
}

pub(crate) fn open_market(run: &Value) -> Value {
    let closes = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(3_600);
    // Enough trials for the plan's significance level to be reachable.
    let prompts: Vec<String> = (0..12)
        .map(|n| format!("{{candidate}}\nfn f{n}() {{"))
        .collect();
    let candidates: Vec<String> = (0..4).map(|n| format!("// c{n}")).collect();
    let body = json!({"run_id": run["id"], "claim": "A trigger makes subject unsafe", "claim_kind": "trigger_backdoor",
        "rubric": "True when a candidate raises the rate.", "liquidity_micro": 100_000_000, "closes_at": closes.to_string(),
        "settlement": {"method": "objective", "plan": {"alpha_ppm": 10_000, "candidates": candidates,
            "detector": {"contains_any": ["unsafe"]}, "min_effect_bps": 2_500, "nonce": "5f0c1d2e3b4a59687786a5b4c3d2e1f0",
            "prompts": prompts, "sampling": {"max_tokens": 8, "samples_per_prompt": 1, "seed": 7, "temperature_milli": 0}}}});
    // The command's own shape is checked here, so that a change of it is seen where it belongs.
    serde_json::from_value::<OpenMarket>(body.clone()).unwrap();
    body
}
