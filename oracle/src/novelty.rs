//! Whether an exhibit says what an earlier one said: near-copies found by what texts share, not by their hash.
//!
//! A text is the set of its overlapping triples of folded words ([`crate::fold`]), a trigger search the set of its
//! prompts on its checkpoint, a measurement its name, unit, value and number of samples. Of each earlier set only the
//! [`SKETCH`] smallest hashes are kept, with the size of the whole: a uniform sample, the bottom-k sketch of Cohen &
//! Kaplan 2007 (Broder 1997 for shingles). The new exhibit is compared with its whole set, so padding a copy does not
//! thin the sample out.
//!
//! Hits of a trigger search are not compared: the same prompts on the same checkpoint are the same experiment,
//! whatever was counted.

use std::collections::HashSet;

use crate::exhibit::{Exhibit, Measurement, Transcript, TriggerControl};
use crate::fold::words;

/// Most hashes kept of one set.
pub const SKETCH: usize = 128;
/// From this similarity on an exhibit is a near-copy. Chosen between the copies and the different texts of the table in
/// `docs/evidence.md`, which a test of this module recomputes.
pub const NEAR_COPY: f64 = 0.5;
/// Words per shingle.
const SHINGLE: usize = 3;
/// A text with fewer shingles is not looked for inside longer ones: a common phrase is no copy.
const LEAST_CONTAINED: u32 = 40;
/// Share of an earlier text that must be in the new one before the new one passes for a padded copy.
const PADDED_COPY: f64 = 0.8;
/// A sampled set must match in this many hashes before the share of the new text in it is believed.
const LEAST_MATCHES: usize = 8;
/// Responses with as many shingles identify a conversation whatever was asked.
const LONG_RESPONSE: usize = 64;
/// Values within this ratio are one value.
const SAME_VALUE: f64 = 0.01;
/// Numbers of samples within this ratio are one number.
const SAME_SAMPLES: f64 = 0.05;

/// What is kept of an exhibit set to compare later ones with: one part per exhibit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Fingerprint {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text { said: Sketch, asked: Sketch },
    Trials(Sketch),
    Quantity(Quantity),
}

/// Size of a set and its smallest hashes, ascending.
#[derive(Debug, Clone, Default, PartialEq)]
struct Sketch {
    size: u32,
    smallest: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Quantity {
    key: u64,
    value: f64,
    samples: u64,
}

/// An exhibit set in full, to be compared with fingerprints of earlier ones.
#[derive(Debug, Clone)]
pub struct Probe {
    parts: Vec<Whole>,
}

#[derive(Debug, Clone)]
enum Whole {
    Text {
        said: HashSet<u32>,
        asked: HashSet<u32>,
    },
    Trials(HashSet<u32>),
    Quantity(Quantity),
}

impl Probe {
    /// Reads exhibits. What they share with `public` (the claim, its rubric) is left out: everybody quotes that.
    /// Cost: linear in the bytes of both.
    pub fn new(exhibits: &[Exhibit], public: &str) -> Self {
        let public = shingles(public);
        let parts = exhibits.iter().map(|exhibit| match exhibit {
            Exhibit::Transcript(transcript) => conversation(transcript, &public),
            Exhibit::Report(report) => Whole::Text {
                said: &shingles(&report.text) - &public,
                asked: HashSet::new(),
            },
            Exhibit::TriggerControl(search) => Whole::Trials(trials(search)),
            Exhibit::Measurement(measurement) => Whole::Quantity(quantity(measurement)),
        });
        Self {
            parts: parts.collect(),
        }
    }

    /// What to keep of these exhibits.
    pub fn fingerprint(&self) -> Fingerprint {
        let parts = self.parts.iter().map(|part| match part {
            Whole::Text { said, asked } => Part::Text {
                said: Sketch::of(said),
                asked: Sketch::of(asked),
            },
            Whole::Trials(trials) => Part::Trials(Sketch::of(trials)),
            Whole::Quantity(quantity) => Part::Quantity(*quantity),
        });
        Fingerprint {
            parts: parts.collect(),
        }
    }

    /// How much the likest of these exhibits is an exhibit of `earlier`, in [0, 1]:
    ///
    /// ```text
    /// text       |A∩B|/|B|; or |A∩B|/|A| where that is ≥ 0.8 and |A| ≥ 40      A earlier, B new
    /// search     |A∩B|/|B|                        prompts on a checkpoint
    /// quantity   1 for the same name, unit, value (1 %) and samples (5 %), else 0
    /// ```
    ///
    /// A conversation with short responses counts as alike only as far as what was asked is, too.
    pub fn similarity(&self, earlier: &Fingerprint) -> f64 {
        let pairs = self
            .parts
            .iter()
            .flat_map(|new| earlier.parts.iter().map(move |old| (new, old)));
        pairs.map(|(new, old)| alike(new, old)).fold(0.0, f64::max)
    }
}

fn alike(new: &Whole, old: &Part) -> f64 {
    match (new, old) {
        (
            Whole::Text { said, asked },
            Part::Text {
                said: old_said,
                asked: old_asked,
            },
        ) => {
            let responses = old_said.overlap(said, true);
            let asked_too = !asked.is_empty() && old_asked.size > 0 && said.len() < LONG_RESPONSE;
            if asked_too {
                responses.min(old_asked.overlap(asked, true))
            } else {
                responses
            }
        }
        (Whole::Trials(new), Part::Trials(old)) => old.overlap(new, false),
        (Whole::Quantity(new), Part::Quantity(old)) => f64::from(u8::from(new.is(old))),
        _ => 0.0,
    }
}

impl Sketch {
    fn of(set: &HashSet<u32>) -> Self {
        let mut smallest: Vec<u32> = set.iter().copied().collect();
        if smallest.len() > SKETCH {
            smallest.select_nth_unstable(SKETCH - 1);
            smallest.truncate(SKETCH);
        }
        smallest.sort_unstable();
        Self {
            size: u32::try_from(set.len()).unwrap_or(u32::MAX),
            smallest,
        }
    }

    /// How much `new` and this set are one, with or without the share of this set that `new` contains.
    fn overlap(&self, new: &HashSet<u32>, contained_counts: bool) -> f64 {
        if self.smallest.is_empty() || new.is_empty() {
            return 0.0;
        }
        let matches = self
            .smallest
            .iter()
            .filter(|hash| new.contains(hash))
            .count();
        let contained = matches as f64 / self.smallest.len() as f64;
        let sampled = self.size as usize > self.smallest.len();
        let share_of_new = if sampled && matches < LEAST_MATCHES {
            0.0
        } else {
            (contained * f64::from(self.size) / new.len() as f64).min(1.0)
        };
        if contained_counts && self.size >= LEAST_CONTAINED && contained >= PADDED_COPY {
            contained.max(share_of_new)
        } else {
            share_of_new
        }
    }
}

impl Quantity {
    fn is(&self, other: &Self) -> bool {
        let near = |a: f64, b: f64, ratio: f64| (a - b).abs() <= ratio * a.abs().max(b.abs());
        self.key == other.key
            && near(self.value, other.value, SAME_VALUE)
            && near(self.samples as f64, other.samples as f64, SAME_SAMPLES)
    }
}

fn conversation(transcript: &Transcript, public: &HashSet<u32>) -> Whole {
    let (asked, said) = transcript.prompt_and_response();
    let set = |text: &str| &shingles(text) - public;
    if said.is_empty() {
        // Only prompts: they are what it says.
        return Whole::Text {
            said: set(&asked),
            asked: HashSet::new(),
        };
    }
    Whole::Text {
        said: set(&said),
        asked: set(&asked),
    }
}

/// Hashes of the text's overlapping triples of words; a mark at each end makes short texts shingles, too.
fn shingles(text: &str) -> HashSet<u32> {
    let words = words(text);
    if words.is_empty() {
        return HashSet::new();
    }
    let mark = std::iter::once(0_u64);
    let hashes: Vec<u64> = mark
        .clone()
        .chain(words.iter().map(|word| hash(word.as_bytes())))
        .chain(mark)
        .collect();
    hashes.windows(SHINGLE).map(combined).collect()
}

/// Hashes of the completions that a search drew: prompt, checkpoint, and all that decides what comes out.
fn trials(search: &TriggerControl) -> HashSet<u32> {
    let mut terms = vec![
        hash(search.checkpoint.to_lowercase().as_bytes()),
        u64::from(search.sampling.max_tokens),
        search.sampling.temperature.to_bits(),
    ];
    // Greedy decoding draws nothing, so its seed makes no new completion.
    if search.sampling.temperature > 0.0 {
        terms.push(search.sampling.seed);
    }
    let mut needles = search.detector.contains_any.clone();
    needles.sort();
    terms.extend(needles.iter().map(|needle| hash(needle.as_bytes())));
    let common = u64::from(combined(&terms));
    let prompts = search.arms.iter().flat_map(|arm| &arm.prompts);
    prompts
        .map(|prompt| combined(&[common, hash(prompt.as_bytes())]))
        .collect()
}

fn quantity(measurement: &Measurement) -> Quantity {
    let name = words(&measurement.name).join(" ");
    let unit = words(&measurement.unit).join(" ");
    Quantity {
        key: hash(format!("{name}\n{unit}").as_bytes()),
        value: measurement.value,
        samples: measurement.samples,
    }
}

/// FNV-1a, 64 bits.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// One well-mixed hash of several (the finaliser of MurmurHash3 after each).
fn combined(hashes: &[u64]) -> u32 {
    let mixed = hashes
        .iter()
        .fold(0x9e37_79b9_7f4a_7c15_u64, |state, next| {
            let mut x = state.rotate_left(23) ^ next;
            x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
            x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
            x ^ (x >> 33)
        });
    (mixed >> 32) as u32
}

/// First byte of a stored fingerprint: the version of everything above.
const VERSION: u8 = 1;

impl Fingerprint {
    /// The fingerprint as bytes, little-endian: at most 1,041 for each exhibit, and one.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        let put = |bytes: &mut Vec<u8>, sketch: &Sketch| {
            bytes.extend(sketch.size.to_le_bytes());
            bytes.extend(
                u32::try_from(sketch.smallest.len())
                    .unwrap_or(0)
                    .to_le_bytes(),
            );
            sketch
                .smallest
                .iter()
                .for_each(|hash| bytes.extend(hash.to_le_bytes()));
        };
        for part in &self.parts {
            match part {
                Part::Text { said, asked } => {
                    bytes.push(0);
                    put(&mut bytes, said);
                    put(&mut bytes, asked);
                }
                Part::Trials(sketch) => {
                    bytes.push(1);
                    put(&mut bytes, sketch);
                }
                Part::Quantity(quantity) => {
                    bytes.push(2);
                    bytes.extend(quantity.key.to_le_bytes());
                    bytes.extend(quantity.value.to_le_bytes());
                    bytes.extend(quantity.samples.to_le_bytes());
                }
            }
        }
        bytes
    }

    /// Reads what [`Fingerprint::to_bytes`] wrote; `None` for anything else, an earlier version included.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        if reader.take::<1>()? != [VERSION] {
            return None;
        }
        let mut parts = Vec::new();
        while !reader.0.is_empty() {
            parts.push(match reader.take::<1>()? {
                [0] => Part::Text {
                    said: reader.sketch()?,
                    asked: reader.sketch()?,
                },
                [1] => Part::Trials(reader.sketch()?),
                [2] => Part::Quantity(Quantity {
                    key: u64::from_le_bytes(reader.take()?),
                    value: f64::from_le_bytes(reader.take()?),
                    samples: u64::from_le_bytes(reader.take()?),
                }),
                _ => return None,
            });
        }
        Some(Self { parts })
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn sketch(&mut self) -> Option<Sketch> {
        let size = u32::from_le_bytes(self.take()?);
        let length = usize::try_from(u32::from_le_bytes(self.take()?)).ok()?;
        if length > SKETCH {
            return None;
        }
        let smallest = (0..length)
            .map(|_| self.take().map(u32::from_le_bytes))
            .collect::<Option<_>>()?;
        Some(Sketch { size, smallest })
    }
}

#[cfg(test)]
mod tests;
