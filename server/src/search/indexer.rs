//! Keeps the index behind the trees: one transaction a step, under a lock that is not the sequencer's.
//!
//! A step takes entries that the index does not have, adds them to the blocks of their terms, and moves the log's mark,
//! all in one transaction. A crash leaves the state before or after; places that are added twice are there once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use attestlog_core::TreeSize;
use metrics::{counter, gauge};
use tokio_util::sync::CancellationToken;

use super::block::{Block, Place, divided};
use super::term::Term;
use crate::progress::Progress;
use crate::store::search::{EVENTS_AT_ONCE, Indexing, StoredEvent, TermBlock, Unindexed};
use crate::store::{LogId, Store, StoreError};

/// The most logs of a step.
const STEP_LOGS: u32 = 250;

/// The pause after a step that left nothing behind. Entries that come within it share the blocks that are written.
const INTERVAL: Duration = Duration::from_millis(500);

/// More unprocessed entries than this make the indexer wait.
const BUSY_BACKLOG: u32 = 2_000;

/// How often in a row it waits for that: then it makes a step all the same.
const MOST_WAITS: u32 = 10;

/// How many times its own time it pauses while entries come faster than it can index them.
const BUSY_PAUSE: u32 = 30;

/// The longest pause after failures in a row.
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexStep {
    /// Another server is in one.
    Standby,
    /// There was nothing to do.
    Idle,
    /// So many entries were added.
    Indexed {
        /// Their number.
        entries: u64,
        /// Whether more are waiting.
        full: bool,
    },
}

/// Why the index is not up to date.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatchUpError {
    /// The database could not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The caller asked to stop.
    #[error("indexing was ended before it was complete")]
    Cancelled,
}

/// Adds to the index what the trees have.
#[derive(Clone, Debug)]
pub struct Indexer {
    store: Arc<dyn Store>,
}

impl Indexer {
    /// An indexer, which has no state of its own.
    #[must_use]
    pub const fn new(store: Arc<dyn Store>) -> Self {
        Self { store }
    }

    /// Adds the next entries, of whatever logs have some.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is changed then.
    pub async fn step(&self) -> Result<IndexStep, StoreError> {
        let Some(mut indexing) = self.store.search().begin_indexing().await? else {
            return Ok(IndexStep::Standby);
        };
        let logs = indexing.unindexed(STEP_LOGS).await?;
        let mut full = logs.len() >= usize::try_from(STEP_LOGS).unwrap_or(usize::MAX);
        let mut entries = 0;
        for unindexed in logs {
            let room = self.store.search().entries_a_step().saturating_sub(entries);
            let waiting = unindexed.size.0.saturating_sub(unindexed.next);
            full |= waiting > room;
            if room > 0 {
                self.add(&mut *indexing, unindexed, room.min(waiting)).await?;
                entries += room.min(waiting);
            }
        }
        if entries == 0 {
            return Ok(IndexStep::Idle);
        }
        indexing.commit().await?;
        Ok(IndexStep::Indexed { entries, full })
    }

    /// Adds so many entries of a log.
    async fn add(&self, indexing: &mut dyn Indexing, log: Unindexed, count: u64) -> Result<(), StoreError> {
        let Unindexed { log, next, .. } = log;
        let end = next.saturating_add(count);
        let mut postings = Postings::new();
        let mut rest = next..end;
        while !rest.is_empty() {
            let indexes: Vec<u64> = rest.by_ref().take(EVENTS_AT_ONCE).collect();
            let events = self.store.search().events(log, &indexes).await?;
            postings = tokio::task::spawn_blocking(move || with_terms_of(&events, postings))
                .await
                .map_err(|error| StoreError::Unavailable(sqlx::Error::Io(std::io::Error::other(error))))?;
        }
        let Changes { new, changed } = merged(indexing, log, postings).await?;
        indexing.write(log, &new, &changed, end).await
    }

    /// Keeps the index behind the trees until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let (mut failures, mut load) = (0_u32, Load::default());
        while !stop.is_cancelled() {
            let pause = match self.work(&mut load).await {
                Ok(pause) => {
                    failures = 0;
                    pause
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    counter!("attestlog_search_failures_total").increment(1);
                    tracing::warn!(failures, "the search index was not extended: {error}");
                    MAX_PAUSE.min(INTERVAL.saturating_mul(2_u32.saturating_pow(failures.min(16))))
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One step, unless entries wait to be processed; returns the pause after it.
    async fn work(&self, load: &mut Load) -> Result<Duration, StoreError> {
        let lag = self.store.search().search_lag().await?;
        gauge!("attestlog_search_lag_entries")
            .set(u32::try_from(lag.entries).map_or(f64::INFINITY, f64::from));
        gauge!("attestlog_search_lag_seconds").set(lag.seconds);
        if lag.entries == 0 {
            *load = Load::default();
            return Ok(INTERVAL);
        }
        // What is appended now has to get its index first.
        if load.waits < MOST_WAITS && self.store.backlog(BUSY_BACKLOG).await?.rows >= u64::from(BUSY_BACKLOG)
        {
            load.waits += 1;
            return Ok(INTERVAL);
        }
        load.waits = 0;
        let began = Instant::now();
        let step = self.step().await?;
        let took = began.elapsed();
        let IndexStep::Indexed { entries, full } = step else { return Ok(INTERVAL) };
        counter!("attestlog_search_indexed_total").increment(entries);
        let pauses = load.pauses(lag.entries, entries, began, took);
        Ok(if full { took * pauses } else { INTERVAL })
    }

    /// Brings the index of a log to the size that its tree has now.
    ///
    /// # Errors
    /// [`CatchUpError`].
    pub async fn catch_up(&self, log: LogId, progress: &Progress) -> Result<(), CatchUpError> {
        let goal = self.store.tree(log).await?.map_or(TreeSize(0), |tree| tree.edge.size());
        let mut rest = self.behind(log, goal).await?;
        progress.expect(rest);
        while rest > 0 {
            if progress.stop.is_cancelled() {
                return Err(CatchUpError::Cancelled);
            }
            if self.step().await? == IndexStep::Standby {
                tokio::time::sleep(INTERVAL / 10).await;
            }
            let now = self.behind(log, goal).await?;
            progress.add(rest.saturating_sub(now));
            rest = now;
        }
        Ok(())
    }

    /// The entries below `goal` that the index does not have.
    async fn behind(&self, log: LogId, goal: TreeSize) -> Result<u64, StoreError> {
        let indexed = self.store.search().indexed_size(log).await?;
        Ok(goal.0.saturating_sub(indexed.0))
    }

    /// Forgets the index of a log: the next steps make it again. Searches find less until then.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn forget(&self, log: LogId) -> Result<(), StoreError> {
        loop {
            if let Some(mut indexing) = self.store.search().begin_indexing().await? {
                indexing.clear(log).await?;
                return indexing.commit().await;
            }
            tokio::time::sleep(INTERVAL / 10).await;
        }
    }
}

/// How much the indexer leaves to others.
#[derive(Debug, Default)]
struct Load {
    /// How often in a row it has waited for the sequencer.
    waits: u32,
    /// When the step before began, and what was left behind by it.
    before: Option<(Instant, u64)>,
}

impl Load {
    /// How many times its own time the indexer pauses after a step. It takes half of the time; but where entries come
    /// faster than it could index them in that, it falls behind anyway, and leaves nearly all of the time to those who
    /// write.
    fn pauses(&mut self, lag: u64, indexed: u64, began: Instant, took: Duration) -> u32 {
        let before = self.before.replace((began, lag.saturating_sub(indexed)));
        let Some((then, left)) = before else { return 1 };
        let arrived = rate(lag.saturating_sub(left), began.saturating_duration_since(then));
        if arrived > rate(indexed, took * 2) { BUSY_PAUSE } else { 1 }
    }
}

/// So many within this time, in a second.
#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64().max(1e-6)
}

/// The places of each term, ascending within a log's entries but for their times.
type Postings = HashMap<Term, Vec<Place>>;

/// The postings, and those of these events.
fn with_terms_of(events: &[StoredEvent], mut postings: Postings) -> Postings {
    for event in events {
        let (fields, time) = event.read();
        let place = Place { time, index: event.index.0 };
        for term in fields.terms() {
            postings.entry(term).or_default().push(place);
        }
    }
    postings
}

/// The blocks that a term has where something is added, and which is its last.
#[derive(Default)]
struct Old {
    blocks: BTreeMap<Place, Vec<u8>>,
    last: Option<Place>,
}

/// What is to be written.
#[derive(Default)]
struct Changes {
    new: Vec<TermBlock>,
    changed: Vec<TermBlock>,
}

/// The blocks that are new, and those that change: each with what it had and what is added.
async fn merged(indexing: &mut dyn Indexing, log: LogId, postings: Postings) -> Result<Changes, StoreError> {
    // The order of the primary key, which neighbouring rows of its index share.
    let mut postings: Vec<(Term, Vec<Place>)> = postings.into_iter().collect();
    postings.sort_unstable();
    for (_, places) in &mut postings {
        places.sort_unstable();
    }
    let mut old = old_blocks(indexing, log, &postings).await?;
    let mut changes = Changes::default();
    for (term, places) in postings {
        changes.add(&term, &places, old.remove(&term).unwrap_or_default())?;
    }
    Ok(changes)
}

impl Changes {
    fn add(&mut self, term: &Term, places: &[Place], mut old: Old) -> Result<(), StoreError> {
        let mut before: Vec<Place> = Vec::new();
        let mut by_block: BTreeMap<Place, Vec<Place>> = BTreeMap::new();
        for place in places {
            match old.blocks.range(..=place).next_back() {
                Some((first, _)) => by_block.entry(*first).or_default().push(*place),
                None => before.push(*place),
            }
        }
        self.new.extend(divided(&before, true).into_iter().map(|block| (term.clone(), block)));
        for (first, more) in by_block {
            let block = Block { first, rest: old.blocks.remove(&first).unwrap_or_default() };
            let extended = block.extended(&more, old.last == Some(first));
            for block in extended.map_err(|error| StoreError::Damaged(error.to_string()))? {
                let to = if block.first == first { &mut self.changed } else { &mut self.new };
                to.push((term.clone(), block));
            }
        }
        Ok(())
    }
}

/// The blocks of these terms that something is added to.
async fn old_blocks(
    indexing: &mut dyn Indexing,
    log: LogId,
    postings: &[(Term, Vec<Place>)],
) -> Result<HashMap<Term, Old>, StoreError> {
    let mut old: HashMap<Term, Old> = HashMap::new();
    // Almost always what is new belongs behind what is there.
    let ends: Vec<(&Term, Place)> = postings.iter().map(|(term, _)| (term, Place::LAST)).collect();
    for (term, block) in indexing.blocks_at(log, &ends).await? {
        let old = old.entry(term).or_default();
        old.last = Some(block.first);
        old.blocks.insert(block.first, block.rest);
    }
    let mut late: Vec<(&Term, Place)> = Vec::new();
    for (term, places) in postings {
        let last = old.get(term).and_then(|old| old.last);
        let is_late = |place: &&Place| last.is_some_and(|last| **place < last);
        late.extend(places.iter().filter(is_late).map(|place| (term, *place)));
    }
    if !late.is_empty() {
        for (term, block) in indexing.blocks_at(log, &late).await? {
            old.entry(term).or_default().blocks.insert(block.first, block.rest);
        }
    }
    Ok(old)
}

#[cfg(test)]
mod tests {
    use attestlog_core::LeafIndex;

    use super::*;

    #[test]
    fn leaves_the_time_to_others_only_while_it_cannot_keep_up() {
        let (mut load, second) = (Load::default(), Duration::from_secs(1));
        let began = Instant::now();
        assert_eq!(load.pauses(10_000, 500, began, second), 1, "nothing is known yet");
        // It left 9,500 of 10,000; a rate of 500 in a second is 250 in half of the time.
        assert_eq!(load.pauses(9_500 + 200, 500, began + second, second), 1);
        assert_eq!(load.pauses(9_200 + 300, 500, began + 2 * second, second), BUSY_PAUSE);
        assert_eq!(load.pauses(9_000, 500, began + 32 * second, second), 1, "nothing came since");
    }

    #[test]
    fn a_time_that_is_missing_is_that_of_the_append() {
        let event =
            |index, data: &str| StoredEvent { index: LeafIndex(index), appended_at: 7, data: data.into() };
        let events = [
            event(0, r#"{"occurred_at":"1970-01-01T00:00:02Z"}"#),
            event(1, r#"{"occurred_at":2}"#),
            event(2, "no"),
        ];
        let postings = with_terms_of(&events, Postings::new());
        let places = &postings[&Term::every_event()];
        let place = |time, index| Place { time, index };
        assert_eq!(*places, [place(2_000_000, 0), place(7, 1), place(7, 2)]);
    }
}
