//! How like the training texts a text is: what is unlike them is not judged with confidence.

use std::collections::HashSet;

use crate::features::word_hashes;
use crate::metrics::mean;

/// log₂ of the bits in a set of words seen.
const SEEN_BITS: u32 = 17;
/// Blocks of 64 bits in a set of words seen.
pub(crate) const SEEN_BLOCKS: usize = 1 << (SEEN_BITS - 6);

/// Which words were seen in training, and how much of a text is usually new.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Domain {
    pub(crate) seen: Vec<u64>,
    /// Mean and standard deviation of the share of new words in held-out training texts.
    pub(crate) novelty: (f64, f64),
    /// Mean and standard deviation of ln(1 + words) of training texts.
    pub(crate) length: (f64, f64),
}

impl Domain {
    /// `texts` are the distinct words of each training text; `fold` says which texts are held out together.
    pub(crate) fn fit(texts: &[(&[u64], usize)], folds: usize) -> Self {
        let mut per_fold = vec![vec![0_u64; SEEN_BLOCKS]; folds];
        for (words, fold) in texts {
            words
                .iter()
                .for_each(|word| set(&mut per_fold[*fold], *word));
        }
        let mut shares = Vec::with_capacity(texts.len());
        let mut others: Vec<Vec<u64>> = Vec::with_capacity(folds);
        for out in 0..folds {
            let rest = per_fold.iter().enumerate().filter(|(fold, _)| *fold != out);
            others.push(union(rest.map(|(_, seen)| seen.as_slice())));
        }
        for (words, fold) in texts {
            shares.push(novelty(&others[*fold], words));
        }
        let lengths = texts
            .iter()
            .map(|(words, _)| ((1 + words.len()) as f64).ln());
        Self {
            seen: union(per_fold.iter().map(Vec::as_slice)),
            novelty: mean_and_deviation(shares.into_iter()),
            length: mean_and_deviation(lengths),
        }
    }

    /// How far the judge can be relied on for a text of these words, 0..=1.
    ///
    /// ```text
    /// t = 1 / (1 + max(0, z − 3)²),   z = the larger of the z-scores of novelty and of |length|
    /// ```
    pub(crate) fn trust(&self, words: &[u64]) -> f64 {
        let (mean, deviation) = self.novelty;
        let new = (novelty(&self.seen, words) - mean) / deviation.max(0.02);
        let (mean, deviation) = self.length;
        let length = (((1 + words.len()) as f64).ln() - mean).abs() / deviation.max(0.2);
        let excess = (new.max(length) - 3.0).max(0.0);
        1.0 / (1.0 + excess * excess)
    }
}

fn set(seen: &mut [u64], word: u64) {
    let bit = (word ^ (word >> 32)) & ((1 << SEEN_BITS) - 1);
    seen[(bit >> 6) as usize] |= 1 << (bit & 63);
}

fn union<'a>(sets: impl Iterator<Item = &'a [u64]>) -> Vec<u64> {
    let mut all = vec![0_u64; SEEN_BLOCKS];
    for set in sets {
        all.iter_mut().zip(set).for_each(|(a, b)| *a |= b);
    }
    all
}

/// Share of the words that are not in the set; 0 for no words.
fn novelty(seen: &[u64], words: &[u64]) -> f64 {
    let new = words
        .iter()
        .filter(|word| {
            let bit = (**word ^ (**word >> 32)) & ((1 << SEEN_BITS) - 1);
            seen.get((bit >> 6) as usize)
                .is_none_or(|block| block >> (bit & 63) & 1 == 0)
        })
        .count();
    new as f64 / words.len().max(1) as f64
}

fn mean_and_deviation(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let centre = mean(values.clone());
    let variance = mean(values.map(|v| (v - centre) * (v - centre)));
    (centre, variance.sqrt())
}

/// The distinct words of a response, sorted.
pub(crate) fn distinct_words(response: &str) -> Vec<u64> {
    let set: HashSet<u64> = word_hashes(response).into_iter().collect();
    let mut words: Vec<u64> = set.into_iter().collect();
    words.sort_unstable();
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_unlike_the_training_texts_are_trusted_less() {
        let known: Vec<Vec<u64>> = (0..200)
            .map(|i| {
                let text: Vec<String> = (0..12)
                    .map(|k| format!("word{}", (i * 7 + k * 3) % 60))
                    .collect();
                distinct_words(&text.join(" "))
            })
            .collect();
        let texts: Vec<(&[u64], usize)> = known
            .iter()
            .enumerate()
            .map(|(i, words)| (words.as_slice(), i % 5))
            .collect();
        let domain = Domain::fit(&texts, 5);
        assert!(domain.trust(&known[3]) > 0.99);
        let strange =
            distinct_words("qux zap blorp fnord wibble plugh xyzzy grue zork foo bar baz");
        assert!(domain.trust(&strange) < 0.1);
        let long: Vec<u64> = (0..5000).map(|i| known[i % 200][i % 12]).collect();
        assert!(domain.trust(&long) < 0.2);
    }
}
