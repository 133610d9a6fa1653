//! Cursor pages.

use crate::views::Page;
use crate::{Result, ServiceError};

/// Largest page.
pub(crate) const MAX_LIMIT: usize = 200;

/// Digits of the largest sequence number, and a sign.
const LONGEST_NUMBER: usize = 20;

/// `limit` within 1 to [`MAX_LIMIT`].
pub(crate) fn bounded(limit: usize) -> usize {
    limit.clamp(1, MAX_LIMIT)
}

/// A cursor that is a row's sequence number.
///
/// # Errors
/// `bad-cursor` when it is not one that a page gave.
pub(crate) fn parse_cursor(cursor: Option<&str>) -> Result<Option<i64>> {
    // Zeros in front would make it as long as one likes.
    let read = |text: &str| text.parse().ok().filter(|_| text.len() <= LONGEST_NUMBER);
    cursor
        .map(|text| read(text).ok_or_else(bad_cursor))
        .transpose()
}

fn bad_cursor() -> ServiceError {
    ServiceError::invalid(
        "bad-cursor",
        "pass the next_cursor of the page before, unchanged",
    )
}

/// Makes a page out of up to `limit + 1` rows: the extra row only tells that there are more.
pub(crate) fn cut<R, V>(
    mut rows: Vec<R>,
    limit: usize,
    cursor: impl Fn(&R) -> String,
    view: impl FnMut(R) -> V,
) -> Page<V> {
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = if more { rows.last().map(&cursor) } else { None };
    Page {
        items: rows.into_iter().map(view).collect(),
        next_cursor,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_page_names_its_last_row_only_when_there_are_more() {
        let page = cut(vec![1, 2, 3], 2, i32::to_string, |n| n * 10);
        assert_eq!(
            (page.items, page.next_cursor),
            (vec![10, 20], Some("2".to_owned()))
        );
        let last = cut(vec![3], 2, i32::to_string, |n| n);
        assert_eq!(last.next_cursor, None);
        assert_eq!(parse_cursor(Some("x")).unwrap_err().code(), "bad-cursor");
        assert_eq!((bounded(0), bounded(9999)), (1, MAX_LIMIT));
    }
}
