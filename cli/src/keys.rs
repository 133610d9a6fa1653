//! `plumbline keys`: the service's signing key, and the keys of guardians who sign beside it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::{Args, Subcommand};
use plumbline_governance::dsse::{DecisionSigner, Envelope};
use plumbline_governance::keys::possession_text;
use serde_json::{Value, json};

use crate::access::{Desk, block_on, plain, text};
use crate::data_dir::{DataDir, new_seed_file, read_seed};

#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    /// Keys that verify decisions, with the time in which each may sign
    List(Desk),
    /// Make a key for a guardian, in a file that only its owner reads
    New(New),
    /// Register your key as a guardian
    Register(Register),
    /// Retire a guardian's key at once: your own, or any as an operator
    Retire(Retire),
    /// Vouch for a key with your own
    Vouch(Sign),
    /// Sign a decision beside the service
    Cosign(Sign),
    /// Give the service another signing key; stop it first
    Rotate(Rotate),
}

#[derive(Debug, Args)]
pub struct New {
    /// File to make
    #[arg(long, default_value = "guardian.key")]
    out: PathBuf,
}

#[derive(Debug, Args)]
pub struct Register {
    #[command(flatten)]
    desk: Desk,
    /// File with your key
    #[arg(long, default_value = "guardian.key")]
    key: PathBuf,
    /// Pool whose decisions it is to sign
    #[arg(long, default_value = "default")]
    pool: String,
}

#[derive(Debug, Args)]
pub struct Retire {
    #[command(flatten)]
    desk: Desk,
    /// Key id
    id: String,
}

#[derive(Debug, Args)]
pub struct Sign {
    #[command(flatten)]
    desk: Desk,
    /// Id of what is signed
    id: String,
    /// File with your key
    #[arg(long, default_value = "guardian.key")]
    key: PathBuf,
}

#[derive(Debug, Args)]
pub struct Rotate {
    /// Folder of the service
    #[arg(long, default_value = "data/serve", env = "PLUMBLINE_DATA_DIR")]
    data_dir: PathBuf,
    /// Hours from the next start for which the old key still counts, so that consumers who were away learn of
    /// the new one; 0 where the old key may be in other hands
    #[arg(long, default_value_t = 168, value_parser = clap::value_parser!(u32).range(0..=8_784))]
    overlap_hours: u32,
    /// Pool whose decisions the key signs
    #[arg(long, default_value = "default")]
    pool: String,
}

impl KeysCommand {
    pub fn run(self) -> Result<()> {
        match self {
            Self::List(desk) => list(&desk),
            Self::New(command) => command.run(),
            Self::Register(command) => command.run(),
            Self::Retire(command) => command.run(),
            Self::Vouch(command) => command.run(&["keys"]),
            Self::Cosign(command) => command.run(&["allocations"]),
            Self::Rotate(command) => command.run(),
        }
    }
}

fn line(key: &Value) -> String {
    let owner = key["owner"].as_str().map_or("the service", |owner| owner);
    let until = key["not_after"].as_str();
    format!(
        "{}  {}  from {}{}",
        text(key, "key_id"),
        plain(owner),
        text(key, "not_before"),
        until.map_or_else(String::new, |until| format!(" until {until}"))
    )
}

fn list(desk: &Desk) -> Result<()> {
    let client = desk.access.client()?;
    block_on(async {
        let keys = client.document(&["keys"]).await?;
        let keys = keys.as_array().cloned().unwrap_or_default();
        desk.print_all(&keys, "No key.", line)
    })
}

fn signer(path: &Path) -> Result<DecisionSigner> {
    Ok(DecisionSigner::from_seed(&read_seed(path)?))
}

impl New {
    fn run(self) -> Result<()> {
        let seed = new_seed_file(&self.out)?;
        let key = DecisionSigner::from_seed(&seed);
        println!("{}  {}", key.key_id(), STANDARD.encode(key.public_bytes()));
        Ok(())
    }
}

impl Register {
    fn run(self) -> Result<()> {
        let key = signer(&self.key)?;
        let client = self.desk.access.client()?;
        block_on(async {
            let me = client.document(&["me"]).await?;
            let proof = possession_text(&self.pool, text(&me, "id"), &key.public_bytes());
            let body = json!({
                "public_key": STANDARD.encode(key.public_bytes()),
                "proof": STANDARD.encode(key.sign_text(&proof)?),
            });
            let made = client.make(&["keys"], &body).await?;
            self.desk.print(&made, line)
        })
    }
}

impl Retire {
    fn run(self) -> Result<()> {
        let client = self.desk.access.client()?;
        block_on(async {
            let ended = client.take_back(&["keys", &self.id]).await?;
            self.desk.print(&ended, line)
        })
    }
}

impl Sign {
    fn run(self, of: &[&str]) -> Result<()> {
        let key = signer(&self.key)?;
        let client = self.desk.access.client()?;
        block_on(async {
            let envelope = if of == ["keys"] {
                let keys = client.document(&["keys"]).await?;
                let all = keys.as_array().cloned().unwrap_or_default();
                let found = all.into_iter().find(|one| text(one, "key_id") == self.id);
                found.context("no key has this id")?["statement"].clone()
            } else {
                client.document(&["allocations", &self.id]).await?["envelope"].clone()
            };
            let mut envelope: Envelope =
                serde_json::from_value(envelope).context("there is nothing to sign")?;
            envelope.add_signature(&key)?;
            let signature = envelope.signatures.pop().context("no signature")?;
            let body = json!({"key_id": signature.keyid, "signature": signature.sig});
            let path = [of, &[self.id.as_str(), "signatures"]].concat();
            let signed = client.make(&path, &body).await?;
            self.desk
                .print(&signed, |_| format!("signed with {}", key.key_id()))
        })
    }
}

impl Rotate {
    fn run(self) -> Result<()> {
        ensure!(
            fs::exists(&self.data_dir)?,
            "there is no folder {}",
            self.data_dir.display()
        );
        let data = DataDir::open(&self.data_dir)?;
        let (old, new) = data.rotate(&self.pool, i64::from(self.overlap_hours) * 3_600_000)?;
        println!("{old} is replaced by {new} from the next start on.");
        if self.overlap_hours == 0 {
            println!(
                "The old key counts no more then. Give consumers that were away the new one by a way that they trust."
            );
        }
        Ok(())
    }
}
