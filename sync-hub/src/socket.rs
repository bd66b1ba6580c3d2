//! One WebSocket connection: frames in to the writer, frames out from its queue.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use sync_core::error::Malformed;
use sync_core::session::limits::HELLO_MS_MAX;
use sync_core::session::{ConnectionId, Grant};
use sync_core::wire::{ClientMessage, Fault, MESSAGE_BYTES_MAX, VERSION, decode_client};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};

use crate::access::TokenKeys;
use crate::meter::{FrameMeter, HELLO_BYTES_MAX};
use crate::outgoing::{FRAME_OVERHEAD_BYTES, Outgoing, Queue, Receiver, cost};
use crate::writer::{Event, Permits, WriterHandle};

/// How long a connection that is being closed may take to read what is still queued.
pub(crate) const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// How long it may take then to end its side.
pub(crate) const LINGER_WAIT: Duration = Duration::from_secs(1);

/// How long a connection may take to say who it is.
const HELLO_WAIT: Duration = Duration::from_millis(HELLO_MS_MAX);

/// The bytes of the buffers that each connection has for reading and for writing. Measured elsewhere:
/// with 4 KiB an idle connection costs 10 KB, with the library's default 138 KB.
const BUFFER_BYTES: usize = 4 * 1024;

type Socket<S> = WebSocketStream<FrameMeter<S>>;

/// Serves a connection until it has ended. Where there are keys, nobody else hears of it before its token
/// was accepted.
pub(crate) async fn serve<S: AsyncRead + AsyncWrite + Unpin>(
    io: S,
    writer: &WriterHandle,
    keys: Option<&TokenKeys>,
) {
    let mut socket = web_socket(io, writer).await;
    let admitted = match keys {
        Some(keys) => {
            socket.get_mut().read_at_most(Some(HELLO_BYTES_MAX));
            let admitted = timeout(HELLO_WAIT, admit(&mut socket, writer, keys)).await;
            socket.get_mut().read_at_most(None);
            admitted.unwrap_or_else(|_| Err(Some(Fault::Timeout("no hello has come".into()))))
        }
        None => Ok(None),
    };
    match admitted {
        Ok(admitted) => {
            let (connection, receiver) = writer.connect(admitted);
            converse(socket, connection, writer, receiver).await;
        }
        Err(fault) => {
            if let Some(fault) = fault {
                tracing::info!(code = fault.close_code(), "not let in: {fault}");
                writer.health().metrics.closed(fault.close_code());
                let closing = socket.send(Message::Close(Some(close_frame(&fault))));
                // It may not read, or be gone.
                let _ = timeout(CLOSE_WAIT, closing).await;
            }
            let _ = timeout(LINGER_WAIT, linger(&mut socket)).await;
        }
    }
}

/// What a connection that is let in may do, and its hello. The error is none where it has ended.
pub(crate) type Admitted = Option<(Grant, Vec<u8>)>;

/// Reads the first message and looks at its token.
async fn admit<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut Socket<S>,
    writer: &WriterHandle,
    keys: &TokenKeys,
) -> Result<Admitted, Option<Fault>> {
    let frame = loop {
        match socket.next().await {
            Some(Ok(message)) => {
                if let Some(bytes) = binary(message)? {
                    break bytes;
                }
            }
            Some(Err(error)) => return Err(fault_of(&error)),
            None => return Err(None),
        }
    };
    let hello = decode_client(&frame).map_err(Fault::from)?;
    let ClientMessage::Hello { version, token, .. } = hello else {
        return Err(Some(Fault::OutOfOrder("the first message is a hello".into())));
    };
    if version != VERSION {
        return Err(Some(Fault::Version { offered: version, spoken: VERSION }));
    }
    let token = token.as_ref().map(|token| token.0.as_str());
    let grant = keys.check(token, writer.clock().now().unix_ms)?;
    Ok(Some((grant, frame.into())))
}

async fn web_socket<S: AsyncRead + AsyncWrite + Unpin>(io: S, writer: &WriterHandle) -> Socket<S> {
    let limits = writer.limits();
    let io = FrameMeter::new(io, writer.clock(), limits);
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES)
        .max_write_buffer_size(BUFFER_BYTES + 2 * MESSAGE_BYTES_MAX)
        .max_message_size(Some(MESSAGE_BYTES_MAX))
        .max_frame_size(Some(MESSAGE_BYTES_MAX));
    WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await
}

/// Passes on what both sides say.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    socket: Socket<S>,
    connection: ConnectionId,
    writer: &WriterHandle,
    receiver: Receiver,
) {
    let (mut sink, mut stream) = socket.split();
    let Receiver { queue, ending } = receiver;
    tokio::select! {
        () = write(&mut sink, &queue) => {}
        () = async {
            // Either way it has ended, or is about to, as far as the writer is concerned.
            let _ = ending.await;
            tokio::time::sleep(CLOSE_WAIT).await;
        } => {}
        () = async {
            let event = match read(&mut stream, connection, writer).await {
                Some(fault) => Event::Broken(connection, fault),
                None => Event::Disconnected(connection),
            };
            writer.send(event);
            // The writer closes the queue in its turn, which ends the other branch.
            std::future::pending().await
        } => {}
    }
    writer.send(Event::Disconnected(connection));
    if let Ok(mut socket) = stream.reunite(sink) {
        // Nothing is left to say if this fails.
        let _ = timeout(LINGER_WAIT, linger(&mut socket)).await;
    }
}

/// Sends what is queued. Ends after a close, when the writer has let go, or when the peer is gone.
async fn write<S: AsyncRead + AsyncWrite + Unpin>(
    sink: &mut SplitSink<Socket<S>, Message>,
    queue: &Queue,
) {
    while let Some(outgoing) = queue.next().await {
        let sent = match outgoing {
            Outgoing::Frame(frame) => {
                let cost = cost(&frame);
                let fed = sink.feed(Message::Binary(Bytes::from_owner(frame))).await;
                let sent = match fed {
                    Ok(()) if queue.is_empty() => sink.flush().await,
                    fed => fed,
                };
                queue.written(cost);
                sent
            }
            Outgoing::Close(fault) => {
                let _ = sink.send(Message::Close(Some(close_frame(&fault)))).await;
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
    // Answers the peer's close.
    let _ = sink.close().await;
}

/// Hands frames to the writer until the connection ends, or gives the fault that ends it.
async fn read<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut SplitStream<Socket<S>>,
    connection: ConnectionId,
    writer: &WriterHandle,
) -> Option<Fault> {
    let incoming_max = writer.limits().incoming_bytes_max;
    let waiting = Arc::new(Semaphore::new(incoming_max));
    while let Some(message) = stream.next().await {
        let bytes = match message.map_err(|error| fault_of(&error)).and_then(binary) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => continue,
            Err(fault) => return fault,
        };
        let cost = (bytes.len() + FRAME_OVERHEAD_BYTES).min(incoming_max);
        let cost = u32::try_from(cost).unwrap_or(u32::MAX);
        // Neither semaphore is ever closed; a connection waits here when the writer is behind.
        let own = waiting.clone().acquire_many_owned(cost).await.ok()?;
        let permits: Permits = (own, writer.admit(cost).await?);
        writer.send(Event::Frame(connection, Vec::from(bytes), permits));
    }
    None
}

/// The message in a frame, if it has one. The error is none where the peer ends the connection.
fn binary(message: Message) -> Result<Option<Bytes>, Option<Fault>> {
    match message {
        Message::Binary(bytes) => Ok(Some(bytes)),
        Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(None),
        Message::Close(_) => Err(None),
        Message::Text(_) => {
            let what = "messages are binary frames";
            Err(Some(Fault::Malformed(Malformed::Inconsistent { what })))
        }
    }
}

fn close_frame(fault: &Fault) -> CloseFrame {
    CloseFrame { code: fault.close_code().into(), reason: fault.close_reason().into() }
}

/// The fault that an error of the WebSocket library stands for; none where the peer is gone.
fn fault_of(error: &Error) -> Option<Fault> {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => {
            let (found, limit) = (*size as u64, *max_size as u64);
            Some(Fault::TooLarge { what: "a frame", found, limit })
        }
        Error::Io(error) if error.kind() == ErrorKind::QuotaExceeded => {
            let limit = HELLO_BYTES_MAX as u64;
            Some(Fault::TooLarge { what: "a hello", found: limit + 1, limit })
        }
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)
        | Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Io(_)
        | Error::Tls(_)
        | Error::WriteBufferFull(_) => None,
        Error::Capacity(_)
        | Error::Protocol(_)
        | Error::Utf8(_)
        | Error::AttackAttempt
        | Error::Url(_)
        | Error::Http(_)
        | Error::HttpFormat(_) => {
            Some(Fault::Malformed(Malformed::Encoding { detail: "not a frame of a WebSocket" }))
        }
    }
}

/// Ends this side and reads to the other's end, so that the last frames are not lost in a reset.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(socket: &mut Socket<S>) -> std::io::Result<()> {
    let io = socket.get_mut();
    io.shutdown().await?;
    let mut rest = vec![0; BUFFER_BYTES];
    while io.read(&mut rest).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use sync_core::wire::HubMessage;
    use tempfile::TempDir;
    use tokio::io::{DuplexStream, duplex};
    use tokio::task::JoinHandle;
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::options::Options;
    use crate::outgoing::{Sender, queue};
    use crate::writer;

    const MS: Duration = Duration::from_millis(1);

    /// Serves a connection: what queues for it, its peer, and how long it took.
    fn served(folder: &TempDir) -> (Sender, DuplexStream, JoinHandle<Duration>) {
        let writer = writer::start(&Options::new(folder.path())).unwrap().handle;
        let (sender, receiver) = queue(1 << 20);
        // Less than a frame has room on the way.
        let (ours, peer) = duplex(64);
        let ended = tokio::spawn(async move {
            let start = Instant::now();
            let socket = web_socket(ours, &writer).await;
            converse(socket, 1, &writer, receiver).await;
            start.elapsed()
        });
        (sender, peer, ended)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_queued_when_a_connection_is_closed_must_be_read_in_time() {
        for (wait, is_heard) in
            [(CLOSE_WAIT - MS, true), (CLOSE_WAIT, false), (CLOSE_WAIT + MS, false)]
        {
            let folder = TempDir::new().unwrap();
            let (sender, peer, ended) = served(&folder);
            let frame = HubMessage::Presence {
                channel: 1,
                replica: sync_core::causal::ReplicaId::from_bytes([7; 16]),
                shown: Some(("name".to_owned(), vec![0; 1_000])),
            };
            assert!(sender.send(frame.encode().into()));
            sender.close(Fault::GoingAway);
            sleep(wait).await;
            let mut peer = WebSocketStream::from_raw_socket(peer, Role::Client, None).await;
            let mut heard = Vec::new();
            while let Some(Ok(message)) = peer.next().await {
                heard.push(match &message {
                    Message::Binary(bytes) => (0, bytes[..] == frame.encode()),
                    Message::Close(close) => (u16::from(close.as_ref().unwrap().code), true),
                    Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {
                        panic!("{message}")
                    }
                });
            }
            let both = [(0, true), (Fault::GoingAway.close_code(), true)];
            assert_eq!(heard, both[..if is_heard { 2 } else { 0 }], "read after {wait:?}");
            drop(peer);
            assert_eq!(ended.await.unwrap(), wait, "the peer has ended by then");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_nothing_and_does_not_end_is_left_behind() {
        let folder = TempDir::new().unwrap();
        let (sender, _peer, ended) = served(&folder);
        assert!(sender.send(vec![0; 1_000].into()));
        sender.close(Fault::GoingAway);
        assert_eq!(ended.await.unwrap(), CLOSE_WAIT + LINGER_WAIT);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_say_hello_in_time_is_not_let_in() {
        let folder = TempDir::new().unwrap();
        let key = folder.path().join("key");
        std::fs::write(&key, crate::access::new_secret().unwrap()).unwrap();
        let keys = TokenKeys::read([&key]).unwrap();
        let writer = writer::start(&Options::new(folder.path())).unwrap().handle;
        let (ours, peer) = duplex(1 << 16);
        let start = Instant::now();
        tokio::spawn(async move { serve(ours, &writer, Some(&keys)).await });
        let mut peer = WebSocketStream::from_raw_socket(peer, Role::Client, None).await;
        // Pings are no hello.
        peer.send(Message::Ping(Bytes::new())).await.unwrap();
        let close = loop {
            let message = peer.next().await.unwrap().unwrap();
            if let Message::Close(close) = message {
                break close.unwrap();
            }
            assert!(message.is_pong(), "{message}");
        };
        assert_eq!(u16::from(close.code), 4408);
        assert_eq!(start.elapsed(), HELLO_WAIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_was_told_to_go_has_a_moment_to_end_its_side() {
        for wait in [LINGER_WAIT - MS, LINGER_WAIT, LINGER_WAIT + MS] {
            let folder = TempDir::new().unwrap();
            let (sender, mut peer, ended) = served(&folder);
            sender.close(Fault::GoingAway);
            let mut heard = Vec::new();
            peer.read_to_end(&mut heard).await.unwrap();
            assert!(!heard.is_empty());
            sleep(wait).await;
            drop(peer);
            assert_eq!(ended.await.unwrap(), wait.min(LINGER_WAIT));
        }
    }
}
