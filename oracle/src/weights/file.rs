//! The file that weights travel in: magic, version, length and checksum before a head in JSON and the tables.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Cold, Family, ReaderHead, Space, Table, Weights};
use crate::domain::{Domain, SEEN_BLOCKS};
use crate::error::WeightsError;
use crate::expert::Calibration;
use crate::reader::Widths;

/// First bytes of the lexical judge's weights.
const LEXICAL: &[u8; 8] = b"PLUMBLEX";
/// First bytes of the weights of heads on a model's features.
const HEADS: &[u8; 8] = b"PLUMBHED";
/// Version of the format and of the features; either changing makes old weights meaningless.
const LEXICAL_VERSION: u32 = 3;
const HEADS_VERSION: u32 = 1;
/// magic, version, payload length, BLAKE3 of the payload.
const HEADER_BYTES: usize = 8 + 4 + 8 + 32;
/// Most columns of a dense part.
const MOST_COLUMNS: usize = 1 << 16;

/// A finite number as its IEEE 754 bits: decimal text need not come back as the number it was, and the file is checksummed.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(into = "u64", try_from = "u64")]
struct Exact(f64);

impl From<Exact> for u64 {
    fn from(number: Exact) -> Self {
        number.0.to_bits()
    }
}

impl TryFrom<u64> for Exact {
    type Error = &'static str;

    fn try_from(bits: u64) -> Result<Self, Self::Error> {
        let number = f64::from_bits(bits);
        if number.is_finite() {
            Ok(Self(number))
        } else {
            Err("a number that is not finite")
        }
    }
}

fn exact((a, b): (f64, f64)) -> (Exact, Exact) {
    (Exact(a), Exact(b))
}

/// What a table or a domain needs besides its bytes.
#[derive(Serialize, Deserialize)]
struct TableHead {
    scale: Exact,
    novelty: (Exact, Exact),
    length: (Exact, Exact),
}

#[derive(Serialize, Deserialize)]
struct FamilyHead {
    name: String,
    head: TableHead,
    intercept: Exact,
    slope: Exact,
    kinds: BTreeMap<String, (Exact, Exact)>,
    cold_coefficient: Exact,
    prior_log_odds: Exact,
    cases: u32,
}

/// The model that heads were fitted on.
#[derive(Serialize, Deserialize)]
struct ReaderPart {
    name: String,
    version: String,
    content: usize,
    context: usize,
    extra: usize,
}

/// The JSON part of the payload; the tables follow it, the shared one first.
#[derive(Serialize, Deserialize)]
struct Head {
    attribution: String,
    /// log₂ of the buckets; 0 for heads.
    bits: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reader: Option<ReaderPart>,
    cold: TableHead,
    cold_slope: Exact,
    families: Vec<FamilyHead>,
}

impl FamilyHead {
    fn of(name: &str, family: &Family) -> Self {
        let calibration = &family.calibration;
        Self {
            name: name.to_owned(),
            head: table_head(&family.table, &family.domain),
            intercept: Exact(calibration.intercept),
            slope: Exact(calibration.slope),
            kinds: calibration
                .kinds
                .iter()
                .map(|(kind, pair)| (kind.clone(), exact(*pair)))
                .collect(),
            cold_coefficient: Exact(family.cold_coefficient),
            prior_log_odds: Exact(family.prior_log_odds),
            cases: family.cases,
        }
    }

    fn with(self, table: Table, domain: Domain) -> (String, Family) {
        let family = Family {
            table,
            domain,
            calibration: Calibration {
                intercept: self.intercept.0,
                slope: self.slope.0,
                kinds: self
                    .kinds
                    .into_iter()
                    .map(|(kind, (a, b))| (kind, (a.0, b.0)))
                    .collect(),
            },
            cold_coefficient: self.cold_coefficient.0,
            prior_log_odds: self.prior_log_odds.0,
            cases: self.cases,
        };
        (self.name, family)
    }
}

impl Weights {
    /// The file form: magic, version, payload length, BLAKE3 of the payload, payload.
    pub fn to_bytes(&self) -> Vec<u8> {
        let head = Head {
            attribution: self.attribution.clone(),
            bits: match self.space {
                Space::Hashed { bits } => bits,
                Space::Dense(_) => 0,
            },
            reader: ReaderPart::of(&self.space),
            cold: table_head(&self.cold.table, &self.cold.domain),
            cold_slope: Exact(self.cold.slope),
            families: self
                .families
                .iter()
                .map(|(name, family)| FamilyHead::of(name, family))
                .collect(),
        };
        // Every key in the head is a string, so it always serialises.
        let json = serde_json::to_vec(&head).unwrap_or_default();
        let mut payload = (json.len() as u32).to_le_bytes().to_vec();
        payload.extend(&json);
        let (full, shared) = sizes(&self.space);
        put_table(&mut payload, &self.cold.table, &self.cold.domain, shared);
        for family in self.families.values() {
            put_table(&mut payload, &family.table, &family.domain, full);
        }
        let (magic, version) = match self.space {
            Space::Hashed { .. } => (LEXICAL, LEXICAL_VERSION),
            Space::Dense(_) => (HEADS, HEADS_VERSION),
        };
        let mut file = magic.to_vec();
        file.extend(version.to_le_bytes());
        file.extend((payload.len() as u64).to_le_bytes());
        file.extend(blake3::hash(&payload).as_bytes());
        file.extend(payload);
        file
    }

    /// Reads the file form. Errors: [`WeightsError`] for anything but exactly what [`Weights::to_bytes`] writes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, WeightsError> {
        let (payload, dense) = checked_payload(bytes)?;
        let mut cursor = Cursor(payload);
        let length = cursor.take(4)?;
        let length = u32::from_le_bytes([length[0], length[1], length[2], length[3]]) as usize;
        let head: Head = serde_json::from_slice(cursor.take(length)?)
            .map_err(|error| WeightsError::Malformed(error.to_string()))?;
        let space = space_of(&head, dense)?;
        let (full, shared) = sizes(&space);
        let (table, domain) = cursor.table(&head.cold, shared, dense)?;
        let cold = Cold {
            table,
            domain,
            slope: head.cold_slope.0,
        };
        let mut families = BTreeMap::new();
        for family in head.families {
            let (table, domain) = cursor.table(&family.head, full, dense)?;
            let (name, family) = family.with(table, domain);
            families.insert(name, family);
        }
        if !cursor.0.is_empty() {
            return Err(WeightsError::Malformed(format!(
                "{} bytes too many",
                cursor.0.len()
            )));
        }
        Ok(Self {
            space,
            families,
            cold,
            attribution: head.attribution,
        })
    }
}

impl ReaderPart {
    fn of(space: &Space) -> Option<Self> {
        match space {
            Space::Hashed { .. } => None,
            Space::Dense(head) => Some(Self {
                name: head.name.clone(),
                version: head.version.clone(),
                content: head.widths.content,
                context: head.widths.context,
                extra: head.widths.extra,
            }),
        }
    }
}

/// The space that a head names, with its sizes checked.
fn space_of(head: &Head, dense: bool) -> Result<Space, WeightsError> {
    let malformed = |reason: String| Err(WeightsError::Malformed(reason));
    let Some(reader) = head.reader.as_ref().filter(|_| dense) else {
        if dense || !(8..=24).contains(&head.bits) {
            return malformed(format!("{} bits of hashing", head.bits));
        }
        return Ok(Space::Hashed { bits: head.bits });
    };
    let widths = Widths {
        content: reader.content,
        context: reader.context,
        extra: reader.extra,
    };
    let most = [widths.content, widths.context, widths.extra];
    if most.into_iter().any(|width| width > MOST_COLUMNS) || widths.content == 0 {
        return malformed(format!("{most:?} columns"));
    }
    Ok(Space::Dense(ReaderHead {
        name: reader.name.clone(),
        version: reader.version.clone(),
        widths,
    }))
}

/// Columns of the tables of experts, and of the one that carries over.
fn sizes(space: &Space) -> (usize, usize) {
    match space {
        Space::Hashed { bits } => (1 << bits, 1 << bits),
        Space::Dense(head) => (head.widths.full(), head.widths.shared()),
    }
}

/// The payload, once magic, version, length and checksum hold, and whether it is of heads.
fn checked_payload(bytes: &[u8]) -> Result<(&[u8], bool), WeightsError> {
    let magic = bytes.get(..8).unwrap_or(bytes);
    let dense = HEADS.starts_with(magic) && !LEXICAL.starts_with(magic);
    if !(dense || LEXICAL.starts_with(magic)) || magic.is_empty() {
        return Err(WeightsError::WrongMagic);
    }
    let expected = if dense {
        HEADS_VERSION
    } else {
        LEXICAL_VERSION
    };
    let Some((header, payload)) = bytes.split_at_checked(HEADER_BYTES) else {
        return Err(WeightsError::Truncated {
            have: bytes.len(),
            need: HEADER_BYTES,
        });
    };
    let found = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
    if found != expected {
        return Err(WeightsError::WrongVersion { found, expected });
    }
    let mut length = [0_u8; 8];
    length.copy_from_slice(&header[12..20]);
    let need = usize::try_from(u64::from_le_bytes(length)).unwrap_or(usize::MAX);
    if payload.len() < need {
        return Err(WeightsError::Truncated {
            have: bytes.len(),
            need: need.saturating_add(HEADER_BYTES),
        });
    }
    if payload.len() > need || blake3::hash(payload).as_bytes() != &header[20..52] {
        return Err(WeightsError::Checksum);
    }
    Ok((payload, dense))
}

fn table_head(table: &Table, domain: &Domain) -> TableHead {
    let scale = match table {
        Table::Coded { scale, .. } => *scale,
        Table::Plain(_) => 1.0,
    };
    TableHead {
        scale: Exact(f64::from(scale)),
        novelty: exact(domain.novelty),
        length: exact(domain.length),
    }
}

/// Writes a table and the words seen; what is not there as zeros.
fn put_table(payload: &mut Vec<u8>, table: &Table, domain: &Domain, size: usize) {
    match table {
        Table::Coded { values, .. } => {
            let values = values.iter().map(|v| v.to_le_bytes()[0]);
            payload.extend(values.chain(std::iter::repeat(0)).take(size));
        }
        Table::Plain(weights) => {
            let weights = weights.iter().copied().chain(std::iter::repeat(0.0));
            payload.extend(weights.take(size).flat_map(f32::to_le_bytes));
        }
    }
    let seen = domain.seen.iter().copied().chain(std::iter::repeat(0));
    payload.extend(seen.take(SEEN_BLOCKS).flat_map(u64::to_le_bytes));
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], WeightsError> {
        let (taken, rest) = self
            .0
            .split_at_checked(count)
            .ok_or(WeightsError::Truncated {
                have: self.0.len(),
                need: count,
            })?;
        self.0 = rest;
        Ok(taken)
    }

    fn table(
        &mut self,
        head: &TableHead,
        size: usize,
        dense: bool,
    ) -> Result<(Table, Domain), WeightsError> {
        let table = if dense {
            Table::Plain(self.floats(size)?)
        } else {
            let bytes = self.take(size)?.iter();
            Table::Coded {
                scale: head.scale.0 as f32,
                values: bytes.map(|b| i8::from_le_bytes([*b])).collect(),
            }
        };
        let seen = self
            .take(8 * SEEN_BLOCKS)?
            .chunks_exact(8)
            .map(|chunk| {
                let mut block = [0_u8; 8];
                block.copy_from_slice(chunk);
                u64::from_le_bytes(block)
            })
            .collect();
        let domain = Domain {
            seen,
            novelty: (head.novelty.0.0, head.novelty.1.0),
            length: (head.length.0.0, head.length.1.0),
        };
        Ok((table, domain))
    }

    /// Finite numbers of four bytes.
    fn floats(&mut self, count: usize) -> Result<Vec<f32>, WeightsError> {
        let values: Vec<f32> = self
            .take(4 * count)?
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        if values.iter().all(|value| value.is_finite()) {
            Ok(values)
        } else {
            Err(WeightsError::Malformed("a weight is not finite".to_owned()))
        }
    }
}
