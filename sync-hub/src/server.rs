//! Accepting connections, and stopping in order.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tower::ServiceExt;

use crate::control::Control;
use crate::doors::{Doors, Place};
use crate::http;
use crate::options::Options;
use crate::socket::{CLOSE_WAIT, LINGER_WAIT};
use crate::store::StoreError;
use crate::tls::Tls;
use crate::writer::{self, Event, Running};

/// How long the handshake of TLS may take.
const HANDSHAKE_WAIT: Duration = Duration::from_secs(10);

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
    /// Without tokens anybody could read and write everything.
    #[error(
        "without tokens a hub listens on this machine alone, and {0} is not that; \
         make a key with `sync-hub token key FILE` and give it as --token-key FILE"
    )]
    OpenToAll(SocketAddr),
    /// The thread that writes ended by itself; the log says why.
    #[error("the writer ended unexpectedly")]
    WriterEnded,
}

/// A hub whose storage is open and whose listener is bound.
#[derive(Debug)]
pub struct HubServer {
    listener: TcpListener,
    options: Arc<Options>,
    is_loopback: bool,
    control: Option<Control>,
    writer: Running,
}

impl HubServer {
    /// Opens the storage, inside a runtime of tokio. Connections that come before [`run`](Self::run) wait.
    pub fn open(listener: TcpListener, options: Options) -> Result<Self, HubError> {
        let address = listener.local_addr()?;
        let is_loopback = address.ip().to_canonical().is_loopback();
        if options.keys.is_none() && !is_loopback {
            return Err(HubError::OpenToAll(address));
        }
        std::fs::create_dir_all(&options.data_dir)?;
        let writer = writer::start(&options)?;
        if options.keys.is_none() {
            tracing::warn!("no tokens: everybody on this machine may read and write everything");
        }
        let control = Control::listen(&options.data_dir);
        if let Err(error) = &control {
            tracing::warn!("no backup can be made while this hub serves: {error}");
        }
        let (options, control) = (options.into(), control.ok());
        Ok(Self { listener, options, is_loopback, control, writer })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` is ready, then closes every connection, brings everything to the disk
    /// and returns.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), HubError> {
        let Self { listener, options, is_loopback, control, writer } = self;
        let Running { handle, thread, mut ended } = writer;
        let (alive, mut all_ended) = mpsc::channel(1);
        let (stop, stopping) = watch::channel(());
        let router = http::router(&options, is_loopback, handle.clone(), alive.clone());
        let doors = Doors::new(&options.limits);
        let acceptor = options.tls.as_ref().map(Tls::acceptor);
        let metrics = handle.health().metrics.clone();
        let accepting = accept_all(
            || listener.accept(),
            |(stream, peer)| {
                let place = match doors.enter(peer.ip()) {
                    Ok(place) => place,
                    Err(full) => {
                        tracing::warn!(?full, "a connection was turned away");
                        metrics.turned_away(full);
                        return;
                    }
                };
                // Small frames are to leave at once; without it they only leave later.
                let _ = stream.set_nodelay(true);
                let (router, stopping) = (router.clone(), stopping.clone());
                let (place, alive) = (Arc::new(place), alive.clone());
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Some(acceptor) = acceptor else {
                        return serve_connection(stream, router, stopping, place, alive).await;
                    };
                    match timeout(HANDSHAKE_WAIT, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => {
                            serve_connection(stream, router, stopping, place, alive).await;
                        }
                        Ok(Err(error)) => tracing::debug!("a handshake failed: {error}"),
                        Err(_) => tracing::debug!("a handshake took too long"),
                    }
                });
            },
        );
        let controlling = async {
            if let Some(control) = &control {
                control.serve(&handle).await;
            }
            std::future::pending::<Infallible>().await
        };
        let result = tokio::select! {
            never = accepting => match never {},
            never = controlling => match never {},
            () = shutdown => Ok(()),
            _ = &mut ended => Err(HubError::WriterEnded),
        };
        drop((listener, control));
        tracing::info!("stopping");
        handle.send(Event::Stop);
        drop((stop, stopping, router, alive));
        // Connections have one deadline for what is queued and one for ending.
        if timeout(CLOSE_WAIT + LINGER_WAIT * 2, all_ended.recv()).await.is_err() {
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

/// Hands every connection on that is accepted.
async fn accept_all<S, F: Future<Output = io::Result<S>>>(
    mut accept: impl FnMut() -> F,
    mut serve: impl FnMut(S),
) -> Infallible {
    loop {
        match accept().await {
            Ok(stream) => serve(stream),
            Err(error) => {
                tracing::warn!("could not accept: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves the requests of one connection, until it ends or becomes a WebSocket.
async fn serve_connection<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    stream: S,
    router: Router,
    mut stopping: watch::Receiver<()>,
    place: Arc<Place>,
    alive: mpsc::Sender<()>,
) {
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        // A WebSocket keeps it for as long as it lives.
        request.extensions_mut().insert(place.clone());
        router.clone().oneshot(request)
    });
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

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io::Write as _;
    use std::net::Ipv4Addr;

    use tempfile::TempDir;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::{Instant, sleep};

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// What is answered to a request whose headers end after a while, and when the connection ends.
    async fn answered(wait: Duration) -> (String, Duration) {
        let folder = TempDir::new().unwrap();
        let options = Options::new(folder.path());
        let running = writer::start(&options).unwrap();
        let (alive, _all_ended) = mpsc::channel(1);
        let (_stop, stopping) = watch::channel(());
        let place = Doors::new(&options.limits).enter(Ipv4Addr::LOCALHOST.into()).unwrap();
        let router = http::router(&Arc::new(options), true, running.handle, alive.clone());
        let (ours, mut peer) = duplex(1 << 16);
        tokio::spawn(serve_connection(ours, router, stopping, place.into(), alive));
        let start = Instant::now();
        peer.write_all(b"GET /health HTTP/1.1\r\nconnection: close\r\n").await.unwrap();
        let (mut reading, mut writing) = tokio::io::split(peer);
        tokio::spawn(async move {
            sleep(wait).await;
            // Fails where the other side has gone.
            let _ = writing.write_all(b"\r\n").await;
        });
        let mut answer = String::new();
        reading.read_to_string(&mut answer).await.unwrap();
        (answer, start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn the_headers_of_a_request_must_come_in_time() {
        let (answer, elapsed) = answered(HEADER_WAIT - MS).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert_eq!(elapsed, HEADER_WAIT - MS);
        assert_eq!(answered(HEADER_WAIT + MS).await, (String::new(), HEADER_WAIT));
    }

    #[tokio::test(start_paused = true)]
    async fn after_an_error_there_is_a_pause_before_the_next_connection_is_accepted() {
        let start = Instant::now();
        let accepted = RefCell::new(Vec::new());
        let calls = RefCell::new(Vec::new());
        let accept = || {
            calls.borrow_mut().push(start.elapsed());
            let number = calls.borrow().len();
            async move {
                match number {
                    2 | 4 => Err(io::Error::other("no file handle is free")),
                    1..6 => Ok(number),
                    _ => std::future::pending().await,
                }
            }
        };
        let accepting = accept_all(accept, |number| accepted.borrow_mut().push(number));
        let _ = tokio::time::timeout(10 * ACCEPT_PAUSE, accepting).await;
        assert_eq!(*accepted.borrow(), [1, 3, 5]);
        assert_eq!(*calls.borrow(), [0, 0, 1, 1, 2, 2].map(|pauses| pauses * ACCEPT_PAUSE));
    }

    /// How long a hub takes to stop which has a connection that has sent so much.
    async fn stopped(sent: &[u8]) -> Duration {
        let folder = TempDir::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = HubServer::open(listener, Options::new(folder.path())).unwrap();
        let mut peer = std::net::TcpStream::connect(server.local_addr().unwrap()).unwrap();
        peer.write_all(sent).unwrap();
        let start = Instant::now();
        server.run(sleep(MS)).await.unwrap();
        start.elapsed() - MS
    }

    #[tokio::test(start_paused = true)]
    async fn a_hub_stops_in_time_whatever_its_connections_do() {
        assert_eq!(stopped(b"").await, Duration::ZERO);
        assert_eq!(stopped(b"GET /hea").await, CLOSE_WAIT + LINGER_WAIT * 2);
    }
}
