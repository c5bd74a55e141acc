//! Why a command ends without a result, as a sentence for its caller and one of two exit codes.

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use attestlog_server::deployment::DeploymentError;
use attestlog_server::keyring::KeyringError;
use attestlog_server::prover::ProveError;
use attestlog_server::publisher::PublishError;
use attestlog_server::secret::SecretError;
use attestlog_server::sequencer::SequenceError;
use attestlog_server::store::StoreError;

/// The exit code for what is proven not to hold.
pub(crate) const DOES_NOT_HOLD: u8 = 1;

/// The exit code for what could not be checked or done, and for wrong calls.
pub(crate) const CANNOT_CHECK: u8 = 2;

/// What was wrong, naming the input, and what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    message: String,
    /// Whether this is evidence that something was changed.
    evidence: bool,
}

impl Failure {
    /// It could not be done or checked.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), evidence: false }
    }

    /// It was checked, and does not hold.
    pub(crate) fn evidence(message: impl Into<String>) -> Self {
        Self { message: message.into(), evidence: true }
    }

    /// The file cannot be read or written.
    pub(crate) fn io(path: &Path, error: &std::io::Error) -> Self {
        Self::new(format!("{}: {error}", path.display()))
    }

    /// The same with more to say.
    pub(crate) fn and(mut self, more: &str) -> Self {
        self.message = format!("{}\n{more}", self.message);
        self
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        if self.evidence { DOES_NOT_HOLD.into() } else { CANNOT_CHECK.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Damaged(_) => {
                Self::evidence(format!("{error}\n\"attestlog fsck\" names what is wrong"))
            }
            StoreError::Unavailable(_) => Self::new(format!(
                "{error}\nCheck that it runs, and that --database (or DATABASE_URL) or --data names it"
            )),
            StoreError::Full(_) => Self::new(format!("{error}\nMake room, and run the command again")),
            StoreError::Busy(_) | StoreError::TreeMoved(_) => {
                Self::new(format!("{error}\nRun the command again"))
            }
            StoreError::Refused(_) => Self::new(format!(
                "{error}\nCheck the rights of this database user, and run \"attestlog migrate\" if the schema is old"
            )),
            error => Self::new(error.to_string()),
        }
    }
}

impl From<DeploymentError> for Failure {
    fn from(error: DeploymentError) -> Self {
        match error {
            DeploymentError::Store(error) => error.into(),
            DeploymentError::Keyring(error) => error.into(),
            error => Self::new(error.to_string()),
        }
    }
}

impl From<KeyringError> for Failure {
    fn from(error: KeyringError) -> Self {
        match error {
            KeyringError::Store(error) => error.into(),
            error => Self::new(error.to_string()),
        }
    }
}

impl From<SecretError> for Failure {
    fn from(error: SecretError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Store(error) => error.into(),
            error if error.is_conflict() => Self::evidence(error.to_string()),
            error => Self::new(error.to_string()),
        }
    }
}

impl From<SequenceError> for Failure {
    fn from(error: SequenceError) -> Self {
        match error {
            SequenceError::Store(error) => error.into(),
            SequenceError::Keyring(error) => error.into(),
            SequenceError::Publish(error) => error.into(),
            error => Self::new(error.to_string()),
        }
    }
}

impl From<ProveError> for Failure {
    fn from(error: ProveError) -> Self {
        match error {
            ProveError::Store(error) => error.into(),
            error => Self::new(error.to_string()),
        }
    }
}
