//! Attachments: files by the hash of their content, and who brought them.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::BigInt;

use crate::schema::{attachment_owners, attachments};
use crate::{StoreError, Tx, found};

/// A file with its content.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = attachments)]
pub struct Attachment {
    /// BLAKE3 of the content, 64 hexadecimal digits.
    pub hash: String,
    /// Media type, as first declared.
    pub media_type: String,
    /// Bytes.
    pub size: i64,
    /// The content.
    pub data: Vec<u8>,
    /// When it was first brought, unix ms.
    pub created_at: i64,
}

/// A file without its content.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = attachments)]
pub struct About {
    /// BLAKE3 of the content, 64 hexadecimal digits.
    pub hash: String,
    /// Media type, as first declared.
    pub media_type: String,
    /// Bytes.
    pub size: i64,
}

/// Keeps a file, unless it is there, and notes that the account brought it.
///
/// # Errors
/// [`StoreError::Conflict`] if the account does not exist.
pub fn keep(tx: &mut Tx<'_>, row: &Attachment, account_id: &str) -> Result<(), StoreError> {
    tx.run(|conn| {
        diesel::insert_into(attachments::table)
            .values(row)
            .on_conflict(attachments::hash)
            .do_nothing()
            .execute(conn)
    })?;
    tx.run(|conn| {
        diesel::insert_into(attachment_owners::table)
            .values((
                attachment_owners::account_id.eq(account_id),
                attachment_owners::hash.eq(&row.hash),
                attachment_owners::size.eq(row.size),
                attachment_owners::created_at.eq(row.created_at),
            ))
            .on_conflict((attachment_owners::account_id, attachment_owners::hash))
            .do_nothing()
            .execute(conn)
    })?;
    Ok(())
}

/// The file with this hash.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn get(tx: &mut Tx<'_>, hash: &str) -> Result<Attachment, StoreError> {
    let row = tx.run(|conn| {
        attachments::table
            .find(hash)
            .select(Attachment::as_select())
            .get_result(conn)
            .optional()
    })?;
    found(row, "attachment", hash)
}

/// What is known of the file with this hash, without reading it.
///
/// # Errors
/// [`StoreError::NotFound`].
pub fn about(tx: &mut Tx<'_>, hash: &str) -> Result<About, StoreError> {
    let row = tx.run(|conn| {
        attachments::table
            .find(hash)
            .select(About::as_select())
            .get_result(conn)
            .optional()
    })?;
    found(row, "attachment", hash)
}

/// Whether the account brought this file before.
///
/// # Errors
/// Those of the database.
pub fn is_owner(tx: &mut Tx<'_>, account_id: &str, hash: &str) -> Result<bool, StoreError> {
    let row: Option<String> = tx.run(|conn| {
        attachment_owners::table
            .find((account_id, hash))
            .select(attachment_owners::hash)
            .get_result(conn)
            .optional()
    })?;
    Ok(row.is_some())
}

/// Bytes of all files that an account brought.
///
/// # Errors
/// Those of the database.
pub fn bytes_of(tx: &mut Tx<'_>, account_id: &str) -> Result<i64, StoreError> {
    tx.run(|conn| {
        attachment_owners::table
            .filter(attachment_owners::account_id.eq(account_id))
            .select(sql::<BigInt>("COALESCE(SUM(size), 0)"))
            .get_result(conn)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::testing::within;

    #[test]
    fn a_content_is_kept_once_and_counts_for_all_who_brought_it() {
        within(|tx| {
            let file = Attachment {
                hash: "h".to_owned(),
                media_type: "text/plain".to_owned(),
                size: 3,
                data: vec![0, 1, 255],
                created_at: 1,
            };
            keep(tx, &file, "ada")?;
            keep(tx, &file, "ada")?;
            let other = Attachment {
                media_type: "text/csv".to_owned(),
                ..file.clone()
            };
            keep(tx, &other, "bob")?;
            assert_eq!(get(tx, "h")?, file);
            assert_eq!(about(tx, "h")?.media_type, "text/plain");
            assert_eq!((bytes_of(tx, "ada")?, bytes_of(tx, "bob")?), (3, 3));
            assert!(is_owner(tx, "bob", "h")? && !is_owner(tx, "bob", "x")?);
            assert!(get(tx, "x").is_err() && about(tx, "x").is_err());
            assert!(keep(tx, &file, "nobody").is_err());
            Ok(())
        })
        .unwrap();
    }
}
