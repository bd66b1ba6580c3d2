//! The `notes` program as a person or a script uses it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::hub::TestHub;

/// The program on one data directory.
pub(crate) struct Notes {
    directory: PathBuf,
}

impl Notes {
    pub(crate) fn at(directory: &Path) -> Self {
        Self { directory: directory.to_path_buf() }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(example("notes"));
        command.args(arguments).arg("--data").arg(&self.directory);
        command
    }

    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that must be done, and gives what it prints.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {stderr}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Json {
        serde_json::from_str(&self.run(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// Runs a command that must be refused, and gives what it says.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(output.stdout.is_empty());
        String::from_utf8(output.stderr).unwrap()
    }
}

/// An example, built beside this test.
pub(crate) fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let program = own.parent().unwrap().with_file_name("examples").join(name);
    let program = program.with_extension(std::env::consts::EXE_EXTENSION);
    assert!(program.exists(), "build it first: cargo build -p sync-client --examples");
    program
}

#[test]
fn add_edit_list_and_remove() {
    let folder = TempDir::new().unwrap();
    let notes = Notes::at(folder.path());
    let id = notes.run(&["add", "Milk", "--body", "two", "--tag", "home", "--tag", "shop"]);
    let note = json!({ "id": id, "title": "Milk", "body": "two", "tags": ["home", "shop"] });
    assert_eq!(notes.json(&["ls"]), json!([note]));
    notes.run(&["edit", &id, "--title", "Oat milk", "--tag", "shop"]);
    let note = json!({ "id": id, "title": "Oat milk", "body": "two", "tags": ["shop"] });
    assert_eq!(notes.json(&["ls"]), json!([note]));
    notes.run(&["edit", &id, "--body", "", "--no-tags"]);
    let note = json!({ "id": id, "title": "Oat milk", "body": "", "tags": [] });
    assert_eq!(notes.json(&["ls"]), json!([note]));
    assert_eq!(notes.json(&["ls", "--doc", "other"]), json!([]));
    assert!(notes.run(&["ls"]).contains("Oat milk"));
    notes.run(&["rm", &id]);
    assert_eq!(notes.json(&["ls"]), json!([]));
    assert_eq!(notes.json(&["status"])["pending"], 4);
    assert_eq!(notes.json(&["conflicts"]), json!({ "open": [], "log": [] }));
}

#[test]
fn status_tells_what_is_known_and_no_more() {
    let hub = TestHub::start();
    let folder = TempDir::new().unwrap();
    let notes = Notes::at(folder.path());
    notes.run(&["add", "Milk"]);
    let offline = notes.json(&["status"]);
    assert_eq!(
        (&offline["pending"], &offline["lag"], &offline["heard_ms"]),
        (&json!(1), &Json::Null, &Json::Null)
    );
    assert!(offline["pending_bytes"].as_u64().unwrap() > 50);
    assert!(notes.run(&["status"]).contains("never all here that the hub had"));
    notes.run(&["--hub", hub.address(), "sync", "--timeout", "60"]);
    let later = notes.json(&["status"]);
    assert_eq!((&later["pending"], &later["pending_bytes"]), (&json!(0), &json!(0)));
    assert!(later["heard_ms"].as_u64() >= later["current_ms"].as_u64());
    assert!(later["lag_ms"].as_u64().unwrap() < 600_000);
    assert_eq!(later["kept"][0]["keeper"], "conflict log");
    let text = notes.run(&["status"]);
    assert!(text.contains("all that the hub had was here"), "{text}");
    assert!(text.contains("last contact with the hub"), "{text}");
    assert!(text.contains("conflict log: 0 entries, 0 bytes (at most 1000 entries"), "{text}");
}

#[test]
fn a_backup_and_an_export_are_used_elsewhere() {
    let folders = [(); 3].map(|()| TempDir::new().unwrap());
    let notes = Notes::at(folders[0].path());
    notes.run(&["add", "Milk"]);
    let copy = folders[1].path().join("copy");
    let path = notes.json(&["backup", copy.to_str().unwrap()])["path"].clone();
    assert!(Path::new(path.as_str().unwrap()).exists());
    assert!(notes.refused(&["backup", copy.to_str().unwrap()]).contains("exists"));
    let restored = Notes::at(&copy);
    assert_eq!(restored.json(&["ls"]), notes.json(&["ls"]));
    assert_ne!(restored.json(&["status"])["replica"], notes.json(&["status"])["replica"]);
    let file = folders[1].path().join("notes.sync");
    notes.run(&["export", file.to_str().unwrap()]);
    let other = Notes::at(folders[2].path());
    other.run(&["add", "Bread"]);
    assert_eq!(other.json(&["import", file.to_str().unwrap()])["entries"], 2);
    assert_eq!(other.json(&["ls"]).as_array().unwrap().len(), 2);
    assert!(other.refused(&["import", path.as_str().unwrap()]).contains("no whole export"));
    other.run(&["purge"]);
    assert_eq!(other.json(&["ls"]).as_array().unwrap().len(), 2);
}

#[test]
fn shells_complete_its_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = Command::new(example("notes")).args(["completion", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && script.contains("conflicts"), "{script}");
    }
}

#[test]
fn what_cannot_be_done_is_refused_and_usage_is_told_apart() {
    let folder = TempDir::new().unwrap();
    let notes = Notes::at(folder.path());
    assert!(notes.refused(&["rm", "none"]).contains("no record none"));
    assert!(notes.refused(&["edit", "none", "--title", "x"]).contains("no record none"));
    assert!(notes.refused(&["keep", "none", "x"]).contains("nothing clashes"));
    assert!(notes.refused(&["sync"]).contains("--hub URL"));
    assert!(notes.refused(&["sync", "--hub", "nowhere"]).contains("http://HOST:PORT"));
    for usage in [&["add"][..], &["edit", "x"], &["frobnicate"], &[], &["sync", "--timeout", "x"]] {
        assert_eq!(notes.output(usage).status.code(), Some(2), "{usage:?}");
    }
    let output =
        Command::new(example("notes")).arg("ls").env_remove("NOTES_DATA").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("--data DIR"));
}

#[test]
fn the_outbox_is_listed_set_aside_given_up_and_exported() {
    let hub = TestHub::start();
    let folder = TempDir::new().unwrap();
    let notes = Notes::at(folder.path());
    let id = notes.run(&["add", "first"]);
    let [item] = &notes.json(&["outbox"]).as_array().unwrap().clone()[..] else {
        panic!("one change waits")
    };
    let place = format!("notes/{id}");
    assert_eq!((&item["state"], &item["changes"]), (&json!("pending"), &json!(1)));
    assert_eq!(item["places"], json!([place]));
    assert!(item["bytes"].as_u64().unwrap() > 50 && item["seconds"].is_u64());
    let key = item["item"].as_str().unwrap();
    notes.run(&["outbox", "park", key, "--reason", "not yet"]);
    assert!(notes.run(&["outbox", "list"]).contains("parked (not yet)"));
    let sync = ["--hub", hub.address(), "sync", "--timeout", "60"];
    assert!(notes.refused(&sync).contains("1 changes were refused"));
    assert_eq!(notes.json(&["outbox", "retry"]), json!({ "retried": 1 }));
    assert!(notes.refused(&["outbox", "retry", key]).contains("not parked"));
    let [one, all] = ["one", "all"].map(|name| folder.path().join(name));
    let [one, all] = [&one, &all].map(|file| file.to_str().unwrap());
    notes.run(&["outbox", "export", one, key]);
    notes.run(&["outbox", "export", all]);
    assert_eq!(std::fs::read(one).unwrap(), std::fs::read(all).unwrap());
    assert!(notes.refused(&["outbox", "export", all]).contains("is there already"));
    assert!(notes.refused(&["outbox", "drop", key, "--forever"]).contains("park it first"));
    assert!(notes.refused(&["outbox", "park", key]).contains("may have reached the hub"));
    notes.run(&sync);
    assert_eq!(notes.json(&["outbox"]), json!([]));

    notes.run(&["edit", &id, "--title", "anew"]);
    let key = notes.json(&["outbox"])[0]["item"].as_str().unwrap().to_owned();
    notes.run(&["outbox", "park", &key]);
    notes.run(&["outbox", "rewrite", &key]);
    notes.run(&sync);
    assert_eq!(notes.json(&["outbox"]), json!([]));

    notes.run(&["edit", &id, "--title", "second"]);
    let key = notes.json(&["outbox"])[0]["item"].as_str().unwrap().to_owned();
    notes.run(&["outbox", "park", &key]);
    assert_eq!(notes.output(&["outbox", "drop", &key]).status.code(), Some(2), "lost unsaid");
    let kept = folder.path().join("kept");
    let lost = notes.run(&["outbox", "drop", &key, "--keep", kept.to_str().unwrap()]);
    assert!(lost.starts_with("lost: 1 changes") && lost.contains(&place), "{lost}");
    assert!(kept.exists());
    notes.run(&sync);
    assert_eq!(notes.json(&["ls"])[0]["title"], "anew");
    assert!(notes.refused(&["outbox", "drop", &key, "--forever"]).contains("no such item"));
}

#[test]
fn two_devices_sync_and_one_resolves_a_conflict() {
    let hub = TestHub::start();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let [a, b] = [0, 1].map(|at: usize| Notes::at(folders[at].path()));
    let sync = ["--hub", hub.address(), "sync", "--timeout", "60"];
    let id = a.run(&["add", "first"]);
    a.run(&sync);
    b.run(&sync);
    assert_eq!(a.json(&["ls"]), b.json(&["ls"]));
    a.run(&["edit", &id, "--title", "from a"]);
    b.run(&["edit", &id, "--title", "from b"]);
    for notes in [&a, &b, &a] {
        notes.run(&sync);
    }
    assert_eq!(a.json(&["ls"]), b.json(&["ls"]));
    let conflicts = a.json(&["conflicts"]);
    assert_eq!(conflicts["open"][0]["id"], id.as_str());
    assert_eq!(conflicts["log"].as_array().unwrap().len(), 1);
    assert!(b.run(&["conflicts"]).contains("\"from a\""));
    let author = b.json(&["status"])["replica"].as_str().unwrap().to_owned();
    a.run(&["keep", &id, &author[..8]]);
    for notes in [&a, &b] {
        notes.run(&sync);
        assert_eq!(notes.json(&["ls"])[0]["title"], "from b");
        assert_eq!(notes.json(&["conflicts"])["open"], json!([]));
    }
    assert_eq!(a.json(&["status"])["pending"], 0);
}

#[test]
fn an_edit_against_a_delete_is_kept_and_either_side_can_be_chosen() {
    let hub = TestHub::start();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let [a, b] = [0, 1].map(|at: usize| Notes::at(folders[at].path()));
    let sync = ["--hub", hub.address(), "sync", "--timeout", "60"];
    for choice in ["editor", "remover"] {
        let id = a.run(&["add", "first", "--body", "whole", "--tag", "t"]);
        a.run(&sync);
        b.run(&sync);
        a.run(&["edit", &id, "--title", "edited"]);
        b.run(&["rm", &id]);
        for notes in [&b, &a, &b] {
            notes.run(&sync);
        }
        let open = b.json(&["conflicts"])["open"][0].clone();
        let note = json!({ "id": id, "title": "edited", "body": "whole", "tags": ["t"] });
        assert_eq!(open["note"], note);
        assert_eq!(a.json(&["conflicts"])["open"][0]["note"], note);
        let author = open["conflicts"][0][choice].as_str().unwrap().to_owned();
        b.run(&["keep", &id, &author]);
        for notes in [&b, &a] {
            notes.run(&sync);
            assert_eq!(notes.json(&["conflicts"])["open"], json!([]), "{choice}");
        }
        assert_eq!(a.json(&["ls"]), b.json(&["ls"]));
        assert_eq!(a.run(&["ls"]).contains(&id), choice == "editor");
    }
}

#[test]
fn watch_shows_changes_and_ends_on_a_signal() {
    let hub = TestHub::start();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let [a, b] = [0, 1].map(|at: usize| Notes::at(folders[at].path()));
    let mut watch = a
        .command(&["watch", "--json", "--hub", hub.address()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let mut next = |key: &str| loop {
        let line: Json = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        if let Some(value) = line.get(key) {
            return value.clone();
        }
    };
    while next("status")["phase"] != "live" {}
    assert!(a.refused(&["ls"]).contains("is already in use"));
    let id = b.run(&["add", "seen"]);
    b.run(&["sync", "--hub", hub.address()]);
    assert_eq!(next("note")["title"], "seen");
    b.run(&["rm", &id]);
    b.run(&["sync", "--hub", hub.address()]);
    assert_eq!(next("removed"), id.as_str());
    let killed = Command::new("kill").arg("-TERM").arg(watch.id().to_string()).status().unwrap();
    assert!(killed.success());
    assert!(watch.wait().unwrap().success());
    assert_eq!(a.json(&["ls"]), json!([]));
}

#[test]
fn a_sync_that_is_not_done_in_time_says_what_is_missing() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let hub = format!("http://{}", nobody.local_addr().unwrap());
    let folder = TempDir::new().unwrap();
    let notes = Notes::at(folder.path());
    notes.run(&["add", "x"]);
    let error = notes.refused(&["sync", "--timeout", "0.2", "--hub", &hub]);
    assert!(error.contains("1 changes are not on the hub"), "{error}");
}

/// Kills the program at moments spread over its run: whatever exited with 0 is there.
#[test]
fn what_exited_with_0_outlives_kills_of_what_did_not() {
    let folder = TempDir::new().unwrap();
    let notes = Notes::at(folder.path());
    let mut safe = Vec::new();
    let mut killed = 0;
    for round in 0u64..60 {
        let title = format!("round {round}");
        let mut child = notes.command(&["add", &title]).stdout(Stdio::null()).spawn().unwrap();
        thread::sleep(Duration::from_micros(round * 7_919 % 14_000));
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            safe.push(title);
        } else {
            killed += 1;
        }
        if round % 10 == 9 {
            safe.push(format!("after round {round}"));
            notes.run(&["add", &format!("after round {round}")]);
            let listed = notes.json(&["ls"]);
            let titles: Vec<_> = listed.as_array().unwrap().iter().map(|n| &n["title"]).collect();
            for title in &safe {
                assert!(titles.iter().any(|listed| *listed == title), "{title} is lost");
            }
            assert_eq!(notes.json(&["status"])["pending"], titles.len());
        }
    }
    assert!(killed > 0, "no run was killed");
}

/// A file-size limit stands for a full disk: the change is refused and what was there stays.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_refuses_the_change_and_keeps_the_rest() {
    let folder = TempDir::new().unwrap();
    let notes = Notes::at(folder.path());
    let id = notes.run(&["add", "before"]);
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 160; exec \"$0\" \"$@\""])
        .arg(example("notes"))
        .args(["add", "large", "--body", &"x".repeat(120_000), "--data"])
        .arg(folder.path())
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("the change is not on disk"), "{stderr}");
    let listed = notes.json(&["ls"]);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(listed[0]["id"], id.as_str());
    notes.run(&["add", "after"]);
}

#[test]
fn what_was_changed_is_compared_taken_back_and_told() {
    let folder = TempDir::new().unwrap();
    let notes = Notes::at(folder.path());
    let id = notes.run(&["add", "first", "--tag", "x"]);
    let checkpoint = notes.run(&["checkpoint", "before"]);
    notes.run(&["edit", &id, "--title", "second"]);
    let other = notes.run(&["add", "other"]);
    assert!(notes.run(&["diff", &checkpoint]).contains("- title \"first\"\n  + title \"second\""));
    let diff = notes.json(&["diff", &checkpoint]);
    assert_eq!((&diff[0]["new"]["title"], &diff[1]["old"]), (&json!("second"), &Json::Null));
    let all = notes.json(&["checkpoints"]);
    assert_eq!((&all[0]["label"], &all[0]["whole"]), (&json!("before"), &json!(true)));
    assert_eq!(notes.json(&["rewind", &checkpoint])["changes"], 2);

    notes.run(&["undo"]);
    assert_eq!(notes.json(&["ls"]).as_array().unwrap().len(), 1);
    notes.run(&["undo"]);
    assert_eq!(notes.json(&["ls"])[0]["title"], "first");
    notes.run(&["redo"]);
    notes.run(&["redo"]);
    assert!(notes.refused(&["redo"]).contains("nothing to redo"));
    assert_eq!(notes.json(&["ls"])[1]["id"], other.as_str());

    let feed = notes.json(&["feed", "--limit", "2"]);
    let (edit, next) = (&feed["entries"][1], feed["next"].to_string());
    assert_eq!((&edit["path"][0], &edit["old"]), (&json!("title"), &json!("first")));
    assert_eq!(edit["place"], format!("notes/{id}"));
    let rest = notes.json(&["feed", "--after", &next, "--wait", "1"]);
    assert_eq!(rest["entries"].as_array().unwrap().len(), 5);
    let end = rest["next"].to_string();
    assert_eq!(notes.run(&["feed", "--after", &end]), format!("cursor: {end}"));

    assert!(notes.refused(&["revert"]).contains("--since"));
    assert!(notes.refused(&["revert", "--author", "none"]).contains("name one of the authors"));
    let author = edit["author"].as_str().unwrap();
    assert_eq!(notes.json(&["revert", "--author", &author[..8]])["changes"], 1);
    assert_eq!(notes.json(&["diff", &checkpoint]), json!([]));
    assert_eq!(notes.json(&["checkpoints", "--drop", &checkpoint]), json!([]));
    assert!(notes.refused(&["rewind", &checkpoint]).contains("no checkpoint"));
}
