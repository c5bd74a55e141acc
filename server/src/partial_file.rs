//! A file that has its name only once it is complete: until then it is beside it, and a crash leaves only that.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::secret::sync_directory;

/// A file beside the target, removed unless it is published.
#[derive(Debug)]
pub(crate) struct PartialFile {
    path: PathBuf,
    file: File,
}

impl PartialFile {
    /// Makes an empty file whose name is the target's with this ending.
    pub(crate) fn create(target: &Path, ending: &str) -> io::Result<Self> {
        let mut name = target.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_owned();
        name.push(ending);
        let path = target.with_file_name(name);
        Ok(Self { file: File::create(&path)?, path })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// To write to it.
    pub(crate) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Gives the file its name, once its bytes are on the disk.
    pub(crate) fn publish(self, target: &Path) -> io::Result<()> {
        self.file.sync_all()?;
        std::fs::rename(&self.path, target)?;
        sync_directory(target)
    }
}

impl Drop for PartialFile {
    fn drop(&mut self) {
        // After publishing there is nothing under this name; otherwise there is no one left to tell.
        let _ = std::fs::remove_file(&self.path);
    }
}
