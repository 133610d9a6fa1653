//! The tokenizer of SentencePiece models, as a GGUF file describes it: pieces with scores, merged best first.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap};

use candle_core::quantized::gguf_file::Value;

use super::gguf::Gguf;
use crate::error::Result;

/// Stands for a space inside pieces.
const SPACE: &str = "\u{2581}";

/// Most tokens of a vocabulary.
pub(crate) const MOST_TOKENS: usize = 1 << 20;

/// What kind of token a piece is, as GGUF numbers them.
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const BYTE: i32 = 6;

/// Text to tokens and back.
pub(crate) struct Tokenizer {
    pieces: Vec<String>,
    kinds: Vec<i32>,
    scores: Vec<f32>,
    ids: HashMap<String, u32>,
    /// Pieces that are taken whole before anything is merged, by their first character, longest first.
    whole: HashMap<char, Vec<u32>>,
    bytes: Vec<Option<u32>>,
    unknown: u32,
    /// Put before a text.
    pub(crate) start: Option<u32>,
    /// Ends a completion.
    pub(crate) end: u32,
    space_first: bool,
}

impl Tokenizer {
    pub(crate) fn read(gguf: &Gguf) -> Result<Self> {
        let model = gguf.text("tokenizer.ggml.model")?;
        if model != "llama" {
            return Err(gguf.invalid(format!("its tokenizer is {model:?}, not SentencePiece's")));
        }
        let text = |value: &Value| value.to_string().ok().cloned();
        let pieces = gguf.array("tokenizer.ggml.tokens", text)?;
        let scores = gguf.array("tokenizer.ggml.scores", |value| value.to_f32().ok())?;
        let kinds = gguf.array("tokenizer.ggml.token_type", |value| value.to_i32().ok())?;
        let count = pieces.len();
        if count == 0 || count > MOST_TOKENS || scores.len() != count || kinds.len() != count {
            return Err(gguf.invalid("its tokens, scores and kinds do not go together"));
        }
        let id = |key: &str| -> Result<u32> {
            if !gguf.has(key) {
                return Ok(0);
            }
            let id = gguf.id(key)?;
            if (id as usize) < count {
                return Ok(id);
            }
            Err(gguf.invalid(format!("{key} is not a token")))
        };
        let start = id("tokenizer.ggml.bos_token_id")?;
        let mut tokenizer = Self {
            unknown: id("tokenizer.ggml.unknown_token_id")?,
            start: gguf.flag("tokenizer.ggml.add_bos_token").then_some(start),
            end: id("tokenizer.ggml.eos_token_id")?,
            space_first: gguf.flag("tokenizer.ggml.add_space_prefix"),
            pieces,
            kinds,
            scores,
            ids: HashMap::with_capacity(count),
            whole: HashMap::new(),
            bytes: vec![None; 256],
        };
        tokenizer.index();
        Ok(tokenizer)
    }

    fn index(&mut self) {
        for (id, (piece, kind)) in self.pieces.iter().zip(&self.kinds).enumerate() {
            let id = id as u32;
            match *kind {
                BYTE => {
                    let byte = piece
                        .strip_prefix("<0x")
                        .and_then(|hex| hex.strip_suffix('>'));
                    if let Some(byte) = byte.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
                        self.bytes[usize::from(byte)] = Some(id);
                    }
                }
                USER_DEFINED => {
                    if let Some(first) = piece.chars().next() {
                        self.whole.entry(first).or_default().push(id);
                    }
                }
                _ => {}
            }
            // A control token is never what text spells.
            if *kind != CONTROL {
                self.ids.entry(piece.clone()).or_insert(id);
            }
        }
        let pieces = &self.pieces;
        for ids in self.whole.values_mut() {
            ids.sort_by_key(|id| std::cmp::Reverse(pieces[*id as usize].len()));
        }
    }

    /// Tokens of the vocabulary.
    pub(crate) fn len(&self) -> usize {
        self.pieces.len()
    }

    /// The tokens of `text`, without the one put before a text. Text that spells a control token is ordinary text.
    pub(crate) fn encode(&self, text: &str) -> Vec<u32> {
        let mut tokens = Vec::with_capacity(text.len() / 3 + 1);
        let mut plain = 0;
        let mut at = 0;
        let mut first = self.space_first;
        while let Some(next) = text[at..].chars().next() {
            let here = self.whole.get(&next).and_then(|ids| {
                let starts = |id: &&u32| text[at..].starts_with(&self.pieces[**id as usize]);
                ids.iter().find(starts)
            });
            let Some(id) = here else {
                at += next.len_utf8();
                continue;
            };
            self.merge(&text[plain..at], std::mem::take(&mut first), &mut tokens);
            tokens.push(*id);
            at += self.pieces[*id as usize].len();
            plain = at;
        }
        self.merge(&text[plain..], first, &mut tokens);
        tokens
    }

    /// The text of `tokens`; control tokens say nothing, and what is not UTF-8 is replaced.
    pub(crate) fn decode(&self, tokens: &[u32]) -> String {
        let mut bytes = Vec::new();
        for &token in tokens {
            let token = token as usize;
            match self.kinds.get(token) {
                Some(&BYTE) => {
                    let of_token = |id: &Option<u32>| *id == Some(token as u32);
                    let byte = self.bytes.iter().position(of_token).unwrap_or(0);
                    bytes.push(byte as u8);
                }
                Some(&CONTROL) | None => {}
                Some(_) => bytes.extend(self.pieces[token].replace(SPACE, " ").into_bytes()),
            }
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The token that is exactly `piece`, spaces written as spaces.
    pub(crate) fn token(&self, piece: &str) -> Option<u32> {
        self.ids.get(&piece.replace(' ', SPACE)).copied()
    }

    /// Starts from single characters and joins the two neighbours whose piece has the highest score, the leftmost of
    /// equals, until no two make a piece.
    fn merge(&self, text: &str, space_first: bool, tokens: &mut Vec<u32>) {
        if text.is_empty() {
            return;
        }
        let text = format!(
            "{}{}",
            if space_first { SPACE } else { "" },
            text.replace(' ', SPACE)
        );
        let mut parts: Vec<Part> = text
            .char_indices()
            .enumerate()
            .map(|(index, (at, c))| Part {
                at,
                length: c.len_utf8(),
                before: index.checked_sub(1),
                after: Some(index + 1),
            })
            .collect();
        if let Some(last) = parts.last_mut() {
            last.after = None;
        }
        let mut queue = BinaryHeap::new();
        for left in 0..parts.len().saturating_sub(1) {
            queue.extend(self.join(&text, &parts, left, left + 1));
        }
        while let Some(best) = queue.pop() {
            let (left, right) = (best.left, best.right);
            // Either side may have been joined to something else since.
            if parts[left].length == 0 || parts[left].length + parts[right].length != best.length {
                continue;
            }
            if parts[right].length == 0 {
                continue;
            }
            parts[left].length = best.length;
            parts[right].length = 0;
            let after = parts[right].after;
            parts[left].after = after;
            if let Some(after) = after {
                parts[after].before = Some(left);
                queue.extend(self.join(&text, &parts, left, after));
            }
            if let Some(before) = parts[left].before {
                queue.extend(self.join(&text, &parts, before, left));
            }
        }
        for part in parts.iter().filter(|part| part.length > 0) {
            self.spell(&text[part.at..part.at + part.length], tokens);
        }
    }

    fn join(&self, text: &str, parts: &[Part], left: usize, right: usize) -> Option<Join> {
        let length = parts[left].length + parts[right].length;
        let start = parts[left].at;
        let id = self.ids.get(&text[start..start + length])?;
        Some(Join {
            score: self.scores[*id as usize],
            left,
            right,
            length,
        })
    }

    /// A part as its piece, or as the bytes of its characters.
    fn spell(&self, part: &str, tokens: &mut Vec<u32>) {
        if let Some(id) = self.ids.get(part) {
            return tokens.push(*id);
        }
        for byte in part.bytes() {
            tokens.push(self.bytes[usize::from(byte)].unwrap_or(self.unknown));
        }
    }
}

/// A stretch of text on its way to become a token; of length 0 once it is part of the one before.
struct Part {
    at: usize,
    length: usize,
    before: Option<usize>,
    after: Option<usize>,
}

/// Two neighbours that make a piece.
struct Join {
    score: f32,
    left: usize,
    right: usize,
    length: usize,
}

impl Ord for Join {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score
            .total_cmp(&other.score)
            .then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Join {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Join {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Join {}
