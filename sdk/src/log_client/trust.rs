//! Whom a client trusts: one log of a policy, and the witnesses that the policy asks for.

use attestlog_core::{Checkpoint, Error, Policy, SignedCheckpoint, VerifierKey, VerifyError};

/// One log, and what vouches for its heads.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    policy: Policy,
    without_quorum: Policy,
    origin: String,
}

impl Trust {
    /// The text of a policy, or one vkey; the origin is needed where a policy names several logs.
    pub(crate) fn parse(text: &str, origin: Option<&str>) -> Result<Self, String> {
        let line = text.trim_ascii_end();
        let policy = if line.contains('\n') {
            Policy::parse(text).map_err(|error| format!("the policy: {error}"))?
        } else {
            let policy = VerifierKey::parse(line).and_then(Policy::for_log);
            policy.map_err(|error| format!("the policy is neither a tlog-policy nor a vkey: {error}"))?
        };
        let mut origins: Vec<&str> = policy.logs().map(VerifierKey::name).collect();
        origins.dedup();
        let origin = match (origin, &*origins) {
            (Some(origin), _) if origins.contains(&origin) => origin.to_owned(),
            (Some(origin), _) => return Err(format!("the policy names no log {origin}")),
            (None, [origin]) => (*origin).to_owned(),
            (None, _) => return Err("the policy names not one log: say which with origin()".to_owned()),
        };
        Ok(Self { without_quorum: policy.clone().without_quorum(), policy, origin })
    }

    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    pub(crate) const fn policy(&self) -> &Policy {
        &self.policy
    }

    /// A head that the log shows.
    pub(crate) fn open(&self, note: &[u8]) -> Result<Checkpoint, Error> {
        self.own(SignedCheckpoint::parse(note)?.open_with(&self.policy)?)
    }

    /// A head that was opened before it was kept: the witnesses may have changed since, the log's key may not.
    pub(crate) fn open_kept(&self, note: &[u8]) -> Result<Checkpoint, Error> {
        self.own(SignedCheckpoint::parse(note)?.open_with(&self.without_quorum)?)
    }

    /// The checkpoint, if it is of this log and not of another one in the policy.
    pub(crate) fn own(&self, checkpoint: Checkpoint) -> Result<Checkpoint, Error> {
        if checkpoint.origin() == self.origin {
            Ok(checkpoint)
        } else {
            Err(VerifyError::OriginMismatch.into())
        }
    }
}
