//! The binary: killed, stopped, and started on data that it must leave alone.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use rusqlite::Connection;
use sync_core::causal::{CausalContext, Dot};
use sync_core::wire::HubMessage;
use tempfile::TempDir;

use crate::client::{Client, TestHub, insert, replica};
use crate::http::get;

fn command(folder: &Path) -> Command {
    command_on("127.0.0.1:0", folder)
}

fn command_on(address: &str, folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sync-hub"));
    command.args(["serve", "--listen", address, "--data-dir"]).arg(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A hub that runs, killed when a test fails.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(folder: &Path) -> Self {
        Self::spawn(command(folder))
    }

    /// A hub whose files may not grow beyond so many blocks of 512 bytes: a full disk.
    fn start_with_little_room(folder: &Path, blocks: u32) -> Self {
        let hub = command(folder);
        let mut shell = Command::new("sh");
        let limited = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        shell.args(["-c", &limited]).arg(hub.get_program()).args(hub.get_args());
        shell.stdin(Stdio::null()).stdout(Stdio::piped());
        Self::spawn(shell)
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim_end().strip_prefix("listening on http://").expect("its one line");
        let address = address.parse().unwrap();
        Self { child, address }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &id]).status().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // This is SIGKILL.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    names.map(|name| (name.clone(), fs::read(folder.join(name)).unwrap())).collect()
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_hub_is_killed() {
    let folder = TempDir::new().unwrap();
    let mut acknowledged = CausalContext::default();
    for round in 0..10u8 {
        let hub = Process::start(folder.path());
        let mut client = Client::hello(hub.address).await;
        let writer = replica(round + 1);
        let caught = client.catch_up("d", None, CausalContext::default(), &[writer]).await;
        assert!(caught.context.covers(&acknowledged), "round {round}");
        assert!(caught.delta.live().covers(&acknowledged), "round {round}");
        // More is under way than is acknowledged when the kill comes.
        for counter in 1..=60 {
            client.push(counter, insert(writer, counter, &[round; 300])).await;
        }
        for counter in 1..=u64::from(round) * 5 {
            assert!(matches!(client.hear().await, HubMessage::Stored { id, .. } if id == counter));
            acknowledged.insert(Dot::new(writer, counter));
        }
        drop(hub);
    }
    let hub = Process::start(folder.path());
    let mut client = Client::hello(hub.address).await;
    let caught = client.catch_up("d", None, CausalContext::default(), &[]).await;
    assert!(caught.delta.live().covers(&acknowledged));
    assert_eq!(acknowledged.iter().map(|(_, ranges)| ranges.len()).sum::<u64>(), 225);
}

#[tokio::test]
async fn a_full_disk_closes_with_a_storage_fault_and_loses_nothing_acknowledged() {
    let folder = TempDir::new().unwrap();
    let hub = Process::start_with_little_room(folder.path(), 1_000);
    let mut acknowledged = CausalContext::default();
    let mut client = Client::open(hub.address, "d", replica(1)).await;
    for counter in 1..=2 {
        client.store(counter, insert(replica(1), counter, &[7; 60_000])).await;
        acknowledged.insert(Dot::new(replica(1), counter));
    }
    for counter in 3..=20 {
        client.push(counter, insert(replica(1), counter, &[7; 60_000])).await;
    }
    while let Some(message) = client.hear_until_closed(1011).await {
        assert!(matches!(message, HubMessage::Stored { .. }));
        acknowledged.insert(Dot::new(replica(1), acknowledged.max_of(replica(1)) + 1));
    }
    assert!(acknowledged.max_of(replica(1)) < 20, "20 of these have no room");
    let health = get(hub.address, "/health", "").await;
    assert!(health.contains("\"status\""), "it answers still: {health}");
    drop(hub);
    let hub = Process::start(folder.path());
    let mut client = Client::hello(hub.address).await;
    let caught = client.catch_up("d", None, CausalContext::default(), &[]).await;
    assert!(caught.delta.live().covers(&acknowledged));
}

#[tokio::test]
async fn it_stops_in_order_when_asked() {
    for signal in ["-TERM", "-INT"] {
        let folder = TempDir::new().unwrap();
        let mut hub = Process::start(folder.path());
        let mut client = Client::open(hub.address, "d", replica(1)).await;
        client.store(1, insert(replica(1), 1, b"x")).await;
        hub.signal(signal);
        assert_eq!(client.closed().await.0, 1001);
        assert_eq!(hub.child.wait().unwrap().code(), Some(0));
        let names: Vec<_> = files(folder.path()).into_keys().collect();
        assert_eq!(names, ["hub.db", "hub.db.lock"], "the write-ahead log is in the file");
    }
}

/// Starts a hub that must refuse to run, and holds the folder to what it was.
fn refused(folder: &Path) -> String {
    let before = files(folder);
    let Output { status, stdout, stderr } = command(folder).output().unwrap();
    assert_eq!(files(folder), before);
    assert_eq!((status.code(), stdout), (Some(1), Vec::new()));
    String::from_utf8(stderr).unwrap()
}

#[tokio::test]
async fn a_folder_that_is_in_use_is_refused_and_its_hub_goes_on() {
    let folder = TempDir::new().unwrap();
    let hub = TestHub::start(folder.path()).await;
    let mut client = Client::open(hub.address, "d", replica(1)).await;
    client.store(1, insert(replica(1), 1, b"x")).await;
    let error = refused(folder.path());
    assert!(error.starts_with("error: ") && error.contains("already in use; stop"), "{error}");
    client.store(2, insert(replica(1), 2, b"y")).await;
    hub.stop().await;
}

#[test]
fn something_else_in_place_of_the_database_is_refused() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("hub.db"), "a letter to a friend").unwrap();
    let error = refused(folder.path());
    assert!(error.contains("hub.db is not a database; choose another path"), "{error}");
    let other = TempDir::new().unwrap();
    let database = Connection::open(other.path().join("hub.db")).unwrap();
    database.execute_batch("CREATE TABLE t (x); PRAGMA application_id = 5").unwrap();
    drop(database);
    let error = refused(other.path());
    assert!(error.contains("belongs to another application"), "{error}");
}

#[tokio::test]
async fn a_database_of_a_newer_hub_is_refused() {
    let folder = TempDir::new().unwrap();
    TestHub::start(folder.path()).await.stop().await;
    let database = Connection::open(folder.path().join("hub.db")).unwrap();
    database.pragma_update(None, "user_version", 99).unwrap();
    database.close().unwrap();
    let error = refused(folder.path());
    assert!(error.contains("has format 99, and this program knows formats up to 1"), "{error}");
}

#[test]
fn a_port_that_is_taken_is_said() {
    let folder = TempDir::new().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = command_on(&address, folder.path()).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.starts_with(&format!("error: cannot listen on {address}: ")), "{error}");
    assert!(files(folder.path()).is_empty());
}
