//! The signed head that a command needs: made here if the secret is here, else awaited from a server.
//!
//! Making one is the sequencer's step, the same that a server runs, so it does no harm beside a running server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use attestlog_core::{Checkpoint, LeafIndex, Receipt, SignedCheckpoint, VerifierKey};
use attestlog_server::deployment::{Deployment, Signing};
use attestlog_server::prover;
use attestlog_server::publisher::{PublishError, Publisher};
use attestlog_server::sequencer::{Pace, Sequencer, Step};
use attestlog_server::store::{Log, LogId, Store, StoreError, Ticket, TicketState};

use super::failure::Failure;

/// The pause before looking again, while another process is at it.
const LOOK_AGAIN: Duration = Duration::from_millis(30);

/// The newest head of a log, and how to get a newer one.
#[derive(Debug)]
pub(crate) struct Heads {
    store: Arc<dyn Store>,
    own: Option<Own>,
    patience: Duration,
}

/// What signs in this process.
#[derive(Debug)]
struct Own {
    publisher: Arc<Publisher>,
    sequencer: Box<Sequencer>,
}

impl Heads {
    /// Opens the secret if there is one. `patience` is how long to wait without any progress.
    pub(crate) async fn open(
        deployment: &Deployment,
        store: &Arc<dyn Store>,
        patience: Duration,
    ) -> Result<Self, Failure> {
        if let Some(path) = deployment.secret_path().filter(|path| !path.exists()) {
            eprintln!(
                "note: no secret here ({} does not exist): a server has to sign, and is awaited up to {} s",
                path.display(),
                patience.as_secs()
            );
            return Ok(Self { store: Arc::clone(store), own: None, patience });
        }
        let Signing { store, publisher, keyring, .. } = deployment.signing(Arc::clone(store)).await?;
        let sequencer = Sequencer::new(Arc::clone(&store), Arc::clone(&publisher), keyring, Pace::default());
        Ok(Self { store, own: Some(Own { publisher, sequencer: Box::new(sequencer) }), patience })
    }

    /// The newest checkpoint: one that was published, or is now.
    pub(crate) async fn newest(&self, log: &Log) -> Result<Checkpoint, Failure> {
        if let Some(own) = &self.own {
            return Ok(own.publisher.checkpoint(log).await?.checkpoint.clone());
        }
        let stored = self.store.checkpoint(log.id).await?;
        let stored = stored.ok_or_else(|| PublishError::NoCheckpoint(log.name.clone()))?;
        let key = VerifierKey::parse(&log.vkey).map_err(attestlog_core::Error::from);
        let note = SignedCheckpoint::parse(&stored.note).map_err(attestlog_core::Error::from);
        let opened = key.and_then(|key| note?.open(&key));
        opened.map_err(|error| PublishError::Invalid { log: log.name.clone(), error }.into())
    }

    /// The index of the ticket's entry, and a checkpoint that covers it.
    pub(crate) async fn covering_ticket(
        &mut self,
        log: &Log,
        ticket: Ticket,
    ) -> Result<(LeafIndex, Checkpoint), Failure> {
        let mut waiting = Waiting::new(self.patience);
        loop {
            if let Some(index) = self.index(log.id, ticket).await? {
                let checkpoint = self.newest(log).await?;
                if checkpoint.size().0 > index.0 {
                    return Ok((index, checkpoint));
                }
            }
            let step = self.step().await?;
            waiting.pause(step).await?;
        }
    }

    /// A checkpoint that covers the entry at `index`; the newest one, if there is no such entry.
    pub(crate) async fn covering_index(
        &mut self,
        log: &Log,
        index: LeafIndex,
    ) -> Result<Checkpoint, Failure> {
        let mut waiting = Waiting::new(self.patience);
        loop {
            let idle = self.is_idle().await?;
            let checkpoint = self.newest(log).await?;
            let tree = self.store.tree(log.id).await?.map_or(0, |tree| tree.edge.size().0);
            if checkpoint.size().0 > index.0 || (idle && tree <= index.0) {
                return Ok(checkpoint);
            }
            let step = self.step().await?;
            waiting.pause(step).await?;
        }
    }

    async fn is_idle(&self) -> Result<bool, StoreError> {
        Ok(self.store.backlog(1).await?.rows == 0)
    }

    /// The index of the ticket's entry, once it has one.
    async fn index(&self, log: LogId, ticket: Ticket) -> Result<Option<LeafIndex>, Failure> {
        match self.store.tickets(&[ticket]).await?.get(&ticket) {
            Some(TicketState::Processed(of, index)) if *of == log => Ok(Some(*index)),
            Some(TicketState::Accepted(of)) if *of == log => Ok(None),
            _ => Err(Failure::new(format!("this log has given no ticket {}", ticket.0))),
        }
    }

    async fn step(&mut self) -> Result<Step, Failure> {
        match &mut self.own {
            None => Ok(Step::Standby),
            Some(own) => match own.sequencer.step(Instant::now()).await {
                // Another process has the turn.
                Err(attestlog_server::sequencer::SequenceError::Store(
                    StoreError::Busy(_) | StoreError::TreeMoved(_),
                )) => Ok(Step::Standby),
                step => Ok(step?),
            },
        }
    }
}

/// How long nothing has happened.
struct Waiting {
    patience: Duration,
    since: Instant,
}

impl Waiting {
    fn new(patience: Duration) -> Self {
        Self { patience, since: Instant::now() }
    }

    /// Waits a little unless the step did something; fails when it was in vain for too long.
    async fn pause(&mut self, step: Step) -> Result<(), Failure> {
        if matches!(step, Step::Batch { .. }) {
            self.since = Instant::now();
            return Ok(());
        }
        if self.since.elapsed() > self.patience {
            return Err(Failure::new(format!(
                "no signed head covers it after {} s: is a server with the log's secret running?",
                self.patience.as_secs()
            )));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        Ok(())
    }
}

/// The receipt of the entry at `index` under `checkpoint`.
pub(crate) async fn receipt(
    store: &dyn Store,
    log: &Log,
    index: LeafIndex,
    checkpoint: Checkpoint,
) -> Result<Receipt, Failure> {
    let proof = prover::inclusion(store, log.id, index, checkpoint.size()).await?;
    let receipt = Receipt::new(index, proof, checkpoint.into(), None);
    receipt.map_err(|error| Failure::new(format!("entry {index} of log \"{}\": {error}", log.name)))
}
