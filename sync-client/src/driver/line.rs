//! The line to the hub: waiting, connecting, or a socket.

use std::collections::VecDeque;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::{Sink, SinkExt, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message};
use tokio_tungstenite::{WebSocketStream, connect_async_with_config};

use sync_core::wire::MESSAGE_BYTES_MAX;

use crate::address::HubAddress;
use crate::clock::Clock;
use crate::error::LineError;
use crate::token::TokenSource;

/// How long one attempt may take, up to the upgrade, in milliseconds. Arbitrary: a slow mobile line
/// takes a few seconds for all the round trips.
pub(super) const ATTEMPT_MS_MAX: u64 = 15_000;

/// How long a goodbye may take. Arbitrary.
const GOODBYE: Duration = Duration::from_millis(500);

/// The socket's buffers, in bytes. The default of 128 KiB is for servers with few, busy connections.
const BUFFER_BYTES: usize = 16 * 1024;

/// A WebSocket over whatever carries it.
pub(super) trait Wire:
    Stream<Item = tungstenite::Result<Message>>
    + Sink<Message, Error = tungstenite::Error>
    + Send
    + Unpin
{
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Wire for WebSocketStream<S> {}

type Socket = Box<dyn Wire>;

/// How a hub is reached.
#[derive(Clone)]
pub(super) enum Dial {
    /// Over the network.
    Net,
    /// Over what a test makes.
    #[cfg(test)]
    Made(Arc<dyn Fn() -> Made + Send + Sync>),
}

#[cfg(test)]
pub(super) type Made =
    Pin<Box<dyn Future<Output = std::io::Result<tokio::io::DuplexStream>> + Send>>;

impl Dial {
    async fn connect(
        &self,
        uri: tungstenite::http::Uri,
        config: WebSocketConfig,
    ) -> Result<Socket, tungstenite::Error> {
        match self {
            Self::Net => {
                let (socket, _) = connect_async_with_config(uri, Some(config), true).await?;
                Ok(Box::new(socket))
            }
            #[cfg(test)]
            Self::Made(make) => {
                let stream = make().await?;
                let opened = tokio_tungstenite::client_async_with_config(uri, stream, Some(config));
                Ok(Box::new(opened.await?.0))
            }
        }
    }
}

type Attempt = Pin<Box<dyn Future<Output = Result<(Socket, Option<String>), LineError>> + Send>>;

/// Frames that wait for the socket.
pub(super) type Queue = VecDeque<Bytes>;

/// What happens on a line.
pub(super) enum LineEvent {
    /// The wait is over.
    Due,
    /// An attempt succeeded, with this token where there is a source of them.
    Connected(Option<String>),
    /// A frame arrived.
    Frame(Bytes),
    /// An attempt failed or a connection ended.
    Ended(LineError),
}

/// Where the line is.
pub(super) enum Line {
    /// Nothing is tried.
    Off,
    /// The next attempt is due at this time, by the monotonic clock in milliseconds.
    Waiting(u64),
    Connecting(Attempt),
    Up(Socket),
}

impl Line {
    /// Starts an attempt; with a token of the source, other than the one that was refused.
    pub(super) fn connect(
        dial: Dial,
        hub: &HubAddress,
        tokens: Option<TokenSource>,
        refused: Option<String>,
    ) -> Self {
        let uri = hub.uri().clone();
        let mut config = WebSocketConfig::default();
        config.read_buffer_size = BUFFER_BYTES;
        config.write_buffer_size = BUFFER_BYTES;
        config.max_write_buffer_size = 2 * MESSAGE_BYTES_MAX;
        config.max_message_size = Some(MESSAGE_BYTES_MAX);
        config.max_frame_size = Some(MESSAGE_BYTES_MAX);
        Self::Connecting(Box::pin(async move {
            let token = match tokens {
                Some(tokens) => Some(tokens.ask(refused.as_deref()).await?),
                None => None,
            };
            let attempt = dial.connect(uri, config);
            match timeout(Duration::from_millis(ATTEMPT_MS_MAX), attempt).await {
                Ok(Ok(socket)) => Ok((socket, token)),
                Ok(Err(error)) => Err(error.into()),
                Err(_) => Err(LineError::Silent { ms: ATTEMPT_MS_MAX }),
            }
        }))
    }

    pub(super) fn is_up(&self) -> bool {
        matches!(self, Self::Up(_))
    }

    pub(super) fn is_off(&self) -> bool {
        matches!(self, Self::Off)
    }

    /// What happens next. Sends from the queue meanwhile. May be dropped at any time and called again.
    pub(super) async fn next(&mut self, clock: &Clock, queue: &mut Queue) -> LineEvent {
        match self {
            Self::Off => pending().await,
            Self::Waiting(until) => {
                let left = until.saturating_sub(clock.now().monotonic_ms);
                sleep(Duration::from_millis(left)).await;
                LineEvent::Due
            }
            Self::Connecting(attempt) => match attempt.await {
                Ok((socket, token)) => {
                    *self = Self::Up(socket);
                    LineEvent::Connected(token)
                }
                Err(error) => LineEvent::Ended(error),
            },
            Self::Up(socket) => poll_fn(|context| poll(socket, context, queue)).await,
        }
    }

    /// Sends what is queued, says goodbye, and hangs up; gives up soon where nobody takes it.
    pub(super) async fn hang_up(&mut self, queue: &mut Queue) {
        if let Self::Up(mut socket) = std::mem::replace(self, Self::Off) {
            let goodbye = async {
                poll_fn(|context| poll_send(&mut socket, context, queue)).await?;
                socket.close().await
            };
            // Nothing depends on the goodbye: the hub notices the end of the connection.
            let _ = timeout(GOODBYE, goodbye).await;
        }
        queue.clear();
    }
}

/// Sends what can be sent, then looks for a frame.
fn poll(socket: &mut Socket, context: &mut Context<'_>, queue: &mut Queue) -> Poll<LineEvent> {
    if let Poll::Ready(Err(error)) = poll_send(socket, context, queue) {
        // The hub may have said why it closed the connection before sending failed.
        return match poll_frame(socket, context) {
            Poll::Ready(event) => Poll::Ready(event),
            Poll::Pending => Poll::Ready(LineEvent::Ended(error.into())),
        };
    }
    poll_frame(socket, context)
}

fn poll_send(
    socket: &mut Socket,
    context: &mut Context<'_>,
    queue: &mut Queue,
) -> Poll<Result<(), tungstenite::Error>> {
    let mut socket = Pin::new(socket);
    while let Some(frame) = queue.front() {
        let frame = frame.clone();
        match socket.as_mut().poll_ready(context) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
        if let Err(error) = socket.as_mut().start_send(Message::Binary(frame)) {
            return Poll::Ready(Err(error));
        }
        queue.pop_front();
    }
    socket.poll_flush(context)
}

fn poll_frame(socket: &mut Socket, context: &mut Context<'_>) -> Poll<LineEvent> {
    loop {
        let message = match Pin::new(&mut *socket).poll_next(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(message) => message,
        };
        return Poll::Ready(match message {
            Some(Ok(Message::Binary(frame))) => LineEvent::Frame(frame),
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
            Some(Ok(Message::Text(_))) => {
                let reason = "the hub sent text".to_owned();
                LineEvent::Ended(LineError::GivenUp { reason })
            }
            Some(Ok(Message::Close(Some(frame)))) => LineEvent::Ended(LineError::Closed {
                code: frame.code.into(),
                reason: frame.reason.to_string(),
            }),
            Some(Ok(Message::Close(None))) | None => LineEvent::Ended(LineError::Lost),
            Some(Err(error)) => LineEvent::Ended(error.into()),
        });
    }
}

impl From<tungstenite::Error> for LineError {
    fn from(error: tungstenite::Error) -> Self {
        use tungstenite::Error;
        use tungstenite::error::ProtocolError;
        match error {
            Error::Io(error) => Self::Unreachable(error),
            Error::Http(answer) => Self::Status { status: answer.status().as_u16() },
            Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => Self::Lost,
            Error::Tls(_)
            | Error::Capacity(_)
            | Error::Protocol(_)
            | Error::WriteBufferFull(_)
            | Error::Utf8(_)
            | Error::AttackAttempt
            | Error::Url(_)
            | Error::HttpFormat(_) => Self::Transport(Box::new(error)),
        }
    }
}

/// Why the line is down, in a form that can be handed out.
pub(super) type Why = Arc<LineError>;
