//! A hub in memory behind a WebSocket, which tests can make fail in chosen ways.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use futures::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use sync_core::causal::Dot;
use sync_core::session::limits::HELD_MS;
use sync_core::session::{Boot, ConnectionId, Hub, HubInput, HubOutput, MemoryHub, Now};
use sync_core::wire::{ClientMessage, HubMessage, Token, decode_client, decode_hub};

/// What its clock says, always.
pub(crate) const NOW_MS: u64 = 1_800_000_000_000;

/// Ends when dropped.
pub(crate) struct TestHub {
    address: String,
    inner: Arc<Mutex<Inner>>,
    /// Counts what was handled.
    turns: watch::Receiver<u64>,
    _stop: mpsc::Sender<()>,
}

struct Inner {
    hub: Hub,
    store: MemoryHub,
    lines: BTreeMap<ConnectionId, mpsc::UnboundedSender<Message>>,
    accepted: u64,
    /// The token of each hello.
    tokens: Vec<Option<String>>,
    /// Outputs that are held back.
    held: Option<Vec<HubOutput>>,
    /// Whether only acknowledgements are.
    holds_acknowledgements: bool,
    /// The reason that is given in place of every acknowledgement.
    refusal: Option<String>,
    turns: watch::Sender<u64>,
    /// What its clock says.
    now_ms: u64,
}

impl TestHub {
    pub(crate) fn start() -> Self {
        let (turns_sender, turns) = watch::channel(0);
        let inner = Arc::new(Mutex::new(Inner {
            hub: Hub::new(),
            store: MemoryHub::new(Boot { hub: 1, boot: 1 }),
            lines: BTreeMap::new(),
            accepted: 0,
            tokens: Vec::new(),
            held: None,
            holds_acknowledgements: false,
            refusal: None,
            turns: turns_sender,
            now_ms: NOW_MS,
        }));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (stop, mut stopped) = mpsc::channel(1);
        let own = inner.clone();
        thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                loop {
                    tokio::select! {
                        accepted = listener.accept() => {
                            tokio::spawn(serve(accepted.unwrap().0, own.clone()));
                        }
                        _ = stopped.recv() => return,
                    }
                }
            });
        });
        Self { address, inner, turns, _stop: stop }
    }

    /// Refuses from here on what lies more than an hour beyond [`NOW_MS`].
    pub(crate) fn refuse_future(&self) {
        let mut inner = self.inner();
        inner.hub = std::mem::take(&mut inner.hub).with_stamp_ahead(3_600_000);
    }

    /// Does not know the time from here on.
    pub(crate) fn lose_time(&self) {
        self.inner().now_ms = 0;
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    /// Waits until the hub has stored a dot.
    pub(crate) async fn until_stored(&self, document: &str, dot: Dot) {
        let mut turns = self.turns.clone();
        while !self.has(document, dot) {
            turns.changed().await.unwrap();
        }
    }

    pub(crate) fn has(&self, document: &str, dot: Dot) -> bool {
        let inner = self.inner();
        inner.store.state(document).is_some_and(|state| state.context().contains(dot))
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.inner().accepted
    }

    /// The token of each hello so far.
    pub(crate) fn tokens(&self) -> Vec<Option<String>> {
        self.inner().tokens.clone()
    }

    /// Holds back everything that the hub says from here on.
    pub(crate) fn hold(&self) {
        self.inner().held = Some(Vec::new());
    }

    /// Holds back every acknowledgement from here on.
    pub(crate) fn hold_acknowledgements(&self) {
        self.hold();
        self.inner().holds_acknowledgements = true;
    }

    /// Says what was held back.
    pub(crate) fn release(&self) {
        let mut inner = self.inner();
        inner.holds_acknowledgements = false;
        for output in inner.held.take().into_iter().flatten() {
            inner.put(output);
        }
    }

    /// Gives a refusal in place of every acknowledgement.
    pub(crate) fn refuse(&self, reason: &str) {
        self.inner().refusal = Some(reason.to_owned());
    }

    /// Cuts every connection without a word.
    pub(crate) fn cut(&self) {
        self.inner().lines.clear();
    }

    /// Closes every connection with a code.
    pub(crate) fn close(&self, code: u16, reason: &'static str) {
        for (_, line) in std::mem::take(&mut self.inner().lines) {
            let frame = CloseFrame { code: code.into(), reason: reason.into() };
            let _ = line.send(Message::Close(Some(frame)));
        }
    }

    /// Loses everything that is stored, and every connection.
    pub(crate) fn lose_everything(&self) {
        let mut inner = self.inner();
        inner.store = MemoryHub::new(Boot { hub: 2, boot: 2 });
        inner.hub = Hub::new();
        inner.lines.clear();
    }
}

impl Inner {
    fn handle(&mut self, connection: ConnectionId, input: HubInput) {
        if let HubInput::Frame(frame) = &input
            && let Ok(ClientMessage::Hello { token, .. }) = decode_client(frame)
        {
            self.tokens.push(token.map(|Token(token)| token));
        }
        let Inner { hub, store, .. } = self;
        let now = Now { monotonic_ms: 0, unix_ms: self.now_ms };
        hub.handle(store, now, connection, input).unwrap();
        // What devices hold is passed on at once.
        hub.handle_timeout(Now { monotonic_ms: HELD_MS, ..now });
        while let Some(output) = self.hub.poll() {
            let is_held = !self.holds_acknowledgements || is_acknowledgement(&output);
            match &mut self.held {
                Some(held) if is_held => held.push(output),
                Some(_) | None => self.put(output),
            }
        }
        self.turns.send_modify(|turns| *turns += 1);
    }

    fn put(&mut self, output: HubOutput) {
        match output {
            HubOutput::Send { connection, frame } => {
                let frame = self.spoil(&frame);
                if let Some(line) = self.lines.get(&connection) {
                    let _ = line.send(Message::Binary(frame.into()));
                }
            }
            HubOutput::Close { connection, fault } => {
                if let Some(line) = self.lines.remove(&connection) {
                    let (code, reason) = (fault.close_code().into(), fault.close_reason().into());
                    let _ = line.send(Message::Close(Some(CloseFrame { code, reason })));
                }
            }
        }
    }

    fn spoil(&self, frame: &[u8]) -> Vec<u8> {
        match (&self.refusal, decode_hub(frame)) {
            (Some(reason), Ok(HubMessage::Stored { channel, id, .. })) => {
                HubMessage::Refused { channel, id, reason: reason.clone(), goes_on: false }.encode()
            }
            _ => frame.to_vec(),
        }
    }
}

fn is_acknowledgement(output: &HubOutput) -> bool {
    let HubOutput::Send { frame, .. } = output else { return false };
    matches!(decode_hub(frame), Ok(HubMessage::Stored { .. }))
}

async fn serve(stream: TcpStream, inner: Arc<Mutex<Inner>>) {
    let Ok(mut socket) = accept_async(stream).await else { return };
    let (line, mut frames) = mpsc::unbounded_channel();
    let connection = {
        let mut inner = inner.lock().unwrap();
        inner.accepted += 1;
        let connection = inner.accepted;
        inner.lines.insert(connection, line);
        inner.handle(connection, HubInput::Connected);
        connection
    };
    loop {
        tokio::select! {
            frame = frames.recv() => {
                let is_last = matches!(frame, None | Some(Message::Close(_)));
                if let Some(frame) = frame {
                    let _ = socket.send(frame).await;
                }
                if is_last {
                    break;
                }
            }
            message = socket.next() => match message {
                Some(Ok(Message::Binary(frame))) => {
                    let mut inner = inner.lock().unwrap();
                    inner.handle(connection, HubInput::Frame(frame.to_vec()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => break,
            },
        }
    }
    let mut inner = inner.lock().unwrap();
    inner.lines.remove(&connection);
    inner.handle(connection, HubInput::Disconnected);
}
