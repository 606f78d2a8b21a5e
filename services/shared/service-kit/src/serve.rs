use std::io::ErrorKind;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long accepting pauses when the process or the system has no more file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The limits of an HTTP server.
#[derive(Debug, Clone, Copy)]
pub struct ServeOptions {
    /// Open connections; more wait in the system's queue until one closes.
    pub connections_max: usize,
    /// From the first moment of a connection, and from each answer on it, until the next request's
    /// header has arrived. Idle connections end by it too.
    pub header_read_timeout: Duration,
    /// What a header's lines may take together, bytes.
    pub header_bytes_max: usize,
    /// After the shutdown, how long open requests may take before they are cut off.
    pub drain_timeout: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            header_read_timeout: Duration::from_secs(60),
            header_bytes_max: 64 * 1024,
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Serves `router` over HTTP/1.1 on `listener` until `shutdown`, then lets open requests finish.
/// Answers with the number of connections that had to be cut off.
pub async fn serve(listener: TcpListener, router: Router, options: ServeOptions, shutdown: CancellationToken) -> usize {
    let slots = Arc::new(Semaphore::new(options.connections_max));
    let mut connections = JoinSet::new();
    while let Some(slot) = shutdown.run_until_cancelled(free_slot(&slots)).await {
        match shutdown.run_until_cancelled(listener.accept()).await {
            None => break,
            Some(Ok((stream, _peer))) => {
                connections.spawn(connection(stream, slot, router.clone(), options, shutdown.clone()));
            }
            Some(Err(error)) => pause_after(&error).await,
        }
        // Collected as they end, or the set would grow with every connection there ever was.
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let drained = async { while connections.join_next().await.is_some() {} };
    let in_time = tokio::time::timeout(options.drain_timeout, drained).await.is_ok();
    let cut_off = if in_time { 0 } else { connections.len() };
    if cut_off > 0 {
        tracing::warn!(connections = cut_off, "requests were still open at the end of the drain and are cut off");
    }
    connections.shutdown().await;
    cut_off
}

async fn free_slot(slots: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    slots.clone().acquire_owned().await.expect("the semaphore is never closed")
}

async fn pause_after(error: &std::io::Error) {
    // These are about the connection that was to be accepted; the next may be well.
    let of_peer = [ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset, ErrorKind::ConnectionRefused];
    if !of_peer.contains(&error.kind()) {
        tracing::error!(error = %error, "cannot accept connections; trying again");
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
}

async fn connection(
    stream: TcpStream,
    _slot: OwnedSemaphorePermit,
    router: Router,
    options: ServeOptions,
    shutdown: CancellationToken,
) {
    // Answers are small and complete: waiting to fill a packet only delays them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = %error, "connection closed before it began");
        return;
    }
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_read_timeout)
        .max_buf_size(options.header_bytes_max.max(8192));
    let mut served = pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    let result: Result<(), hyper::Error> = match shutdown.run_until_cancelled(served.as_mut()).await {
        Some(result) => result,
        None => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = result {
        // Clients come and go as they like: nobody has to act.
        tracing::debug!(error = %error, "connection ended early");
    }
}
