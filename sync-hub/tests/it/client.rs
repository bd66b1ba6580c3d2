//! A client that speaks the wire by hand, and a hub inside the test's process.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use sync_core::causal::{CausalContext, Delta, Dot, Entry, Label, PlaceId, ReplicaId, Slots};
use sync_core::time::Stamp;
use sync_core::wire::{
    Claim, ClientMessage, Cursor, Dictionary, HubMessage, Push, VERSION, decode_hub, encode_delta,
};
use sync_hub::{HubError, HubServer, Options};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

/// How long anything may take before a test fails.
const WAIT: Duration = Duration::from_secs(240);

/// Fails the test when something takes too long.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(WAIT, future).await.expect("it takes too long")
}

/// Runs a future to its end, in a test of its own threads.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.unwrap().block_on(future)
}

/// A hub in this process, on a free port.
pub(crate) struct TestHub {
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), HubError>>,
}

impl TestHub {
    pub(crate) async fn start(folder: &Path) -> Self {
        Self::start_with(Options::new(folder)).await
    }

    pub(crate) async fn start_with(options: Options) -> Self {
        Self::try_start(options).await.unwrap()
    }

    pub(crate) async fn try_start(options: Options) -> Result<Self, HubError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = HubServer::open(listener, options)?;
        let address = server.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Ok(Self { address, stop, running })
    }

    pub(crate) async fn stop(self) {
        self.stop.send(()).unwrap();
        soon(self.running).await.unwrap().unwrap();
    }
}

/// One connection.
pub(crate) struct Client {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

/// What an opening brought.
#[derive(Debug)]
pub(crate) struct Caught {
    /// What the hub had seen.
    pub(crate) context: CausalContext,
    pub(crate) resumed: bool,
    /// All chunks as one.
    pub(crate) delta: Delta,
    pub(crate) cursor: Cursor,
}

impl Client {
    /// Connects without a hello.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let (socket, _) = soon(connect_async(format!("ws://{address}/sync"))).await.unwrap();
        Self { socket }
    }

    /// Connects and says hello.
    pub(crate) async fn hello(address: SocketAddr) -> Self {
        let mut client = Self::connect(address).await;
        client.say(&hello(VERSION)).await;
        assert!(matches!(client.hear().await, HubMessage::Welcome(_)));
        client
    }

    /// Connects and says hello; none where the hub hangs up.
    pub(crate) async fn try_hello(address: SocketAddr) -> Option<Self> {
        let (socket, _) = soon(connect_async(format!("ws://{address}/sync"))).await.ok()?;
        let mut client = Self { socket };
        client.try_say(&hello(VERSION)).await?;
        matches!(client.try_hear().await?, HubMessage::Welcome(_)).then_some(client)
    }

    /// Connects and opens a document on channel 1, for one replica.
    pub(crate) async fn open(address: SocketAddr, document: &str, replica: ReplicaId) -> Self {
        let mut client = Self::hello(address).await;
        client.catch_up(document, None, CausalContext::default(), &[replica]).await;
        client
    }

    pub(crate) async fn send(&mut self, message: Message) {
        soon(self.socket.send(message)).await.unwrap();
    }

    pub(crate) async fn say(&mut self, message: &ClientMessage) {
        self.send(Message::Binary(message.encode().into())).await;
    }

    /// The next message of the hub.
    pub(crate) async fn hear(&mut self) -> HubMessage {
        match soon(self.socket.next()).await.expect("the connection has ended").unwrap() {
            Message::Binary(bytes) => decode_hub(&bytes).unwrap(),
            other => panic!("not a message of the hub: {other:?}"),
        }
    }

    /// Says something; none where the connection has ended.
    pub(crate) async fn try_say(&mut self, message: &ClientMessage) -> Option<()> {
        soon(self.socket.send(Message::Binary(message.encode().into()))).await.ok()
    }

    /// The next message of the hub; none when the connection ends, for whatever reason.
    pub(crate) async fn try_hear(&mut self) -> Option<HubMessage> {
        match soon(self.socket.next()).await?.ok()? {
            Message::Binary(bytes) => Some(decode_hub(&bytes).unwrap()),
            _ => None,
        }
    }

    /// The next message of the hub; none when it closes with this code.
    pub(crate) async fn hear_until_closed(&mut self, code: u16) -> Option<HubMessage> {
        match soon(self.socket.next()).await.expect("the connection has ended").unwrap() {
            Message::Binary(bytes) => Some(decode_hub(&bytes).unwrap()),
            Message::Close(Some(frame)) => {
                assert_eq!(u16::from(frame.code), code);
                None
            }
            other => panic!("not a message of the hub: {other:?}"),
        }
    }

    /// Gives the code and reason of the close frame, which is the first thing that comes.
    pub(crate) async fn closed_at_once(&mut self) -> (u16, String) {
        match soon(self.socket.next()).await.expect("a close frame").unwrap() {
            Message::Close(Some(frame)) => (frame.code.into(), frame.reason.to_string()),
            other => panic!("{other:?}"),
        }
    }

    /// Reads to the close frame and gives its code and reason.
    pub(crate) async fn closed(&mut self) -> (u16, String) {
        loop {
            match soon(self.socket.next()).await.expect("a close frame").unwrap() {
                Message::Close(frame) => {
                    let frame = frame.expect("a close frame has a code");
                    return (frame.code.into(), frame.reason.to_string());
                }
                Message::Binary(_) | Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Opens a document on channel 1 and follows the catch-up to its end.
    pub(crate) async fn catch_up(
        &mut self,
        document: &str,
        cursor: Option<Cursor>,
        context: CausalContext,
        replicas: &[ReplicaId],
    ) -> Caught {
        let caught = self.try_catch_up(document, cursor, context, replicas).await;
        caught.expect("the connection has ended")
    }

    /// As [`catch_up`](Self::catch_up); none where the connection ends.
    pub(crate) async fn try_catch_up(
        &mut self,
        document: &str,
        cursor: Option<Cursor>,
        context: CausalContext,
        replicas: &[ReplicaId],
    ) -> Option<Caught> {
        let claims = replicas.iter().map(|replica| Claim { replica: *replica, opening: 1 });
        let claims = claims.collect();
        let document = document.to_owned();
        self.try_say(&ClientMessage::Open {
            channel: 1,
            document,
            cursor,
            context,
            claims,
            compares: false,
            unsent: Vec::new(),
        })
        .await?;
        let HubMessage::Opened { context, resumed, .. } = self.try_hear().await? else {
            panic!("the hub answers an open first");
        };
        let (mut all, mut names) = (Delta::default(), Dictionary::new());
        loop {
            match self.try_hear().await? {
                HubMessage::Chunk { channel, number, delta, cursor, left: _ } => {
                    all.join(names.read_chunk(&delta).unwrap());
                    self.try_say(&ClientMessage::ChunkStored { channel, number }).await?;
                    if let Some(cursor) = cursor {
                        return Some(Caught { context, resumed, delta: all, cursor });
                    }
                }
                HubMessage::Presence { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// As [`push`](Self::push); none where the connection has ended.
    pub(crate) async fn try_push(&mut self, id: u64, delta: &Delta) -> Option<()> {
        let delta = encode_delta(delta);
        self.try_say(&ClientMessage::Push(Push { channel: 1, id, delta, skips: false })).await
    }

    pub(crate) async fn push(&mut self, id: u64, delta: Delta) {
        self.try_push(id, &delta).await.expect("the connection has ended");
    }

    /// Pushes and waits until that is on the hub's disk.
    pub(crate) async fn store(&mut self, id: u64, delta: Delta) -> u64 {
        self.push(id, delta).await;
        loop {
            match self.hear().await {
                HubMessage::Stored { id: stored, seq, .. } => {
                    assert_eq!(stored, id);
                    return seq;
                }
                HubMessage::Delta { .. } | HubMessage::Presence { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

pub(crate) fn hello(version: u16) -> ClientMessage {
    ClientMessage::Hello { version, token: None, agent: "test".into(), packs: false }
}

pub(crate) fn replica(number: u8) -> ReplicaId {
    ReplicaId::from_bytes([number; 16])
}

/// Adds one element under a dot.
pub(crate) fn insert(replica: ReplicaId, counter: u64, text: &[u8]) -> Delta {
    let entry = Entry {
        first: Dot::new(replica, counter),
        stamp: Stamp::from_ms(1),
        label: Label::new(b"space", [&b"name"[..]]),
        id: PlaceId::new(b"object"),
        slots: Slots::new([Some(text)].into_iter()),
    };
    Delta { entries: [entry].into(), ..Delta::default() }
}

/// Removes dots under a dot of its own.
pub(crate) fn removal(own: Dot, removed: &[Dot]) -> Delta {
    let mut delta = Delta::default();
    removed.iter().chain([&own]).for_each(|dot| delta.dead.insert(*dot));
    delta
}
