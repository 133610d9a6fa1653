//! Where a bench keeps its databases while it measures.

use std::path::{Path, PathBuf};

use anyhow::Result;
use tempfile::TempDir;

/// The folder that was asked for, which stays, or a temporary one, which goes when this is dropped.
pub enum WorkFolder {
    Given(PathBuf),
    Temporary(TempDir),
}

impl WorkFolder {
    pub fn of(given: Option<&Path>) -> Result<Self> {
        match given {
            Some(folder) => Ok(Self::Given(folder.to_owned())),
            None => Ok(Self::Temporary(tempfile::tempdir()?)),
        }
    }

    pub fn path(&self) -> &Path {
        match self {
            Self::Given(folder) => folder,
            Self::Temporary(folder) => folder.path(),
        }
    }
}
