//! Audit events that commit with the business change or not at all, and receipts that prove them for ever.
//!
//! [`Audit`] appends an [`Event`] in the caller's transaction, and turns the [`Ticket`] of that into a [`Receipt`].
//!
//! ```
//! use attestlog::{Event, user};
//!
//! let event = Event::new("invoice.voided").actor(user("usr_7")).target("invoice", "inv_9");
//! assert!(event.to_entry().is_ok());
//! ```

pub mod event;
pub mod follow;
pub mod log_client;
pub mod testing;
pub mod writer;

mod audit;
mod backoff;
mod http;
mod private_file;
mod read_error;
mod receipt;
mod ticket;
mod transaction;

pub use audit::Audit;
pub use event::{
    Actor, ActorType, Event, EventError, Outcome, Target, anonymous, api_key, service, system, user,
};
pub use log_client::LogClient;
pub use read_error::{ReadError, Tampering};
pub use receipt::Receipt;
pub use ticket::Ticket;
pub use transaction::{AppendError, DatabaseConnection};
pub use writer::Writer;

/// The blocks of the README compile.
#[cfg(all(doctest, feature = "postgres"))]
#[doc = include_str!("../README.md")]
struct Readme;
