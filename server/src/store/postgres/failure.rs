//! Says what a caller can do about an error of PostgreSQL or of the way to it.
//!
//! The codes are those of the PostgreSQL manual, Appendix A.

use sqlx::Error;

use crate::store::StoreError;

/// The kind of a failure of which nothing more is known than what the driver says.
pub(super) fn classify(error: Error) -> StoreError {
    let code = error.as_database_error().and_then(|error| error.code());
    if let Some(code) = code.as_deref() {
        return match code {
            "53100" => StoreError::Full(error),
            // Locks, deadlocks, serialization.
            "55P03" | "40001" | "40P01" => StoreError::Busy(error),
            // Terminated: by the administrator, by a crash, by a timeout; starting up, or standing by: read only.
            "57014" | "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25006" => {
                StoreError::Unavailable(error)
            }
            "XX001" | "XX002" => StoreError::Damaged(error.to_string()),
            // Connections; out of memory, too many connections.
            _ if code.starts_with("08") || code.starts_with("53") => StoreError::Unavailable(error),
            _ => StoreError::Refused(error),
        };
    }
    match error {
        Error::Io(_)
        | Error::Tls(_)
        | Error::Protocol(_)
        | Error::PoolTimedOut
        | Error::PoolClosed
        | Error::WorkerCrashed
        | Error::BeginFailed => StoreError::Unavailable(error),
        other => StoreError::Refused(other),
    }
}

/// Whether one of these unique constraints is what refused the statement.
pub(super) fn violates(error: &Error, constraints: &[&str]) -> bool {
    error.as_database_error().is_some_and(|error| {
        error.code().as_deref() == Some("23505")
            && error.constraint().is_some_and(|name| constraints.contains(&name))
    })
}
