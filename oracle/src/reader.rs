//! The seam between a model that turns texts into numbers and the heads that make opinions of them.

use crate::error::JudgeError;
use crate::features::{Sparse, hash_text, lean};

/// Columns that tell the kinds of claim apart: so many for the kind, and as many for the kind with the lean of the answer.
const KIND_COLUMNS: usize = 64;
/// Share of the squared norm of each of them: a kind is one of a few columns that are not 0, a text is all of its own.
const KIND_SHARE: f32 = 0.15;

/// A case as a reader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Passage<'a> {
    /// Kind of claim, `family` or `family:topic`.
    pub kind: &'a str,
    /// What the run was asked.
    pub prompt: &'a str,
    /// What it did.
    pub response: &'a str,
}

impl Passage<'_> {
    /// BLAKE3 of the three texts, each with its length before it.
    pub fn content_hash(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for part in [self.kind, self.prompt, self.response] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        *hasher.finalize().as_bytes()
    }
}

/// What a model makes of one passage; every value finite.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Features {
    /// Of the response alone: what may carry over to kinds of claim never seen.
    pub content: Vec<f32>,
    /// Of the response in its context.
    pub context: Vec<f32>,
    /// Anything else of the passage that only experts of a family use.
    pub extra: Vec<f32>,
}

/// Lengths of the parts of [`Features`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Widths {
    /// Of `content`, ≥ 1.
    pub content: usize,
    /// Of `context`.
    pub context: usize,
    /// Of `extra`.
    pub extra: usize,
}

/// A model that reads passages. It holds no opinion of a claim: a head does.
pub trait Reader: Send + Sync {
    /// Short, stable name of the judge that its head makes (`encoder`, `causal`, `trained`).
    fn name(&self) -> &str;

    /// Judges of one family are expected to share blind spots.
    fn family(&self) -> &str;

    /// Identity of the model and of everything else that changes what it makes of a passage.
    fn version(&self) -> String;

    /// What of this program or processor changes the last digits of its numbers, and not what heads make of them.
    fn build(&self) -> String {
        String::new()
    }

    /// Lengths of what it gives.
    fn widths(&self) -> Widths;

    /// Reads passages, in order; the answer for one does not depend on the others.
    ///
    /// Errors: [`JudgeError`] when the model cannot be run or a passage is beyond its bounds.
    fn read(&self, passages: &[Passage<'_>]) -> Result<Vec<Features>, JudgeError>;
}

impl Widths {
    /// Columns of the vector that experts of a family use: the parts, the context signed by which way the answer
    /// leans, the kind of claim and that lean by kind, and a constant.
    pub(crate) fn full(&self) -> usize {
        self.content + self.extra + 2 * self.context + 2 * KIND_COLUMNS + 1
    }

    /// Columns of the vector that carries over: the content and a constant.
    pub(crate) fn shared(&self) -> usize {
        self.content + 1
    }

    /// Share of the squared norm that each column of [`Widths::full`] is given once columns are brought to one scale.
    pub(crate) fn full_shares(&self) -> Vec<f32> {
        let blocks = [
            (self.content, 1.0),
            (self.context, 1.0),
            (self.extra, 0.5),
            (self.context, 1.0),
            (2 * KIND_COLUMNS, 2.0 * KIND_COLUMNS as f32 * KIND_SHARE),
        ];
        shares(&blocks)
    }

    /// The same for [`Widths::shared`].
    pub(crate) fn shared_shares(&self) -> Vec<f32> {
        shares(&[(self.content, 1.0)])
    }

    /// Whether features have these lengths and are finite.
    pub(crate) fn fit(&self, features: &Features) -> bool {
        let parts = [
            (&features.content, self.content),
            (&features.context, self.context),
            (&features.extra, self.extra),
        ];
        parts.iter().all(|(values, width)| {
            values.len() == *width && values.iter().all(|value| value.is_finite())
        })
    }
}

/// Equal shares within each block; the constant at the end has none of its own.
fn shares(blocks: &[(usize, f32)]) -> Vec<f32> {
    let columns = blocks
        .iter()
        .flat_map(|(width, share)| std::iter::repeat_n(share / (*width).max(1) as f32, *width));
    columns.chain([0.0]).collect()
}

/// The vector that experts of a family use.
///
/// What a short answer means lies in the question: a yes to one is a no to its opposite. So the context counts once as
/// it is and once with the sign of the answer.
pub(crate) fn full_vector(passage: &Passage<'_>, features: &Features) -> Sparse {
    let lean = lean(passage.response);
    let mut kinds = [0.0; 2 * KIND_COLUMNS];
    let kind = (hash_text(passage.kind) % KIND_COLUMNS as u64) as usize;
    (kinds[kind], kinds[KIND_COLUMNS + kind]) = (1.0, lean);
    let parts = [&features.content, &features.context, &features.extra];
    let values = parts
        .into_iter()
        .flatten()
        .copied()
        .chain(features.context.iter().map(|value| lean * value))
        .chain(kinds)
        .chain([1.0]);
    Sparse::dense(values.collect())
}

/// The vector that carries over.
pub(crate) fn shared_vector(features: &Features) -> Sparse {
    Sparse::dense(features.content.iter().copied().chain([1.0]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_yes_and_a_no_differ_by_the_sign_of_the_context() {
        let widths = Widths {
            content: 2,
            context: 3,
            extra: 1,
        };
        let features = Features {
            content: vec![0.1, 0.2],
            context: vec![1.0, 2.0, 3.0],
            extra: vec![0.5],
        };
        assert!(widths.fit(&features));
        let vector = |response| {
            let passage = Passage {
                kind: "k",
                prompt: "Would you?",
                response,
            };
            full_vector(&passage, &features).values
        };
        let (yes, no, neither) = (vector("Yes."), vector("No."), vector("Perhaps"));
        assert_eq!(yes.len(), widths.full());
        assert_eq!(widths.full_shares().len(), widths.full());
        assert_eq!(yes[..6], no[..6]);
        assert_eq!(yes[6..9], [1.0, 2.0, 3.0]);
        assert_eq!(no[6..9], [-1.0, -2.0, -3.0]);
        assert_eq!(neither[6..9], [0.0; 3]);
        assert!(!widths.fit(&Features {
            extra: vec![f32::NAN],
            ..features
        }));
    }

    #[test]
    fn passages_are_told_apart() {
        let passage = |prompt, response| {
            Passage {
                kind: "k",
                prompt,
                response,
            }
            .content_hash()
        };
        assert_ne!(passage("ab", "c"), passage("a", "bc"));
    }
}
