//! Attachments: small files by the hash of their content. They are kept in the database, so
//! that a backup has them and no file is there without its row.

use plumbline_access::Action;
use plumbline_market::digest::Digest;
use plumbline_store::Tx;
use plumbline_store::attachments::{self, Attachment};

use crate::accounts::account_of;
use crate::context::Context;
use crate::error::if_found;
use crate::views::AttachmentView;
use crate::{Result, Service, ServiceError};

/// Largest file, bytes.
pub const MAX_ATTACHMENT: usize = 1024 * 1024;
/// Bytes that one account may bring in all.
const QUOTA: i64 = 20 * 1024 * 1024;

/// Media types that are taken, with how the content of the binary ones begins.
const TYPES: [(&str, Option<&[u8]>); 8] = [
    ("text/plain", None),
    ("text/markdown", None),
    ("text/csv", None),
    ("application/json", None),
    ("application/jsonl", None),
    ("image/png", Some(b"\x89PNG\r\n\x1a\n")),
    ("image/jpeg", Some(b"\xff\xd8\xff")),
    ("application/pdf", Some(b"%PDF-")),
];

/// A file as it was brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAttachment {
    /// Media type, one of a short list.
    pub media_type: String,
    /// The content.
    pub data: Vec<u8>,
}

impl Service {
    /// Keeps a file and answers with its hash; bringing it again changes nothing.
    ///
    /// Errors: `attachment-empty`, `attachment-too-large`, `attachment-type` for a type that is
    /// not taken or a content of another type, `attachment-quota`.
    pub fn attach(&self, ctx: &Context, media_type: &str, data: Vec<u8>) -> Result<AttachmentView> {
        self.allow(&ctx.actor, Action::AttachFile)?;
        let media_type = check(media_type, &data)?;
        let account = account_of(&ctx.actor)?;
        let row = Attachment {
            hash: Digest::of(&data).to_string(),
            media_type,
            size: data.len() as i64,
            data,
            created_at: 0,
        };
        self.write_once(ctx, move |tx, now| {
            let brought = attachments::is_owner(tx, &account, &row.hash)?;
            let held = attachments::bytes_of(tx, &account)?;
            if !brought && held.saturating_add(row.size) > QUOTA {
                return Err(ServiceError::refused(
                    "attachment-quota",
                    format!("an account brings at most {QUOTA} bytes; {held} are there"),
                ));
            }
            let row = Attachment {
                created_at: now,
                ..row
            };
            attachments::keep(tx, &row, &account)?;
            view_of(tx, &row.hash)
        })
    }

    /// A file by its hash.
    ///
    /// Errors: `not-found`, also for what is no hash.
    pub fn attachment(&self, ctx: &Context, hash: &str) -> Result<StoredAttachment> {
        self.allow(&ctx.actor, Action::ReadAttachment)?;
        let hash = hash.to_owned();
        self.read(move |tx| {
            let row = attachments::get(tx, &hash)?;
            Ok(StoredAttachment {
                media_type: row.media_type,
                data: row.data,
            })
        })
    }
}

/// The media type without its parameters, if the content may be of that type.
fn check(declared: &str, data: &[u8]) -> Result<String> {
    if data.is_empty() {
        return Err(ServiceError::invalid(
            "attachment-empty",
            "the file is empty",
        ));
    }
    if data.len() > MAX_ATTACHMENT {
        return Err(ServiceError::invalid(
            "attachment-too-large",
            format!("a file has at most {MAX_ATTACHMENT} bytes"),
        ));
    }
    let name = declared
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let wrong = |detail: String| Err(ServiceError::invalid("attachment-type", detail));
    let Some((media_type, begins)) = TYPES.iter().find(|(known, _)| *known == name) else {
        let known: Vec<&str> = TYPES.iter().map(|(name, _)| *name).collect();
        return wrong(format!("Content-Type is one of {}", known.join(", ")));
    };
    let fits = match begins {
        Some(begins) => data.starts_with(begins),
        // No text holds NUL, and no other file passes for one.
        None => std::str::from_utf8(data).is_ok_and(|text| !text.contains('\0')),
    };
    if !fits {
        return wrong(format!("the content is not {media_type}"));
    }
    Ok((*media_type).to_owned())
}

fn view_of(tx: &mut Tx, hash: &str) -> Result<AttachmentView> {
    let about = attachments::about(tx, hash)?;
    Ok(AttachmentView {
        hash: about.hash,
        media_type: about.media_type,
        size: about.size,
    })
}

/// The files that a submission names, as JSON. Errors: `unknown-attachment`, `duplicate-attachment`.
pub(crate) fn listed(tx: &mut Tx, hashes: &[String]) -> Result<String> {
    let mut views: Vec<AttachmentView> = Vec::with_capacity(hashes.len());
    for hash in hashes {
        if views.iter().any(|view| view.hash == *hash) {
            return Err(ServiceError::invalid(
                "duplicate-attachment",
                format!("{hash} is named twice"),
            ));
        }
        if if_found(attachments::about(tx, hash))?.is_none() {
            return Err(ServiceError::invalid(
                "unknown-attachment",
                "attachments names a hash that nobody has brought",
            ));
        }
        views.push(view_of(tx, hash)?);
    }
    serde_json::to_string(&views).map_err(ServiceError::internal)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_type_must_be_known_and_the_content_must_be_of_it() {
        let png = b"\x89PNG\r\n\x1a\nrest".as_slice();
        for (declared, data, fine) in [
            ("text/plain; charset=utf-8", b"hello".as_slice(), true),
            ("Application/JSON", b"{}".as_slice(), true),
            ("image/png", png, true),
            ("image/jpeg", png, false),
            ("text/plain", png, false),
            ("text/plain", b"a\0b".as_slice(), false),
            ("text/html", b"<p>".as_slice(), false),
            ("image/svg+xml", b"<svg/>".as_slice(), false),
            ("", b"x".as_slice(), false),
            ("text/plain\r\nX: y", b"x".as_slice(), false),
        ] {
            let checked = check(declared, data);
            assert_eq!(checked.is_ok(), fine, "{declared}");
            if let Err(error) = checked {
                assert_eq!(error.code(), "attachment-type");
            }
        }
        assert_eq!(
            check("text/plain", b"").unwrap_err().code(),
            "attachment-empty"
        );
        let large = vec![b'x'; MAX_ATTACHMENT + 1];
        assert_eq!(
            check("text/plain", &large).unwrap_err().code(),
            "attachment-too-large"
        );
    }
}
