//! The lives of the markets in use, parsed: a trade asks several times for what only a step of the market's
//! life changes.

use std::cell::RefCell;

use plumbline_market::life::Life;

use crate::{Result, ServiceError};

/// Most lives that a thread remembers.
const REMEMBERED: usize = 16;

#[derive(Default)]
struct Lives {
    /// Each with the text that it was read from, which is all that it depends on.
    read: Vec<(String, Life)>,
    /// The one that is replaced next.
    next: usize,
}

thread_local! {
    static LIVES: RefCell<Lives> = RefCell::default();
}

/// The life that a market's row has as JSON.
///
/// # Errors
/// `internal` for a text that is no life.
pub(crate) fn parse(text: &str) -> Result<Life> {
    LIVES.with_borrow_mut(|lives| {
        if let Some((_, life)) = lives.read.iter().find(|(read, _)| read == text) {
            return Ok(life.clone());
        }
        let life: Life = serde_json::from_str(text).map_err(ServiceError::internal)?;
        let entry = (text.to_owned(), life.clone());
        if lives.read.len() < REMEMBERED {
            lives.read.push(entry);
        } else {
            lives.next = (lives.next + 1) % REMEMBERED;
            lives.read[lives.next] = entry;
        }
        Ok(life)
    })
}
