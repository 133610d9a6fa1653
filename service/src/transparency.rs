//! The transparency log: every event is an entry, what was signed of it can be checked by anyone.

use std::sync::atomic::Ordering;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use plumbline_access::Action;
use plumbline_store::log::{self, Entry, SignedCheckpoint};
use plumbline_store::{Tx, control};
use plumbline_transparency::checkpoint::{Checkpoint, NoteSignature, key_hash, parse};
use plumbline_transparency::{Hash, tree};

use crate::context::Context;
use crate::time::{Millis, rfc3339};
use crate::views::{
    ConsistencyView, LogCheckpointView, LogEntriesView, LogEntryView, LogProofView, Page,
};
use crate::{Inner, Result, Service, ServiceError, page};

/// Name of the log, fixed at its beginning: it outlives the keys that sign it.
const ORIGIN: &str = "log-origin";
/// Most entries in one answer.
const MAX_ENTRIES: usize = 500;

/// The name of this database's log; made of the first signing key at the first start.
pub(crate) fn origin(tx: &mut Tx, key_id: &str, now: Millis) -> Result<String> {
    if let Some(origin) = control::get(tx, ORIGIN)? {
        return Ok(origin);
    }
    let origin = format!("plumbline/{key_id}");
    control::put(tx, ORIGIN, &origin, now)?;
    Ok(origin)
}

impl Service {
    /// The log as it is now, signed.
    pub fn log_checkpoint(&self, ctx: &Context) -> Result<LogCheckpointView> {
        self.allow(&ctx.actor, Action::ReadLog)?;
        self.read(|tx| {
            let size = size_of(tx)?;
            let checkpoint = self.checkpoint_of(tx, size)?;
            let note = self.sign_checkpoint(&checkpoint)?;
            Ok(view(&checkpoint, note, None))
        })
    }

    /// Checkpoints that were kept, newest first.
    pub fn log_checkpoints(
        &self,
        ctx: &Context,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<Page<LogCheckpointView>> {
        self.allow(&ctx.actor, Action::ReadLog)?;
        let (before, limit) = (page::parse_cursor(cursor)?, page::bounded(limit));
        let rows = self.read(|tx| Ok(log::checkpoints(tx, before, (limit + 1) as i64)?))?;
        let page = page::cut(rows, limit, |row| row.size.to_string(), |row| row);
        let kept = |row: SignedCheckpoint| {
            let (checkpoint, _) = parse(&row.note).map_err(ServiceError::internal)?;
            Ok(view(&checkpoint, row.note, Some(rfc3339(row.at))))
        };
        Ok(Page {
            items: page.items.into_iter().map(kept).collect::<Result<_>>()?,
            next_cursor: page.next_cursor,
        })
    }

    /// Entries from index `start` on, 500 at most.
    pub fn log_entries(&self, ctx: &Context, start: u64, limit: usize) -> Result<LogEntriesView> {
        self.allow(&ctx.actor, Action::ReadLog)?;
        let limit = limit.clamp(1, MAX_ENTRIES) as i64;
        self.read(|tx| {
            let size = size_of(tx)?;
            // Beyond the end there is nothing, however far.
            let start = signed(start.min(size))?;
            let found = log::entries(tx, start, limit, signed(size)?)?;
            Ok(LogEntriesView {
                size,
                items: found.into_iter().map(entry_view).collect::<Result<_>>()?,
            })
        })
    }

    /// Shows that entry `index` is in the tree of `size` entries; of all that there are without a size.
    ///
    /// # Errors
    /// `no-such-entry`; `no-such-tree` for a size that the log has not reached.
    pub fn log_proof(&self, ctx: &Context, index: u64, size: Option<u64>) -> Result<LogProofView> {
        self.allow(&ctx.actor, Action::ReadLog)?;
        self.read(|tx| {
            let size = reached(tx, size)?;
            self.prove(tx, index, size)
        })
    }

    /// Shows that the tree of `from` entries is the beginning of the one of `to`; of the newest without `to`.
    ///
    /// # Errors
    /// `no-such-tree` for a size that the log has not reached, or for a `from` above `to`.
    pub fn log_consistency(
        &self,
        ctx: &Context,
        from: u64,
        to: Option<u64>,
    ) -> Result<ConsistencyView> {
        self.allow(&ctx.actor, Action::ReadLog)?;
        self.read(|tx| {
            let to = reached(tx, to)?;
            if from > to {
                return Err(no_such_tree(from, to));
            }
            let checkpoint = self.checkpoint_of(tx, to)?;
            Ok(ConsistencyView {
                from,
                to,
                hashes: log::consistency(tx, from, to)?.iter().map(encode).collect(),
                checkpoint: self.sign_checkpoint(&checkpoint)?,
            })
        })
    }

    /// Keeps a checkpoint from time to time, so that exports have what was signed.
    pub(crate) fn keep_checkpoint(&self) -> Result<()> {
        let now = self.now();
        let last = self.checkpointed_at.load(Ordering::Acquire);
        if now - last < self.config.checkpoint_every_ms {
            return Ok(());
        }
        self.checkpointed_at.store(now, Ordering::Release);
        self.keep_checkpoint_now()
    }

    /// Keeps a checkpoint of the log as it is, if there is none of that size.
    pub fn keep_checkpoint_now(&self) -> Result<()> {
        let now = self.now();
        let found = self.read(|tx| {
            let size = size_of(tx)?;
            let kept = log::checkpoints(tx, None, 1)?.pop();
            let newer = size > 0 && kept.is_none_or(|kept| kept.size < size as i64);
            newer.then(|| self.checkpoint_of(tx, size)).transpose()
        })?;
        let Some(checkpoint) = found else {
            return Ok(());
        };
        let signed = SignedCheckpoint {
            size: signed(checkpoint.size)?,
            note: self.sign_checkpoint(&checkpoint)?,
            at: now,
        };
        self.write(move |tx| Ok(log::keep_checkpoint(tx, &signed)?))
    }
}

impl Inner {
    /// Where a fact stands in the log; `None` where it was made before there was one.
    pub(crate) fn proof_of(&self, tx: &mut Tx, reference: &str) -> Result<Option<LogProofView>> {
        let Some(index) = log::index_of(tx, reference)? else {
            return Ok(None);
        };
        let size = size_of(tx)?;
        self.prove(tx, index.try_into().unwrap_or(0), size)
            .map(Some)
    }

    fn prove(&self, tx: &mut Tx, index: u64, size: u64) -> Result<LogProofView> {
        if index >= size {
            return Err(ServiceError::refused(
                "no-such-entry",
                format!("a tree of {size} entries has none with the index {index}"),
            ));
        }
        let found = log::entries(tx, signed(index)?, 1, signed(size)?)?.pop();
        let entry =
            found.ok_or_else(|| ServiceError::internal("an entry of the log is missing"))?;
        let entry = entry_view(entry)?;
        let checkpoint = self.checkpoint_of(tx, size)?;
        Ok(LogProofView {
            index,
            size,
            entry: entry.entry,
            leaf: entry.leaf,
            hashes: log::inclusion(tx, index, size)?
                .iter()
                .map(encode)
                .collect(),
            checkpoint: self.sign_checkpoint(&checkpoint)?,
        })
    }

    fn checkpoint_of(&self, tx: &mut Tx, size: u64) -> Result<Checkpoint> {
        Ok(Checkpoint {
            origin: self.log_origin.clone(),
            size,
            root: log::root(tx, size)?,
        })
    }

    fn sign_checkpoint(&self, checkpoint: &Checkpoint) -> Result<String> {
        let key = &self.signing_key;
        let signature = NoteSignature {
            name: checkpoint.origin.clone(),
            key_hash: key_hash(&checkpoint.origin, &key.public_bytes()),
            signature: key
                .sign_text(&checkpoint.text())
                .map_err(ServiceError::internal)?,
        };
        Ok(checkpoint.note(&[signature]))
    }
}

fn view(checkpoint: &Checkpoint, note: String, kept_at: Option<String>) -> LogCheckpointView {
    LogCheckpointView {
        origin: checkpoint.origin.clone(),
        size: checkpoint.size,
        root: encode(&checkpoint.root),
        note,
        kept_at,
    }
}

fn entry_view(entry: Entry) -> Result<LogEntryView> {
    Ok(LogEntryView {
        index: u64::try_from(entry.index).map_err(ServiceError::internal)?,
        leaf: encode(&tree::leaf(entry.text.as_bytes())),
        entry: entry.text,
    })
}

fn encode(hash: &Hash) -> String {
    STANDARD.encode(hash)
}

fn signed(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(ServiceError::internal)
}

fn size_of(tx: &mut Tx) -> Result<u64> {
    u64::try_from(log::size(tx)?).map_err(ServiceError::internal)
}

/// A size that the log has reached; its own without one.
fn reached(tx: &mut Tx, asked: Option<u64>) -> Result<u64> {
    let size = size_of(tx)?;
    match asked {
        Some(asked) if asked > size => Err(no_such_tree(asked, size)),
        Some(asked) => Ok(asked),
        None => Ok(size),
    }
}

fn no_such_tree(asked: u64, size: u64) -> ServiceError {
    ServiceError::refused(
        "no-such-tree",
        format!("asked for {asked} entries of {size}"),
    )
}
