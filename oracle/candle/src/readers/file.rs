//! What a model made of passages, kept in a file: reading tens of thousands of cases takes minutes, fitting heads seconds.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use plumbline_oracle::{Features, JudgeError, Passage, Reader, ReaderIdentity, Row};

use crate::error::{ModelError, Result};

/// Passages read before what was made of them is written down.
const TOGETHER: usize = 64;

/// Features by the content of the passage, in `FOLDER/NAME-VERSION.features`: records of 32 bytes of BLAKE3 and the
/// features' values, four bytes each. A record cut short by a crash is read again.
pub struct FeatureFile {
    path: PathBuf,
    identity: ReaderIdentity,
    known: HashMap<[u8; 32], Features>,
    /// Bytes of whole records; what comes after was cut short.
    whole: u64,
    /// Open once something is written.
    file: Option<File>,
}

impl FeatureFile {
    /// Opens the file of a reader in `folder`, or starts one.
    ///
    /// Errors: [`ModelError::File`] naming the file.
    pub fn open(folder: &Path, identity: &ReaderIdentity) -> Result<Self> {
        let name = format!("{}-{}.features", identity.name, identity.version);
        let path = folder.join(name);
        let failed = |error: std::io::Error| ModelError::file(&path, error);
        std::fs::create_dir_all(folder).map_err(failed)?;
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        let size = record_size(identity);
        let records = bytes.chunks_exact(size);
        let whole = bytes.len() - records.remainder().len();
        let known = records.map(|record| parse(record, identity)).collect();
        Ok(Self {
            identity: identity.clone(),
            known,
            whole: whole as u64,
            file: None,
            path,
        })
    }

    /// The file to append to. One process writes at a time; others may read meanwhile, so nothing is cut off before.
    fn writer(&mut self) -> std::io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => {
                let file = OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(&self.path)?;
                file.set_len(self.whole)?;
                file
            }
        };
        Ok(self.file.insert(file))
    }

    /// Features of every row, in order: from the file, and what is not there from the reader, which is written down.
    /// `progress` is told how many rows are done.
    ///
    /// Errors: [`JudgeError`] of the reader or, where there is none and a row is not in the file, that it is missing.
    pub fn read(
        &mut self,
        reader: Option<&dyn Reader>,
        rows: &[Row],
        progress: &mut dyn FnMut(usize),
    ) -> std::result::Result<Vec<Features>, JudgeError> {
        let passages: Vec<(Passage<'_>, [u8; 32])> = rows
            .iter()
            .map(|row| (row.passage(), row.passage().content_hash()))
            .collect();
        let mut missing: Vec<&(Passage<'_>, [u8; 32])> = passages
            .iter()
            .filter(|(_, hash)| !self.known.contains_key(hash))
            .collect();
        missing.sort_by_key(|(_, hash)| *hash);
        missing.dedup_by_key(|(_, hash)| *hash);
        // Neighbours often share a prompt, which a reader may then read once.
        missing.sort_by_key(|(passage, _)| (passage.kind, passage.prompt));
        let mut done = rows.len() - missing.len();
        for part in missing.chunks(TOGETHER) {
            let Some(reader) = reader else {
                return Err(JudgeError::Unavailable(format!(
                    "{} has not read every case",
                    self.path.display()
                )));
            };
            let texts: Vec<Passage<'_>> = part.iter().map(|(passage, _)| *passage).collect();
            for ((_, hash), features) in part.iter().zip(reader.read(&texts)?) {
                self.keep(*hash, features)?;
            }
            done += part.len();
            progress(done);
        }
        Ok(passages
            .iter()
            .map(|(_, hash)| self.known.get(hash).cloned().unwrap_or_default())
            .collect())
    }

    fn keep(&mut self, hash: [u8; 32], features: Features) -> Result<()> {
        if !self.identity.fits(&features) {
            return Err(ModelError::invalid(
                &self.path,
                "the model gave a value that is not finite",
            ));
        }
        let mut record = hash.to_vec();
        let parts = [&features.content, &features.context, &features.extra];
        record.extend(parts.into_iter().flatten().flat_map(|v| v.to_le_bytes()));
        let written = self.writer().and_then(|file| file.write_all(&record));
        written.map_err(|error| ModelError::file(&self.path, error))?;
        self.known.insert(hash, features);
        Ok(())
    }
}

fn record_size(identity: &ReaderIdentity) -> usize {
    let widths = identity.widths;
    32 + 4 * (widths.content + widths.context + widths.extra)
}

fn parse(record: &[u8], identity: &ReaderIdentity) -> ([u8; 32], Features) {
    let (head, body) = record.split_at(32);
    let mut hash = [0; 32];
    hash.copy_from_slice(head);
    let mut values = body
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let widths = identity.widths;
    let mut take = |count: usize| values.by_ref().take(count).collect();
    let features = Features {
        content: take(widths.content),
        context: take(widths.context),
        extra: take(widths.extra),
    };
    (hash, features)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use plumbline_oracle::Widths;

    use super::*;

    /// Reads a passage as its lengths, and counts how many it read.
    struct Lengths(AtomicUsize);

    impl Reader for Lengths {
        fn name(&self) -> &str {
            "lengths"
        }
        fn family(&self) -> &str {
            "lengths"
        }
        fn version(&self) -> String {
            "1".to_owned()
        }
        fn widths(&self) -> Widths {
            Widths {
                content: 1,
                context: 1,
                extra: 0,
            }
        }
        fn read(&self, passages: &[Passage<'_>]) -> std::result::Result<Vec<Features>, JudgeError> {
            self.0.fetch_add(passages.len(), Ordering::Relaxed);
            let read = passages.iter().map(|passage| Features {
                content: vec![passage.response.len() as f32],
                context: vec![passage.prompt.len() as f32],
                extra: Vec::new(),
            });
            Ok(read.collect())
        }
    }

    fn rows() -> Vec<Row> {
        (0..150)
            .map(|i| Row {
                id: format!("{i}"),
                claim_type: "k".to_owned(),
                prompt: "p".repeat(i % 7),
                response: "r".repeat(i % 60),
                label: 0.0,
                group: format!("{i}"),
            })
            .collect()
    }

    #[test]
    fn passages_are_read_once_and_a_torn_record_again() {
        let folder = tempfile::tempdir().unwrap();
        let reader = Lengths(AtomicUsize::new(0));
        let identity = ReaderIdentity::of(&reader);
        let rows = rows();
        let mut file = FeatureFile::open(folder.path(), &identity).unwrap();
        let first = file.read(Some(&reader), &rows, &mut |_| {}).unwrap();
        for (row, features) in rows.iter().zip(&first) {
            assert_eq!(features.content, [row.response.len() as f32]);
            assert_eq!(features.context, [row.prompt.len() as f32]);
        }
        let once = reader.0.load(Ordering::Relaxed);
        assert!(once <= rows.len());
        drop(file);
        let path = folder.path().join("lengths-1.features");
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() - 3]).unwrap();
        let mut file = FeatureFile::open(folder.path(), &identity).unwrap();
        assert!(file.read(None, &rows, &mut |_| {}).is_err());
        assert_eq!(file.read(Some(&reader), &rows, &mut |_| {}).unwrap(), first);
        assert_eq!(reader.0.load(Ordering::Relaxed), once + 1);
    }
}
