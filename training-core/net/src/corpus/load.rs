//! Reading text from disk, with bounds.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use plumbline_training_core::draw::Draw;
use serde::Deserialize;

use super::{CorpusError, SourceData};

/// A text, and whether it must stay whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The text.
    pub text: String,
    /// A whole example: never cut, placed inside other text.
    pub whole: bool,
}

/// Bounds on what is read from a folder.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Files larger than this are passed over: generated tables teach little.
    pub file_bytes: u64,
    /// Most files to list.
    pub files: usize,
    /// Longest JSONL line, bytes.
    pub line_bytes: u64,
}

impl Limits {
    /// The bounds in force.
    pub const DEFAULT: Self = Self {
        file_bytes: 96 << 10,
        files: 200_000,
        line_bytes: 1 << 20,
    };
}

#[derive(Deserialize)]
struct Record {
    text: String,
    #[serde(default)]
    pad: bool,
}

/// The documents of a source, at most `max_bytes` of text in total. What is
/// taken from a folder or the registry is drawn by `seed`; a file is read from
/// its beginning.
///
/// # Errors
/// [`CorpusError`]; see there.
pub fn load_documents(
    data: &SourceData,
    max_bytes: u64,
    seed: u64,
) -> Result<Vec<Document>, CorpusError> {
    match data {
        SourceData::CargoRegistry => {
            let folder = registry_folder();
            let mut files = Vec::new();
            list_files(&folder, &is_registry_source, &mut files).ok();
            if files.is_empty() {
                return Err(CorpusError::NoRegistry(folder));
            }
            Ok(sample(&folder, files, max_bytes, seed))
        }
        SourceData::Path(path) => load_path(path, max_bytes, seed),
    }
}

/// Where cargo keeps unpacked sources: `$CARGO_HOME/registry/src`, with
/// `~/.cargo` for an unset `CARGO_HOME`.
pub fn registry_folder() -> PathBuf {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.filter(|path| !path.as_os_str().is_empty());
    let default = || {
        let user = std::env::var_os("HOME").map(PathBuf::from);
        user.unwrap_or_default().join(".cargo")
    };
    home.unwrap_or_else(default).join("registry").join("src")
}

/// `<index>/<crate>/src/**.rs`: tests, benches and examples repeat a lot.
fn is_registry_source(relative: &Path) -> bool {
    relative
        .extension()
        .is_some_and(|extension| extension == "rs")
        && relative
            .components()
            .nth(2)
            .is_some_and(|part| part.as_os_str() == "src")
}

fn load_path(path: &Path, max_bytes: u64, seed: u64) -> Result<Vec<Document>, CorpusError> {
    let meta = std::fs::metadata(path).map_err(|e| read_error(path, &e))?;
    if meta.is_dir() {
        let mut files = Vec::new();
        list_files(path, &|_| true, &mut files).map_err(|e| read_error(path, &e))?;
        return Ok(sample(path, files, max_bytes, seed));
    }
    if path
        .extension()
        .is_some_and(|extension| extension == "jsonl")
    {
        return load_jsonl(path, max_bytes);
    }
    let file = File::open(path).map_err(|e| read_error(path, &e))?;
    let mut bytes = Vec::new();
    file.take(max_bytes)
        .read_to_end(&mut bytes)
        .map_err(|e| read_error(path, &e))?;
    let text = whole_utf8(bytes).ok_or_else(|| CorpusError::Read {
        path: path.to_owned(),
        reason: "it is not UTF-8 text".into(),
    })?;
    Ok(vec![Document { text, whole: false }])
}

/// `bytes` as text; a character cut by the size bound is dropped.
fn whole_utf8(mut bytes: Vec<u8>) -> Option<String> {
    if let Err(error) = std::str::from_utf8(&bytes) {
        if error.error_len().is_some() {
            return None;
        }
        bytes.truncate(error.valid_up_to());
    }
    String::from_utf8(bytes).ok()
}

fn load_jsonl(path: &Path, max_bytes: u64) -> Result<Vec<Document>, CorpusError> {
    let file = File::open(path).map_err(|e| read_error(path, &e))?;
    let mut reader = BufReader::new(file);
    let mut documents = Vec::new();
    let (mut taken, mut number) = (0_u64, 0_usize);
    while taken < max_bytes {
        let mut line = String::new();
        number += 1;
        let wrong = |reason: String| CorpusError::Line {
            path: path.to_owned(),
            line: number,
            reason,
        };
        let read = reader
            .by_ref()
            .take(Limits::DEFAULT.line_bytes)
            .read_line(&mut line)
            .map_err(|e| wrong(e.to_string()))?;
        if read == 0 {
            break;
        }
        if read as u64 == Limits::DEFAULT.line_bytes && !line.ends_with('\n') {
            return Err(wrong("the line is too long".into()));
        }
        if line.trim().is_empty() {
            continue;
        }
        let record: Record = serde_json::from_str(&line).map_err(|e| wrong(e.to_string()))?;
        taken += record.text.len() as u64;
        documents.push(Document {
            text: record.text,
            whole: record.pad,
        });
    }
    Ok(documents)
}

/// Relative paths of the files below `root` that `wanted` accepts, hidden
/// ones, links and unreadable subfolders left out, in sorted order.
fn list_files(
    root: &Path,
    wanted: &dyn Fn(&Path) -> bool,
    files: &mut Vec<PathBuf>,
) -> std::io::Result<()> {
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if folder == root => return Err(error),
            Err(_) => continue,
        };
        for entry in entries.flatten() {
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            let path = entry.path();
            if hidden || files.len() >= Limits::DEFAULT.files {
                continue;
            } else if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file()
                && let Ok(relative) = path.strip_prefix(root)
                && wanted(relative)
            {
                files.push(relative.to_owned());
            }
        }
    }
    files.sort();
    Ok(())
}

/// Files in an order drawn by `seed` until `max_bytes` of text are had; those
/// that are too large or not UTF-8 are passed over.
fn sample(root: &Path, mut files: Vec<PathBuf>, max_bytes: u64, seed: u64) -> Vec<Document> {
    Draw::new("plumbline 2026 corpus sample v1", &[&seed.to_le_bytes()]).shuffle(&mut files);
    let mut documents = Vec::new();
    let mut left = max_bytes;
    for file in files {
        if left == 0 {
            break;
        }
        let path = root.join(file);
        let size = std::fs::metadata(&path).map_or(0, |meta| meta.len());
        if size == 0 || size > Limits::DEFAULT.file_bytes.min(left) {
            continue;
        }
        if let Ok(text) = std::fs::read_to_string(&path) {
            left = left.saturating_sub(text.len() as u64);
            documents.push(Document { text, whole: false });
        }
        if left < 1_024 {
            break;
        }
    }
    documents
}

fn read_error(path: &Path, error: &std::io::Error) -> CorpusError {
    CorpusError::Read {
        path: path.to_owned(),
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn texts(path: &Path, max_bytes: u64) -> Result<Vec<Document>, CorpusError> {
        load_documents(&SourceData::Path(path.to_owned()), max_bytes, 1)
    }

    #[test]
    fn folders_skip_what_is_not_text_and_keep_to_the_bound() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("deep")).unwrap();
        for number in 0..20 {
            let name = folder.path().join(format!("deep/{number}.txt"));
            std::fs::write(name, "0123456789".repeat(20)).unwrap();
        }
        std::fs::write(folder.path().join("binary"), [0xff, 0xfe, 0x00]).unwrap();
        std::fs::write(folder.path().join(".hidden"), "secret").unwrap();
        let all = texts(folder.path(), 1 << 20).unwrap();
        assert_eq!(all.len(), 20);
        assert!(all.iter().all(|d| !d.text.contains("secret") && !d.whole));
        let some = texts(folder.path(), 2_000).unwrap();
        let size: usize = some.iter().map(|d| d.text.len()).sum();
        assert!(size <= 2_000 && size > 800, "{size}");
    }

    #[test]
    fn jsonl_records_and_their_errors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jsonl");
        std::fs::write(
            &path,
            "{\"text\":\"one\"}\n\n{\"text\":\"two\",\"pad\":true}\n",
        )
        .unwrap();
        let documents = texts(&path, 1 << 20).unwrap();
        assert_eq!(documents.len(), 2);
        assert!(!documents[0].whole && documents[1].whole);
        std::fs::write(&path, "{\"text\":\"one\"}\n{\"txt\":1}\n").unwrap();
        let error = texts(&path, 1 << 20).unwrap_err().to_string();
        assert!(error.contains("a.jsonl, line 2"), "{error}");
    }

    #[test]
    fn text_files_are_cut_between_characters_and_must_be_utf8() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.txt");
        std::fs::write(&path, "aää").unwrap();
        assert_eq!(texts(&path, 4).unwrap()[0].text, "aä");
        std::fs::write(&path, [b'a', 0xff, b'b']).unwrap();
        assert!(
            texts(&path, 100)
                .unwrap_err()
                .to_string()
                .contains("not UTF-8")
        );
        let missing = texts(&folder.path().join("none"), 100).unwrap_err();
        assert!(missing.to_string().contains("none"), "{missing}");
    }

    #[test]
    fn registry_paths() {
        assert!(is_registry_source(Path::new(
            "index-1/serde-1.0/src/de/mod.rs"
        )));
        assert!(!is_registry_source(Path::new(
            "index-1/serde-1.0/tests/a.rs"
        )));
        assert!(!is_registry_source(Path::new("index-1/serde-1.0/src/a.c")));
    }
}
