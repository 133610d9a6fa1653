//! Rows of one table in the writer's memory: those read, and those changed and not yet written back.

use std::collections::HashMap;
use std::rc::Rc;

use crate::StoreError;

/// Most rows of a table that are kept from one batch to the next.
pub(super) const MAX_ROWS: usize = 65_536;

/// A row, and whether the table still has an older state of it.
#[derive(Debug)]
struct Kept<V> {
    row: Rc<V>,
    dirty: bool,
}

impl<V> Clone for Kept<V> {
    fn clone(&self) -> Self {
        Self {
            row: Rc::clone(&self.row),
            dirty: self.dirty,
        }
    }
}

/// The rows of one table, by key, with the way back to what they were when the request began.
#[derive(Debug)]
pub(crate) struct Rows<V> {
    kept: HashMap<Rc<str>, Kept<V>>,
    /// Keys of rows that became dirty; some may have been written back since.
    dirty: Vec<Rc<str>>,
    /// What each change of this request replaced, in order.
    undo: Vec<(Rc<str>, Option<Kept<V>>)>,
}

impl<V> Default for Rows<V> {
    fn default() -> Self {
        Self {
            kept: HashMap::new(),
            dirty: Vec::new(),
            undo: Vec::new(),
        }
    }
}

impl<V> Rows<V> {
    /// The row with this key, if it is kept.
    pub(crate) fn get(&self, key: &str) -> Option<Rc<V>> {
        self.kept.get(key).map(|kept| Rc::clone(&kept.row))
    }

    /// Keeps a row as it is in the table.
    pub(crate) fn load(&mut self, key: &str, row: V) -> Rc<V> {
        let row = Rc::new(row);
        let kept = Kept {
            row: Rc::clone(&row),
            dirty: false,
        };
        self.replace(key.into(), kept);
        row
    }

    /// Keeps a row that the table does not have yet.
    pub(crate) fn put(&mut self, key: &str, row: V) {
        let key: Rc<str> = key.into();
        self.dirty.push(Rc::clone(&key));
        let kept = Kept {
            row: Rc::new(row),
            dirty: true,
        };
        self.replace(key, kept);
    }

    fn replace(&mut self, key: Rc<str>, kept: Kept<V>) {
        let before = self.kept.insert(Rc::clone(&key), kept);
        self.undo.push((key, before));
    }

    /// Writes back what is dirty, each row once. After an error the batch is lost and so is this memory.
    pub(crate) fn flush(
        &mut self,
        mut write: impl FnMut(&V) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        for key in std::mem::take(&mut self.dirty) {
            let Some(kept) = self.kept.get_mut(&key).filter(|kept| kept.dirty) else {
                continue;
            };
            write(&kept.row)?;
            // If this request is undone, so is the row that was just written for an earlier one.
            self.undo.push((key, Some(kept.clone())));
            kept.dirty = false;
        }
        Ok(())
    }

    /// Forgets everything that is not dirty, after a statement that may have changed the table.
    pub(crate) fn forget(&mut self) {
        self.kept.retain(|_, kept| kept.dirty);
    }

    /// Goes back to how things were when the request began.
    pub(crate) fn roll_back(&mut self) {
        while let Some((key, before)) = self.undo.pop() {
            match before {
                Some(kept) => {
                    if kept.dirty {
                        self.dirty.push(Rc::clone(&key));
                    }
                    self.kept.insert(key, kept);
                }
                None => {
                    self.kept.remove(&key);
                }
            }
        }
    }

    /// The request's changes stay.
    pub(crate) fn keep(&mut self) {
        self.undo.clear();
    }

    /// After a commit: everything is in the table, so a memory that grew too large may go.
    pub(crate) fn trim(&mut self) {
        if self.kept.len() > MAX_ROWS {
            self.kept.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn flushed(rows: &mut Rows<i64>) -> Vec<i64> {
        let mut written = Vec::new();
        rows.flush(|row| {
            written.push(*row);
            Ok(())
        })
        .unwrap();
        written.sort_unstable();
        written
    }

    #[test]
    fn a_row_changed_often_is_written_once() {
        let mut rows = Rows::default();
        rows.load("a", 1);
        for value in 2..100 {
            rows.put("a", value);
            rows.keep();
        }
        assert_eq!(flushed(&mut rows), [99]);
        assert_eq!(flushed(&mut rows), [] as [i64; 0]);
        assert_eq!(rows.get("a").as_deref(), Some(&99));
    }

    #[test]
    fn what_was_flushed_inside_an_undone_request_is_dirty_again() {
        let mut rows = Rows::default();
        rows.put("a", 1);
        rows.put("b", 2);
        rows.keep();
        rows.put("b", 3);
        assert_eq!(flushed(&mut rows), [1, 3]);
        rows.forget();
        rows.load("c", 9);
        rows.roll_back();
        assert_eq!(rows.get("c"), None);
        assert_eq!(flushed(&mut rows), [1, 2]);
    }

    #[test]
    fn only_clean_rows_are_forgotten() {
        let mut rows = Rows::default();
        rows.load("clean", 1);
        rows.put("dirty", 2);
        rows.keep();
        rows.forget();
        assert_eq!(rows.get("clean"), None);
        assert_eq!(rows.get("dirty").as_deref(), Some(&2));
    }
}
