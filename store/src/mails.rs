//! Addresses that notices are mailed to, and what waits to be mailed.

use diesel::prelude::*;

use crate::notices::Notice;
use crate::schema::{mail_addresses, mail_items, mails, notices};
use crate::{StoreError, Tx};

/// An account's address.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = mail_addresses)]
pub struct Address {
    /// Whose.
    pub account_id: String,
    /// Where mail goes.
    pub address: String,
    /// `once` for soon after it happened, `daily` for one mail a day.
    pub pace: String,
    /// When its owner proved to read it, unix ms.
    pub verified_at: Option<i64>,
    /// The code that was mailed to it, until it is verified.
    pub code: Option<String>,
    /// Until when the code counts, unix ms.
    pub code_until: i64,
    /// Wrong codes that were tried.
    pub guesses: i64,
    /// When a code was asked for last, unix ms.
    pub coded_at: i64,
    /// Signs the links that end the mail; 32 bytes.
    pub unsubscribe_key: Vec<u8>,
}

/// The next mail of a sort to an account.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = mails)]
pub struct Mail {
    /// To whom.
    pub account_id: String,
    /// `code` or `notices`.
    pub sort: String,
    /// When to send it, unix ms.
    pub due_at: i64,
    /// Attempts that failed.
    pub attempts: i64,
    /// Why the last one did.
    pub last_error: Option<String>,
}

/// What waits to be mailed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Mails.
    pub mails: i64,
    /// Of those, such as failed before.
    pub failing: i64,
    /// When the first of them is due, unix ms.
    pub first_due_at: Option<i64>,
}

/// Keeps an account's address, in place of the one before.
///
/// # Errors
/// [`StoreError::Conflict`] if there is no such account.
pub fn put_address(tx: &mut Tx<'_>, address: &Address) -> Result<(), StoreError> {
    tx.beside(|conn| {
        diesel::replace_into(mail_addresses::table)
            .values(address)
            .execute(conn)
    })?;
    Ok(())
}

/// An account's address.
///
/// # Errors
/// Those of the database.
pub fn address(tx: &mut Tx<'_>, account_id: &str) -> Result<Option<Address>, StoreError> {
    tx.look(|conn| {
        mail_addresses::table
            .find(account_id)
            .select(Address::as_select())
            .get_result(conn)
            .optional()
    })
}

/// Forgets an account's address and all that waits to be mailed to it.
///
/// # Errors
/// Those of the database.
pub fn forget(tx: &mut Tx<'_>, account_id: &str) -> Result<(), StoreError> {
    tx.beside(|conn| {
        diesel::delete(mail_items::table.filter(mail_items::account_id.eq(account_id)))
            .execute(conn)?;
        diesel::delete(mails::table.filter(mails::account_id.eq(account_id))).execute(conn)?;
        diesel::delete(mail_addresses::table.find(account_id)).execute(conn)
    })?;
    Ok(())
}

/// Queues a mail of a sort to an account, unless one waits.
///
/// # Errors
/// [`StoreError::Conflict`] if there is no such account.
pub fn queue(tx: &mut Tx<'_>, account_id: &str, sort: &str, due_at: i64) -> Result<(), StoreError> {
    tx.beside(|conn| {
        diesel::insert_into(mails::table)
            .values((
                mails::account_id.eq(account_id),
                mails::sort.eq(sort),
                mails::due_at.eq(due_at),
                mails::attempts.eq(0),
            ))
            .on_conflict((mails::account_id, mails::sort))
            .do_nothing()
            .execute(conn)
    })?;
    Ok(())
}

/// Replaces the mail of that account and sort.
///
/// # Errors
/// [`StoreError::Conflict`] if there is no such account.
pub fn put(tx: &mut Tx<'_>, mail: &Mail) -> Result<(), StoreError> {
    tx.beside(|conn| {
        diesel::replace_into(mails::table)
            .values(mail)
            .execute(conn)
    })?;
    Ok(())
}

/// Takes a mail off the queue.
///
/// # Errors
/// Those of the database.
pub fn unqueue(tx: &mut Tx<'_>, account_id: &str, sort: &str) -> Result<(), StoreError> {
    tx.beside(|conn| diesel::delete(mails::table.find((account_id, sort))).execute(conn))?;
    Ok(())
}

/// Up to `limit` mails that are due at `now`, those that waited longest first.
///
/// # Errors
/// Those of the database.
pub fn due(tx: &mut Tx<'_>, now: i64, limit: i64) -> Result<Vec<Mail>, StoreError> {
    tx.look(|conn| {
        mails::table
            .filter(mails::due_at.le(now))
            .order(mails::due_at)
            .limit(limit)
            .select(Mail::as_select())
            .load(conn)
    })
}

/// What waits, for the figures.
///
/// # Errors
/// Those of the database.
pub fn backlog(tx: &mut Tx<'_>) -> Result<Backlog, StoreError> {
    tx.look(|conn| {
        let (mails, first_due_at) = mails::table
            .select((diesel::dsl::count_star(), diesel::dsl::min(mails::due_at)))
            .get_result(conn)?;
        let failing = mails::table
            .filter(mails::attempts.gt(0))
            .count()
            .get_result(conn)?;
        Ok(Backlog {
            mails,
            failing,
            first_due_at,
        })
    })
}

/// Puts a notice among those that wait to be mailed.
///
/// # Errors
/// [`StoreError::Conflict`] if there is no such notice.
pub fn add_item(tx: &mut Tx<'_>, account_id: &str, notice_seq: i64) -> Result<(), StoreError> {
    tx.beside(|conn| {
        diesel::insert_into(mail_items::table)
            .values((
                mail_items::account_id.eq(account_id),
                mail_items::notice_seq.eq(notice_seq),
            ))
            .execute(conn)
    })?;
    Ok(())
}

/// Up to `limit` notices that wait to be mailed to an account, oldest first.
///
/// # Errors
/// Those of the database.
pub fn waiting(tx: &mut Tx<'_>, account_id: &str, limit: i64) -> Result<Vec<Notice>, StoreError> {
    tx.look(|conn| {
        mail_items::table
            .inner_join(notices::table.on(notices::seq.eq(mail_items::notice_seq)))
            .filter(mail_items::account_id.eq(account_id))
            .order(mail_items::notice_seq)
            .limit(limit)
            .select(Notice::as_select())
            .load(conn)
    })
}

/// Takes notices up to a position off those that wait; such as were made to be mailed only are gone.
///
/// # Errors
/// Those of the database.
pub fn mailed(tx: &mut Tx<'_>, account_id: &str, up_to: i64) -> Result<(), StoreError> {
    tx.beside(|conn| {
        diesel::delete(
            mail_items::table
                .filter(mail_items::account_id.eq(account_id))
                .filter(mail_items::notice_seq.le(up_to)),
        )
        .execute(conn)
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::notices::{self, NewNotice};
    use crate::testing::within;

    #[test]
    fn mails_wait_and_are_taken_off() {
        within(|tx| {
            let notice = NewNotice {
                account_id: "ada".to_owned(),
                source: "event:1".to_owned(),
                kind: "price".to_owned(),
                title: "t".to_owned(),
                body: String::new(),
                link: "/".to_owned(),
                at: 1,
                listed: false,
            };
            let seq = notices::add(tx, &notice)?.unwrap();
            add_item(tx, "ada", seq)?;
            queue(tx, "ada", "notices", 9)?;
            queue(tx, "ada", "notices", 3)?;
            let mail = due(tx, 9, 5)?.remove(0);
            assert_eq!((mail.due_at, mail.attempts), (9, 0));
            let failed = Mail {
                attempts: 1,
                due_at: 20,
                last_error: Some("no contact".to_owned()),
                ..mail
            };
            put(tx, &failed)?;
            assert_eq!(due(tx, 19, 5)?, []);
            let expected = Backlog {
                mails: 1,
                failing: 1,
                first_due_at: Some(20),
            };
            assert_eq!(backlog(tx)?, expected);
            assert_eq!(waiting(tx, "ada", 5)?[0].seq, seq);
            mailed(tx, "ada", seq)?;
            assert_eq!(waiting(tx, "ada", 5)?, []);
            unqueue(tx, "ada", "notices")?;
            assert_eq!(backlog(tx)?, Backlog::default());
            forget(tx, "ada")?;
            Ok(())
        })
        .unwrap();
    }
}
