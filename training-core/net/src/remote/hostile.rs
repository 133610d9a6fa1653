//! A node that lies, over a real socket: what it is told, and that the round
//! goes on.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use iroh::endpoint::{Connection, RecvStream, SendStream};
use plumbline_training_core::codec::dense::{self, VectorKind};
use plumbline_training_core::codec::{Geometry, Memory, SparseOptions};
use plumbline_training_core::local::commitment;
use plumbline_training_core::round::NodeId;
use plumbline_training_model::Layout;

use super::exchange::{Shelf, serve};
use super::peer::{ended, read_frame};
use super::tests::{RUN, host, loopback, spec, ticket, wait_for};
use super::wire::{
    BODY_BYTES_MAX, CONTROL_ALPN, Opener, PIECES_ALPN, Said, Sealer, Told, name_of, proof,
    run_name, session_of,
};
use super::*;
use crate::host::Host;
use crate::message::{Envelope, Message, RoundReport};
use crate::run::NodeStatus;

/// A participant that says what it is told to.
struct Client {
    id: NodeId,
    endpoint: Endpoint,
    connection: Connection,
    send: SendStream,
    receive: RecvStream,
    sealer: Sealer,
    opener: Opener,
    proof: Digest,
    job: Option<Job>,
}

impl Client {
    /// Connected, without having said anything.
    async fn new(ticket: &Ticket, seed: u8, run: &str) -> Self {
        let key = SecretKey::from_bytes(&[seed; 32]);
        let endpoint = open(key.clone(), &ListenOptions::default(), &[PIECES_ALPN]).await;
        let endpoint = endpoint.unwrap();
        let coordinator = ticket.coordinator().unwrap();
        let connection = endpoint.connect(coordinator, CONTROL_ALPN).await.unwrap();
        let run = run_name(run);
        let session = session_of(&connection, &run).unwrap();
        let (send, receive) = connection.open_bi().await.unwrap();
        let public = key.public();
        Self {
            id: name_of(public.as_bytes()).unwrap(),
            proof: proof(&ticket.secret, &session, public.as_bytes()),
            sealer: Sealer::new(key, session, run),
            opener: Opener::new(connection.remote_id(), session, run),
            endpoint,
            connection,
            send,
            receive,
            job: None,
        }
    }

    async fn greeted(ticket: &Ticket, seed: u8) -> Self {
        let mut client = Self::new(ticket, seed, RUN).await;
        let (proof, addresses) = (client.proof, Vec::new());
        client.say(&Said::Greeting { proof, addresses }).await;
        let Told::Accepted { job, .. } = client.hear().await.unwrap() else {
            panic!("not accepted");
        };
        client.job = Some(serde_json::from_str(&job).unwrap());
        client
    }

    async fn say(&mut self, said: &Said) {
        let frame = self.sealer.seal(said).unwrap();
        self.raw(&frame).await;
    }

    async fn raw(&mut self, bytes: &[u8]) {
        self.send.write_all(bytes).await.ok();
    }

    fn envelope(&self, from: &NodeId, message: Message) -> Said {
        let envelope = Envelope::new(from.clone(), message);
        Said::Message(envelope.encode(BODY_BYTES_MAX).unwrap())
    }

    async fn speak(&mut self, message: Message) {
        let said = self.envelope(&self.id.clone(), message);
        self.say(&said).await;
    }

    async fn hear(&mut self) -> Result<Told, PeerError> {
        let frame = read_frame(&mut self.receive).await?;
        self.opener.open(&frame)
    }

    /// What the connection is closed with. It listens meanwhile: who does not read what comes fails by itself first.
    async fn told(&mut self) -> String {
        let listening = async {
            while self.hear().await.is_ok() {}
            self.connection.closed().await
        };
        let waiting = tokio::time::timeout(Duration::from_secs(30), listening);
        waiting.await.unwrap();
        ended(&self.connection, PeerError::Run).to_string()
    }
}

/// Ends in the name that the coordinator closes with.
async fn speak_wrongly(ticket: &Ticket, way: usize) -> (&'static str, String) {
    let seed = 50 + way as u8;
    let said = Said::Have(Digest::of(b"x"));
    let (name, mut client) = match way {
        0 => {
            let mut client = Client::new(ticket, seed, RUN).await;
            client.raw(&[2, 0, 0, 0, 9, 9]).await;
            ("wrong-version", client)
        }
        1 => {
            let mut client = Client::new(ticket, seed, "another").await;
            client.say(&said).await;
            ("wrong-run", client)
        }
        2 => {
            let mut client = Client::new(ticket, seed, RUN).await;
            let (proof, addresses) = (Digest::of(b"a guess"), Vec::new());
            client.say(&Said::Greeting { proof, addresses }).await;
            ("not-admitted", client)
        }
        3 => {
            let mut client = Client::greeted(ticket, seed).await;
            client.raw(&u32::MAX.to_le_bytes()).await;
            ("too-long", client)
        }
        4 => {
            let mut client = Client::greeted(ticket, seed).await;
            client.raw(&[200, 0, 0, 0, 1, 2, 3]).await;
            client.send.finish().unwrap();
            ("unreadable", client)
        }
        _ => speak_out_of_turn(ticket, way).await,
    };
    (name, client.told().await)
}

/// Frames that are well formed and say what nobody may say, from the fifth way on.
async fn speak_out_of_turn(ticket: &Ticket, way: usize) -> (&'static str, Client) {
    let seed = 50 + way as u8;
    let said = Said::Have(Digest::of(b"x"));
    match way {
        5 => {
            let mut client = Client::greeted(ticket, seed).await;
            let frame = client.sealer.seal(&said).unwrap();
            client.raw(&frame).await;
            client.raw(&frame).await;
            ("replayed", client)
        }
        6 => {
            let mut client = Client::greeted(ticket, seed).await;
            let other = NodeId::new("node-1").unwrap();
            let said = client.envelope(&other, Message::Bye { failure: None });
            client.say(&said).await;
            ("unexpected", client)
        }
        7 => {
            let mut client = Client::greeted(ticket, seed).await;
            client.speak(Message::Stop).await;
            ("unexpected", client)
        }
        8 => {
            let mut client = Client::greeted(ticket, seed).await;
            let report = RoundReport {
                loss: f64::NAN,
                ..RoundReport::default()
            };
            let (payload, state) = (Digest::of(b"x"), None);
            client
                .speak(Message::Reveal {
                    round: 0,
                    payload,
                    report,
                    state,
                })
                .await;
            ("unexpected", client)
        }
        9 => {
            let mut client = Client::greeted(ticket, seed).await;
            let mut frame = client.sealer.seal(&said).unwrap();
            let last = frame.len() - 1;
            frame[last] ^= 1;
            client.raw(&frame).await;
            ("bad-signature", client)
        }
        _ => {
            // Begins a frame and never ends it.
            let mut client = Client::greeted(ticket, seed).await;
            client.raw(&[200, 0, 0, 0, 1, 2, 3]).await;
            ("stalled", client)
        }
    }
}

/// What a member shows instead of its work.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Show {
    /// Joins and does nothing.
    Nothing,
    /// Values that are not finite.
    NotFinite,
    /// A payload that ends early.
    Truncated,
    /// Longer than any contribution may be.
    Oversized,
    /// Promises, and does not have it.
    Absent,
    /// Promises, and gives something else.
    Other,
    /// Promises, takes the question and never answers.
    Silent,
}

struct Fixed(Vec<u8>, Show);

impl Shelf for Fixed {
    fn payload(&self, digest: &Digest) -> Option<Arc<Vec<u8>>> {
        match self.1 {
            Show::Absent => None,
            Show::Other => Some(Arc::new(vec![7; 100])),
            _ => (Digest::of(&self.0) == *digest).then(|| Arc::new(self.0.clone())),
        }
    }
}

fn payload(job: &Job, show: Show) -> Vec<u8> {
    let slots = Layout::new(&job.model);
    let shapes: Vec<[usize; 2]> = slots.slots().iter().map(|slot| slot.shape).collect();
    let geometry = Geometry::new(&shapes).unwrap();
    let count = job.model.parameter_count();
    let delta: Vec<f32> = (0..count).map(|n| (n as f32 * 0.37).sin()).collect();
    let options = SparseOptions::over(1_000_000);
    let scheme = plumbline_training_core::codec::Scheme::SparseLoCo(options);
    let mut bytes = scheme
        .encode(&geometry, &mut Memory::default(), &delta)
        .unwrap();
    match show {
        Show::NotFinite => bytes[48..52].copy_from_slice(&f32::NAN.to_le_bytes()),
        Show::Truncated => bytes.truncate(60),
        Show::Oversized => {
            bytes = dense::encode(VectorKind::PseudoGradient, &vec![0.5; 4 * count]);
        }
        _ => {}
    }
    bytes
}

/// Takes part once, then waits to be told.
async fn misbehave(ticket: Ticket, seed: u8, show: Show) -> String {
    let mut client = Client::greeted(&ticket, seed).await;
    let bytes = payload(client.job.as_ref().unwrap(), show);
    let digest = Digest::of(&bytes);
    let coordinator = ticket.coordinator().unwrap();
    let pieces = client
        .endpoint
        .connect(coordinator, PIECES_ALPN)
        .await
        .unwrap();
    if show != Show::Silent {
        tokio::spawn(serve(pieces.clone(), Arc::new(Fixed(bytes, show))));
    }
    client.speak(Message::hello()).await;
    let id = client.id.clone();
    let mut committed = false;
    while let Ok(told) = client.hear().await {
        let Told::Message(bytes) = told else { continue };
        match Envelope::decode(&bytes).unwrap().message {
            Message::Open(open)
                if show != Show::Nothing
                    && !committed
                    && open.assignments.iter().any(|a| a.node == id) =>
            {
                let (round, tokens) = (open.round, 16);
                let digest = commitment(round, &id, &digest, None, tokens);
                client
                    .speak(Message::Commit {
                        round,
                        digest,
                        tokens,
                    })
                    .await;
                committed = true;
            }
            Message::RequestReveals { round, .. } => {
                let report = RoundReport::default();
                client
                    .speak(Message::Reveal {
                        round,
                        payload: digest,
                        report,
                        state: None,
                    })
                    .await;
                if matches!(show, Show::NotFinite | Show::Truncated) {
                    client.speak(Message::Bye { failure: None }).await;
                    return "shown".into();
                }
            }
            _ => {}
        }
    }
    drop(pieces);
    ended(&client.connection, PeerError::Run).to_string()
}

fn counted(host: &Host, name: &NodeId) -> bool {
    let history = host.history(RUN).unwrap();
    let mut losses = history.iter().flat_map(|point| &point.node_losses);
    losses.any(|(node, _)| node == name)
}

#[test]
fn lies_are_named_and_the_rounds_go_on() {
    let scratch = tempfile::tempdir().unwrap();
    let host = host(scratch.path(), loopback());
    let mut spec = spec(scratch.path(), 1);
    spec.outside.as_mut().unwrap().stall_ms = 1_500;
    host.start_run(spec).unwrap();
    let ticket = ticket(&host);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let begun = wait_for("rounds", || {
        Some(host.stats(RUN).unwrap().round).filter(|r| *r > 2)
    });
    runtime.block_on(async {
        for way in 0..=10 {
            let (name, told) = speak_wrongly(&ticket, way).await;
            assert!(told.contains(name), "{name}: {told}");
        }
    });
    let middle = wait_for("more rounds", || {
        Some(host.stats(RUN).unwrap().round).filter(|round| *round > begun + 2)
    });
    let shows = [
        (Show::Nothing, "stalled"),
        (Show::NotFinite, "shown"),
        (Show::Truncated, "shown"),
        (Show::Oversized, "bad-payload"),
        (Show::Absent, "missing-payload"),
        (Show::Other, "bad-payload"),
        (Show::Silent, "stalled"),
    ];
    runtime.block_on(async {
        for (number, (show, words)) in shows.into_iter().enumerate() {
            let seed = 100 + number as u8;
            let told = misbehave(ticket.clone(), seed, show).await;
            assert!(told.contains(words), "{show:?}: {told}");
        }
    });
    wait_for("rounds after all that", || {
        (host.stats(RUN).unwrap().round > middle + 4).then_some(())
    });
    for (number, (show, _)) in shows.iter().enumerate() {
        let key = SecretKey::from_bytes(&[100 + number as u8; 32]).public();
        let name = name_of(key.as_bytes()).unwrap();
        assert!(!counted(&host, &name), "{show:?}");
        wait_for("the end of its membership", || {
            let stats = host.stats(RUN).unwrap();
            let node = stats.nodes.iter().find(|node| node.id == name).unwrap();
            matches!(node.status, NodeStatus::Dead | NodeStatus::Left).then_some(())
        });
    }
    host.stop(RUN).unwrap();
}
