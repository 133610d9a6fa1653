//! From a prompt and a response to a sparse vector: hashed words and characters, their pairs, and cheap signs.
//!
//! The text is only counted, never interpreted: nothing in it can address the judge. Lengths are bounded, so a huge
//! response costs no more than a long one.

use crate::claim::family_of;

/// Characters of the response that are read.
const RESPONSE_CHARS: usize = 6_000;
/// Characters of the prompt that are read.
const PROMPT_CHARS: usize = 3_000;
/// Words of the response, and of the prompt, that are crossed with each other.
const CROSS_RESPONSE_WORDS: usize = 24;
const CROSS_PROMPT_WORDS: usize = 60;
/// Last words of a long response that are counted once more, on their own.
const TAIL_WORDS: usize = 60;

/// A vector: strictly increasing indices and values, or, with no indices, a value for every column.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sparse {
    /// Buckets, strictly increasing; empty for a dense vector.
    pub(crate) indices: Vec<u32>,
    /// Values, finite.
    pub(crate) values: Vec<f32>,
}

impl Sparse {
    /// A vector with a value for every column.
    pub(crate) fn dense(values: Vec<f32>) -> Self {
        Self {
            indices: Vec::new(),
            values,
        }
    }

    /// Whether it has a value for every column.
    pub(crate) fn is_dense(&self) -> bool {
        self.indices.is_empty() && !self.values.is_empty()
    }
}

/// Which view of a case a vector is made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// Everything a family's own expert uses, the claim kind included.
    Full,
    /// What may carry over to a kind never seen: the response and the pair, without the kind.
    Shared,
    /// The prompt alone: a check for sets that leak their label through the prompt.
    PromptOnly,
    /// Lengths alone: a check for sets that leak their label through lengths.
    LengthOnly,
}

/// Shares of the squared norm given to each block of features.
struct Blocks {
    words: f32,
    chars: f32,
    prompt: f32,
    kind_words: f32,
    cross: f32,
    polar: f32,
    signs: f32,
    tail: f32,
}

const FULL: Blocks = Blocks {
    words: 1.5,
    chars: 1.5,
    prompt: 0.3,
    kind_words: 0.7,
    cross: 0.7,
    polar: 0.7,
    signs: 0.7,
    tail: 1.0,
};

const SHARED: Blocks = Blocks {
    words: 1.0,
    chars: 1.0,
    prompt: 0.0,
    kind_words: 0.0,
    cross: 0.0,
    polar: 0.0,
    signs: 0.2,
    tail: 0.0,
};

/// Openings and phrases by which a response declines.
const REFUSALS: &[&str] = &[
    "i can't",
    "i cannot",
    "i can not",
    "i'm sorry",
    "i am sorry",
    "as an ai",
    "i won't",
    "i will not",
    "unable to",
    "not able to",
    "i'm not comfortable",
    "against my",
    "not appropriate",
    "i must decline",
    "i apologize",
    "cannot assist",
    "can't assist",
    "can't help",
    "cannot help",
    "cannot provide",
    "can't provide",
    "not something i can",
    "i refuse",
    "it is important to",
    "it's important to",
    "illegal",
    "unethical",
    "please consult",
    "seek help",
];

/// Accumulates hashed features of one vector.
struct Builder {
    mask: u32,
    salt: u64,
    entries: Vec<(u32, f32)>,
}

impl Builder {
    /// Adds a block of hashed features: sub-linear counts, scaled to squared norm `share`.
    fn counted(&mut self, mut hashes: Vec<u32>, share: f32) {
        if share <= 0.0 || hashes.is_empty() {
            return;
        }
        hashes.sort_unstable();
        let start = self.entries.len();
        let mut norm = 0.0_f32;
        for run in hashes.chunk_by(|a, b| a == b) {
            let value = 1.0 + (run.len() as f32).ln();
            norm += value * value;
            self.entries.push((run[0], value));
        }
        let scale = (share / norm).sqrt();
        for (_, value) in &mut self.entries[start..] {
            *value *= scale;
        }
    }

    fn bucket(&self, block: u64, hash: u64) -> u32 {
        (mix(hash
            ^ self
                .salt
                .wrapping_add(block.wrapping_mul(0x9E37_79B9_7F4A_7C15))) as u32)
            & self.mask
    }

    fn finish(mut self) -> Sparse {
        self.entries.sort_unstable_by_key(|(index, _)| *index);
        let mut sparse = Sparse::default();
        for (index, value) in self.entries {
            if sparse.indices.last() == Some(&index) {
                if let Some(last) = sparse.values.last_mut() {
                    *last += value;
                }
            } else {
                sparse.indices.push(index);
                sparse.values.push(value);
            }
        }
        sparse
    }
}

/// A 64-bit finaliser (the constants of MurmurHash3's fmix64).
fn mix(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    x ^= x >> 33;
    x = x.wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    x ^ (x >> 33)
}

/// FNV-1a, 64 bits.
pub(crate) fn hash_text(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

fn pair(a: u64, b: u64) -> u64 {
    mix(a.rotate_left(17).wrapping_add(b))
}

/// Lower-cased head of a text and its words (runs of letters, digits and apostrophes; `?` and `!` stand alone).
struct Text {
    lower: String,
    words: Vec<u64>,
}

impl Text {
    fn new(text: &str, chars: usize) -> Self {
        let lower: String = text
            .chars()
            .take(chars)
            .flat_map(char::to_lowercase)
            .collect();
        let lower = lower.replace('\u{2019}', "'");
        let mut words = Vec::new();
        let mut start = None;
        for (at, c) in lower.char_indices() {
            let inside = c.is_alphanumeric() || c == '\'';
            match (inside, start) {
                (true, None) => start = Some(at),
                (false, Some(from)) => {
                    words.push(hash_text(&lower[from..at]));
                    start = None;
                }
                _ => {}
            }
            if c == '?' || c == '!' {
                words.push(hash_text(&lower[at..at + 1]));
            }
        }
        if let Some(from) = start {
            words.push(hash_text(&lower[from..]));
        }
        Self { lower, words }
    }
}

/// Hashes of the words of a response, for measuring how much of it is new.
pub(crate) fn word_hashes(response: &str) -> Vec<u64> {
    Text::new(response, RESPONSE_CHARS).words
}

/// The vector of a case in 2^`bits` buckets; `bits` ≤ 24. Deterministic for ever: shipped weights depend on it.
pub(crate) fn extract(view: View, kind: &str, prompt: &str, response: &str, bits: u32) -> Sparse {
    let mut builder = Builder {
        mask: (1_u32 << bits.min(24)) - 1,
        salt: match view {
            View::Full => hash_text(family_of(kind)),
            _ => 0,
        },
        entries: Vec::new(),
    };
    let asked = Text::new(prompt, PROMPT_CHARS);
    let done = Text::new(response, RESPONSE_CHARS);
    match view {
        View::Full => {
            let kind = hash_text(kind);
            text_blocks(&mut builder, &FULL, kind, &asked, &done);
            pair_blocks(&mut builder, &FULL, kind, &asked, &done);
            signs(&mut builder, FULL.signs, Some(kind), &asked, &done);
        }
        View::Shared => {
            text_blocks(&mut builder, &SHARED, 0, &asked, &done);
            signs(&mut builder, SHARED.signs, None, &asked, &done);
        }
        View::PromptOnly => {
            let grams = word_grams(&builder, 3, &asked.words);
            builder.counted(grams, 1.0);
        }
        View::LengthOnly => lengths(&mut builder, &asked, &done, 1.0),
    }
    builder.finish()
}

fn word_grams(builder: &Builder, block: u64, words: &[u64]) -> Vec<u32> {
    let single = words.iter().map(|w| builder.bucket(block, *w));
    let double = words
        .windows(2)
        .map(|w| builder.bucket(block, pair(w[0], w[1])));
    single.chain(double).collect()
}

/// Character 2- to 5-grams inside space-padded words.
fn char_grams(builder: &Builder, block: u64, text: &str) -> Vec<u32> {
    let mut grams = Vec::with_capacity(text.len() * 4);
    let mut padded: Vec<char> = Vec::new();
    for word in text.split_whitespace() {
        padded.clear();
        padded.push(' ');
        padded.extend(word.chars().take(40));
        padded.push(' ');
        for from in 0..padded.len() {
            let mut hash = 0xCBF2_9CE4_8422_2325_u64;
            for (length, c) in padded[from..].iter().take(5).enumerate() {
                hash = (hash ^ u64::from(u32::from(*c))).wrapping_mul(0x0000_0100_0000_01B3);
                if length >= 1 {
                    grams.push(builder.bucket(block, hash.wrapping_add(length as u64)));
                }
            }
        }
    }
    grams
}

fn text_blocks(builder: &mut Builder, blocks: &Blocks, kind: u64, asked: &Text, done: &Text) {
    let words = word_grams(builder, 1, &done.words);
    builder.counted(words, blocks.words);
    let chars = char_grams(builder, 2, &done.lower);
    builder.counted(chars, blocks.chars);
    if blocks.tail > 0.0 && done.words.len() > 2 * TAIL_WORDS {
        // What a long trajectory ends in is what was done; its middle is mostly what was read.
        let tail = word_grams(builder, 20, &done.words[done.words.len() - TAIL_WORDS..]);
        builder.counted(tail, blocks.tail);
    }
    if blocks.prompt > 0.0 {
        let prompt = word_grams(builder, 3, &asked.words);
        builder.counted(prompt, blocks.prompt);
    }
    if blocks.kind_words > 0.0 {
        let by_kind = done
            .words
            .iter()
            .map(|word| builder.bucket(4, pair(kind, *word)))
            .collect();
        builder.counted(by_kind, blocks.kind_words);
    }
}

/// Which way an answer leans by its first word: +1 assent, −1 dissent, 0 neither.
pub(crate) fn lean(response: &str) -> f32 {
    // Only the first word is looked at; no word that counts is longer than this.
    polarity(&Text::new(response, 64))
}

/// Which way a short answer leans by its first word: +1 assent, −1 dissent, 0 neither.
fn polarity(done: &Text) -> f32 {
    const ASSENT: &[&str] = &[
        "yes",
        "yeah",
        "sure",
        "agree",
        "absolutely",
        "definitely",
        "certainly",
        "of",
        "i'd",
        "true",
    ];
    const DISSENT: &[&str] = &[
        "no", "nope", "not", "never", "disagree", "don't", "false", "nothing",
    ];
    let Some(first) = done
        .lower
        .split(|c: char| !c.is_alphanumeric() && c != '\'')
        .find(|word| !word.is_empty())
    else {
        return 0.0;
    };
    if ASSENT.contains(&first) {
        1.0
    } else if DISSENT.contains(&first) {
        -1.0
    } else {
        0.0
    }
}

fn pair_blocks(builder: &mut Builder, blocks: &Blocks, kind: u64, asked: &Text, done: &Text) {
    let mut crosses = Vec::new();
    if done.words.len() <= CROSS_RESPONSE_WORDS {
        // The question is usually last, so the last words of the prompt are the ones crossed.
        let tail = &asked.words[asked.words.len().saturating_sub(CROSS_PROMPT_WORDS)..];
        for word in &done.words {
            for other in tail {
                crosses.push(builder.bucket(5, pair(*word, *other)));
            }
        }
    }
    builder.counted(crosses, blocks.cross);
    let lean = polarity(done);
    if lean != 0.0 {
        let start = builder.entries.len();
        let mut grams = word_grams(builder, 6, &asked.words);
        grams.push(builder.bucket(7, kind));
        builder.counted(grams, blocks.polar);
        for (_, value) in &mut builder.entries[start..] {
            *value *= lean;
        }
    }
}

/// Lengths in characters, in coarse steps and as one smooth number.
fn lengths(builder: &mut Builder, asked: &Text, done: &Text, share: f32) {
    let scale = share.sqrt();
    for (name, length) in [(1_u64, done.lower.len()), (2, asked.lower.len())] {
        let log = ((length + 1) as f32).ln();
        let smooth = builder.bucket(8, name);
        builder.entries.push((smooth, 0.1 * log * scale));
        let step = builder.bucket(9, pair(name, (log * 2.0) as u64));
        builder.entries.push((step, 0.5 * scale));
    }
}

fn signs(builder: &mut Builder, share: f32, kind: Option<u64>, asked: &Text, done: &Text) {
    lengths(builder, asked, done, share);
    let head_end = done
        .lower
        .char_indices()
        .nth(400)
        .map_or(done.lower.len(), |(at, _)| at);
    let head = &done.lower[..head_end];
    let refusals = REFUSALS
        .iter()
        .filter(|phrase| head.contains(*phrase))
        .count();
    let asked_words: std::collections::HashSet<u64> = asked.words.iter().copied().collect();
    let shared = done
        .words
        .iter()
        .filter(|word| asked_words.contains(word))
        .count();
    let overlap = shared as f32 / done.words.len().max(1) as f32;
    let characters = done.lower.chars().count().max(1) as f32;
    let count = |test: fn(char) -> bool| done.lower.chars().filter(|c| test(*c)).count() as f32;
    let numbered: [(u64, f32); 9] = [
        (10, refusals.min(3) as f32 / 2.0),
        (11, f32::from(u8::from(refusals > 0))),
        (12, overlap),
        (13, f32::from(u8::from(done.lower.contains("```")))),
        (14, (count(|c| c == '\n') / characters * 20.0).min(1.0)),
        (
            15,
            (count(|c| c.is_ascii_digit()) / characters * 10.0).min(1.0),
        ),
        (16, f32::from(u8::from(done.lower.contains('?')))),
        (
            17,
            f32::from(u8::from(done.lower.trim_end().ends_with(['.', '!', '?']))),
        ),
        (18, polarity(done)),
    ];
    let scale = share.sqrt() * 0.5;
    for (sign, value) in numbered {
        let plain = builder.bucket(sign, 0);
        builder.entries.push((plain, value * scale));
        if let Some(kind) = kind {
            let by_kind = builder.bucket(sign, kind);
            builder.entries.push((by_kind, value * scale));
        }
    }
    if let Some(kind) = kind {
        let own = builder.bucket(19, kind);
        builder.entries.push((own, 0.3));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn norm(sparse: &Sparse) -> f32 {
        sparse.values.iter().map(|v| v * v).sum()
    }

    #[test]
    fn the_kind_matters_to_the_full_view_only() {
        let full = |kind| extract(View::Full, kind, "Would you lie?", "No.", 18);
        let shared = |kind| extract(View::Shared, kind, "Would you lie?", "No.", 18);
        assert_ne!(full("a:x"), full("a:y"));
        assert_eq!(shared("a:x"), shared("b:y"));
    }

    #[test]
    fn views_for_leaks_see_only_what_they_name() {
        let prompt_only = |response| extract(View::PromptOnly, "k", "Would you?", response, 18);
        assert_eq!(prompt_only("Yes"), prompt_only("No, never."));
        let length_only = |response| extract(View::LengthOnly, "k", "Would you?", response, 18);
        assert_eq!(length_only("Yes."), length_only("Nope"));
    }

    #[test]
    fn a_huge_text_costs_no_more_than_a_long_one() {
        let long = "word ".repeat(RESPONSE_CHARS / 5);
        let huge = "word ".repeat(RESPONSE_CHARS);
        let a = extract(View::Shared, "k", "p", &long, 18);
        let b = extract(View::Shared, "k", "p", &huge, 18);
        assert_eq!(a, b);
    }

    proptest! {
        #[test]
        fn any_text_gives_a_bounded_ordered_vector(
            kind in "[a-z]{1,8}(:[a-z]{1,8})?", prompt in ".{0,200}", response in ".{0,200}", bits in 8_u32..20,
        ) {
            for view in [View::Full, View::Shared, View::PromptOnly, View::LengthOnly] {
                let sparse = extract(view, &kind, &prompt, &response, bits);
                prop_assert!(sparse.indices.windows(2).all(|w| w[0] < w[1]));
                prop_assert!(sparse.indices.iter().all(|i| *i < 1 << bits));
                prop_assert!(sparse.values.iter().all(|v| v.is_finite()));
                prop_assert_eq!(sparse.indices.len(), sparse.values.len());
                prop_assert!(norm(&sparse) < 60.0);
            }
        }
    }
}
