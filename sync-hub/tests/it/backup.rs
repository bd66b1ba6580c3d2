//! Backups of a hub that serves, and what becomes of one that is put back.

use std::fs;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use sync_core::causal::{CausalContext, Dot};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::cli::{printed, refused, run, text};
use crate::client::{Client, TestHub, block_on, insert, replica, soon};
use crate::process::{Process, command_on};

const PATIENCE: Duration = Duration::from_secs(240);

fn backup(data: &Path, file: &Path) -> Output {
    run(&["backup", "--data-dir", text(data), text(file)], &[], "")
}

fn restore(data: &Path, file: &Path) -> Output {
    run(&["restore", "--data-dir", text(data), text(file)], &[], "")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_of_a_hub_that_serves_has_all_that_was_acknowledged_before() {
    let folder = TempDir::new().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("backup.db"));
    let hub = Process::start(&data);
    let mut client = Client::open(hub.address, "d", replica(1)).await;
    let (stored, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let (counting, ends) = (stored.clone(), is_over.clone());
    let writing = tokio::spawn(async move {
        let mut counter = 0;
        while !ends.load(Ordering::Relaxed) {
            counter += 1;
            client.store(counter, insert(replica(1), counter, &[7; 1_000])).await;
            counting.store(counter, Ordering::Release);
        }
        counter
    });
    let mut before = Vec::new();
    for number in 0..5 {
        while stored.load(Ordering::Acquire) < 20 * (number + 1) {
            tokio::task::yield_now().await;
        }
        before.push(stored.load(Ordering::Acquire));
        let (data, file) = (data.clone(), file.with_extension(format!("{number}")));
        let made = tokio::task::spawn_blocking(move || backup(&data, &file)).await.unwrap();
        assert!(printed(&made).contains("bytes"));
    }
    is_over.store(true, Ordering::Relaxed);
    let after = writing.await.unwrap();
    drop(hub);
    for (number, before) in before.into_iter().enumerate() {
        let elsewhere = TempDir::new().unwrap();
        let file = file.with_extension(format!("{number}"));
        let put = tokio::task::spawn_blocking({
            let folder = elsewhere.path().to_owned();
            move || restore(&folder, &file)
        });
        assert_eq!(printed(&put.await.unwrap()), "");
        let hub = TestHub::start(elsewhere.path()).await;
        let mut client = Client::hello(hub.address).await;
        let caught = client.catch_up("d", None, CausalContext::default(), &[]).await;
        let live = caught.delta.live();
        let has = (1..=after).take_while(|at| live.contains(Dot::new(replica(1), *at))).count();
        assert!(has as u64 >= before, "{has} of {before}");
        assert_eq!(has as u64, live.max_of(replica(1)), "a beginning, without a gap");
        hub.stop().await;
    }
    let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 6, "five backups and the data: {left:?}");
}

#[test]
fn what_a_hub_lost_by_an_older_backup_its_clients_give_it_again() {
    let folder = TempDir::new().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("backup.db"));
    let hub = Process::start(&data);
    let address = hub.address.to_string();
    let open = |name: &str| {
        let builder = sync_client::Client::builder(folder.path().join(name)).document("notes");
        builder.hub(format!("http://{address}")).open().unwrap()
    };
    let client = open("a");
    let notes = client.document("notes").unwrap().collection("notes");
    let insert = |title: &str| notes.insert([("title", title.into())]).unwrap().1;
    insert("before").wait_hub(PATIENCE).unwrap();
    printed(&backup(&data, &file));
    insert("after").wait_hub(PATIENCE).unwrap();
    let running = refused(&restore(&data, &file));
    assert!(running.contains("stop it first"), "{running}");
    drop(hub);
    let kept = printed(&restore(&data, &file));
    assert!(kept.contains("hub.db.before-1"), "{kept}");
    assert!(data.join("hub.db.before-1").exists());
    let hub = Process::spawn(command_on(&address, &data));
    let other = open("b");
    let theirs = other.document("notes").unwrap().collection("notes");
    // The first one gives it again once it is back.
    let mut changes = other.document("notes").unwrap().changes();
    block_on(async {
        while theirs.list().unwrap().len() < 2 {
            soon(changes.next()).await.expect("the other record comes");
        }
    });
    drop((client, other, hub));
}

#[test]
fn what_is_no_backup_or_has_no_place_is_refused_and_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let (data, file) = (folder.path().join("data"), folder.path().join("backup.db"));
    let nothing = refused(&backup(&data, &file));
    assert!(nothing.contains("no database"), "{nothing}");
    let hub = Process::start(&data);
    printed(&backup(&data, &file));
    let twice = refused(&backup(&data, &file));
    assert!(twice.contains("already"), "{twice}");
    drop(hub);
    printed(&backup(&data, &folder.path().join("of-one-that-does-not-run.db")));
    let before = fs::read(data.join("hub.db")).unwrap();
    let whole = fs::read(&file).unwrap();
    let client = folder.path().join("client");
    sync_client::Client::builder(&client).document("d").open().unwrap().shutdown().unwrap();
    for (bytes, what) in [
        (b"no database at all".to_vec(), "no whole database"),
        (whole[..whole.len() - 4_096].to_vec(), "no whole database"),
        (fs::read(client.join("client.db")).unwrap(), "another application"),
    ] {
        let wrong = folder.path().join("wrong.db");
        fs::write(&wrong, bytes).unwrap();
        let said = refused(&restore(&data, &wrong));
        assert!(said.contains(what), "{said}");
    }
    let missing = refused(&restore(&data, &folder.path().join("missing.db")));
    assert!(missing.contains("missing.db"), "{missing}");
    assert!(fs::read(data.join("hub.db")).unwrap() == before);
    assert!(!data.join("hub.db.before-1").exists());
}

#[tokio::test]
async fn an_operator_who_goes_away_or_says_nonsense_leaves_the_hub_as_it_was() {
    let folder = TempDir::new().unwrap();
    let hub = TestHub::start(folder.path()).await;
    let socket = folder.path().join("control/hub.sock");
    let mode = fs::metadata(socket.parent().unwrap()).unwrap().permissions();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777, 0o700);
    let ask = async |stream: &mut BufReader<UnixStream>, line: &[u8]| {
        stream.write_all(line).await.unwrap();
        let mut answer = String::new();
        soon(stream.read_line(&mut answer)).await.unwrap();
        answer
    };
    let connect = async || BufReader::new(UnixStream::connect(&socket).await.unwrap());
    let (mut first, mut second) = (connect().await, connect().await);
    let hold = b"{\"ask\":\"hold\"}\n";
    assert_eq!(ask(&mut first, hold).await, "{\"answer\":\"held\",\"seq\":0}\n");
    assert!(ask(&mut second, hold).await.contains("somebody else"));
    assert!(ask(&mut second, b"{\"ask\":\"release\"}\n").await.contains("nothing is held"));
    for nonsense in [&b"\n"[..], b"{}\n", b"{\"ask\":\"rest\"}\n", b"\xff\n"] {
        assert!(ask(&mut second, nonsense).await.contains("this is no request"));
    }
    let long = vec![b' '; 100_000];
    assert!(ask(&mut second, &long).await.contains("this is no request"));
    drop(first);
    // What it held is released as soon as the hub hears of that.
    let mut third = connect().await;
    while !ask(&mut third, hold).await.contains("held") {}
    drop((second, third));
    hub.stop().await;
    assert!(!socket.exists());
}
