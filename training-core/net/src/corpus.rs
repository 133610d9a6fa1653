//! A run's training data: named contributors, tokenised, as one endless list
//! of numbered sequences.
//!
//! Each *source* is one data contributor of the run with a weight. Sequence
//! `i` is a pure function of the data seed and `i`: the contributor is drawn
//! by weight, then
//!
//! - from a **packed** contributor (ordinary documents), a window of its token
//!   stream, documents being separated by the end-of-document token;
//! - from a contributor of **whole examples** (JSONL records with `"pad": true`),
//!   one example, whole, somewhere inside a window of packed text, so that
//!   short records are neither cut nor left without surroundings.
//!
//! Everything is held in memory as token ids, bounded by `max_bytes` of text
//! per source.

mod load;

use std::path::PathBuf;

use plumbline_training_core::draw::Draw;
use plumbline_training_core::trainer::Batch;
pub use plumbline_training_core::trainer::SequenceSource;
use serde::{Deserialize, Serialize};

pub use load::{Document, Limits, load_documents, registry_folder};

/// Why training data could not be had.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// A file or folder could not be read.
    #[error("cannot read {path}: {reason}")]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// A line of a JSONL file is not `{"text": …}`.
    #[error("{path}, line {line}: {reason}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Line number from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// There is no cargo registry on this machine.
    #[error(
        "no Rust sources under {0}: run `cargo fetch` in any project, set CARGO_HOME, \
         or name a folder, text or JSONL file as the corpus"
    )]
    NoRegistry(PathBuf),
    /// A source has no text.
    #[error("the source {0:?} holds no text")]
    Empty(String),
    /// A source does not fill one sequence.
    #[error("the source {name:?} holds {tokens} tokens, a sequence needs {least}")]
    TooShort {
        /// The source.
        name: String,
        /// Tokens it holds.
        tokens: usize,
        /// Tokens of one sequence.
        least: usize,
    },
    /// Sources, weights or sizes make no sense.
    #[error("{0}")]
    Invalid(String),
}

/// Where a contributor's text comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceData {
    /// The Rust sources that cargo has put on this machine.
    CargoRegistry,
    /// A folder (every UTF-8 file below it), a `.jsonl` file of
    /// `{"text": …, "pad": bool?}` records, or a text file.
    Path(PathBuf),
}

/// One data contributor of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceSpec {
    /// The contributor's name, unique in the run.
    pub name: String,
    /// Relative frequency of its sequences, `> 0` and finite.
    pub weight: f64,
    /// Its text.
    pub data: SourceData,
    /// Most text to take, bytes. From a larger source a sample is drawn.
    #[serde(default = "default_max_bytes")]
    pub max_bytes: u64,
}

fn default_max_bytes() -> u64 {
    4 << 20
}

impl SourceSpec {
    /// The default corpus under the name `registry`.
    pub fn registry() -> Self {
        Self {
            name: "registry".into(),
            weight: 1.0,
            data: SourceData::CargoRegistry,
            max_bytes: default_max_bytes(),
        }
    }

    /// A contributor of weight 1 from a path.
    pub fn path(name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            weight: 1.0,
            data: SourceData::Path(path.into()),
            max_bytes: default_max_bytes(),
        }
    }
}

/// A contributor's text before tokenisation.
#[derive(Debug, Clone)]
pub struct RawSource {
    /// The contributor's name.
    pub name: String,
    /// Its weight.
    pub weight: f64,
    /// Its documents.
    pub documents: Vec<Document>,
}

/// Reads every source.
///
/// # Errors
/// [`CorpusError`]; see there.
pub fn load_sources(specs: &[SourceSpec], seed: u64) -> Result<Vec<RawSource>, CorpusError> {
    if specs.is_empty() {
        return Err(CorpusError::Invalid(
            "a run needs at least one source".into(),
        ));
    }
    let mut sources: Vec<RawSource> = Vec::with_capacity(specs.len());
    for spec in specs {
        if !(spec.weight.is_finite() && spec.weight > 0.0) {
            let problem = format!("the weight of source {:?} must be positive", spec.name);
            return Err(CorpusError::Invalid(problem));
        }
        if sources.iter().any(|source| source.name == spec.name) {
            let problem = format!("two sources are named {:?}", spec.name);
            return Err(CorpusError::Invalid(problem));
        }
        let documents = load_documents(&spec.data, spec.max_bytes, seed)?;
        if documents.iter().all(|document| document.text.is_empty()) {
            return Err(CorpusError::Empty(spec.name.clone()));
        }
        sources.push(RawSource {
            name: spec.name.clone(),
            weight: spec.weight,
            documents,
        });
    }
    Ok(sources)
}

/// The tokenised corpus of a run.
#[derive(Debug, Serialize, Deserialize)]
pub struct Corpus {
    seed: u64,
    separator: u32,
    contributors: Vec<Contributor>,
    total_weight: f64,
    /// Indices of packed contributors, whose text surrounds whole examples.
    packed: Vec<usize>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Contributor {
    name: String,
    weight: f64,
    data: Tokens,
}

#[derive(Debug, Serialize, Deserialize)]
enum Tokens {
    Packed(Vec<u32>),
    Examples(Vec<Vec<u32>>),
}

impl Corpus {
    /// Tokenises `sources`; `separator` is the end-of-document token.
    ///
    /// # Errors
    /// [`CorpusError::Invalid`] when a source mixes whole examples with
    /// ordinary documents, or gives no tokens.
    pub fn tokenise(
        sources: Vec<RawSource>,
        seed: u64,
        separator: u32,
        encode: &dyn Fn(&str) -> Vec<u32>,
    ) -> Result<Self, CorpusError> {
        let mut contributors = Vec::with_capacity(sources.len());
        for source in sources {
            contributors.push(Contributor::tokenise(source, separator, encode)?);
        }
        let packed = (0..contributors.len())
            .filter(|&index| matches!(contributors[index].data, Tokens::Packed(_)))
            .collect();
        Ok(Self {
            seed,
            separator,
            total_weight: contributors.iter().map(|c| c.weight).sum(),
            contributors,
            packed,
        })
    }

    /// The corpus as nodes elsewhere fetch it (postcard).
    ///
    /// # Errors
    /// [`CorpusError::Invalid`]; it does not happen.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CorpusError> {
        postcard::to_stdvec(self).map_err(|error| CorpusError::Invalid(error.to_string()))
    }

    /// Reads what [`Corpus::to_bytes`] gave, for a model of `vocabulary` ids.
    ///
    /// # Errors
    /// [`CorpusError::Invalid`] for rubbish and for ids that the model does not know.
    pub fn from_bytes(bytes: &[u8], vocabulary: usize) -> Result<Self, CorpusError> {
        let corpus: Self =
            postcard::from_bytes(bytes).map_err(|e| CorpusError::Invalid(e.to_string()))?;
        let known = |id: &u32| (*id as usize) < vocabulary;
        let fine = |contributor: &Contributor| {
            let weight = contributor.weight;
            let tokens = match &contributor.data {
                Tokens::Packed(stream) => !stream.is_empty() && stream.iter().all(known),
                Tokens::Examples(all) => !all.is_empty() && all.iter().flatten().all(known),
            };
            tokens && weight.is_finite() && weight > 0.0
        };
        let count = corpus.contributors.len();
        let packed = corpus.packed.iter().all(|&index| index < count);
        let whole = count > 0 && packed && known(&corpus.separator);
        if !whole || !corpus.contributors.iter().all(fine) || !corpus.total_weight.is_finite() {
            return Err(CorpusError::Invalid("the corpus makes no sense".into()));
        }
        Ok(corpus)
    }

    /// Names, weights (summing to 1) and token counts of the contributors.
    pub fn contributors(&self) -> impl Iterator<Item = (&str, f64, usize)> {
        self.contributors.iter().map(|contributor| {
            let tokens = match &contributor.data {
                Tokens::Packed(stream) => stream.len(),
                Tokens::Examples(examples) => examples.iter().map(Vec::len).sum(),
            };
            let weight = contributor.weight / self.total_weight;
            (contributor.name.as_str(), weight, tokens)
        })
    }

    /// Checks that every contributor fills at least one sequence.
    ///
    /// # Errors
    /// [`CorpusError::TooShort`].
    pub fn check_length(&self, length: usize) -> Result<(), CorpusError> {
        let least = length + 1;
        let short = self.contributors().find(|(_, _, tokens)| *tokens < least);
        short.map_or(Ok(()), |(name, _, tokens)| {
            Err(CorpusError::TooShort {
                name: name.to_owned(),
                tokens,
                least,
            })
        })
    }

    /// The contributor that sequence `index` is drawn from, and its tokens.
    pub fn sequence(&self, index: u64, length: usize) -> (&str, Vec<u32>) {
        let mut draw = Draw::new(
            "plumbline 2026 training sequence v1",
            &[&self.seed.to_le_bytes(), &index.to_le_bytes()],
        );
        let all = 0..self.contributors.len();
        let contributor = &self.contributors[self.pick(all, &mut draw)];
        let mut row = Vec::with_capacity(length + 1);
        match &contributor.data {
            Tokens::Packed(stream) => window(stream, length + 1, &mut draw, &mut row),
            Tokens::Examples(examples) => {
                let example = &examples[draw.below(examples.len() as u64) as usize];
                self.surround(example, length + 1, &mut draw, &mut row);
            }
        }
        (&contributor.name, row)
    }

    /// An index drawn from `among` by weight.
    fn pick(&self, among: impl Iterator<Item = usize> + Clone, draw: &mut Draw) -> usize {
        let weight = |index: usize| self.contributors[index].weight;
        let total: f64 = among.clone().map(weight).sum();
        let mut left = draw.unit() * total;
        let mut last = 0;
        for index in among {
            last = index;
            left -= weight(index);
            if left < 0.0 {
                break;
            }
        }
        last
    }

    /// `example` inside `size` tokens of packed text. Half the time it comes
    /// first, as a prompt does; else at a uniform position.
    fn surround(&self, example: &[u32], size: usize, draw: &mut Draw, row: &mut Vec<u32>) {
        let example = &example[..example.len().min(size)];
        let room = size - example.len();
        let first = draw.below(2) == 0;
        let before = if first {
            0
        } else {
            draw.below(room as u64 + 1) as usize
        };
        if before > 0 {
            self.background(before - 1, draw, row);
            row.push(self.separator);
        }
        row.extend_from_slice(example);
        let after = size - row.len();
        if after > 0 {
            row.push(self.separator);
            self.background(after - 1, draw, row);
        }
    }

    fn background(&self, size: usize, draw: &mut Draw, row: &mut Vec<u32>) {
        if self.packed.is_empty() {
            row.resize(row.len() + size, self.separator);
            return;
        }
        let index = self.pick(self.packed.iter().copied(), draw);
        if let Tokens::Packed(stream) = &self.contributors[index].data {
            window(stream, size, draw, row);
        }
    }
}

impl SequenceSource for Corpus {
    fn batch(&self, start: u64, count: usize, length: usize) -> Batch {
        let mut tokens = Vec::with_capacity(count * (length + 1));
        for index in start..start + count as u64 {
            tokens.extend(self.sequence(index, length).1);
        }
        Batch {
            sequences: count,
            length,
            tokens,
        }
    }
}

impl Contributor {
    fn tokenise(
        source: RawSource,
        separator: u32,
        encode: &dyn Fn(&str) -> Vec<u32>,
    ) -> Result<Self, CorpusError> {
        let whole = source.documents.iter().filter(|d| d.whole).count();
        if whole != 0 && whole != source.documents.len() {
            let name = &source.name;
            let problem = format!("source {name:?} mixes records with and without \"pad\": true");
            return Err(CorpusError::Invalid(problem));
        }
        let documents = source.documents.iter().map(|d| encode(&d.text));
        let data = if whole != 0 {
            Tokens::Examples(documents.filter(|tokens| !tokens.is_empty()).collect())
        } else {
            let mut stream = Vec::new();
            for tokens in documents.filter(|tokens| !tokens.is_empty()) {
                stream.extend(tokens);
                stream.push(separator);
            }
            Tokens::Packed(stream)
        };
        let empty = match &data {
            Tokens::Packed(stream) => stream.is_empty(),
            Tokens::Examples(examples) => examples.is_empty(),
        };
        if empty {
            return Err(CorpusError::Empty(source.name));
        }
        Ok(Self {
            name: source.name,
            weight: source.weight,
            data,
        })
    }
}

/// `size` consecutive tokens of `stream` from a uniform position, going round
/// at its end so that a short stream also fills a row.
fn window(stream: &[u32], size: usize, draw: &mut Draw, row: &mut Vec<u32>) {
    let starts = stream.len().saturating_sub(size).max(1);
    let start = draw.below(starts as u64) as usize;
    row.extend(stream.iter().cycle().skip(start).take(size));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn bytes(text: &str) -> Vec<u32> {
        text.bytes().map(u32::from).collect()
    }

    fn raw(name: &str, weight: f64, whole: bool, texts: &[&str]) -> RawSource {
        let document = |text: &&str| Document {
            text: (*text).to_owned(),
            whole,
        };
        RawSource {
            name: name.into(),
            weight,
            documents: texts.iter().map(document).collect(),
        }
    }

    fn two_contributors() -> Corpus {
        let sources = vec![
            raw("a", 3.0, false, &["abcdefghij", "klm"]),
            raw("b", 1.0, true, &["XYZ", "UVWUVWUVWUVWUVW"]),
        ];
        Corpus::tokenise(sources, 5, 0, &bytes).unwrap()
    }

    #[test]
    fn sequences_depend_on_seed_and_number_only_and_have_full_length() {
        let corpus = two_contributors();
        let batch = corpus.batch(10, 4, 8);
        assert_eq!(batch, corpus.batch(10, 4, 8));
        assert_eq!(batch.tokens.len(), 4 * 9);
        assert_eq!(batch.tokens[9..18], corpus.sequence(11, 8).1);
        let long = corpus.batch(0, 50, 40);
        assert_eq!(long.tokens.len(), 50 * 41);
        let bytes = corpus.to_bytes().unwrap();
        let copy = Corpus::from_bytes(&bytes, 256).unwrap();
        assert_eq!(copy.batch(10, 4, 8), batch);
        assert!(
            Corpus::from_bytes(&bytes, 50).is_err(),
            "ids beyond the model's"
        );
        assert!(Corpus::from_bytes(&bytes[..bytes.len() - 3], 256).is_err());
    }

    #[test]
    fn contributors_come_by_weight_and_examples_stay_whole() {
        let corpus = two_contributors();
        let (mut from_b, mut leading) = (0, 0);
        for index in 0..2_000 {
            let (name, row) = corpus.sequence(index, 8);
            if name == "b" {
                from_b += 1;
                let text: String = row.iter().map(|&t| t as u8 as char).collect();
                assert!(text.contains("XYZ") || text == "UVWUVWUVW", "{text:?}");
                leading += usize::from(text.starts_with("XYZ"));
            }
        }
        assert!(
            (420..580).contains(&from_b),
            "{from_b} of 2000 at weight 1/4"
        );
        assert!(leading > 100, "{leading} examples at the start");
        let shares: Vec<f64> = corpus.contributors().map(|c| c.1).collect();
        assert_eq!(shares, [0.75, 0.25]);
    }

    #[test]
    fn nonsense_is_refused() {
        let mut mixed = raw("m", 1.0, false, &["a", "b"]);
        mixed.documents[0].whole = true;
        assert!(Corpus::tokenise(vec![mixed], 0, 0, &bytes).is_err());
        let hollow = raw("h", 1.0, false, &["a"]);
        assert!(Corpus::tokenise(vec![hollow], 0, 0, &|_| Vec::new()).is_err());
        assert!(load_sources(&[], 0).is_err());
        let weightless = SourceSpec {
            weight: 0.0,
            ..SourceSpec::registry()
        };
        assert!(matches!(
            load_sources(&[weightless], 0),
            Err(CorpusError::Invalid(_))
        ));
    }
}
