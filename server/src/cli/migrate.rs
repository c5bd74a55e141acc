//! `attestlog migrate`: brings a store's schema to this program's version.

use attestlog_server::deployment::SecretSource;
use clap::Args;
use serde_json::json;

use super::failure::Failure;
use super::options::StoreOptions;
use super::{Verdict, output};

/// Bring the schema of a store to this program's version; makes a store that is not there
///
/// With PostgreSQL this is for the database's owner; "attestlog serve" then runs with fewer rights. Safe to run many
/// times, and at many places at once. There is no way back: in an audit log that would be a deletion.
#[derive(Debug, Args)]
#[command(after_long_help = examples!("attestlog migrate --database postgres://owner@localhost/app"))]
pub(crate) struct Migrate {
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    store: StoreOptions,
}

impl Migrate {
    pub(crate) async fn run(self) -> Result<Verdict, Failure> {
        let deployment = self.store.deployment(SecretSource::DataDirectory);
        let migrated = deployment.migrate().await?;
        let (version, what) = (env!("CARGO_PKG_VERSION"), self.store.name());
        if self.json {
            output::json(&json!({ "store": what, "program": version, "changed": migrated }))?;
        } else {
            let done = if migrated { "has been brought to" } else { "has already" };
            output::line(&format!("the schema of {what} {done} the version of attestlog {version}"))?;
        }
        Ok(Verdict::Holds)
    }
}
