//! The sentence encoder as a reader.

use plumbline_oracle::{Features, JudgeError, Passage, Reader, Widths};

use super::bounded;
use crate::encoder::Encoder;

/// Most bytes of one text; of a longer one the two ends are read.
const MOST_BYTES: usize = 200_000;
/// Passages handed to the encoder together: enough for full batches, few enough to be bounded in memory.
const TOGETHER: usize = 64;
/// What is read of a passage; part of the version.
const FORM: &str = "response, prompt+response, 1";

/// A sentence encoder that reads the response, and the prompt with the response.
///
/// `content` is the mean over the response's sections, `context` that of prompt and response together, `extra` how far
/// the largest values over the response's sections exceed their mean (0 for a text of one section): what stands out in
/// one part of a long transcript.
pub struct EncoderReader {
    encoder: Encoder,
}

impl EncoderReader {
    /// A reader with this encoder.
    pub fn new(encoder: Encoder) -> Self {
        Self { encoder }
    }
}

impl Reader for EncoderReader {
    fn name(&self) -> &str {
        "encoder"
    }

    fn family(&self) -> &str {
        "sentence-encoder"
    }

    fn version(&self) -> String {
        let identity = format!("{} {FORM} {MOST_BYTES}", self.encoder.version());
        blake3::hash(identity.as_bytes()).to_hex()[..16].to_owned()
    }

    fn build(&self) -> String {
        format!("{:?}", self.encoder.precision())
    }

    fn widths(&self) -> Widths {
        let width = self.encoder.width();
        Widths {
            content: width,
            context: width,
            extra: width,
        }
    }

    fn read(&self, passages: &[Passage<'_>]) -> Result<Vec<Features>, JudgeError> {
        let mut read = Vec::with_capacity(passages.len());
        for passages in passages.chunks(TOGETHER) {
            let mut texts = Vec::with_capacity(2 * passages.len());
            for passage in passages {
                let pair = format!("{}\n{}", passage.prompt, passage.response);
                texts.push(bounded(passage.response, MOST_BYTES).into_owned());
                texts.push(bounded(&pair, MOST_BYTES).into_owned());
            }
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let embeddings = self.encoder.read(&texts)?;
            for pair in embeddings.chunks_exact(2) {
                let (response, both) = (&pair[0], &pair[1]);
                let extremes = response.max.iter().zip(&response.mean);
                read.push(Features {
                    content: response.mean.clone(),
                    context: both.mean.clone(),
                    extra: match response.sections {
                        1 => vec![0.0; response.mean.len()],
                        _ => extremes.map(|(max, mean)| max - mean).collect(),
                    },
                });
            }
        }
        Ok(read)
    }
}
