//! Byte-level BPE tokenizer, trained on the run's own corpus.

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tokenizers::decoders::byte_level::ByteLevel as ByteLevelDecoder;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::normalizers::NormalizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::PostProcessorWrapper;
use tokenizers::{AddedToken, TokenizerImpl};

use crate::error::{ModelError, Result};

/// Text of the document separator. It is never produced by encoding text: a
/// document that spells it out is encoded as ordinary characters.
const SEPARATOR: &str = "<|document|>";

/// Smallest vocabulary: the separator and every byte.
const VOCABULARY_MIN: usize = 257;

/// Largest vocabulary that may be asked for.
const VOCABULARY_MAX: usize = 1 << 20;

type Bpe = TokenizerImpl<BPE, NormalizerWrapper, ByteLevel, PostProcessorWrapper, ByteLevelDecoder>;

/// Byte-pair encoding over bytes, so that any text encodes and decodes to itself.
#[derive(Clone)]
pub struct Tokenizer {
    bpe: Bpe,
    /// Bytes of each token id; empty for the separator.
    bytes: Vec<Vec<u8>>,
    separator: u32,
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocabulary", &self.vocabulary())
            .finish_non_exhaustive()
    }
}

impl PartialEq for Tokenizer {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes && self.to_json() == other.to_json()
    }
}

fn failed(error: impl fmt::Display) -> ModelError {
    ModelError::Tokenizer(error.to_string())
}

impl Tokenizer {
    /// Learns up to `vocabulary` tokens (257 to 2²⁰) from `texts`. Fewer result
    /// when the texts have fewer repeated pairs; see [`Tokenizer::vocabulary`].
    /// The same texts give the same tokenizer.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] for a vocabulary out of its domain.
    pub fn train(texts: impl Iterator<Item = String> + Send, vocabulary: usize) -> Result<Self> {
        if !(VOCABULARY_MIN..=VOCABULARY_MAX).contains(&vocabulary) {
            return Err(failed(format!(
                "vocabulary is {vocabulary}, must be {VOCABULARY_MIN} to {VOCABULARY_MAX}"
            )));
        }
        let alphabet: HashSet<char> = (0..=u8::MAX).map(byte_to_char).collect();
        let mut trainer = BpeTrainer::builder()
            .vocab_size(vocabulary)
            .min_frequency(2)
            .show_progress(false)
            .initial_alphabet(alphabet)
            .special_tokens(vec![AddedToken::from(SEPARATOR, true)])
            .build();
        let mut bpe = Bpe::new(BPE::default());
        bpe.with_pre_tokenizer(Some(ByteLevel::new(false, false, true)))
            .with_decoder(Some(ByteLevelDecoder::new(false, false, true)));
        bpe.train(&mut trainer, texts).map_err(failed)?;
        Self::from_bpe(bpe)
    }

    fn from_bpe(mut bpe: Bpe) -> Result<Self> {
        bpe.set_encode_special_tokens(true);
        let separator = bpe
            .token_to_id(SEPARATOR)
            .ok_or_else(|| failed("the document separator is missing"))?;
        let size = bpe.get_vocab_size(true);
        let mut bytes = Vec::with_capacity(size);
        for id in 0..u32::try_from(size).map_err(failed)? {
            let token = bpe
                .id_to_token(id)
                .ok_or_else(|| failed(format!("token ids have a gap at {id}")))?;
            let spelled = token.chars().map(char_to_byte).collect::<Option<Vec<u8>>>();
            bytes.push(match spelled {
                _ if id == separator => Vec::new(),
                Some(spelled) => spelled,
                None => return Err(failed(format!("token {id} is not made of bytes"))),
            });
        }
        Ok(Self {
            bpe,
            bytes,
            separator,
        })
    }

    /// Token ids of `text`, without separators.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        // Byte-level BPE without truncation has an encoding for every string.
        match self.bpe.encode_fast(text, false) {
            Ok(encoding) => encoding.get_ids().to_vec(),
            Err(_) => self.encode_bytes(text),
        }
    }

    /// One token per byte: a longer but equivalent encoding.
    fn encode_bytes(&self, text: &str) -> Vec<u32> {
        text.bytes()
            .filter_map(|byte| self.bpe.token_to_id(&byte_to_char(byte).to_string()))
            .collect()
    }

    /// Text of `ids`. Separators and unknown ids vanish; bytes that are not UTF-8
    /// become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids
            .iter()
            .flat_map(|id| self.token_bytes(*id))
            .copied()
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Bytes of one token; empty for the separator and unknown ids.
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.bytes.get(id as usize).map_or(&[], Vec::as_slice)
    }

    /// Id put between documents: the beginning of one and the end of another.
    pub fn separator(&self) -> u32 {
        self.separator
    }

    /// Number of token ids, which a model's vocabulary must at least have.
    pub fn vocabulary(&self) -> usize {
        self.bytes.len()
    }

    /// Serialises in the `tokenizers` library's JSON format.
    pub fn to_json(&self) -> String {
        // Serialising maps and strings to memory has no failure of its own.
        self.bpe.to_string(false).unwrap_or_default()
    }

    /// Reads what [`Tokenizer::to_json`] wrote.
    ///
    /// # Errors
    /// [`ModelError::Tokenizer`] when it is not such a tokenizer.
    pub fn from_json(json: &str) -> Result<Self> {
        Self::from_bpe(json.parse::<Bpe>().map_err(failed)?)
    }
}

impl Serialize for Tokenizer {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.to_json())
    }
}

impl<'de> Deserialize<'de> for Tokenizer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let json = String::deserialize(deserializer)?;
        Self::from_json(&json).map_err(serde::de::Error::custom)
    }
}

/// Whether byte-level BPE spells a byte as the character of the same number.
fn spelled_plainly(byte: u8) -> bool {
    matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF)
}

/// The printable character that stands for a byte (Radford et al. 2019): itself
/// where that is printable, else the next free one from U+0100.
fn byte_to_char(byte: u8) -> char {
    if spelled_plainly(byte) {
        return char::from(byte);
    }
    let rank = (0..byte).filter(|b| !spelled_plainly(*b)).count() as u32;
    char::from_u32(0x100 + rank).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Inverse of [`byte_to_char`].
fn char_to_byte(character: char) -> Option<u8> {
    match u8::try_from(u32::from(character)) {
        Ok(byte) => spelled_plainly(byte).then_some(byte),
        Err(_) => {
            let rank = u32::from(character).checked_sub(0x100)?;
            (0..=u8::MAX)
                .filter(|byte| !spelled_plainly(*byte))
                .nth(rank as usize)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn corpus() -> impl Iterator<Item = String> + Send {
        (0..50).map(|i| format!("fn item_{i}(x: u32) -> u32 {{ x + {i} }}\n"))
    }

    #[test]
    fn every_byte_has_one_spelling() {
        let spellings: HashSet<char> = (0..=u8::MAX).map(byte_to_char).collect();
        assert_eq!(spellings.len(), 256);
        for byte in 0..=u8::MAX {
            assert_eq!(char_to_byte(byte_to_char(byte)), Some(byte));
        }
        assert_eq!(byte_to_char(b' '), 'Ġ');
        assert_eq!(char_to_byte('語'), None);
    }

    #[test]
    fn any_text_round_trips() {
        let tokenizer = Tokenizer::train(corpus(), 300).unwrap();
        assert!((258..=300).contains(&tokenizer.vocabulary()));
        for text in [
            "",
            "fn main() {}\n",
            "  leading, trailing  ",
            "naïve 語 \u{1F600}\u{200D} e\u{301}",
            "a<|document|>b",
            "\0\r\n\t\u{FFFD}",
        ] {
            let ids = tokenizer.encode(text);
            assert_eq!(tokenizer.decode(&ids), text);
            assert!(!ids.contains(&tokenizer.separator()));
            assert_eq!(tokenizer.decode(&tokenizer.encode_bytes(text)), text);
        }
        let code = "fn item_3(x: u32) -> u32 {";
        assert!(tokenizer.encode(code).len() < code.len() * 3 / 4);
    }

    #[test]
    fn json_round_trip_and_determinism() {
        let tokenizer = Tokenizer::train(corpus(), 400).unwrap();
        let json = tokenizer.to_json();
        assert_eq!(json, Tokenizer::train(corpus(), 400).unwrap().to_json());
        let again = Tokenizer::from_json(&json).unwrap();
        assert_eq!(tokenizer, again);
        let text = "fn other(<|document|>)";
        assert_eq!(tokenizer.encode(text), again.encode(text));
        assert!(Tokenizer::from_json("{}").is_err());
        assert!(Tokenizer::train(corpus(), 256).is_err());
    }

    #[test]
    fn an_empty_corpus_still_covers_bytes() {
        let tokenizer = Tokenizer::train(std::iter::empty(), 1000).unwrap();
        assert_eq!(tokenizer.vocabulary(), 257);
        assert_eq!(tokenizer.decode(&tokenizer.encode("ok ✓")), "ok ✓");
    }
}
