//! Brings the schema to this program's version.

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgPool;

use super::{failure::classify, within};
use crate::store::StoreError;

/// The migrations, with a record of their own: an application that migrates the same database with sqlx keeps
/// `_sqlx_migrations` for itself.
fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!("../migrations/postgres");
    migrator.dangerous_set_table_name("attestlog.migration");
    migrator.create_schema("attestlog");
    // Its lock belongs to the session, which a pooler does not keep.
    migrator.set_locking(false);
    migrator
}

/// Runs the migrations that are missing, in one transaction.
pub(super) async fn migrate(pool: &PgPool) -> Result<(), StoreError> {
    // Whoever has nothing to do needs no right to make anything.
    if is_migrated(pool).await? {
        return Ok(());
    }
    // No deadline here: a migration of a large table takes its time, and so does waiting for another migrator.
    let mut transaction = pool.begin().await.map_err(classify)?;
    // The lock of process_next_batch: no batch runs on a schema that is changing.
    sqlx::query("select pg_advisory_xact_lock(6962, 1)")
        .execute(&mut *transaction)
        .await
        .map_err(classify)?;
    migrator().run_direct(None, &mut *transaction, false).await.map_err(failure)?;
    transaction.commit().await.map_err(classify)
}

/// Whether exactly this program's migrations have been applied.
pub(super) async fn is_migrated(pool: &PgPool) -> Result<bool, StoreError> {
    let record: Option<String> =
        within(sqlx::query_scalar("select to_regclass('attestlog.migration')::text").fetch_one(pool)).await?;
    if record.is_none() {
        return Ok(false);
    }
    let applied: Vec<(i64, Vec<u8>)> = within(
        sqlx::query_as("select version, checksum from attestlog.migration where success order by version")
            .fetch_all(pool),
    )
    .await?;
    let ours = migrator();
    Ok(ours
        .iter()
        .map(|migration| (migration.version, &*migration.checksum))
        .eq(applied.iter().map(|(version, checksum)| (*version, checksum.as_slice()))))
}

/// What failed in a migration may be the database rather than the migration.
fn failure(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) => match classify(error) {
            StoreError::Refused(error) => StoreError::Migration(MigrateError::Execute(error)),
            other => other,
        },
        MigrateError::ExecuteMigration(error, version) => match classify(error) {
            StoreError::Refused(error) => {
                StoreError::Migration(MigrateError::ExecuteMigration(error, version))
            }
            other => other,
        },
        other => StoreError::Migration(other),
    }
}
