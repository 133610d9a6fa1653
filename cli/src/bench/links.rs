//! How much of the time nodes compute when their links are slow.
//!
//! Real `plumbline train` and `plumbline node` processes with the default
//! model. Each node lives in a network namespace of its own, whose only way out
//! is a relay of datagrams that has a rate, a delay and a loss in each
//! direction. The kernel's own shaper (netem) is often missing where namespaces
//! are not; the relay needs none.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use plumbline_training_net::remote::Ticket;
use serde::Serialize;
use serde_json::Value;

/// Longest wait for a ticket, a node, or an end.
const PATIENCE: Duration = Duration::from_secs(180);
/// Bytes that wait at a link before it drops: a router's buffer.
const BUFFER_BYTES: usize = 256 << 10;

/// A link to be measured.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    /// Megabits per second in each direction.
    pub mbit_s: f64,
    /// Milliseconds in each direction.
    pub delay_ms: u64,
    /// Datagrams lost, in 10,000.
    pub loss_bps: u32,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct LinkRow {
    /// Megabits per second in each direction.
    pub mbit_s: f64,
    /// Milliseconds in each direction.
    pub delay_ms: u64,
    /// Datagrams lost, in 10,000.
    pub loss_bps: u32,
    /// Shares of a core that the nodes give.
    pub shares: Vec<f64>,
    /// Time that nodes had work to do, of all time, weighted by their speed.
    pub computing_share: f64,
    /// Rounds closed while it was measured.
    pub rounds: u64,
    /// Inner steps of a round, on average of nodes.
    pub inner_steps: u64,
    /// Bytes that crossed all links in both directions.
    pub bytes: u64,
}

/// How a link is measured.
#[derive(Debug, Clone)]
pub struct LinkBench<'a> {
    /// Scratch folder.
    pub folder: &'a Path,
    /// Text to train on; cargo's registry unless given.
    pub text: Option<&'a Path>,
    /// Seed of the run and of the losses.
    pub seed: u64,
    /// How long.
    pub time: Duration,
    /// Inner steps of a round.
    pub inner_steps: u64,
}

impl LinkBench<'_> {
    /// Trains over links like `link`, one node for each of `shares`.
    ///
    /// # Errors
    /// Where network namespaces cannot be made (it takes root), or a process
    /// does not do what it should.
    pub fn measure(&self, link: Link, shares: &[f64]) -> Result<LinkRow> {
        let name = format!("links-{}-{}", link.mbit_s, shares.len());
        let folder = self.folder.join(name);
        std::fs::create_dir_all(&folder)?;
        let mut coordinator = self.coordinator(&folder, shares.len())?;
        let ticket: Ticket = coordinator.field("ticket")?.parse()?;
        let target = *ticket
            .addresses
            .first()
            .context("the ticket has no address")?;
        let mut nodes = Vec::new();
        for (index, share) in shares.iter().enumerate() {
            let space = Namespace::make(index)?;
            let relay = Relay::start(space.outside(), target, link, self.seed + index as u64)?;
            let mut through = ticket.clone();
            through.addresses = vec![relay.address];
            let node = space.node(&folder.join(format!("node-{index}")), &through, *share)?;
            nodes.push((node, relay, space, *share));
        }
        for (node, ..) in &mut nodes {
            node.field("node")?;
        }
        let rounds = coordinator.rounds(2)?;
        std::thread::sleep(self.time);
        // Nodes first: what they say at their end is what was measured.
        let (mut sum, mut weight, mut bytes) = (0.0, 0.0, 0);
        for (node, relay, _, share) in &mut nodes {
            node.terminate()?;
            let computing: f64 = node.field("computing_share")?.parse()?;
            (sum, weight) = (sum + computing * *share, weight + *share);
            bytes += relay.stop();
        }
        let closed = coordinator.drain_rounds();
        Ok(LinkRow {
            mbit_s: link.mbit_s,
            delay_ms: link.delay_ms,
            loss_bps: link.loss_bps,
            shares: shares.to_vec(),
            computing_share: sum / weight,
            rounds: rounds + closed,
            inner_steps: self.inner_steps,
            bytes,
        })
    }

    fn coordinator(&self, folder: &Path, nodes: usize) -> Result<Program> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["train", "--json", "--nodes", "0", "--listen", "127.0.0.1:0"])
            .args(["--scheme", "sparseloco", "--tokens", "1000000000"])
            .args(["--inner-steps", &self.inner_steps.to_string()])
            .args([
                "--quorum",
                &nodes.to_string(),
                "--seed",
                &self.seed.to_string(),
            ])
            .args(["--checkpoint-every", "20", "--data-dir"])
            .arg(folder.join("coordinator"));
        if let Some(text) = self.text {
            command.arg("--text").arg(text);
        }
        Program::start(&mut command)
    }
}

/// A child that prints JSON lines; killed when dropped.
struct Program {
    child: Child,
    lines: std::sync::mpsc::Receiver<Value>,
    seen: VecDeque<Value>,
}

impl Program {
    fn start(command: &mut Command) -> Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {:?}", command.get_program()))?;
        let stdout = child.stdout.take().context("it has no output")?;
        let (say, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if let Ok(value) = serde_json::from_str(&line)
                    && say.send(value).is_err()
                {
                    return;
                }
            }
        });
        Ok(Self {
            child,
            lines,
            seen: VecDeque::new(),
        })
    }

    /// A member of the next line that has it.
    fn field(&mut self, name: &str) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let line = self.lines.recv_timeout(left);
            let line = line.with_context(|| format!("a process ended without saying {name:?}"))?;
            match &line[name] {
                Value::Null => self.seen.push_back(line),
                Value::String(text) => return Ok(text.clone()),
                other => return Ok(other.to_string()),
            }
        }
    }

    /// Waits for so many rounds.
    fn rounds(&mut self, count: u64) -> Result<u64> {
        for _ in 0..count {
            self.field("round")?;
        }
        Ok(count)
    }

    fn drain_rounds(&mut self) -> u64 {
        let lines = self.lines.try_iter();
        lines.filter(|line| line["round"].is_u64()).count() as u64
    }

    fn terminate(&self) -> Result<()> {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-TERM", &pid]).status()?;
        if !status.success() {
            bail!("a process ended before its time");
        }
        Ok(())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// A network namespace with one cable to this one; removed when dropped.
struct Namespace {
    name: String,
    cable: String,
    net: String,
}

impl Namespace {
    fn make(index: usize) -> Result<Self> {
        let id = std::process::id() % 10_000;
        let space = Self {
            name: format!("plumbline-{id}-{index}"),
            cable: format!("plb{id}x{index}"),
            net: format!("10.{}.{}", 100 + id % 100, index + 1),
        };
        let (name, cable, net) = (&space.name, &space.cable, &space.net);
        let inner = format!("{cable}n");
        ip(&format!("netns add {name}"))?;
        ip(&format!("link add {cable} type veth peer name {inner}"))?;
        ip(&format!("link set {inner} netns {name}"))?;
        ip(&format!("addr add {net}.1/24 dev {cable}"))?;
        ip(&format!("link set {cable} up"))?;
        ip(&format!("-n {name} addr add {net}.2/24 dev {inner}"))?;
        ip(&format!("-n {name} link set {inner} up"))?;
        ip(&format!("-n {name} link set lo up"))?;
        Ok(space)
    }

    fn outside(&self) -> String {
        format!("{}.1:0", self.net)
    }

    fn node(&self, folder: &Path, ticket: &Ticket, share: f64) -> Result<Program> {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name])
            .arg(std::env::current_exe()?)
            .args(["node", "--json", "--join", &ticket.to_string()])
            .args(["--bind", &format!("{}.2:0", self.net)])
            .args(["--max-share", &share.to_string(), "--data-dir"])
            .arg(folder);
        Program::start(&mut command)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        ip(&format!("link del {}", self.cable)).ok();
        ip(&format!("netns del {}", self.name)).ok();
    }
}

fn ip(arguments: &str) -> Result<()> {
    let output = Command::new("ip")
        .args(arguments.split(' '))
        .output()
        .context("the program `ip` is missing")?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!(
            "ip {arguments}: {} (network namespaces need root)",
            words.trim()
        );
    }
    Ok(())
}

/// Carries datagrams between a node and the coordinator as the link would.
struct Relay {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<u64>>,
}

impl Relay {
    fn start(address: String, target: SocketAddr, link: Link, seed: u64) -> Result<Self> {
        let near = UdpSocket::bind(&address).with_context(|| format!("cannot bind {address}"))?;
        let far = UdpSocket::bind("127.0.0.1:0")?;
        far.connect(target)?;
        let address = near.local_addr()?;
        // The node is whoever spoke first; its namespace holds nobody else.
        let node: Arc<std::sync::OnceLock<SocketAddr>> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (near_, far_) = (near.try_clone()?, far.try_clone()?);
        let (node_, ends) = (Arc::clone(&node), Arc::clone(&stop));
        let up = std::thread::spawn(move || {
            let receive = |buffer: &mut [u8]| {
                let (length, from) = near_.recv_from(buffer)?;
                node_.get_or_init(|| from);
                Ok(length)
            };
            near_.set_read_timeout(Some(Duration::from_millis(1))).ok();
            carry(link, seed, &ends, receive, |bytes| {
                far_.send(bytes).ok();
            })
        });
        let ends = Arc::clone(&stop);
        let down = std::thread::spawn(move || {
            far.set_read_timeout(Some(Duration::from_millis(1))).ok();
            let receive = |buffer: &mut [u8]| far.recv(buffer);
            carry(link, seed ^ 0xffff, &ends, receive, |bytes| {
                if let Some(node) = node.get() {
                    near.send_to(bytes, node).ok();
                }
            })
        });
        Ok(Self {
            address,
            stop,
            threads: vec![up, down],
        })
    }

    /// Ends it and gives the bytes carried.
    fn stop(&mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let threads = self.threads.drain(..);
        threads.map(|thread| thread.join().unwrap_or(0)).sum()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One direction: datagrams leave at the link's rate and arrive after its delay.
fn carry(
    link: Link,
    seed: u64,
    stop: &AtomicBool,
    receive: impl Fn(&mut [u8]) -> std::io::Result<usize>,
    send: impl Fn(&[u8]),
) -> u64 {
    let mut buffer = vec![0; 65_536];
    let mut under_way: BinaryHeap<Reverse<(Instant, u64, Vec<u8>)>> = BinaryHeap::new();
    let (mut count, mut bytes, mut random) = (0, 0, seed | 1);
    let mut free = Instant::now();
    let delay = Duration::from_millis(link.delay_ms);
    while !stop.load(Ordering::Relaxed) {
        if let Ok(length) = receive(&mut buffer) {
            // xorshift: even enough to lose datagrams by.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let now = Instant::now();
            let waiting = free.saturating_duration_since(now).as_secs_f64();
            let queued = (waiting * link.mbit_s * 125_000.0) as usize;
            let lost = random % 10_000 < u64::from(link.loss_bps);
            if !lost && queued + length <= BUFFER_BYTES {
                let takes = length as f64 / (link.mbit_s * 125_000.0);
                free = free.max(now) + Duration::from_secs_f64(takes);
                count += 1;
                bytes += length as u64;
                let datagram = buffer[..length].to_vec();
                under_way.push(Reverse((free + delay, count, datagram)));
            }
        }
        let now = Instant::now();
        while under_way.peek().is_some_and(|next| next.0.0 <= now) {
            if let Some(Reverse((_, _, datagram))) = under_way.pop() {
                send(&datagram);
            }
        }
    }
    bytes
}
