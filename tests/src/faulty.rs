//! A store that fails where a test says, before or after the call has done its work.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use attestlog_core::{LeafIndex, TileId, TreeSize};
use attestlog_server::store::{
    Appended, Backlog, Batch, EntrySink, Log, LogId, NewEntry, NewLog, ProcessedEntry, SearchStore, Store,
    StoreError, StoredCheckpoint, Ticket, TicketState, Tree, TreeChange,
};

/// A call of the sequencer's or the publisher's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the method of its name")]
pub enum Call {
    BeginBatch,
    EntriesBeyondTrees,
    ProcessNextBatch,
    Trees,
    UnsignedTrees,
    Write,
    Commit,
    Checkpoint,
}

/// What happens at the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It reports a failure and has done nothing.
    Before,
    /// It does its work, and reports a failure.
    After,
}

/// Passes everything on to another store; one call fails, once.
#[derive(Debug)]
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    fault: Arc<Fault>,
}

#[derive(Debug)]
struct Fault {
    call: Call,
    failure: Failure,
    armed: AtomicBool,
    calls: AtomicUsize,
}

impl FaultyStore {
    /// Fails at the next `call`.
    #[must_use]
    pub fn new(inner: Arc<dyn Store>, call: Call, failure: Failure) -> Self {
        let (armed, calls) = (AtomicBool::new(true), AtomicUsize::new(0));
        Self { inner, fault: Arc::new(Fault { call, failure, armed, calls }) }
    }

    /// How often the call that fails was made, that one included.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.fault.calls.load(Ordering::SeqCst)
    }

    /// Whether the fault has not struck yet.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        self.fault.armed.load(Ordering::SeqCst)
    }
}

fn failed() -> StoreError {
    StoreError::Unavailable(sqlx::Error::PoolTimedOut)
}

impl Fault {
    /// Does `work`, or fails instead of it or after it.
    async fn strike<T: Send>(
        &self,
        call: Call,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        if call != self.call {
            return work.await;
        }
        self.calls.fetch_add(1, Ordering::SeqCst);
        if !self.armed.swap(false, Ordering::SeqCst) {
            return work.await;
        }
        if self.failure == Failure::After {
            drop(work.await?);
        }
        Err(failed())
    }
}

struct FaultyBatch {
    inner: Box<dyn Batch>,
    fault: Arc<Fault>,
}

#[async_trait]
impl Batch for FaultyBatch {
    async fn entries_beyond_trees(&mut self, limit: u32) -> Result<Vec<ProcessedEntry>, StoreError> {
        self.fault.strike(Call::EntriesBeyondTrees, self.inner.entries_beyond_trees(limit)).await
    }

    async fn process_next_batch(
        &mut self,
        max_rows: u32,
        look_at_everything: bool,
    ) -> Result<Vec<ProcessedEntry>, StoreError> {
        self.fault
            .strike(Call::ProcessNextBatch, self.inner.process_next_batch(max_rows, look_at_everything))
            .await
    }

    async fn trees(&mut self, logs: &[LogId]) -> Result<Vec<Tree>, StoreError> {
        self.fault.strike(Call::Trees, self.inner.trees(logs)).await
    }

    async fn unsigned_trees(&mut self, limit: u32) -> Result<Vec<Tree>, StoreError> {
        self.fault.strike(Call::UnsignedTrees, self.inner.unsigned_trees(limit)).await
    }

    async fn write(&mut self, changes: &[TreeChange]) -> Result<(), StoreError> {
        self.fault.strike(Call::Write, self.inner.write(changes)).await
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        let Self { inner, fault } = *self;
        fault.strike(Call::Commit, inner.commit()).await
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn begin_batch(&self) -> Result<Option<Box<dyn Batch>>, StoreError> {
        let inner = self.fault.strike(Call::BeginBatch, self.inner.begin_batch()).await?;
        let fault = Arc::clone(&self.fault);
        Ok(inner.map(|inner| Box::new(FaultyBatch { inner, fault }) as Box<dyn Batch>))
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        self.inner.migrate().await
    }

    async fn is_migrated(&self) -> Result<bool, StoreError> {
        self.inner.is_migrated().await
    }

    async fn durability_warnings(&self) -> Result<Vec<String>, StoreError> {
        self.inner.durability_warnings().await
    }

    async fn create_log(&self, new: &NewLog) -> Result<Log, StoreError> {
        self.inner.create_log(new).await
    }

    async fn logs(&self) -> Result<Vec<(Log, TreeSize)>, StoreError> {
        self.inner.logs().await
    }

    async fn log(&self, name: &str) -> Result<Option<Log>, StoreError> {
        self.inner.log(name).await
    }

    async fn append(&self, entries: &[NewEntry]) -> Result<Vec<Appended>, StoreError> {
        self.inner.append(entries).await
    }

    async fn backlog(&self, most: u32) -> Result<Backlog, StoreError> {
        self.inner.backlog(most).await
    }

    async fn tickets(&self, tickets: &[Ticket]) -> Result<HashMap<Ticket, TicketState>, StoreError> {
        self.inner.tickets(tickets).await
    }

    async fn processed(&self, tickets: &[Ticket]) -> Result<HashMap<Ticket, (LogId, LeafIndex)>, StoreError> {
        self.inner.processed(tickets).await
    }

    async fn checkpoint(&self, log: LogId) -> Result<Option<StoredCheckpoint>, StoreError> {
        self.fault.strike(Call::Checkpoint, self.inner.checkpoint(log)).await
    }

    async fn checkpoints(
        &self,
        log: LogId,
        from: TreeSize,
        limit: u32,
    ) -> Result<Vec<StoredCheckpoint>, StoreError> {
        self.inner.checkpoints(log, from, limit).await
    }

    async fn tree(&self, log: LogId) -> Result<Option<Tree>, StoreError> {
        self.inner.tree(log).await
    }

    async fn tiles(&self, log: LogId, tiles: &[TileId]) -> Result<HashMap<TileId, Vec<u8>>, StoreError> {
        self.inner.tiles(log, tiles).await
    }

    async fn entries(&self, log: LogId, from: LeafIndex, limit: u32) -> Result<Vec<Vec<u8>>, StoreError> {
        self.inner.entries(log, from, limit).await
    }

    async fn entry_bundle(&self, log: LogId, range: Range<u64>) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.entry_bundle(log, range).await
    }

    async fn scan(&self, log: LogId, range: Range<u64>, sink: EntrySink<'_>) -> Result<(), StoreError> {
        self.inner.scan(log, range, sink).await
    }

    fn search(&self) -> &dyn SearchStore {
        self.inner.search()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
