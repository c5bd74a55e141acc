//! One turn: the same load for one way, and everything that is looked at meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::caller::Caller;
use super::clock::Clock;
use super::follow::{Follower, HeadSource, TicketSource};
use super::http::{Endpoint, HttpConnection};
use super::load::{Load, Recorded};
use super::machine::Conditions;
use super::process::{Processes, postmaster_of};
use super::report::{Report, Stored, TurnReport};
use super::{BenchError, Plan, Through, connect, endpoint, float, joined};
use crate::progress::Progress;
use crate::store::LogId;
use crate::store::postgres::bench::{BenchConnection, Volume};

/// What the turns share.
#[derive(Debug)]
pub(super) struct Bench {
    pub(super) plan: Plan,
    pub(super) progress: Progress,
    conditions: Conditions,
    database: Option<BenchConnection>,
    log: Option<LogId>,
    /// The database's first process, if it is on this machine.
    postmaster: Option<u32>,
    prefix: Option<Arc<Endpoint>>,
    server: Option<Arc<Endpoint>>,
    /// No two writers have the same.
    seed: u64,
}

impl Bench {
    /// Looks at the machine, and connects.
    pub(super) async fn open(plan: Plan, progress: &Progress) -> Result<Self, BenchError> {
        let directory = plan.data.clone().unwrap_or_else(std::env::temp_dir);
        let conditions = Conditions::look(plan.database.as_deref(), directory).await?;
        let (mut database, mut log) = (connect(plan.database.as_deref()).await?, None);
        let mut postmaster = None;
        if let Some(database) = &mut database {
            postmaster = postmaster_of(database.backend().await?);
        }
        // What lies at a prefix need not be in this database.
        if let Some(database) = database.as_mut().filter(|_| plan.prefix.is_none() || plan.server.is_some()) {
            let found = database.log(&plan.log).await?;
            log = Some(found.ok_or_else(|| BenchError::NoLog(plan.log.clone()))?);
        }
        let prefix = endpoint(plan.prefix.as_deref(), plan.token.as_deref())?;
        let server = endpoint(plan.server.as_deref(), None)?;
        let mut seed = [0; 8];
        // Without randomness, the time is different enough from that of another run.
        let fallback = std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs());
        let random = getrandom::fill(&mut seed).map(|()| u64::from_le_bytes(seed));
        let seed = random.unwrap_or(fallback);
        Ok(Self {
            plan,
            progress: progress.clone(),
            conditions,
            database,
            log,
            postmaster,
            prefix,
            server,
            seed,
        })
    }

    /// The connection to the database; this way needs it.
    pub(super) fn database(&mut self) -> Result<&mut BenchConnection, BenchError> {
        self.database.as_mut().ok_or(BenchError::NoAddress)
    }

    /// Everything that was measured.
    pub(super) fn report(self, turns: Vec<TurnReport>) -> Report {
        let interrupted = self.progress.stop.is_cancelled();
        Report::new(&self.plan, self.conditions, turns, interrupted)
    }

    /// The load for one way.
    pub(super) async fn turn(&mut self, round: u32, plain: bool) -> Result<TurnReport, BenchError> {
        let follower = self.follower(plain).await?;
        let (base, follower) = match follower {
            Some(mut follower) => (follower.head.size().await?, Some(follower)),
            None => (self.size().await?, None),
        };
        let callers = self.callers(plain, base).await?;
        let volume = self.volume().await?;
        let watch_ended = CancellationToken::new();
        let processes = tokio::spawn(self.processes().watch(watch_ended.clone()));

        let clock = Clock::start(self.plan.warm_up, self.plan.duration, &self.progress.stop);
        let timer = tokio::spawn(clock.clone().run(self.progress.clone()));
        let (sender, receiver) = mpsc::unbounded_channel();
        let gated = follower.is_some() && self.plan.through != Through::Add;
        let load = Arc::new(Load::new(&self.plan, clock.clone(), base, gated, sender));
        let (head, _) = watch::channel(base);
        let calls_ended = CancellationToken::new();
        let mut drivers = JoinSet::new();
        for caller in callers {
            drivers.spawn(Arc::clone(&load).drive(caller, head.subscribe()));
        }
        let following = follower.map(|follower| {
            tokio::spawn(follower.follow(Arc::clone(&load), head, receiver, calls_ended.clone()))
        });
        let driven = all(drivers, &clock).await;
        timer.abort();
        let end = Instant::now().min(clock.to);
        calls_ended.cancel();
        driven?;
        let followed = match following {
            Some(following) => Some(joined(following.await)?),
            None => None,
        };
        watch_ended.cancel();
        let usages = joined(processes.await);
        let recorded: Recorded = load.finish(end);
        let appended = load.appended.load(Ordering::Relaxed);
        let stored = self.stored(&volume, plain, appended).await?;
        let seconds = end.saturating_duration_since(clock.from).as_secs_f64();
        Ok(TurnReport::new(&self.plan, round, plain, &load, (recorded, seconds), followed, usages, stored))
    }

    /// What follows the head of what is appended; nobody for reads and for the plain table.
    async fn follower(&self, plain: bool) -> Result<Option<Follower>, BenchError> {
        let through = self.plan.through;
        if plain || !matches!(through, Through::Sql | Through::Add | Through::Entries) {
            return Ok(None);
        }
        let http = || self.prefix.as_ref().map(HttpConnection::new);
        let database = connect(self.plan.database.as_deref()).await?;
        let head = match (http(), database, self.log) {
            (Some(connection), _, _) => HeadSource::Http(connection),
            (None, Some(connection), Some(log)) => HeadSource::Database(connection, log),
            _ => return Err(BenchError::NoAddress),
        };
        let database = connect(self.plan.database.as_deref()).await?;
        let tickets = match (through, database, http()) {
            // It is answered once it is covered.
            (Through::Add, _, _) => TicketSource::None,
            (_, Some(connection), _) => TicketSource::Database(connection),
            (_, None, Some(connection)) => TicketSource::Http(connection),
            (_, None, None) => return Err(BenchError::NoAddress),
        };
        Ok(Some(Follower { head, tickets }))
    }

    /// The size of the tree, for reads.
    async fn size(&self) -> Result<u64, BenchError> {
        match &self.prefix {
            Some(prefix) if self.plan.through != Through::Sql => {
                HeadSource::Http(HttpConnection::new(prefix)).size().await
            }
            _ => Ok(0),
        }
    }

    async fn callers(&mut self, plain: bool, size: u64) -> Result<Vec<Caller>, BenchError> {
        let mut callers = Vec::new();
        for _ in 0..self.plan.connections {
            self.seed = self.seed.wrapping_add(1);
            callers.push(Caller::new(&self.plan, self.prefix.as_ref(), plain, size, self.seed).await?);
        }
        Ok(callers)
    }

    fn processes(&self) -> Processes {
        let server = self.server.as_ref().map(HttpConnection::new);
        Processes { server, postmaster: self.postmaster }
    }

    async fn volume(&mut self) -> Result<Option<Volume>, BenchError> {
        if let Some(database) = &mut self.database {
            return Ok(Some(database.volume().await?));
        }
        let Some(data) = &self.plan.data else { return Ok(None) };
        let files =
            ["attestlog.db", "attestlog.db-wal"].map(|name| Some((name, data.join(name).metadata().ok()?)));
        let tables = files.into_iter().flatten().map(|(name, file)| (name.to_owned(), file.len())).collect();
        Ok(Some(Volume { wal: 0, tables }))
    }

    /// What an entry takes, once staging is empty.
    async fn stored(
        &mut self,
        before: &Option<Volume>,
        plain: bool,
        appended: u64,
    ) -> Result<Option<Stored>, BenchError> {
        let Some(before) = before.as_ref().filter(|_| appended > 0) else { return Ok(None) };
        let mut wal = None;
        if let Some(database) = &mut self.database {
            wal = Some(float(database.volume().await?.wal.saturating_sub(before.wal)) / float(appended));
            if !plain {
                // A user who may not is only warned.
                database.vacuum_staging().await?;
            }
        }
        let after = self.volume().await?.unwrap_or_default();
        Ok(Some(Stored::between(before, &after, plain, appended, wal)))
    }
}

/// Waits for all connections. The first that cannot go on ends all.
async fn all(mut drivers: JoinSet<Result<(), BenchError>>, clock: &Clock) -> Result<(), BenchError> {
    let mut result = Ok(());
    while let Some(driven) = drivers.join_next().await {
        if let Err(error) = joined(driven) {
            clock.over.cancel();
            result = result.and(Err(error));
        }
    }
    result
}
