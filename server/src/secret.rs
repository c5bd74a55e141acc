//! The one secret of a deployment, and the key of each log that is derived from it.
//!
//! Implements RFC 5869: `HKDF-SHA-256(secret, no salt, "attestlog log key v1\n" || origin)` is the 32-byte Ed25519
//! seed (RFC 8032) of the log with that origin. So no key signs for two logs, and ten thousand logs need no key store.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use attestlog_core::{KeyType, SigningKey, base64};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// The first word of a secret's text form; another version would derive other keys.
const HEADER: &str = "attestlog-secret-v1";

/// The longest text form that is read; a larger file is not a secret.
const MAX_TEXT_BYTES: u64 = 256;

/// 32 random bytes that never leave this process but into their own file; wiped from memory when dropped.
pub struct Secret(Zeroizing<[u8; 32]>);

/// Why there is no secret to sign with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// The file cannot be read or written.
    #[error("the secret {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Others than its owner may read the file.
    #[error(
        "the secret {0} can be read by others than its owner: run chmod 600 on it, and consider it known"
    )]
    Exposed(PathBuf),
    /// The text is not a secret.
    #[error("{0} is not an Attestlog secret: one line, \"{HEADER}\" and 44 characters of base64")]
    Malformed(String),
    /// The operating system gives no randomness.
    #[error("no randomness: {0}")]
    Randomness(getrandom::Error),
}

impl Secret {
    /// A new secret from the operating system's randomness.
    ///
    /// # Errors
    /// [`SecretError::Randomness`].
    pub fn generate() -> Result<Self, SecretError> {
        let mut bytes = Zeroizing::new([0; 32]);
        getrandom::fill(bytes.as_mut_slice()).map_err(SecretError::Randomness)?;
        Ok(Self(bytes))
    }

    /// Reads the text form; `origin_of_text` names it in an error.
    ///
    /// # Errors
    /// [`SecretError::Malformed`].
    pub fn parse(text: &str, origin_of_text: &str) -> Result<Self, SecretError> {
        let malformed = || SecretError::Malformed(origin_of_text.to_owned());
        let line = text.strip_suffix('\n').unwrap_or(text);
        let encoded =
            line.strip_prefix(HEADER).and_then(|rest| rest.strip_prefix(' ')).ok_or_else(malformed)?;
        let bytes = Zeroizing::new(base64::parse(encoded.as_bytes()).map_err(|_| malformed())?);
        let bytes: [u8; 32] = bytes.as_slice().try_into().map_err(|_| malformed())?;
        Ok(Self(Zeroizing::new(bytes)))
    }

    /// Reads a file that only its owner may read.
    ///
    /// # Errors
    /// [`SecretError::Io`], [`SecretError::Exposed`], [`SecretError::Malformed`].
    pub fn read(path: &Path) -> Result<Self, SecretError> {
        Self::parse(&read_private(path)?, &path.display().to_string())
    }

    /// Reads an open file descriptor, a pipe from a secret manager, say.
    ///
    /// # Errors
    /// [`SecretError::Io`], [`SecretError::Malformed`].
    pub fn read_descriptor(descriptor: u32) -> Result<Self, SecretError> {
        let path = PathBuf::from(format!("/dev/fd/{descriptor}"));
        let file = File::open(&path).map_err(|source| SecretError::Io { path: path.clone(), source })?;
        Self::parse(&read_text(file, &path)?, &path.display().to_string())
    }

    /// Writes a new file with mode 0600, durable when this returns. Never overwrites one.
    ///
    /// # Errors
    /// [`SecretError::Io`], also if the file exists.
    pub fn write_new(&self, path: &Path) -> Result<(), SecretError> {
        let io_error = |source| SecretError::Io { path: path.to_owned(), source };
        // Complete or absent: a crash must not leave half a secret under the name.
        let temporary = path.with_extension(format!("new-{}", std::process::id()));
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).map_err(io_error)?;
        let text =
            Zeroizing::new(format!("{HEADER} {}\n", *Zeroizing::new(base64::format(self.0.as_slice()))));
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        // A link, not a rename: it fails if the name is taken.
        let linked = written.and_then(|()| fs::hard_link(&temporary, path));
        let removed = fs::remove_file(&temporary);
        linked.and(removed).map_err(io_error)?;
        sync_directory(path).map_err(io_error)
    }

    /// The key that signs for the log with this origin.
    ///
    /// # Errors
    /// If the origin cannot be the name of a key.
    pub fn signing_key(&self, origin: &str) -> Result<SigningKey, attestlog_core::ParseError> {
        let mut seed = Zeroizing::new([0; 32]);
        let info = [b"attestlog log key v1\n", origin.as_bytes()];
        Hkdf::<Sha256>::new(None, self.0.as_slice())
            .expand_multi_info(&info, seed.as_mut_slice())
            .map_err(|_| attestlog_core::ParseError::VerifierKey)?;
        SigningKey::new(origin, KeyType::Log, &seed)
    }
}

/// Never shows the secret.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Reads a short text file that only its owner may read: a secret or a token.
///
/// # Errors
/// [`SecretError::Io`], [`SecretError::Exposed`], [`SecretError::Malformed`].
pub fn read_private(path: &Path) -> Result<Zeroizing<String>, SecretError> {
    let io_error = |source| SecretError::Io { path: path.to_owned(), source };
    let file = File::open(path).map_err(io_error)?;
    if file.metadata().map_err(io_error)?.mode() & 0o077 != 0 {
        return Err(SecretError::Exposed(path.to_owned()));
    }
    read_text(file, path)
}

fn read_text(file: File, path: &Path) -> Result<Zeroizing<String>, SecretError> {
    let mut text = Zeroizing::new(String::with_capacity(512));
    match file.take(MAX_TEXT_BYTES).read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(SecretError::Malformed(path.display().to_string()))
        }
        Err(source) => Err(SecretError::Io { path: path.to_owned(), source }),
    }
}

/// Makes a new name in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_written_secret_is_private_and_derives_the_same_keys() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let secret = Secret::generate().unwrap();
        secret.write_new(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        let again = Secret::read(&path).unwrap();
        let vkey = |secret: &Secret| secret.signing_key("example.com/a").unwrap().verifier_key().to_string();
        assert_eq!(vkey(&secret), vkey(&again));
        assert!(matches!(secret.write_new(&path), Err(SecretError::Io { .. })));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn refuses_a_file_that_others_can_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        Secret::generate().unwrap().write_new(&path).unwrap();
        for mode in [0o640, 0o604, 0o620, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(matches!(Secret::read(&path), Err(SecretError::Exposed(_))), "{mode:o}");
        }
    }

    #[test]
    fn another_origin_has_another_key() {
        let secret = Secret::parse(&format!("{HEADER} {}\n", base64::format(&[7; 32])), "test").unwrap();
        let key = |origin: &str| secret.signing_key(origin).unwrap().verifier_key().public_key();
        assert_ne!(key("example.com/a"), key("example.com/b"));
        assert_eq!(key("example.com/a"), key("example.com/a"));
    }

    #[test]
    fn refuses_what_is_not_a_secret_without_showing_it() {
        let short = base64::format(&[7; 31]);
        for text in ["", "hunter2", "attestlog-secret-v2 AAAA", &short, &format!("{HEADER} {short}"), HEADER]
        {
            let error = Secret::parse(text, "FILE").unwrap_err();
            assert!(matches!(error, SecretError::Malformed(_)));
            assert!(text.is_empty() || text == HEADER || !error.to_string().contains(text));
        }
        assert_eq!(format!("{:?}", Secret::generate().unwrap()), "Secret(…)");
    }
}
