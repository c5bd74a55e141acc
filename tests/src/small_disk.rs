//! A disk with little room, to be filled: a tmpfs of its own.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// The most of it that [`SmallDisk::fill`] leaves free, in bytes: less than a page.
const PIECE: usize = 4096;

/// A tmpfs in a folder of its own; dropped, it is unmounted.
#[derive(Debug)]
pub struct SmallDisk {
    folder: TempDir,
}

impl SmallDisk {
    /// One of so many megabytes.
    ///
    /// # Panics
    /// If it cannot be mounted: the tests that fill a disk need to be run as root, on Linux.
    #[must_use]
    pub fn mount(megabytes: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Others may pass through, a database's user, say.
        let all_may_enter = std::os::unix::fs::PermissionsExt::from_mode(0o711);
        fs::set_permissions(folder.path(), all_may_enter).unwrap();
        let disk = Self { folder };
        fs::create_dir(disk.path()).unwrap();
        let size = format!("size={megabytes}m,mode=0755");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(disk.path()).output();
        let mounted = mounted.expect("mount is installed");
        assert!(
            mounted.status.success(),
            "a tmpfs cannot be mounted, so a full disk cannot be tested: run the tests as root, with the right to \
             mount (CAP_SYS_ADMIN): {}",
            String::from_utf8_lossy(&mounted.stderr)
        );
        disk
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    /// Takes so many bytes away until [`free`](Self::free).
    ///
    /// # Panics
    /// If there is less room.
    pub fn take(&self, bytes: usize) {
        self.ballast().write_all(&vec![0; bytes]).unwrap();
    }

    /// Takes away all that is left until [`free`](Self::free).
    ///
    /// # Panics
    /// If something else than the lack of room ends it.
    pub fn fill(&self) {
        let mut ballast = self.ballast();
        loop {
            if let Err(error) = ballast.write_all(&[0; PIECE]) {
                assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{error}");
                return;
            }
        }
    }

    /// Gives back what was taken.
    ///
    /// # Panics
    /// If nothing was.
    pub fn free(&self) {
        fs::remove_file(self.ballast_path()).unwrap();
    }

    fn ballast(&self) -> File {
        File::options().create(true).append(true).open(self.ballast_path()).unwrap()
    }

    fn ballast_path(&self) -> PathBuf {
        self.path().join("ballast")
    }
}

/// Gives a folder to the user that the test's PostgreSQL runs as.
///
/// # Panics
/// If it cannot be given away.
pub fn give_to_postgres(path: &Path) {
    let given = Command::new("chown").arg("postgres:").arg(path).status().unwrap();
    assert!(given.success(), "{} cannot be given to the user postgres", path.display());
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a server may still be ending.
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} is still mounted", self.path().display());
        }
    }
}
