//! What a hub's operator may ask of it while it serves: over a socket in its data folder, which only the
//! owner of the folder may use. A request is a line of JSON, and so is its answer.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};

use crate::writer::{Event, WriterHandle};

/// The folder of the socket, which nobody else may look into.
const FOLDER: &str = "control";

const SOCKET: &str = "hub.sock";

/// The most bytes of a request. Arbitrary.
const LINE_BYTES_MAX: u64 = 64 * 1024;

/// How many may ask at a time. Arbitrary.
const ASKING_MAX: usize = 8;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub(crate) enum Request {
    /// To leave the database's file as it is, until it is released or the connection ends: all that is on
    /// disk so far is in it, so that it can be copied.
    Hold,
    /// That the file may change again.
    Release,
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// The file stays as it is.
    Held {
        /// The sequence number of the last change that is in it.
        seq: u64,
    },
    /// The file may change again.
    Released {
        /// Whether it has not changed until now.
        is_unchanged: bool,
    },
    /// It was not done.
    Refused {
        /// Why.
        reason: String,
    },
}

/// Where the socket of a data folder is.
fn socket(data_dir: &Path) -> PathBuf {
    data_dir.join(FOLDER).join(SOCKET)
}

/// The socket of a hub that runs. It is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Control {
    data_dir: PathBuf,
    listener: UnixListener,
}

impl Drop for Control {
    fn drop(&mut self) {
        // What is left says nothing, and the next hub of the folder takes it away.
        let _ = fs::remove_file(socket(&self.data_dir));
        let _ = fs::remove_dir(self.data_dir.join(FOLDER));
    }
}

impl Control {
    /// Listens in a data folder, whose database this process has locked.
    pub(crate) fn listen(data_dir: &Path) -> io::Result<Self> {
        let folder = data_dir.join(FOLDER);
        match fs::DirBuilder::new().mode(0o700).create(&folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let path = socket(data_dir);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        Ok(Self { data_dir: data_dir.to_owned(), listener })
    }

    /// Answers until this is dropped.
    pub(crate) async fn serve(&self, writer: &WriterHandle) {
        let asking = Arc::new(Semaphore::new(ASKING_MAX));
        loop {
            // It is never closed.
            let Ok(permit) = asking.clone().acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let writer = writer.clone();
                    tokio::spawn(async move {
                        if let Err(error) = converse(stream, &writer).await {
                            tracing::debug!("a conversation with the operator failed: {error}");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!("the operator's socket failed: {error}");
                    return;
                }
            }
        }
    }
}

/// That the file is held for somebody: released when they have gone.
struct Holding {
    writer: WriterHandle,
    number: u64,
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.writer.send(Event::Release(self.number, None));
    }
}

async fn converse(stream: UnixStream, writer: &WriterHandle) -> io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut reading = BufReader::new(reading);
    let mut holding = None;
    loop {
        let mut line = Vec::new();
        (&mut reading).take(LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
        if line.is_empty() {
            return Ok(());
        }
        let answer = match serde_json::from_slice(&line) {
            Ok(request) => answer(request, writer, &mut holding).await,
            Err(error) => Answer::Refused { reason: format!("this is no request: {error}") },
        };
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        writing.write_all(&line).await?;
    }
}

async fn answer(request: Request, writer: &WriterHandle, holding: &mut Option<Holding>) -> Answer {
    const ENDS: &str = "the hub is ending";
    let refused = |reason: &str| Answer::Refused { reason: reason.to_owned() };
    match request {
        Request::Hold => {
            let (reply, replied) = oneshot::channel();
            writer.send(Event::Hold(reply));
            match replied.await {
                Ok(Ok((number, seq))) => {
                    *holding = Some(Holding { writer: writer.clone(), number });
                    Answer::Held { seq }
                }
                Ok(Err(reason)) => refused(&reason),
                Err(_) => refused(ENDS),
            }
        }
        Request::Release => {
            let Some(held) = holding.take() else { return refused("nothing is held") };
            let (reply, replied) = oneshot::channel();
            writer.send(Event::Release(held.number, Some(reply)));
            match replied.await {
                Ok(is_unchanged) => Answer::Released { is_unchanged },
                Err(_) => refused(ENDS),
            }
        }
    }
}

/// Asks a hub that runs in a data folder. None where there is none.
#[derive(Debug)]
pub(crate) struct Operator {
    stream: io::BufReader<std::os::unix::net::UnixStream>,
}

impl Operator {
    /// Connects to the hub of a data folder, if one runs.
    pub(crate) fn connect(data_dir: &Path) -> io::Result<Option<Self>> {
        match std::os::unix::net::UnixStream::connect(socket(data_dir)) {
            Ok(stream) => Ok(Some(Self { stream: io::BufReader::new(stream) })),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Asks, and waits for the answer.
    pub(crate) fn ask(&mut self, request: &Request) -> io::Result<Answer> {
        use std::io::{BufRead, Write};
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.stream.get_mut().write_all(&line)?;
        let mut answer = String::new();
        if self.stream.read_line(&mut answer)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_str(&answer)?)
    }
}
