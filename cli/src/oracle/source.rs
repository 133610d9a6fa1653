//! Settled cases and versions of the oracle, from a running service or from its folder.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use plumbline_agents::Client;
use plumbline_oracle::Exhibit;
use plumbline_oracle::versions::{ExhibitRef, SettledRecord, VersionRecord};
use plumbline_store::{Tx, evidence, export, oracle_versions, settled_cases};
use serde_json::Value;

use crate::access::Access;

/// Rows read at once from a folder.
const CHUNK: i64 = 500;

/// Where cases come from.
#[derive(Debug, Args)]
pub struct Source {
    #[command(flatten)]
    pub access: Access,
    /// Read the folder of a service instead of asking one; it may be running
    #[arg(long)]
    pub data_dir: Option<PathBuf>,
}

/// A version as it is listed.
#[derive(Debug)]
pub struct Listed {
    /// Its id.
    pub id: String,
    /// `candidate`, `in_force` or `retired`.
    pub status: String,
    /// What it is.
    pub content: VersionRecord,
}

/// A settled case with its hash.
pub type Link = (String, SettledRecord);

impl Source {
    /// Every settled case in the order of the chain, with the hashes as stored.
    pub async fn cases(&self) -> Result<Vec<Link>> {
        if self.data_dir.is_some() {
            return self.beside(cases_in);
        }
        let documents = self
            .client()?
            .documents(&["oracle", "cases"], vec![])
            .await?;
        documents.iter().map(case_of).collect()
    }

    /// Every version, oldest first.
    pub async fn versions(&self) -> Result<Vec<Listed>> {
        if self.data_dir.is_some() {
            return self.beside(versions_in);
        }
        let mut documents = self
            .client()?
            .documents(&["oracle", "versions"], vec![])
            .await?;
        documents.reverse();
        documents.iter().map(version_of).collect()
    }

    /// The exhibits of a case that still stand. What was struck is left out.
    pub async fn exhibits(&self, of: &[ExhibitRef]) -> Result<Vec<Exhibit>> {
        let standing = of.iter().filter(|one| one.standing == "judged");
        let ids: Vec<String> = standing.map(|one| one.evidence_id.clone()).collect();
        if self.data_dir.is_some() {
            return self.beside(move |tx| exhibits_in(tx, &ids));
        }
        let client = self.client()?;
        let mut exhibits = Vec::new();
        for id in &ids {
            let document = client.document(&["evidence", id]).await?;
            let read: Vec<Exhibit> = serde_json::from_value(document["exhibits"].clone())
                .with_context(|| format!("the exhibits of {id}"))?;
            exhibits.extend(read);
        }
        Ok(exhibits)
    }

    fn client(&self) -> Result<Client> {
        self.access.client()
    }

    /// Reads one state of the folder's database.
    fn beside<T>(&self, read: impl FnOnce(&mut Tx<'_>) -> Result<T>) -> Result<T> {
        let Some(folder) = &self.data_dir else {
            bail!("no folder is given");
        };
        export::snapshot(&folder.join("plumbline.db"), read)
    }
}

fn case_of(document: &Value) -> Result<Link> {
    let record = serde_json::from_value(document["record"].clone()).context("a settled case")?;
    Ok((crate::access::text(document, "hash").to_owned(), record))
}

fn version_of(document: &Value) -> Result<Listed> {
    Ok(Listed {
        id: crate::access::text(document, "id").to_owned(),
        status: crate::access::text(document, "status").to_owned(),
        content: serde_json::from_value(document["content"].clone()).context("a version")?,
    })
}

fn cases_in(tx: &mut Tx<'_>) -> Result<Vec<Link>> {
    let (mut links, mut after) = (Vec::new(), 0);
    loop {
        let rows = settled_cases::after(tx, after, CHUNK)?;
        let Some(last) = rows.last() else {
            return Ok(links);
        };
        after = last.number;
        for row in &rows {
            let record = serde_json::from_str(&row.record).context("a settled case")?;
            links.push((row.hash.clone(), record));
        }
    }
}

fn versions_in(tx: &mut Tx<'_>) -> Result<Vec<Listed>> {
    let (mut listed, mut before) = (Vec::new(), None);
    loop {
        let rows = oracle_versions::list(tx, before, CHUNK)?;
        let Some(last) = rows.last() else {
            listed.reverse();
            return Ok(listed);
        };
        before = Some(last.number);
        for row in rows {
            listed.push(Listed {
                content: serde_json::from_str(&row.content).context("a version")?,
                id: row.id,
                status: row.status,
            });
        }
    }
}

fn exhibits_in(tx: &mut Tx<'_>, ids: &[String]) -> Result<Vec<Exhibit>> {
    let mut exhibits = Vec::new();
    for id in ids {
        let row = evidence::get(tx, id)?;
        let read: Vec<Exhibit> =
            serde_json::from_str(&row.exhibits).with_context(|| format!("the exhibits of {id}"))?;
        exhibits.extend(read);
    }
    Ok(exhibits)
}
