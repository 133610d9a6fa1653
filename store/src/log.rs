//! The transparency log: a Merkle tree whose leaf `n` is event `n + 1` of the outbox, for every event.
//!
//! The writer appends the events of a batch in the transaction that holds them, so no fact can be
//! acknowledged without being in the tree. What is read here is of one state of the database. A number that no event
//! has, which only files of older versions can contain, is a leaf without bytes.

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::sqlite::SqliteConnection;
use plumbline_transparency::entry;
use plumbline_transparency::tiles::{TileError, TileId, TileReader, Tiles, append};
use plumbline_transparency::tree::{self, Hash, leaf};

use crate::outbox::Event;
use crate::prepared::prepared;
use crate::schema::{log_checkpoints, log_places, log_tiles, outbox};
use crate::{StoreError, Tx};

/// Bits of a tile's number that are its position.
const POSITION_BITS: u32 = 48;
/// Events that are appended in one transaction when a file is opened that has them without a log.
const CATCH_UP: i64 = 10_000;

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its index, from 0.
    pub index: i64,
    /// The bytes that its leaf is the hash of.
    pub text: String,
}

/// A checkpoint that was signed.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = log_checkpoints)]
pub struct SignedCheckpoint {
    /// Number of entries.
    pub size: i64,
    /// The signed note.
    pub note: String,
    /// When it was signed, unix ms.
    pub at: i64,
}

/// The tiles of one connection.
struct Kept<'a>(&'a mut SqliteConnection);

impl Tiles for Kept<'_> {
    type Error = StoreError;

    fn tile(&mut self, id: TileId) -> Result<Vec<Hash>, StoreError> {
        let bytes: Option<Vec<u8>> = log_tiles::table
            .find(number(id)?)
            .select(log_tiles::hashes)
            .get_result(self.0)
            .optional()?;
        let (hashes, []) = bytes.as_deref().unwrap_or_default().as_chunks::<32>() else {
            return Err(damaged("a tile of the log is cut"));
        };
        Ok(hashes.to_vec())
    }
}

fn damaged(what: &str) -> StoreError {
    StoreError::Corrupt(what.to_owned())
}

fn number(id: TileId) -> Result<i64, StoreError> {
    let fits = id.position < 1 << POSITION_BITS;
    let position = i64::try_from(id.position).ok().filter(|_| fits);
    let position = position.ok_or_else(|| damaged("the log has more tiles than numbers"))?;
    Ok((i64::from(id.level) << POSITION_BITS) | position)
}

fn text_of(event: &Event) -> String {
    let Event {
        id,
        at,
        topic,
        kind,
        payload,
    } = event;
    let (id, at) = (*id, *at);
    entry::Event {
        id,
        at,
        topic,
        kind,
        payload,
    }
    .text()
}

/// Size of the tree as its tiles say.
fn size_of(conn: &mut SqliteConnection) -> Result<i64, StoreError> {
    let last: Option<(i64, Vec<u8>)> = log_tiles::table
        .filter(log_tiles::tile.lt(1_i64 << POSITION_BITS))
        .order(log_tiles::tile.desc())
        .select((log_tiles::tile, log_tiles::hashes))
        .first(conn)
        .optional()?;
    Ok(last.map_or(0, |(tile, hashes)| tile * 32 + (hashes.len() / 32) as i64))
}

/// Appends every event up to `last` that is not in the tree yet. `logged` remembers the size of the tree
/// from one batch to the next; `None` where the tiles have to be asked.
pub(crate) fn append_up_to(
    conn: &mut SqliteConnection,
    logged: &mut Option<i64>,
    last: i64,
) -> Result<(), StoreError> {
    let size = match *logged {
        Some(size) => size,
        None => size_of(conn)?,
    };
    if size >= last {
        return Ok(());
    }
    let events: Vec<Event> = outbox::table
        .filter(outbox::id.gt(size))
        .filter(outbox::id.le(last))
        .order(outbox::id)
        .select(Event::as_select())
        .load(conn)?;
    let mut leaves = Vec::with_capacity(events.len());
    for event in &events {
        while size + (leaves.len() as i64) < event.id - 1 {
            leaves.push(leaf(b""));
        }
        leaves.push(leaf(text_of(event).as_bytes()));
    }
    let before = u64::try_from(size).map_err(|_| damaged("the log has a negative size"))?;
    let changed = append(&mut Kept(conn), before, &leaves)?;
    write_tiles(conn, &changed)?;
    *logged = Some(size + leaves.len() as i64);
    Ok(())
}

fn write_tiles(
    conn: &mut SqliteConnection,
    tiles: &BTreeMap<TileId, Vec<Hash>>,
) -> Result<(), StoreError> {
    for (id, hashes) in tiles {
        let bytes = hashes.as_flattened();
        prepared!(
            [
                (
                    "INSERT OR REPLACE INTO log_tiles (tile, hashes) VALUES (",
                    number(*id)?
                ),
                (", ", bytes),
            ],
            ")"
        )
        .execute(conn)?;
    }
    Ok(())
}

/// Brings the tree of a file that is being opened up to its events.
pub(crate) fn catch_up(conn: &mut SqliteConnection) -> Result<(), StoreError> {
    let last: Option<i64> = outbox::table
        .select(diesel::dsl::max(outbox::id))
        .get_result(conn)?;
    let last = last.unwrap_or(0);
    let mut logged = Some(size_of(conn)?);
    while let Some(size) = logged.filter(|size| *size < last) {
        let upto = last.min(size + CATCH_UP);
        // Where nothing but gaps is left of a stretch, the next event ends it.
        let upto = outbox::table
            .filter(outbox::id.ge(upto))
            .select(diesel::dsl::min(outbox::id))
            .get_result::<Option<i64>>(conn)?
            .unwrap_or(last);
        conn.transaction(|conn| append_up_to(conn, &mut logged, upto))?;
    }
    Ok(())
}

/// Number of entries.
///
/// # Errors
/// Those of the database.
pub fn size(tx: &mut Tx<'_>) -> Result<i64, StoreError> {
    tx.beneath(size_of)
}

/// Up to `limit` entries from index `start` on, of a tree of `size` entries.
///
/// # Errors
/// Those of the database.
pub fn entries(
    tx: &mut Tx<'_>,
    start: i64,
    limit: i64,
    size: i64,
) -> Result<Vec<Entry>, StoreError> {
    let end = start.saturating_add(limit).min(size);
    let mut events: BTreeMap<i64, Event> = tx
        .run(|conn| {
            outbox::table
                .filter(outbox::id.gt(start))
                .filter(outbox::id.le(end))
                .order(outbox::id)
                .select(Event::as_select())
                .load(conn)
        })?
        .into_iter()
        .map(|event: Event| (event.id, event))
        .collect();
    let text = |event: Event| text_of(&event);
    Ok((start..end)
        .map(|index| Entry {
            index,
            text: events.remove(&(index + 1)).map(text).unwrap_or_default(),
        })
        .collect())
}

/// Why a proof could not be given.
fn refused<T>(
    found: Result<Result<T, tree::Beyond>, TileError<StoreError>>,
) -> Result<T, StoreError> {
    match found {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(beyond)) => Err(StoreError::conflict(beyond.to_string())),
        Err(error) => Err(unreadable(error)),
    }
}

fn unreadable(error: TileError<StoreError>) -> StoreError {
    match error {
        TileError::Unreadable(error) => error,
        missing @ TileError::Missing { .. } => damaged(&missing.to_string()),
    }
}

/// Root of the first `size` entries.
///
/// # Errors
/// [`StoreError::Corrupt`] where a tile is missing: also when there are fewer entries.
pub fn root(tx: &mut Tx<'_>, size: u64) -> Result<Hash, StoreError> {
    tx.beneath(|conn| {
        let mut kept = Kept(conn);
        tree::root(&mut TileReader::new(&mut kept), size).map_err(unreadable)
    })
}

/// The siblings that show that entry `index` is in the tree of the first `size` entries.
///
/// # Errors
/// [`StoreError::Conflict`] where it is not.
pub fn inclusion(tx: &mut Tx<'_>, index: u64, size: u64) -> Result<Vec<Hash>, StoreError> {
    tx.beneath(|conn| {
        let mut kept = Kept(conn);
        refused(tree::inclusion(
            &mut TileReader::new(&mut kept),
            index,
            size,
        ))
    })
}

/// What shows that the tree of `from` entries is the beginning of the one of `to`.
///
/// # Errors
/// [`StoreError::Conflict`] where `from` is the larger one.
pub fn consistency(tx: &mut Tx<'_>, from: u64, to: u64) -> Result<Vec<Hash>, StoreError> {
    tx.beneath(|conn| {
        let mut kept = Kept(conn);
        refused(tree::consistency(&mut TileReader::new(&mut kept), from, to))
    })
}

/// Notes which event tells of a fact, so that its leaf can be found.
///
/// # Errors
/// [`StoreError::Conflict`] if the fact has one.
pub fn place(tx: &mut Tx<'_>, reference: &str, event_id: i64) -> Result<(), StoreError> {
    tx.beside(|conn| {
        diesel::insert_into(log_places::table)
            .values((
                log_places::reference.eq(reference),
                log_places::event_id.eq(event_id),
            ))
            .execute(conn)
    })?;
    Ok(())
}

/// Index of the leaf of a fact; `None` where none was noted.
///
/// # Errors
/// Those of the database.
pub fn index_of(tx: &mut Tx<'_>, reference: &str) -> Result<Option<i64>, StoreError> {
    let event: Option<i64> = tx.look(|conn| {
        log_places::table
            .find(reference)
            .select(log_places::event_id)
            .get_result(conn)
            .optional()
    })?;
    Ok(event.map(|id| id - 1))
}

/// Keeps a checkpoint that was signed.
///
/// # Errors
/// [`StoreError::Conflict`] if there is one of that size.
pub fn keep_checkpoint(tx: &mut Tx<'_>, signed: &SignedCheckpoint) -> Result<(), StoreError> {
    tx.beside(|conn| {
        diesel::insert_into(log_checkpoints::table)
            .values(signed)
            .execute(conn)
    })?;
    Ok(())
}

/// Up to `limit` kept checkpoints of less than `before` entries, largest first.
///
/// # Errors
/// Those of the database.
pub fn checkpoints(
    tx: &mut Tx<'_>,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<SignedCheckpoint>, StoreError> {
    tx.look(|conn| {
        log_checkpoints::table
            .filter(log_checkpoints::size.lt(before.unwrap_or(i64::MAX)))
            .order(log_checkpoints::size.desc())
            .limit(limit)
            .select(SignedCheckpoint::as_select())
            .load(conn)
    })
}

#[cfg(test)]
mod tests;
