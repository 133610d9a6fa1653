//! SparseLoCo's payload: of every chunk the 64th part with the largest
//! magnitudes, each value one of four levels of its group.
//!
//! Selected values of a group have mean `m` and standard deviation `σ`. Four
//! bins of equal width cover `m ± 3σ` (the outer ones are open), and a value
//! is sent as the number of its bin. The receiver puts the mean of the bin's
//! values in its place, or the bin's centre where it was empty.
//!
//! ```text
//!  0  "PLMB"                        4 bytes
//!  4  version 1, kind 4, 0, 0       4
//!  8  values of the model          u64 LE
//! 16  hash of the shapes            32
//! 48  per group: 4 levels        f32 LE, ascending
//!     per chunk: kept indices      12 bits each, ascending, then
//!                their bins         2 bits each, then zeros to a whole byte
//! ```
//!
//! Bits are filled from the lowest of each byte up. A chunk of 4,096 values
//! takes 64 × 14 = 896 bits, against 131,072 as `f32`.

use super::dense::{MAGIC, PayloadError, VERSION, VectorKind};
use super::geometry::{Chunk, Geometry};

const HEADER: usize = 48;
const LEVELS: usize = 4;
const INDEX_BITS: u32 = 12;
const BIN_BITS: u32 = 2;

/// Selected positions with their quantised values, in the order of the wire.
#[derive(Debug, Clone, PartialEq)]
pub struct SparseDelta {
    values: usize,
    /// Levels by group.
    levels: Vec<[f32; LEVELS]>,
    /// Entries by group: position in the flat vector, index in the chunk, bin.
    groups: Vec<Vec<Entry>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    position: usize,
    index: u16,
    bin: u8,
}

impl SparseDelta {
    /// Selects and quantises `delta`, one finite value per parameter.
    pub(super) fn select(geometry: &Geometry, delta: &[f32]) -> Self {
        let mut levels = Vec::with_capacity(geometry.groups().len());
        let mut groups = Vec::with_capacity(geometry.groups().len());
        for chunks in geometry.groups() {
            let mut entries = Vec::new();
            for chunk in chunks {
                select_chunk(chunk, delta, &mut entries);
            }
            levels.push(quantise(delta, &mut entries));
            groups.push(entries);
        }
        Self {
            values: delta.len(),
            levels,
            groups,
        }
    }

    /// Positions and values, by group and chunk.
    pub fn entries(&self) -> impl Iterator<Item = (usize, f32)> + '_ {
        self.groups
            .iter()
            .zip(&self.levels)
            .flat_map(|(entries, levels)| {
                entries
                    .iter()
                    .map(|entry| (entry.position, levels[usize::from(entry.bin)]))
            })
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.groups.iter().map(Vec::len).sum()
    }

    /// Never: every chunk sends something.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One value per parameter, zero where nothing was sent.
    pub fn to_dense(&self) -> Vec<f32> {
        let mut dense = vec![0.0; self.values];
        for (position, value) in self.entries() {
            dense[position] = value;
        }
        dense
    }
}

/// The chunk's largest magnitudes in order of index; of equal ones the first.
fn select_chunk(chunk: &Chunk, delta: &[f32], entries: &mut Vec<Entry>) {
    let mut order: Vec<Entry> = chunk
        .positions()
        .zip(0_u16..)
        .map(|(position, index)| Entry {
            position,
            index,
            bin: 0,
        })
        .collect();
    let kept = chunk.kept();
    if kept < order.len() {
        order.select_nth_unstable_by(kept - 1, |a, b| {
            let larger = delta[b.position].abs().total_cmp(&delta[a.position].abs());
            larger.then(a.index.cmp(&b.index))
        });
        order.truncate(kept);
    }
    order.sort_unstable_by_key(|entry| entry.index);
    entries.extend(order);
}

/// Puts every entry into its bin and gives the levels of the bins.
fn quantise(delta: &[f32], entries: &mut [Entry]) -> [f32; LEVELS] {
    let count = entries.len().max(1) as f64;
    let value = |entry: &Entry| f64::from(delta[entry.position]);
    let mean = entries.iter().map(value).sum::<f64>() / count;
    let variance = entries
        .iter()
        .map(|e| (value(e) - mean).powi(2))
        .sum::<f64>()
        / count;
    let width = 6.0 * variance.sqrt() / LEVELS as f64;
    let mut sums = [(0.0_f64, 0_u32); LEVELS];
    for entry in entries.iter_mut() {
        let bin = if width > 0.0 {
            // Below zero saturates to the first bin.
            let number = ((value(entry) - mean) / width + LEVELS as f64 / 2.0).floor();
            (number as usize).min(LEVELS - 1)
        } else {
            0
        };
        entry.bin = bin as u8;
        sums[bin].0 += value(entry);
        sums[bin].1 += 1;
    }
    let mut levels = [0.0_f32; LEVELS];
    let mut least = f32::NEG_INFINITY;
    for (bin, level) in levels.iter_mut().enumerate() {
        let (sum, members) = sums[bin];
        let centre = mean + width * (bin as f64 + 0.5 - LEVELS as f64 / 2.0);
        let exact = if members > 0 {
            sum / f64::from(members)
        } else {
            centre
        };
        // Rounding to single precision may not change the order.
        *level = (exact as f32).max(least).clamp(f32::MIN, f32::MAX);
        least = *level;
    }
    levels
}

/// Length of every payload of this geometry.
pub fn wire_bytes(geometry: &Geometry) -> usize {
    let chunks: usize = geometry
        .groups()
        .iter()
        .flatten()
        .map(Chunk::wire_bytes)
        .sum();
    HEADER + 4 * LEVELS * geometry.groups().len() + chunks
}

/// The payload of `sent`, which was selected by the same geometry.
pub fn encode(geometry: &Geometry, sent: &SparseDelta) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(wire_bytes(geometry));
    bytes.extend_from_slice(&header(geometry));
    for level in sent.levels.iter().flatten() {
        bytes.extend_from_slice(&level.to_le_bytes());
    }
    for (chunks, entries) in geometry.groups().iter().zip(&sent.groups) {
        let mut rest = entries.as_slice();
        for chunk in chunks {
            let (mine, others) = rest.split_at(chunk.kept().min(rest.len()));
            rest = others;
            let mut bits = BitWriter::new(&mut bytes);
            mine.iter()
                .for_each(|e| bits.push(u32::from(e.index), INDEX_BITS));
            mine.iter()
                .for_each(|e| bits.push(u32::from(e.bin), BIN_BITS));
            bits.finish();
        }
    }
    bytes
}

/// Reads a payload for a model cut by `geometry`.
///
/// # Errors
/// [`PayloadError::Format`] for another version, kind, model, shape or length;
/// [`PayloadError::NotFinite`] for a level that is no number;
/// [`PayloadError::NotCanonical`] for indices or levels out of order or out of
/// range, and for bits after the last value.
pub fn decode(geometry: &Geometry, bytes: &[u8]) -> Result<SparseDelta, PayloadError> {
    let wrong = PayloadError::Format(VectorKind::SparseDelta);
    if bytes.len() != wire_bytes(geometry) || bytes[..HEADER] != header(geometry) {
        return Err(wrong);
    }
    let (levels, mut body) = bytes[HEADER..].split_at(4 * LEVELS * geometry.groups().len());
    let levels = levels
        .chunks_exact(4 * LEVELS)
        .enumerate()
        .map(|(group, bytes)| read_levels(group, bytes))
        .collect::<Result<Vec<_>, _>>()?;
    let mut groups = Vec::with_capacity(geometry.groups().len());
    for chunks in geometry.groups() {
        let mut entries = Vec::with_capacity(chunks.iter().map(Chunk::kept).sum());
        for chunk in chunks {
            let (mine, rest) = body.split_at(chunk.wire_bytes());
            body = rest;
            read_chunk(chunk, mine, &mut entries)?;
        }
        groups.push(entries);
    }
    Ok(SparseDelta {
        values: geometry.values(),
        levels,
        groups,
    })
}

fn header(geometry: &Geometry) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..4].copy_from_slice(MAGIC);
    header[4] = VERSION;
    header[5] = VectorKind::SparseDelta as u8;
    header[8..16].copy_from_slice(&(geometry.values() as u64).to_le_bytes());
    header[16..].copy_from_slice(&geometry.digest().0);
    header
}

fn read_levels(group: usize, bytes: &[u8]) -> Result<[f32; LEVELS], PayloadError> {
    let mut levels = [0.0_f32; LEVELS];
    for (level, four) in levels.iter_mut().zip(bytes.chunks_exact(4)) {
        *level = f32::from_le_bytes([four[0], four[1], four[2], four[3]]);
    }
    if levels.iter().any(|level| !level.is_finite()) {
        return Err(PayloadError::NotFinite(group));
    }
    if levels.windows(2).any(|pair| pair[0] > pair[1]) {
        return Err(PayloadError::NotCanonical);
    }
    Ok(levels)
}

fn read_chunk(chunk: &Chunk, bytes: &[u8], entries: &mut Vec<Entry>) -> Result<(), PayloadError> {
    let mut bits = BitReader::new(bytes);
    let first = entries.len();
    let mut positions = chunk.positions().enumerate();
    for _ in 0..chunk.kept() {
        let wanted = bits.take(INDEX_BITS) as usize;
        // Ascending indices only ever move forward; anything else runs dry.
        let (index, position) = positions
            .find(|(index, _)| *index >= wanted)
            .filter(|(index, _)| *index == wanted)
            .ok_or(PayloadError::NotCanonical)?;
        entries.push(Entry {
            position,
            index: index as u16,
            bin: 0,
        });
    }
    for entry in &mut entries[first..] {
        entry.bin = bits.take(BIN_BITS) as u8;
    }
    if bits.rest_is_zero() {
        Ok(())
    } else {
        Err(PayloadError::NotCanonical)
    }
}

struct BitWriter<'a> {
    bytes: &'a mut Vec<u8>,
    held: u32,
    count: u32,
}

impl<'a> BitWriter<'a> {
    fn new(bytes: &'a mut Vec<u8>) -> Self {
        Self {
            bytes,
            held: 0,
            count: 0,
        }
    }

    /// The low `width ≤ 16` bits of `value`.
    fn push(&mut self, value: u32, width: u32) {
        self.held |= value << self.count;
        self.count += width;
        while self.count >= 8 {
            self.bytes.push(self.held as u8);
            self.held >>= 8;
            self.count -= 8;
        }
    }

    fn finish(self) {
        if self.count > 0 {
            self.bytes.push(self.held as u8);
        }
    }
}

struct BitReader<'a> {
    bytes: std::slice::Iter<'a, u8>,
    held: u32,
    count: u32,
}

impl<'a> BitReader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes: bytes.iter(),
            held: 0,
            count: 0,
        }
    }

    /// The next `width ≤ 16` bits; zeros after the end.
    fn take(&mut self, width: u32) -> u32 {
        while self.count < width {
            let byte = self.bytes.next().copied().unwrap_or(0);
            self.held |= u32::from(byte) << self.count;
            self.count += 8;
        }
        let value = self.held & ((1 << width) - 1);
        self.held >>= width;
        self.count -= width;
        value
    }

    fn rest_is_zero(self) -> bool {
        self.held == 0 && self.bytes.as_slice().iter().all(|byte| *byte == 0)
    }
}

#[cfg(test)]
#[path = "sparse_tests.rs"]
mod tests;
