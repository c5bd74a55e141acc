//! The logs of a store and the key of each, derived from the deployment's secret and checked against its vkey.

use std::collections::HashMap;
use std::sync::Arc;

use attestlog_core::{Checkpoint, Hash, SigningKey, TreeHead, TreeSize, VerifierKey};

use crate::secret::Secret;
use crate::store::{Events, Log, LogId, NewLog, Store, StoreError};

/// Why a log cannot be signed for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyringError {
    /// The log was made with another secret.
    #[error(
        "the secret is not the one that log \"{name}\" was made with: it gives {derived}, and the log has {pinned}. \
         Start with the right one (--secret-file, ATTESTLOG_SECRET or --secret-fd)"
    )]
    WrongSecret {
        /// The log's name.
        name: String,
        /// The vkey that follows from the secret.
        derived: String,
        /// The vkey that the log has.
        pinned: String,
    },
    /// The name cannot be a part of an address.
    #[error(
        "\"{0}\" cannot be the name of a log: use 1 to 63 of a-z, 0-9, \".\", \"_\" and \"-\", the first a letter or digit"
    )]
    BadName(String),
    /// The origin cannot be the name of a key.
    #[error("\"{0}\" cannot be an origin: use 1 to 255 bytes without blanks, \"+\" or control characters")]
    BadOrigin(String),
    /// The database could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A log with the key that signs for it.
#[derive(Debug)]
pub struct SigningLog {
    /// The log.
    pub log: Log,
    /// Its key.
    pub key: SigningKey,
}

/// Derives each key once.
#[derive(Debug)]
pub struct Keyring {
    secret: Arc<Secret>,
    logs: HashMap<LogId, Arc<SigningLog>>,
}

impl Keyring {
    /// A keyring without logs.
    #[must_use]
    pub fn new(secret: Arc<Secret>) -> Self {
        Self { secret, logs: HashMap::new() }
    }

    /// The log with its key; reads the logs again if it is not known yet.
    ///
    /// # Errors
    /// [`KeyringError::WrongSecret`]; [`KeyringError::Store`], also if there is no such log.
    pub async fn log(&mut self, store: &dyn Store, id: LogId) -> Result<Arc<SigningLog>, KeyringError> {
        if !self.logs.contains_key(&id) {
            self.load(store).await?;
        }
        let known = self.logs.get(&id).cloned();
        known.ok_or_else(|| {
            StoreError::Damaged(format!("entries of a log {} that does not exist", id.0)).into()
        })
    }

    /// Reads all logs, and checks that the secret is theirs.
    ///
    /// # Errors
    /// [`KeyringError::WrongSecret`] for the first log that another secret made; [`KeyringError::Store`].
    pub async fn load(&mut self, store: &dyn Store) -> Result<(), KeyringError> {
        for (log, _) in store.logs().await? {
            if self.logs.contains_key(&log.id) {
                continue;
            }
            let key = derive(&self.secret, &log.origin)?;
            let derived = key.verifier_key().to_string();
            if derived != log.vkey {
                return Err(KeyringError::WrongSecret { name: log.name, derived, pinned: log.vkey });
            }
            self.logs.insert(log.id, Arc::new(SigningLog { log, key }));
        }
        Ok(())
    }
}

/// Makes a log: derives its key, signs the head of its empty tree, and stores both.
///
/// # Errors
/// [`KeyringError::BadName`], [`KeyringError::BadOrigin`]; [`StoreError::LogExists`] within [`KeyringError::Store`].
pub async fn create_log(
    store: &dyn Store,
    secret: &Secret,
    name: &str,
    origin: &str,
    events: Events,
) -> Result<Log, KeyringError> {
    if !is_log_name(name) {
        return Err(KeyringError::BadName(name.to_owned()));
    }
    let key = derive(secret, origin)?;
    let TreeHead { size, root } = TreeHead::EMPTY;
    let checkpoint = sign(&key, size, root).map_err(|_| KeyringError::BadOrigin(origin.to_owned()))?;
    let new = NewLog {
        name: name.to_owned(),
        origin: origin.to_owned(),
        vkey: key.verifier_key().to_string(),
        events,
        checkpoint: checkpoint.format().into_bytes(),
    };
    Ok(store.create_log(&new).await?)
}

/// Whether `name` is 1 to 63 of a-z, 0-9, `.`, `_` and `-`, the first a letter or a digit.
#[must_use]
pub fn is_log_name(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= 63
        && name.bytes().next().is_some_and(word)
        && name.bytes().all(|byte| word(byte) || matches!(byte, b'.' | b'_' | b'-'))
}

fn derive(secret: &Secret, origin: &str) -> Result<SigningKey, KeyringError> {
    secret.signing_key(origin).map_err(|_| KeyringError::BadOrigin(origin.to_owned()))
}

/// Signs a head, and opens what was signed with the public key: a fault in signing must not be published.
///
/// # Errors
/// If the key cannot sign it, or the signature does not verify.
pub fn sign(key: &SigningKey, size: TreeSize, root: Hash) -> Result<Checkpoint, attestlog_core::Error> {
    let checkpoint = Checkpoint::sign(key, size, root)?;
    let public: &VerifierKey = key.verifier_key();
    attestlog_core::SignedCheckpoint::from(checkpoint).open(public)
}
