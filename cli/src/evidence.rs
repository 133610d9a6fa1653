//! `plumbline evidence`: submit evidence, import it from logs, commit to it first and reveal it later, ask what it costs,
//! dispute what others submitted.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use plumbline_agents::Client;
use plumbline_agents::client::{NewEvidence, evidence_commitment, usual_kind};
use plumbline_oracle::Exhibit;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::access::{Desk, amount, block_on, micro, plain, price, text};
use crate::entropy::random_hex;
use crate::exhibit_file::ExhibitFile;
use crate::import::ImportLog;
use crate::keep;
use crate::progress::spinner;

/// Largest file read, bytes: as large as a request may be.
const MAX_FILE: u64 = 4 * 1024 * 1024;
/// How often `--wait` looks.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Debug, Subcommand)]
pub enum EvidenceCommand {
    /// Submit a file of exhibits, or with --commit only their hash
    Submit(Submit),
    /// Submit what a log of Inspect, garak or promptfoo shows
    Import(ImportLog),
    /// Reveal what was committed to, from the file that it was kept in
    Reveal(Reveal),
    /// What your next submission to a market costs
    Fee(Fee),
    /// Dispute that a submission is what it says, with a bond
    Dispute(Dispute),
    /// All submissions to a market, oldest first
    List(Fee),
    /// One submission: what it moved, and what each judge made of it
    Show(Show),
}

#[derive(Debug, Args)]
pub struct Submit {
    #[command(flatten)]
    desk: Desk,
    /// JSON: exhibits, a conversation, or an object with the fields of a submission; or plain text, .txt or .md. - is
    /// JSON on standard input
    file: PathBuf,
    /// Market id
    #[arg(long)]
    market: String,
    /// The most that the submission may lose, in credits
    #[arg(long, value_parser = micro)]
    stake: i64,
    /// One line that says what it is; the file's title, heading or name unless given
    #[arg(long)]
    title: Option<String>,
    /// `transcript`, `measurement`, `report` or `log`; follows from the exhibit unless given
    #[arg(long)]
    kind: Option<String>,
    /// Take a place in the order of claims by a hash, and keep the evidence in a file until it is revealed
    #[arg(long)]
    commit: bool,
    /// Where it is kept; `evidence-COMMITMENT.json` unless given
    #[arg(long, requires = "commit")]
    keep: Option<PathBuf>,
    /// Wait until it is judged
    #[arg(long, conflicts_with = "commit")]
    wait: bool,
}

#[derive(Debug, Args)]
pub struct Reveal {
    #[command(flatten)]
    desk: Desk,
    /// The file that it was kept in
    file: PathBuf,
    /// Wait until it is judged
    #[arg(long)]
    wait: bool,
}

#[derive(Debug, Args)]
pub struct Fee {
    #[command(flatten)]
    desk: Desk,
    /// Market id
    market: String,
}

#[derive(Debug, Args)]
pub struct Dispute {
    #[command(flatten)]
    desk: Desk,
    /// Evidence id
    id: String,
    /// Why it is not what it says
    #[arg(long)]
    reason: String,
    /// Bond, in credits; the submission's page says how much
    #[arg(long, value_parser = micro)]
    bond: i64,
}

#[derive(Debug, Args)]
pub struct Show {
    #[command(flatten)]
    desk: Desk,
    /// Evidence id
    id: String,
}

/// What a reveal needs: nobody else may have it before.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    market: String,
    /// The hash.
    commitment: String,
    nonce: String,
    submission: Value,
}

impl EvidenceCommand {
    pub fn run(self) -> Result<()> {
        block_on(async {
            match self {
                Self::Submit(submit) => submit.run().await,
                Self::Import(import) => import.run().await,
                Self::Reveal(reveal) => reveal.run().await,
                Self::Fee(fee) => fee.run().await,
                Self::Dispute(dispute) => dispute.run().await,
                Self::List(list) => list.list().await,
                Self::Show(show) => show.run().await,
            }
        })
    }
}

impl Submit {
    async fn run(self) -> Result<()> {
        let client = self.desk.access.client()?;
        let evidence = self.evidence()?;
        if self.commit {
            return self.commit_to(&client, evidence).await;
        }
        let path = ["markets", &self.market, "evidence"];
        let made = client.make(&path, &evidence).await?;
        let made = judged(&client, made, self.wait, self.desk.json).await?;
        self.desk.print(&made, line)
    }

    /// The submission that the file and the options describe.
    fn evidence(&self) -> Result<NewEvidence> {
        let read = ExhibitFile::read(&self.file, MAX_FILE)?;
        let field = |given: &Option<String>, name: &str| {
            given
                .clone()
                .or_else(|| read.whole.get(name)?.as_str().map(str::to_owned))
        };
        let title = self.title.clone().or_else(|| read.title(&self.file));
        Ok(NewEvidence {
            title: title.context("give --title: one line that says what it is")?,
            kind: field(&self.kind, "kind")
                .unwrap_or_else(|| usual_kind(&read.exhibits).to_owned()),
            body: field(&None, "body").unwrap_or_default(),
            exhibits: read.exhibits,
            stake_micro: self.stake,
            ..NewEvidence::default()
        })
    }

    async fn commit_to(self, client: &Client, evidence: NewEvidence) -> Result<()> {
        let parse = |value: &Value| serde_json::from_value::<Exhibit>(value.clone());
        let exhibits: Vec<Exhibit> = evidence
            .exhibits
            .iter()
            .map(parse)
            .collect::<Result<_, _>>()
            .context("the service would not take an exhibit of the file")?;
        let account = client.me().await?.id;
        let nonce = random_hex::<32>()?;
        let content = Exhibit::set_hash(&exhibits);
        let commitment = evidence_commitment(&self.market, &account, &nonce, &content);
        let kept = Kept {
            market: self.market.clone(),
            commitment: commitment.clone(),
            nonce,
            submission: serde_json::to_value(&evidence)?,
        };
        // Kept first: a commitment that cannot be revealed costs its bond.
        let short = commitment.get(..16).unwrap_or(&commitment);
        let path = self
            .keep
            .clone()
            .unwrap_or_else(|| keep::file_for("evidence", short));
        keep::write(&path, &kept)?;
        let body = serde_json::json!({"commitment": commitment});
        let made = client
            .make(&["markets", &self.market, "commitments"], &body)
            .await?;
        self.desk.print(&made, |made| {
            format!(
                "committed {commitment}, bond {} credits; reveal it by {} with\n  plumbline evidence reveal {}",
                amount(made, "bond_micro"),
                text(made, "reveal_by"),
                path.display()
            )
        })
    }
}

impl Reveal {
    async fn run(self) -> Result<()> {
        let kept: Kept = keep::read(&self.file)?;
        let client = self.desk.access.client()?;
        let open = client
            .rows(&["markets", &kept.market, "commitments"])
            .await?;
        let found = open
            .iter()
            .find(|one| text(one, "commitment") == kept.commitment);
        let Some(found) = found else {
            bail!(
                "the market has no open commitment {}: it was revealed, its time is over, or it never arrived",
                kept.commitment
            );
        };
        let mut submission = kept.submission;
        ensure!(submission.is_object(), "the file holds no submission");
        submission["commitment"] = found["id"].clone();
        submission["nonce"] = Value::from(kept.nonce);
        let path = ["markets", &kept.market, "evidence"];
        let made = client.make(&path, &submission).await?;
        let made = judged(&client, made, self.wait, self.desk.json).await?;
        self.desk.print(&made, line)
    }
}

impl Fee {
    async fn run(self) -> Result<()> {
        let client = self.desk.access.client()?;
        let fee = client
            .document(&["markets", &self.market, "evidence", "fee"])
            .await?;
        self.desk.print(&fee, |fee| {
            format!(
                "fee {} credits, kept; bond {} credits until the market is over; {} submitted so far\n\
                 a commitment's bond is {} credits, back with a reveal within {} s",
                amount(fee, "fee_micro"),
                amount(fee, "bond_micro"),
                fee["submitted"],
                amount(fee, "commitment_bond_micro"),
                fee["reveal_window_s"]
            )
        })
    }

    async fn list(self) -> Result<()> {
        let client = self.desk.access.client()?;
        let path = ["markets", &self.market, "evidence"];
        let list = client.documents(&path, Vec::new()).await?;
        self.desk.print_all(&list, "no evidence", line)
    }
}

impl Dispute {
    async fn run(self) -> Result<()> {
        let client = self.desk.access.client()?;
        let body = serde_json::json!({"reason": self.reason, "bond_micro": self.bond});
        let dispute = client
            .make(&["evidence", &self.id, "challenges"], &body)
            .await?;
        self.desk.print(&dispute, |dispute| {
            format!("{}  {}", text(dispute, "id"), text(dispute, "status"))
        })
    }
}

impl Show {
    async fn run(self) -> Result<()> {
        let client = self.desk.access.client()?;
        let evidence = client.document(&["evidence", &self.id]).await?;
        self.desk.print(&evidence, |evidence| {
            let mut lines = vec![line(evidence)];
            let judgements = evidence["judgements"].as_array().into_iter().flatten();
            lines.extend(judgements.map(|one| {
                let shift = one["shift"].as_f64().map_or_else(
                    || "no opinion".to_owned(),
                    |shift| format!("{shift:+.2} nats"),
                );
                format!("  {}: {shift}", plain(text(one, "judge")))
            }));
            lines.join("\n")
        })
    }
}

/// The submission once it is judged, where that is waited for.
async fn judged(client: &Client, made: Value, wait: bool, quiet: bool) -> Result<Value> {
    let mut made = made;
    let bar = spinner("waiting for the judges", quiet || !wait);
    while wait && text(&made, "status") == "pending" {
        tokio::time::sleep(PAUSE).await;
        let id = text(&made, "id").to_owned();
        made = client.document(&["evidence", &id]).await?;
    }
    bar.finish_and_clear();
    Ok(made)
}

fn line(evidence: &Value) -> String {
    let moved = if evidence["probability_after"].is_null() {
        String::new()
    } else {
        format!(
            "  moved the price from {} to {} on {} of {} credits",
            price(evidence, "probability_before"),
            price(evidence, "probability_after"),
            amount(evidence, "locked_micro"),
            amount(evidence, "stake_micro")
        )
    };
    let reason = evidence["reason"]
        .as_str()
        .map_or_else(String::new, |why| format!("  ({})", plain(why)));
    format!(
        "{}  {:<9}  {}{moved}{reason}",
        text(evidence, "id"),
        text(evidence, "status"),
        plain(text(evidence, "title"))
    )
}
