//! The binary: killed, stopped, and started on data that it must leave alone.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rusqlite::Connection;
use sync_core::causal::{CausalContext, Dot};
use sync_core::wire::HubMessage;
use sync_faults::{Campaign, Random};
use tempfile::TempDir;

use crate::client::{Caught, Client, TestHub, block_on, insert, replica, soon};
use crate::http::get;

/// How often the hub of one folder is killed. Arbitrary.
const KILLS: u8 = 10;

/// Far longer than anything here takes: it ends a test that would hang.
const PATIENCE: Duration = Duration::from_secs(240);

fn command(folder: &Path) -> Command {
    command_on("127.0.0.1:0", folder)
}

pub(crate) fn command_on(address: &str, folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sync-hub"));
    command.args(["serve", "--listen", address, "--data-dir"]).arg(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A hub that runs, killed when a test fails.
pub(crate) struct Process {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Process {
    pub(crate) fn start(folder: &Path) -> Self {
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

    pub(crate) fn spawn(mut command: Command) -> Self {
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
    let entries = entries.filter(|entry| entry.file_type().unwrap().is_file());
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    names.map(|name| (name.clone(), fs::read(folder.join(name)).unwrap())).collect()
}

/// Kills the hub of one folder a few times, under load.
async fn kills(seed: u64) -> u64 {
    let mut random = Random(seed);
    let folder = sync_faults::folder();
    let mut acknowledged = CausalContext::default();
    let mut before: Option<Caught> = None;
    for round in 1..=KILLS {
        let hub = Process::start(folder.path());
        let mut client = Client::hello(hub.address).await;
        let writer = replica(round);
        let all = client.catch_up("d", None, CausalContext::default(), &[writer]).await;
        assert!(all.context.covers(&acknowledged), "round {round}");
        assert!(all.delta.live().covers(&acknowledged), "round {round}");
        if let Some(before) = before {
            let mut listener = Client::hello(hub.address).await;
            let caught = listener.catch_up("d", Some(before.cursor), before.context, &[]).await;
            assert!(caught.resumed, "nobody is asked to start over");
        }
        before = Some(all);
        // More is under way than is acknowledged when the kill comes.
        for counter in 1..=60 {
            client.push(counter, insert(writer, counter, &[round; 300])).await;
        }
        for counter in 1..=random.below(60) {
            assert!(matches!(client.hear().await, HubMessage::Stored { id, .. } if id == counter));
            acknowledged.insert(Dot::new(writer, counter));
        }
        drop(hub);
        // What it said before is said, though it was not heard by then.
        while let Some(HubMessage::Stored { id, .. }) = client.try_hear().await {
            acknowledged.insert(Dot::new(writer, id));
        }
    }
    let hub = Process::start(folder.path());
    let mut client = Client::hello(hub.address).await;
    let caught = client.catch_up("d", None, CausalContext::default(), &[]).await;
    assert!(caught.delta.live().covers(&acknowledged));
    KILLS.into()
}

const CAMPAIGN: Campaign = Campaign {
    package: "sync-hub",
    target: "it",
    test: "nothing_acknowledged_is_lost_when_the_hub_is_killed",
    unit: "kills",
    variable: "SYNC_KILLS",
    ordinary: 20,
};

#[test]
fn nothing_acknowledged_is_lost_when_the_hub_is_killed() {
    CAMPAIGN.run(|seed| block_on(kills(seed)));
}

/// Kills the hub of one folder a few times while a client of the library writes, and asks the hub each
/// time for what the client was told to be there.
async fn kills_beside_a_client(seed: u64) -> u64 {
    let mut random = Random(seed);
    let [hub_folder, folder] = [sync_faults::folder(), sync_faults::folder()];
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let client = sync_client::Client::builder(folder.path()).hub(format!("http://{address}"));
    let client = client.document("d").open().unwrap();
    let notes = client.document("d").unwrap().collection("notes");
    let (mut there, mut waiting) = (CausalContext::default(), Vec::new());
    for round in 1..=KILLS {
        let hub = Process::spawn(command_on(&address, hub_folder.path()));
        client.reconnect();
        for number in 0..=random.below(20) {
            let text = format!("{round}, {number}");
            let (_, written) = notes.insert([("text", text.as_str().into())]).unwrap();
            if random.once_in(3) {
                soon(written.hub()).await.unwrap();
            }
            waiting.push(written);
        }
        drop(hub);
        let told = waiting.extract_if(.., |written| written.is_on_hub());
        told.for_each(|written| there.insert(written.dot()));
        let hub = Process::spawn(command_on(&address, hub_folder.path()));
        let mut reader = Client::hello(hub.address).await;
        let all = reader.catch_up("d", None, CausalContext::default(), &[]).await;
        assert!(all.context.covers(&there) && all.delta.live().covers(&there), "round {round}");
    }
    let _hub = Process::spawn(command_on(&address, hub_folder.path()));
    client.reconnect();
    client.sync(PATIENCE).await.unwrap();
    KILLS.into()
}

#[test]
fn nothing_that_a_client_was_told_to_be_on_the_hub_is_lost_when_the_hub_is_killed() {
    let campaign = Campaign {
        test: "nothing_that_a_client_was_told_to_be_on_the_hub_is_lost_when_the_hub_is_killed",
        ..CAMPAIGN
    };
    campaign.run(|seed| block_on(kills_beside_a_client(seed)));
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
    assert!(error.contains("has format 99, and this program knows formats up to 2"), "{error}");
}

#[test]
fn a_port_that_is_taken_is_said() {
    let folder = TempDir::new().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = command_on(&address, folder.path()).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.starts_with(&format!("error: cannot listen on {address}: ")), "{error}");
    assert!(files(folder.path()).is_empty());
}
