//! Members of a zip archive, in memory and within bounds. Names are only compared; nothing is
//! written anywhere, so where they point does not matter.

use std::io::{Cursor, Read};

use flate2::Crc;
use flate2::read::DeflateDecoder;
use ruzstd::decoding::StreamingDecoder;
use zip::{CompressionMethod, ZipArchive};

use super::{ImportError, malformed};

/// Largest member, unpacked.
const MAX_MEMBER_BYTES: usize = 64 * 1024 * 1024;
/// Largest sum over the members that are read, unpacked.
const MAX_TOTAL_BYTES: usize = 256 * 1024 * 1024;
/// Most members.
const MAX_MEMBERS: usize = 100_000;
/// Most memory that a compressed member may ask its reader for.
const MAX_WINDOW_BYTES: u64 = 32 * 1024 * 1024;

/// Whether the bytes are a zip archive.
pub(super) fn is_archive(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

/// An archive, with what may still be unpacked of it.
pub(super) struct Archive<'a> {
    zip: ZipArchive<Cursor<&'a [u8]>>,
    left: usize,
}

impl<'a> Archive<'a> {
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self, ImportError> {
        let zip = ZipArchive::new(Cursor::new(bytes))
            .map_err(|error| malformed("the archive", format!("{error}; was it copied whole?")))?;
        if zip.len() > MAX_MEMBERS {
            return Err(malformed(
                "the archive",
                format!("more than {MAX_MEMBERS} members"),
            ));
        }
        Ok(Self {
            zip,
            left: MAX_TOTAL_BYTES,
        })
    }

    /// Names of the members, in the order of the archive.
    pub(super) fn names(&mut self) -> Result<Vec<String>, ImportError> {
        let mut names = Vec::with_capacity(self.zip.len());
        for at in 0..self.zip.len() {
            let place = || format!("member {at}");
            let member = self.zip.by_index_raw(at);
            let member = member.map_err(|error| malformed(place(), error))?;
            let name = member.name().map_err(|error| malformed(place(), error))?;
            names.push(name.into_owned());
        }
        Ok(names)
    }

    /// The content of a member, checked against its sum.
    pub(super) fn read(&mut self, at: usize, name: &str) -> Result<Vec<u8>, ImportError> {
        let wrong = |why: String| malformed(format!("member {name}"), why);
        let member = self.zip.by_index_raw(at);
        let member = member.map_err(|error| wrong(error.to_string()))?;
        if member.encrypted() {
            return Err(wrong("is encrypted".to_owned()));
        }
        let limit = MAX_MEMBER_BYTES.min(self.left);
        let (method, sum) = (member.compression(), member.crc32());
        let content = unpack(member, method, limit).map_err(|why| wrong(why.to_string()))?;
        if content.len() > limit {
            return Err(ImportError::TooLarge {
                what: format!("member {name}, unpacked,"),
                limit,
            });
        }
        let mut found = Crc::new();
        found.update(&content);
        if found.sum() != sum {
            return Err(wrong("does not have the sum that it should".to_owned()));
        }
        self.left -= content.len();
        Ok(content)
    }
}

/// Unpacks at most one byte more than `limit`.
fn unpack(
    packed: impl Read,
    method: CompressionMethod,
    limit: usize,
) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let bound = limit as u64 + 1;
    let mut content = Vec::new();
    match method {
        CompressionMethod::Stored => packed.take(bound).read_to_end(&mut content)?,
        CompressionMethod::DEFLATE => DeflateDecoder::new(packed)
            .take(bound)
            .read_to_end(&mut content)?,
        CompressionMethod::ZSTD => zstd(packed, limit, &mut content)?,
        other => return Err(format!("is packed by a method not known here ({other})").into()),
    };
    Ok(content)
}

/// Frame after frame, as long as there is input: long members have several.
fn zstd(
    mut packed: impl Read,
    limit: usize,
    content: &mut Vec<u8>,
) -> Result<usize, Box<dyn std::error::Error>> {
    // A frame that unpacks to nothing makes no progress towards the bound, so what is packed has one too.
    let mut bytes = Vec::new();
    packed.by_ref().take(limit as u64).read_to_end(&mut bytes)?;
    let mut rest = bytes.as_slice();
    while !rest.is_empty() && content.len() <= limit {
        let mut frame = StreamingDecoder::new_with_max_window_size(&mut rest, MAX_WINDOW_BYTES)?;
        let room = (limit + 1 - content.len()) as u64;
        frame.by_ref().take(room).read_to_end(content)?;
    }
    Ok(content.len())
}
