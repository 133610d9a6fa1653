//! The payloads that a node holds: what it made, what it fetched, and what it
//! keeps for its next life.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use plumbline_training_core::digest::Digest;

use super::exchange::Shelf;
use crate::host::lock;
use crate::vault::write_atomically;

/// States that a node keeps: the coordinator may not have counted the newest.
const STATES: usize = 2;

/// A bounded store. The oldest payloads give way; pinned ones and the newest
/// states stay.
#[derive(Debug)]
pub(super) struct NodeShelf {
    folder: PathBuf,
    most: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    payloads: HashMap<Digest, Arc<Vec<u8>>>,
    /// Those that may give way, oldest first.
    loose: VecDeque<Digest>,
    held: usize,
    /// With the files that they are in, oldest first.
    states: VecDeque<(Digest, usize)>,
}

impl NodeShelf {
    /// A store of `most` bytes that may give way. States found in `folder` are
    /// there again.
    pub(super) fn open(folder: PathBuf, most: usize) -> Self {
        let shelf = Self {
            folder,
            most,
            inner: Mutex::default(),
        };
        let mut slots: Vec<usize> = (0..STATES).collect();
        let age = |slot: &usize| {
            fs::metadata(shelf.slot(*slot))
                .and_then(|m| m.modified())
                .ok()
        };
        slots.sort_by_key(age);
        let mut inner = lock(&shelf.inner);
        for slot in slots {
            // A file that is cut or missing is a state that is lost, which the
            // coordinator is told by its absence.
            if let Ok(bytes) = fs::read(shelf.slot(slot)) {
                let digest = Digest::of(&bytes);
                inner.payloads.insert(digest, Arc::new(bytes));
                inner.states.push_back((digest, slot));
            }
        }
        drop(inner);
        shelf
    }

    fn slot(&self, slot: usize) -> PathBuf {
        self.folder.join(format!("state-{slot}"))
    }

    /// Adds a payload that stays.
    pub(super) fn pin(&self, bytes: Vec<u8>) -> Digest {
        let digest = Digest::of(&bytes);
        lock(&self.inner).payloads.insert(digest, Arc::new(bytes));
        digest
    }

    /// Adds a payload that may give way to later ones.
    pub(super) fn add(&self, bytes: Vec<u8>) -> (Digest, Arc<Vec<u8>>) {
        let (digest, bytes) = (Digest::of(&bytes), Arc::new(bytes));
        let mut inner = lock(&self.inner);
        if inner.payloads.contains_key(&digest) {
            return (digest, bytes);
        }
        inner.held += bytes.len();
        inner.payloads.insert(digest, Arc::clone(&bytes));
        inner.loose.push_back(digest);
        while inner.held > self.most && inner.loose.len() > 1 {
            let oldest = inner.loose.pop_front();
            let gone = oldest.and_then(|oldest| inner.payloads.remove(&oldest));
            inner.held -= gone.map_or(0, |gone| gone.len());
        }
        (digest, bytes)
    }

    /// Adds the newest state, also as a file.
    pub(super) fn add_state(&self, bytes: Vec<u8>) -> Digest {
        let digest = Digest::of(&bytes);
        let mut inner = lock(&self.inner);
        if inner.states.iter().any(|(known, _)| *known == digest) {
            return digest;
        }
        let full = inner.states.len() >= STATES;
        let oldest = if full { inner.states.pop_front() } else { None };
        let slot = match oldest {
            Some((oldest, slot)) => {
                inner.payloads.remove(&oldest);
                slot
            }
            None => (0..STATES)
                .find(|slot| !inner.states.iter().any(|(_, used)| used == slot))
                .unwrap_or(0),
        };
        let bytes = Arc::new(bytes);
        inner.payloads.insert(digest, Arc::clone(&bytes));
        inner.states.push_back((digest, slot));
        drop(inner);
        if let Err(error) = write_atomically(&self.slot(slot), &bytes) {
            tracing::warn!(%error, "this round's state is not kept; a restart would begin afresh");
        }
        digest
    }

    /// The states that are here.
    pub(super) fn states(&self) -> Vec<Digest> {
        lock(&self.inner)
            .states
            .iter()
            .map(|(state, _)| *state)
            .collect()
    }
}

impl Shelf for NodeShelf {
    fn payload(&self, digest: &Digest) -> Option<Arc<Vec<u8>>> {
        lock(&self.inner).payloads.get(digest).cloned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_oldest_give_way_and_states_survive() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = NodeShelf::open(folder.path().to_owned(), 25);
        let pinned = shelf.pin(vec![9; 100]);
        let added: Vec<Digest> = (0..4).map(|n| shelf.add(vec![n; 10]).0).collect();
        let here = |digest: &Digest| shelf.payload(digest).is_some();
        assert!(here(&pinned) && !here(&added[0]) && !here(&added[1]));
        assert!(here(&added[2]) && here(&added[3]));
        let states: Vec<Digest> = (0..3).map(|n| shelf.add_state(vec![n; 50])).collect();
        assert_eq!(shelf.states(), states[1..]);
        let again = NodeShelf::open(folder.path().to_owned(), 25);
        // Which is older, files of one instant do not tell.
        let found = again.states();
        assert!(states[1..].iter().all(|state| found.contains(state)));
        assert_eq!(*again.payload(&states[2]).unwrap(), vec![2; 50]);
        std::fs::write(folder.path().join("state-0"), "cut").unwrap();
        let cut = NodeShelf::open(folder.path().to_owned(), 25);
        assert!(!cut.states().contains(&states[2]) && cut.states().contains(&states[1]));
    }
}
