//! Models as readers of passages: what heads make opinions of.

mod causal;
mod encoder;
mod file;

pub use causal::CausalReader;
pub use encoder::EncoderReader;
pub use file::FeatureFile;

use std::borrow::Cow;

use plumbline_oracle::JudgeError;

use crate::error::ModelError;

/// The text, or where it is longer than `most` bytes its beginning and its end, each of about half of that.
pub(crate) fn bounded(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let half = most.saturating_sub(4) / 2;
    let boundary = |at: &usize| text.is_char_boundary(*at);
    let head = (0..=half).rev().find(boundary).unwrap_or(0);
    let tail = (text.len() - half..=text.len()).find(boundary);
    let tail = tail.unwrap_or(text.len());
    Cow::Owned(format!("{}\n…{}", &text[..head], &text[tail..]))
}

impl From<ModelError> for JudgeError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Missing { .. } | ModelError::File { .. } => {
                Self::Unavailable(error.to_string())
            }
            _ => Self::Failed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_keep_their_ends() {
        assert_eq!(bounded("short", 100), "short");
        let long = format!("{}é{}", "a".repeat(300), "b".repeat(301));
        for most in [16, 17, 99, 600] {
            let cut = bounded(&long, most);
            assert!(cut.len() <= most, "{most}: {}", cut.len());
            assert!(cut.starts_with('a') && cut.ends_with('b'));
        }
    }
}
