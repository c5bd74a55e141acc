//! What `Store` promises, asked of each database alike.

#![expect(clippy::unwrap_used, reason = "a store that fails where it must not fails the test")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use attestlog_core::{Hash, LeafIndex, TreeSize};
use attestlog_server::store::{
    Appended, Batch, Events, Log, LogId, NewEntry, NewLog, ProcessedEntry, Store, Ticket, Tree, TreeChange,
};

mod append;
mod batch;
mod logs;
mod read;
mod search;

/// A database of a test's own, and what only SQL can do to it.
#[async_trait]
trait Database: Send + Sync {
    /// Opens it, as another server would, or as the same server after a restart.
    async fn open(&self) -> Arc<dyn Store>;

    /// Deletes an entry of `processed_log`, past the triggers that refuse it.
    async fn delete_entry(&self, log: LogId, index: u64);
}

/// Makes each case a test of each store.
macro_rules! on_each_store {
    ($($module:ident: $($case:ident),+;)+) => {
        mod sqlite {
            $(mod $module {
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $case() {
                        crate::$module::$case(&crate::embedded::fresh()).await;
                    }
                )+
            })+
        }

        mod postgres {
            $(mod $module {
                $(
                    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                    async fn $case() {
                        crate::$module::$case(&crate::postgres_database::fresh().await).await;
                    }
                )+
            })+
        }
    };
}

on_each_store! {
    logs:
        a_migrated_database_stays_migrated,
        many_servers_can_migrate_at_once,
        a_new_database_has_no_logs,
        a_new_log_is_empty_and_has_its_checkpoint,
        logs_are_listed_by_name_with_their_signed_size,
        a_name_or_an_origin_that_exists_is_refused,
        a_name_that_is_no_path_segment_is_refused,
        an_origin_that_is_empty_or_too_long_is_refused,
        everything_is_there_after_a_restart,
        nothing_is_answered_after_close;
    append:
        an_append_of_nothing_answers_nothing,
        each_entry_gets_a_ticket_of_its_own_in_order,
        equal_entries_are_two_entries,
        every_size_from_1_to_65535_comes_back_as_it_was,
        an_empty_entry_and_one_too_large_are_refused_with_all_others_of_the_call,
        one_call_serves_many_logs,
        a_retry_with_the_same_key_gets_the_first_ticket,
        a_retry_after_processing_gets_the_first_ticket,
        a_key_belongs_to_one_log,
        a_key_that_belongs_to_another_entry_stores_nothing,
        the_same_key_twice_in_one_call_is_one_entry,
        the_same_key_with_other_bytes_in_one_call_is_reused,
        a_key_is_kept_over_a_restart,
        two_retries_at_once_store_one_entry,
        a_thousand_keyed_entries_are_retried_in_one_call,
        the_backlog_is_counted_up_to_a_limit,
        tickets_are_unknown_accepted_or_processed;
    batch:
        a_second_batch_waits_for_the_first,
        a_second_server_has_no_batch_while_the_first_is_in_one,
        a_dropped_batch_changes_nothing,
        nobody_sees_a_batch_before_its_commit,
        entries_are_processed_in_the_order_of_their_append,
        a_batch_takes_at_most_so_many_rows,
        a_batch_takes_about_16_megabytes,
        a_batch_returns_its_rows_by_log_and_index,
        an_append_waits_for_an_open_batch,
        concurrent_appends_are_each_processed_once,
        entries_that_someone_else_moved_are_found_beyond_the_trees,
        a_tree_grows_only_from_the_size_that_was_read,
        a_tree_can_grow_without_a_checkpoint_and_get_it_later,
        a_checkpoint_is_never_replaced,
        a_tile_is_never_replaced,
        a_thousand_logs_are_served_by_one_batch;
    read:
        a_tree_is_read_as_it_was_written,
        full_tiles_are_found_and_others_are_not,
        checkpoints_are_listed_from_a_size_on,
        entries_are_read_up_to_a_limit,
        entries_are_read_up_to_16_megabytes,
        an_entry_bundle_has_exactly_its_entries,
        an_entry_bundle_holds_the_largest_entries,
        an_entry_bundle_without_one_of_its_entries_is_damaged,
        a_scan_reads_exactly_its_range,
        a_scan_keeps_every_byte,
        a_scan_keeps_the_largest_entries,
        a_scan_shows_gaps,
        two_scans_run_beside_a_batch,
        what_does_not_exist_is_not_found;
    search:
        what_is_found_is_what_a_look_at_every_entry_finds,
        pages_backwards_are_the_pages_forwards,
        paging_visits_each_hit_once_while_events_arrive,
        an_index_that_was_made_again_finds_the_same,
        many_indexers_at_once_make_one_index,
        a_transaction_that_is_dropped_leaves_the_index_as_it_was,
        entries_that_are_added_twice_are_there_once,
        unusual_entries_are_indexed_and_found,
        a_gap_in_the_entries_does_not_stop_the_index,
        an_index_that_says_too_much_finds_nothing_wrong,
        common_and_rare_words_meet,
        a_beginning_of_too_many_words_is_refused,
        entries_beyond_the_published_size_are_not_shown,
        logs_do_not_mix_and_all_are_indexed,
        the_index_and_a_batch_do_not_wait_for_each_other_to_end;
}

/// The embedded store.
mod embedded {
    use std::sync::Arc;

    use async_trait::async_trait;
    use attestlog_server::store::{LogId, Store};
    use attestlog_tests::embedded::Embedded;
    use sqlx::{Connection, SqliteConnection};

    pub(crate) fn fresh() -> impl super::Database {
        Embedded::new()
    }

    #[async_trait]
    impl super::Database for Embedded {
        async fn open(&self) -> Arc<dyn Store> {
            Arc::new(Self::open(self).await)
        }

        async fn delete_entry(&self, log: LogId, index: u64) {
            let options = sqlx::sqlite::SqliteConnectOptions::new().filename(self.path());
            let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
            sqlx::query("drop trigger if exists processed_log_is_append_only_delete")
                .execute(&mut connection)
                .await
                .unwrap();
            sqlx::query("delete from processed_log where log_id = ? and id = ?")
                .bind(log.0)
                .bind(i64::try_from(index).unwrap())
                .execute(&mut connection)
                .await
                .unwrap();
            connection.close().await.unwrap();
        }
    }
}

/// PostgreSQL, in a database of the server that `ATTESTLOG_TEST_POSTGRES` names.
mod postgres_database {
    use std::sync::Arc;

    use async_trait::async_trait;
    use attestlog_server::store::postgres::PostgresStore;
    use attestlog_server::store::{LogId, Store};
    use attestlog_tests::databases::{PostgresGuard, empty_postgres, execute};

    /// The database's URL, and what drops it.
    struct Postgres {
        url: String,
        _guard: PostgresGuard,
    }

    pub(crate) async fn fresh() -> impl super::Database {
        let (url, guard) = empty_postgres().await;
        Postgres { url, _guard: guard }
    }

    #[async_trait]
    impl super::Database for Postgres {
        async fn open(&self) -> Arc<dyn Store> {
            let store = PostgresStore::connect(&self.url, 8).unwrap();
            store.migrate().await.unwrap();
            Arc::new(store)
        }

        async fn delete_entry(&self, log: LogId, index: u64) {
            let sql = format!(
                "alter table attestlog.processed_log disable trigger user;
                 delete from attestlog.processed_log where log_id = {} and id = {index};
                 alter table attestlog.processed_log enable always trigger processed_log_is_append_only",
                log.0
            );
            execute(&self.url, &sql).await;
        }
    }
}

fn new_log(name: &str) -> NewLog {
    NewLog {
        name: name.to_owned(),
        origin: format!("example.com/{name}"),
        vkey: format!("example.com/{name}+00000000+AQ=="),
        events: Events::Any,
        checkpoint: format!("{name} 0").into_bytes(),
    }
}

async fn create(store: &dyn Store, name: &str) -> Log {
    store.create_log(&new_log(name)).await.unwrap()
}

fn entry(log: &Log, data: impl Into<Vec<u8>>) -> NewEntry {
    NewEntry { log: log.id, data: data.into(), idempotency_key: None }
}

fn keyed(log: &Log, data: &str, key: &str) -> NewEntry {
    NewEntry { log: log.id, data: data.into(), idempotency_key: Some(key.to_owned()) }
}

/// Appends, and expects a ticket for each entry.
async fn append(store: &dyn Store, entries: &[NewEntry]) -> Vec<Ticket> {
    let answers = store.append(entries).await.unwrap();
    assert_eq!(answers.len(), entries.len());
    let ticket = |answer| match answer {
        Appended::Ticket(ticket) => ticket,
        Appended::KeyReused => panic!("the key is used for the first time"),
    };
    answers.into_iter().map(ticket).collect()
}

/// What the sequencer makes of processed rows, with a note that names the size in place of a signed one.
fn grow(trees: Vec<Tree>, entries: &[ProcessedEntry]) -> Vec<TreeChange> {
    let grown = trees.into_iter().map(|tree| {
        let (old_size, mut edge, mut full_tiles) = (tree.edge.size(), tree.edge, Vec::new());
        for entry in entries.iter().filter(|entry| entry.log == tree.log) {
            assert_eq!(entry.index.0, edge.size().0, "the next index of its log");
            edge.append(Hash::leaf(&entry.data), &mut full_tiles);
        }
        let checkpoint = Some(note(edge.size()));
        TreeChange { log: tree.log, old_size, edge, full_tiles, checkpoint }
    });
    grown.collect()
}

fn note(size: TreeSize) -> Vec<u8> {
    format!("a note for {size}\n").into_bytes()
}

fn logs_of(entries: &[ProcessedEntry]) -> Vec<LogId> {
    let mut logs: Vec<LogId> = entries.iter().map(|entry| entry.log).collect();
    logs.dedup();
    logs
}

/// A batch, once one that was dropped has been rolled back: PostgreSQL hears of that a moment later.
async fn begin_batch(store: &dyn Store) -> Box<dyn Batch> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if let Some(batch) = store.begin_batch().await.unwrap() {
            return batch;
        }
        assert!(Instant::now() < deadline, "nobody else is in a batch");
        tokio::task::yield_now().await;
    }
}

/// One batch from beginning to end; returns the rows that it processed.
async fn process(store: &dyn Store, max_rows: u32) -> Vec<ProcessedEntry> {
    let mut batch = begin_batch(store).await;
    let entries = batch.process_next_batch(max_rows, false).await.unwrap();
    let trees = batch.trees(&logs_of(&entries)).await.unwrap();
    batch.write(&grow(trees, &entries)).await.unwrap();
    batch.commit().await.unwrap();
    entries
}

async fn process_all(store: &dyn Store) {
    while !process(store, 10_000).await.is_empty() {}
}

/// All entries of a log, read by a scan that must find no gap.
async fn all_entries(store: &dyn Store, log: LogId) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    store
        .scan(log, 0..u64::MAX, &mut |index, data, leaf_hash| {
            assert_eq!(index, LeafIndex(entries.len() as u64));
            assert_eq!(leaf_hash, Hash::leaf(data).0);
            entries.push(data.to_vec());
        })
        .await
        .unwrap();
    entries
}

fn texts(entries: &[Vec<u8>]) -> Vec<&str> {
    entries.iter().map(|entry| std::str::from_utf8(entry).unwrap()).collect()
}
