//! For an application's tests: what has this transaction logged?
//!
//! Nothing need run for it, no server and no processing: the test calls the code, looks, and rolls back.
//!
//! ```no_run
//! # async fn test(pool: sqlx::PgPool) -> Result<(), Box<dyn std::error::Error>> {
//! use attestlog::testing::{assert_logged, event};
//!
//! let mut tx = pool.begin().await?;
//! // void_invoice(&mut tx, 9).await?;
//! let logged =
//!     assert_logged(&mut tx, "acme", event("invoice.voided").actor("usr_7").target("invoice", "inv_9")).await;
//! assert_eq!(logged.metadata["amount"], 30);
//! tx.rollback().await?;
//! # Ok(())
//! # }
//! ```
//!
//! On PostgreSQL the test's role must be able to read what is logged, which a member of `attestlog_writer` cannot: let
//! tests connect as the schema's owner, or `grant attestlog_processor` to their role.

use std::fmt::{self, Write};

use crate::event::Event;
use crate::transaction::DatabaseConnection;

/// Why it cannot be said what was logged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoggedError {
    /// The role may append and not read.
    #[error(
        "this role may not read what is logged: let the tests connect as the owner of the schema attestlog, or run \
         \"grant attestlog_processor to\" their role ({0})"
    )]
    Rights(#[source] sqlx::Error),
    /// The database.
    #[error("what is logged cannot be read: {0}")]
    Database(#[source] sqlx::Error),
}

/// The events of a log that the transaction sees, its own included, in their order: first those that have an index,
/// then those that wait for one. Entries that are no events are left out.
///
/// # Errors
/// [`LoggedError`].
pub async fn logged<C>(transaction: &mut C, log: &str) -> Result<Vec<Event>, LoggedError>
where
    C: DatabaseConnection + ?Sized,
{
    let entries = entries(transaction, log).await?;
    Ok(entries.iter().filter_map(|entry| Event::parse(entry).ok()).collect())
}

/// Returns the first event of a log that is as expected: [`event`], the name of an action, or a closure that tells.
///
/// # Panics
/// If there is none, with a list of what there is; or if it cannot be read.
pub async fn assert_logged<C>(transaction: &mut C, log: &str, expected: impl Expected) -> Event
where
    C: DatabaseConnection + ?Sized,
{
    let entries = readable(entries(transaction, log).await);
    let events = entries.iter().filter_map(|entry| Event::parse(entry).ok());
    let found = events.into_iter().find(|event| expected.matches(event));
    found.unwrap_or_else(|| panic!("{}", failure("no event", &expected, log, &entries)))
}

/// Asserts that no event of a log is as described.
///
/// # Panics
/// If there is one, with a list of what there is; or if it cannot be read.
pub async fn assert_not_logged<C>(transaction: &mut C, log: &str, expected: impl Expected)
where
    C: DatabaseConnection + ?Sized,
{
    let entries = readable(entries(transaction, log).await);
    let mut events = entries.iter().filter_map(|entry| Event::parse(entry).ok());
    assert!(
        !events.any(|event| expected.matches(&event)),
        "{}",
        failure("an event", &expected, log, &entries)
    );
}

/// What a logged event should be like.
pub trait Expected {
    /// Whether this event is.
    fn matches(&self, event: &Event) -> bool;

    /// The same in words, for the message of a failure.
    fn describe(&self) -> String;
}

impl<F: Fn(&Event) -> bool> Expected for F {
    fn matches(&self, event: &Event) -> bool {
        self(event)
    }

    fn describe(&self) -> String {
        "as the closure asks".to_owned()
    }
}

impl Expected for &str {
    fn matches(&self, event: &Event) -> bool {
        event.action == *self
    }

    fn describe(&self) -> String {
        format!("with action {self}")
    }
}

/// An event with this action; narrow it down further with the methods of what is returned.
pub fn event(action: impl Into<String>) -> ExpectedEvent {
    ExpectedEvent { action: action.into(), actor: None, target: None }
}

/// An action, and if they were named an actor's id and a target. Made by [`event`].
#[derive(Clone, Debug)]
pub struct ExpectedEvent {
    action: String,
    actor: Option<String>,
    target: Option<(String, String)>,
}

impl ExpectedEvent {
    /// By the actor of this id.
    #[must_use]
    pub fn actor(mut self, id: impl Into<String>) -> Self {
        self.actor = Some(id.into());
        self
    }

    /// Done to this target, among others perhaps.
    #[must_use]
    pub fn target(mut self, kind: impl Into<String>, id: impl Into<String>) -> Self {
        self.target = Some((kind.into(), id.into()));
        self
    }
}

impl Expected for ExpectedEvent {
    fn matches(&self, event: &Event) -> bool {
        let target = |(kind, id): &(String, String)| {
            event.targets.iter().any(|target| target.kind == *kind && target.id == *id)
        };
        event.action == self.action
            && self.actor.as_ref().is_none_or(|id| event.actor.id == *id)
            && self.target.as_ref().is_none_or(target)
    }

    fn describe(&self) -> String {
        let actor = self.actor.as_ref().map(|id| format!(", actor {id}")).unwrap_or_default();
        let target = self.target.as_ref().map(|(kind, id)| format!(", target {kind} {id}"));
        format!("with action {}{actor}{}", self.action, target.unwrap_or_default())
    }
}

async fn entries<C>(transaction: &mut C, log: &str) -> Result<Vec<Vec<u8>>, LoggedError>
where
    C: DatabaseConnection + ?Sized,
{
    transaction.entries(log).await.map_err(|error| {
        // PostgreSQL's insufficient_privilege.
        let rights = error.as_database_error().is_some_and(|error| error.code().as_deref() == Some("42501"));
        if rights { LoggedError::Rights(error) } else { LoggedError::Database(error) }
    })
}

fn readable(entries: Result<Vec<Vec<u8>>, LoggedError>) -> Vec<Vec<u8>> {
    entries.unwrap_or_else(|error| panic!("{error}"))
}

fn failure(found: &str, expected: &impl Expected, log: &str, entries: &[Vec<u8>]) -> String {
    let mut message = format!("{found} {} is logged in \"{log}\", which has ", expected.describe());
    if entries.is_empty() {
        message.push_str("nothing");
    }
    for entry in entries {
        // Writing to a String does not fail.
        let _ = write!(message, "\n  {}", Line(entry));
    }
    message
}

/// An entry on one line.
struct Line<'a>(&'a [u8]);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(event) = Event::parse(self.0) else {
            return write!(f, "not an event: {:?}", String::from_utf8_lossy(self.0));
        };
        write!(f, "{} by {}", event.action, event.actor.id)?;
        for target in &event.targets {
            write!(f, " to {} {}", target.kind, target.id)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::user;

    fn voided() -> Event {
        Event::new("invoice.voided").actor(user("usr_7")).target("customer", "c_1").target("invoice", "inv_9")
    }

    #[test]
    fn an_event_is_told_from_others_by_action_actor_and_target() {
        for expected in [
            event("invoice.voided"),
            event("invoice.voided").actor("usr_7"),
            event("invoice.voided").target("invoice", "inv_9"),
            event("invoice.voided").actor("usr_7").target("customer", "c_1"),
        ] {
            assert!(expected.matches(&voided()), "{expected:?}");
        }
        for expected in [
            event("invoice.paid"),
            event("invoice.voided").actor("usr_8"),
            event("invoice.voided").target("invoice", "c_1"),
        ] {
            assert!(!expected.matches(&voided()), "{expected:?}");
        }
        assert!(Expected::matches(&"invoice.voided", &voided()));
        assert!((|event: &Event| event.targets.len() == 2).matches(&voided()));
    }

    #[test]
    fn a_failure_lists_what_was_logged() {
        let entries = [voided().to_entry().unwrap(), b"raw".to_vec()];
        let expected = event("invoice.paid").actor("usr_8").target("invoice", "inv_9");
        assert_eq!(
            failure("no event", &expected, "acme", &entries),
            "no event with action invoice.paid, actor usr_8, target invoice inv_9 is logged in \"acme\", which has \
             \n  invoice.voided by usr_7 to customer c_1 to invoice inv_9\
             \n  not an event: \"raw\""
        );
        let nothing = failure("no event", &"a", "acme", &[]);
        assert_eq!(nothing, "no event with action a is logged in \"acme\", which has nothing");
    }
}
