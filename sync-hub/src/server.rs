//! Accepting connections, and stopping in order.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use crate::http;
use crate::options::Options;
use crate::socket::{CLOSE_WAIT, LINGER_WAIT};
use crate::store::StoreError;
use crate::writer::{self, Event, Running};

/// How long the headers of a request may take.
const HEADER_WAIT: Duration = Duration::from_secs(10);

/// The most bytes of a request's headers, with its first line. What is longer, and does not come at once,
/// is answered by 431.
pub const HEADER_BYTES_MAX: usize = 16 * 1024;

/// How long to wait after the system refused to accept, as it does without free file handles.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why a hub did not start, or ended by itself.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HubError {
    /// The storage could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system refused something.
    #[error("the system refused: {0}")]
    Io(#[from] io::Error),
    /// The thread that writes ended by itself; the log says why.
    #[error("the writer ended unexpectedly")]
    WriterEnded,
}

/// A hub whose storage is open and whose listener is bound.
#[derive(Debug)]
pub struct HubServer {
    listener: TcpListener,
    options: Options,
    writer: Running,
}

impl HubServer {
    /// Opens the storage. Connections that come before [`run`](Self::run) wait.
    pub fn open(listener: TcpListener, options: Options) -> Result<Self, HubError> {
        std::fs::create_dir_all(&options.data_dir)?;
        let writer = writer::start(&options)?;
        Ok(Self { listener, options, writer })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` is ready, then closes every connection, brings everything to the disk
    /// and returns.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), HubError> {
        let Self { listener, options, writer: Running { handle, thread, mut ended } } = self;
        let (alive, mut all_ended) = mpsc::channel(1);
        let (stop, stopping) = watch::channel(());
        let router = http::router(&options, handle.clone(), alive.clone());
        let accepting = async {
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let (router, stopping) = (router.clone(), stopping.clone());
                        tokio::spawn(serve_connection(stream, router, stopping, alive.clone()));
                    }
                    Err(error) => {
                        tracing::warn!("could not accept: {error}");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        let result = tokio::select! {
            () = accepting => Ok(()),
            () = shutdown => Ok(()),
            _ = &mut ended => Err(HubError::WriterEnded),
        };
        drop(listener);
        tracing::info!("stopping");
        handle.send(Event::Stop);
        drop((stop, stopping, router, alive));
        // Connections have one deadline for what is queued and one for ending.
        if tokio::time::timeout(CLOSE_WAIT + LINGER_WAIT * 2, all_ended.recv()).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
        drop(handle);
        let joined = tokio::task::spawn_blocking(|| thread.join()).await;
        match joined {
            Ok(Ok(())) => result,
            Ok(Err(_)) | Err(_) => Err(HubError::WriterEnded),
        }
    }
}

/// Serves the requests of one connection, until it ends or becomes a WebSocket.
async fn serve_connection(
    stream: TcpStream,
    router: Router,
    mut stopping: watch::Receiver<()>,
    alive: mpsc::Sender<()>,
) {
    // Small frames are to leave at once; without it they only leave later.
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_WAIT)
        .max_buf_size(HEADER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        _ = stopping.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!("a connection failed: {error}");
    }
    drop(alive);
}
