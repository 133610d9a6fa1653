//! A few rows that stand for a long history.

use crate::{StoreError, Tx};

/// At most `points` (≥ 2) rows, oldest first, the first and the last among them: all that `first_rows` finds
/// when asked for one more, if there are no more; else those of [`by_steps`].
///
/// # Errors
/// Those of the queries.
pub(crate) fn sampled<T>(
    tx: &mut Tx<'_>,
    points: i64,
    key: impl Fn(&T) -> i64,
    first_rows: impl FnOnce(&mut Tx<'_>, i64) -> Result<Vec<T>, StoreError>,
    last: impl FnOnce(&mut Tx<'_>) -> Result<T, StoreError>,
    mut at_or_after: impl FnMut(&mut Tx<'_>, i64) -> Result<Option<T>, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let points = points.clamp(2, 1_000_000);
    let mut few = first_rows(tx, points + 1)?;
    if i64::try_from(few.len()).is_ok_and(|count| count <= points) {
        return Ok(few);
    }
    let ends = (few.swap_remove(0), last(tx)?);
    by_steps(ends, points, key, |from| at_or_after(tx, from))
}

/// The first row, the last, and of each of the even steps of the key between them the first row at or after
/// it: at most `points` (≥ 2) rows, oldest first. `at_or_after` finds a row by an index, so the time taken does
/// not grow with the history.
///
/// # Errors
/// Those of `at_or_after`.
fn by_steps<T>(
    (first, last): (T, T),
    points: i64,
    key: impl Fn(&T) -> i64,
    mut at_or_after: impl FnMut(i64) -> Result<Option<T>, StoreError>,
) -> Result<Vec<T>, StoreError> {
    let (from, to) = (key(&first), key(&last));
    let (span, steps) = (i128::from(to) - i128::from(from), i128::from(points - 1));
    let mut reached = from;
    let mut rows = vec![first];
    for step in 1..points - 1 {
        let target = i128::from(from) + span * i128::from(step) / steps.max(1);
        let target = i64::try_from(target).unwrap_or(to);
        if target <= reached {
            continue;
        }
        let Some(row) = at_or_after(target)?.filter(|row| key(row) < to) else {
            break;
        };
        reached = key(&row);
        rows.push(row);
    }
    if reached < to || points < 2 {
        rows.push(last);
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn sample(rows: &[i64], points: i64) -> Vec<i64> {
        let ends = (rows[0], rows[rows.len() - 1]);
        let find = |target| Ok(rows.iter().copied().find(|row| *row >= target));
        by_steps(ends, points, |row| *row, find).unwrap()
    }

    #[test]
    fn steps_are_even_rows_are_not_repeated_and_both_ends_are_there() {
        let all: Vec<i64> = (1..=101).collect();
        assert_eq!(sample(&all, 5), [1, 26, 51, 76, 101]);
        assert_eq!(sample(&all, 2), [1, 101]);
        assert_eq!(sample(&all, 101), all);
        // A pause is one step, however long.
        assert_eq!(sample(&[1, 2, 3, 1_000, 1_001], 6), [1, 1_000, 1_001]);
        assert_eq!(sample(&[7], 3), [7]);
        assert_eq!(sample(&[i64::MIN, 0, i64::MAX], 3).len(), 3);
    }
}
