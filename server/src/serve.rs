//! A server on a listener: connections with their limits, and a shutdown that answers what was asked.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::deployment::{Deployment, DeploymentError, Signing};
use crate::http::Interface;
use crate::measurements;
use crate::service::{Service, Settings};
use crate::store::{Store, StoreError};

/// How long a connection may take to send the head of a request, or be idle between two.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);

/// How long requests in flight are waited for at the end. Their batches go on meanwhile.
const DRAIN: Duration = Duration::from_secs(10);

/// How long those are waited for that were told afterwards that nobody will answer.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// The connections at the same time; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 8192;

/// The pause after a connection could not be accepted, for want of file descriptors, say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between two attempts to reach a database.
const MAX_PAUSE: Duration = Duration::from_secs(10);

/// The most bytes of the head of a request.
const MAX_HEAD: usize = 64 * 1024;

/// Runs a server until `stop`: then it accepts no more connections, answers the requests in flight, finishes the batch
/// in hand and returns. A database that goes away meanwhile does not end it.
///
/// # Errors
/// If the listener can be reached from other machines and there is no append token.
pub async fn serve(
    listener: TcpListener,
    signing: Signing,
    settings: Settings,
    stop: CancellationToken,
) -> io::Result<()> {
    if settings.append_token.is_none() && !listener.local_addr()?.ip().is_loopback() {
        let reason = "refusing to take appends from other machines without a token: name its file with \
                      --append-token-file, or listen on 127.0.0.1";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    warn_of_losses(&*signing.store).await;
    let recorder = measurements::recorder();
    let store = Arc::clone(&signing.store);
    // The sequencer goes on while the last requests wait for their checkpoint.
    let stop_work = CancellationToken::new();
    let _also_if_dropped = stop_work.clone().drop_guard();
    tokio::spawn(measurements::tidy(recorder.clone(), stop_work.clone()));
    let (service, writers) = Service::start(signing, settings, &stop_work);
    let app = crate::http::app(service, recorder);

    let connections = GracefulShutdown::new();
    accept(&listener, app, &connections, &stop).await;
    drop(listener);
    tracing::info!("shutting down: answering {} connections", connections.count());
    let mut drained = std::pin::pin!(connections.shutdown());
    let in_time = tokio::time::timeout(DRAIN, &mut drained).await.is_ok();
    stop_work.cancel();
    let finished = writers.await;
    if !in_time && tokio::time::timeout(LAST_ANSWERS, drained).await.is_err() {
        tracing::warn!("some requests were not answered");
    }
    store.close().await;
    finished.flatten().map_err(io::Error::other)
}

/// Opens a deployment's store and what signs for it; while its database cannot be reached, tries again until `stop`.
/// `None` if it was stopped before.
///
/// # Errors
/// [`DeploymentError`], but for [`StoreError::Unavailable`] and [`StoreError::Busy`] of its database.
pub async fn open_patiently(
    deployment: &Deployment,
    stop: &CancellationToken,
) -> Result<Option<Signing>, DeploymentError> {
    let mut pause = Duration::from_millis(500);
    loop {
        let opened = async { deployment.signing(deployment.create_store().await?).await };
        match stop.run_until_cancelled(opened).await {
            None => return Ok(None),
            Some(Err(DeploymentError::Store(error @ (StoreError::Unavailable(_) | StoreError::Busy(_)))))
                if deployment.is_postgres() =>
            {
                tracing::warn!("{error}; trying again in {} ms", pause.as_millis());
            }
            Some(opened) => return opened.map(Some),
        }
        if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
            return Ok(None);
        }
        pause = MAX_PAUSE.min(pause * 2);
    }
}

/// Opens a deployment as [`open_patiently`] does, and meanwhile answers on its listener that the server lives and is not
/// ready.
///
/// # Errors
/// As [`open_patiently`].
pub async fn open_while_listening(
    listener: &TcpListener,
    deployment: &Deployment,
    stop: &CancellationToken,
) -> Result<Option<Signing>, DeploymentError> {
    let connections = GracefulShutdown::new();
    let opened = tokio::select! {
        opened = open_patiently(deployment, stop) => opened,
        () = accept(listener, crate::http::app_without_store(), &connections, stop) => Ok(None),
    };
    // Whoever is connected is answered, and connects again to reach the server proper.
    tokio::spawn(connections.shutdown());
    opened
}

async fn warn_of_losses(store: &dyn Store) {
    match store.durability_warnings().await {
        Ok(warnings) => warnings.iter().for_each(|warning| tracing::warn!("{warning}")),
        Err(error) => tracing::warn!("whether the database keeps what it acknowledges is not known: {error}"),
    }
}

async fn accept(
    listener: &TcpListener,
    app: Interface,
    connections: &GracefulShutdown,
    stop: &CancellationToken,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((listener.accept().await?.0, place))
        };
        match stop.run_until_cancelled(next).await {
            None => return,
            Some(Ok((stream, place))) => {
                tokio::spawn(answer(stream, place, app.clone(), connections.watcher()));
            }
            Some(Err(error)) => {
                tracing::warn!("a connection could not be accepted: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers the requests of one connection.
async fn answer(stream: TcpStream, _place: OwnedSemaphorePermit, app: Interface, watcher: Watcher) {
    // Answers are written whole, so waiting for more to send only delays them.
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(app);
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE).max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEAD_PATIENCE)
        .max_concurrent_streams(250)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX));
    let connection = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!("a connection broke: {error}");
    }
}
