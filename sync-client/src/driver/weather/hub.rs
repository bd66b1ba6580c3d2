//! A hub's session in memory, behind WebSocket over any stream.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use sync_core::session::{self, Boot, ConnectionId, HubInput, HubOutput, MemoryHub, Now};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// What its clock says at first.
pub(in crate::driver) const NOW_MS: u64 = 1_800_000_000_000;

#[derive(Clone)]
pub(in crate::driver) struct Hub(Arc<Mutex<Inner>>);

struct Inner {
    session: session::Hub,
    store: MemoryHub,
    lines: BTreeMap<ConnectionId, mpsc::UnboundedSender<Message>>,
    last: ConnectionId,
    start: Instant,
}

impl Hub {
    /// A hub that gives up connections which are silent.
    pub(in crate::driver) fn start() -> Self {
        let hub = Self(Arc::new(Mutex::new(Inner {
            session: session::Hub::new(),
            store: MemoryHub::new(Boot { hub: 1, boot: 1 }),
            lines: BTreeMap::new(),
            last: 0,
            start: Instant::now(),
        })));
        let own = hub.clone();
        tokio::spawn(async move {
            loop {
                sleep(Duration::from_secs(1)).await;
                own.with(|inner| {
                    let now = inner.now();
                    inner.session.handle_timeout(now);
                    inner.drain();
                });
            }
        });
        hub
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.0.lock().unwrap())
    }

    /// Starts again, with what was on its disk and without connections.
    pub(in crate::driver) fn restart(&self, boot: u64) {
        self.with(|inner| {
            inner.session = session::Hub::new();
            inner.store.restart(boot);
            inner.lines.clear();
        });
    }

    pub(in crate::driver) async fn serve(self, stream: DuplexStream) {
        self.serve_late(stream, Duration::ZERO).await;
    }

    /// Listens some time after the upgrade.
    pub(in crate::driver) async fn serve_late(self, stream: DuplexStream, late: Duration) {
        let Ok(mut socket) = accept_async(stream).await else { return };
        sleep(late).await;
        let (line, mut frames) = mpsc::unbounded_channel();
        let connection = self.with(|inner| {
            inner.last += 1;
            inner.lines.insert(inner.last, line);
            inner.handle(inner.last, HubInput::Connected);
            inner.last
        });
        loop {
            tokio::select! {
                biased;
                frame = frames.recv() => {
                    let is_last = matches!(frame, None | Some(Message::Close(_)));
                    if let Some(frame) = frame
                        && socket.send(frame).await.is_err()
                    {
                        break;
                    }
                    if is_last {
                        break;
                    }
                }
                message = socket.next() => match message {
                    Some(Ok(Message::Binary(frame))) => {
                        self.with(|inner| inner.handle(connection, HubInput::Frame(frame.to_vec())));
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => break,
                },
            }
        }
        self.with(|inner| {
            // Of a session before a restart nothing is left.
            if inner.lines.remove(&connection).is_some() {
                inner.handle(connection, HubInput::Disconnected);
            }
        });
    }
}

impl Inner {
    fn now(&self) -> Now {
        let monotonic_ms = self.start.elapsed().as_millis() as u64;
        Now { monotonic_ms, unix_ms: NOW_MS + monotonic_ms }
    }

    fn handle(&mut self, connection: ConnectionId, input: HubInput) {
        let now = self.now();
        let Ok(()) = self.session.handle(&mut self.store, now, connection, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.session.poll() {
            match output {
                HubOutput::Send { connection, frame } => {
                    if let Some(line) = self.lines.get(&connection) {
                        let _ = line.send(Message::Binary(frame.to_vec().into()));
                    }
                }
                HubOutput::Close { connection, fault } => {
                    if let Some(line) = self.lines.remove(&connection) {
                        let (code, reason) = (fault.close_code(), fault.close_reason());
                        let frame = CloseFrame { code: code.into(), reason: reason.into() };
                        let _ = line.send(Message::Close(Some(frame)));
                    }
                }
            }
        }
    }
}
