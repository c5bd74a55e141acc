//! Audit events that commit with the business change or not at all, and receipts that prove them for ever.
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
pub mod writer;

mod backoff;
mod http;
mod private_file;
mod read_error;

pub use event::{
    Actor, ActorType, Event, EventError, Outcome, Target, anonymous, api_key, service, system, user,
};
pub use log_client::LogClient;
pub use read_error::{ReadError, Tampering};
pub use writer::Writer;
