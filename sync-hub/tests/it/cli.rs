//! The binary's commands and settings.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use sync_core::wire::{ClientMessage, HubMessage, Token, VERSION};
use tempfile::TempDir;

use crate::client::Client;
use crate::process::Process;

/// Runs the binary to its end, with nothing of this environment that it would read.
pub(crate) fn run(arguments: &[&str], variables: &[(&str, &str)], input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sync-hub"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SYNC_HUB_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).envs(variables.iter().copied());
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may not read it.
    let _ = std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes());
    child.wait_with_output().unwrap()
}

pub(crate) fn printed(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn refused(output: &Output) -> String {
    assert!(!output.status.success());
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_flag_goes_before_a_variable_and_that_before_a_file() {
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("hub.toml");
    let say = "listen = \"127.0.0.1:1\"\ndata-dir = \"data\"\ntoken-keys = [\"a.key\"]\n\
        [limits]\nframes-burst = 1\nframes-per-second = 1\nconnections-max = 1\n";
    fs::write(&config, say).unwrap();
    let variables = [
        ("SYNC_HUB_CONFIG", text(&config)),
        ("SYNC_HUB_FRAMES_BURST", "2"),
        ("SYNC_HUB_FRAMES_PER_SECOND", "2"),
        ("SYNC_HUB_ORIGINS", "https://a.example,https://b.example"),
    ];
    let arguments = ["serve", "--print-config", "--frames-burst", "3"];
    let config = printed(&run(&arguments, &variables, ""));
    for line in [
        "listen = \"127.0.0.1:1\"",
        &format!("data-dir = \"{}\"", text(&folder.path().join("data"))),
        &format!("token-keys = [\"{}\"]", text(&folder.path().join("a.key"))),
        "origins = [\"https://a.example\", \"https://b.example\"]",
        "frames-burst = 3",
        "frames-per-second = 2",
        "connections-max = 1",
        "removals-max = 100000",
    ] {
        assert!(config.lines().any(|found| found == line), "{line}\n{config}");
    }
}

#[test]
fn without_tokens_it_listens_on_this_machine_alone_and_says_so() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let output = run(&["serve", "--listen", "0.0.0.0:0", "--data-dir", text(&data)], &[], "");
    let said = refused(&output);
    assert!(said.contains("this machine alone") && said.contains("--token-key"), "{said}");
    assert!(!data.exists(), "and makes nothing");
}

#[test]
fn a_key_is_made_once_and_nobody_else_may_read_it() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let key = folder.path().join("hub.key");
    printed(&run(&["token", "key", text(&key)], &[], ""));
    let before = fs::read(&key).unwrap();
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let said = refused(&run(&["token", "key", text(&key)], &[], ""));
    assert!(said.contains("hub.key"), "{said}");
    assert_eq!(fs::read(&key).unwrap(), before);
}

#[tokio::test]
async fn a_token_of_the_command_line_lets_in_and_says_what_it_holds() {
    let folder = TempDir::new().unwrap();
    let (key, data) = (folder.path().join("hub.key"), folder.path().join("data"));
    printed(&run(&["token", "key", text(&key)], &[], ""));
    let create = ["token", "create", "--key", text(&key), "--subject", "anna", "--write", "notes"];
    let of = |more: &[&str]| printed(&run(&[&create[..], more].concat(), &[], ""));
    let token = of(&["--read", "team/*", "--expires", "2h"]).trim().to_owned();
    for held in
        [run(&["token", "inspect", &token], &[], ""), run(&["token", "inspect"], &[], &token)]
    {
        let held = printed(&held);
        for line in ["subject: anna", "write: notes", "read: team/*"] {
            assert!(held.lines().any(|found| found == line), "{held}");
        }
        assert!(held.contains("(in 1h 59m") || held.contains("(in 2h)"), "{held}");
    }
    let nothing = run(&create[..6], &[], "");
    assert!(refused(&nothing).contains("--write"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_sync-hub"));
    command.args(["serve", "--listen", "0.0.0.0:0", "--data-dir", text(&data)]);
    command.args(["--token-key", text(&key)]).stdin(Stdio::null()).stdout(Stdio::piped());
    let hub = Process::spawn(command);
    for (token, code) in [(token.clone(), None), (of(&["--expires", "0s"]), Some(4401))] {
        let mut client = Client::connect(([127, 0, 0, 1], hub.address.port()).into()).await;
        let (version, agent) = (VERSION, "a".to_owned());
        let token = Some(Token(token.trim().to_owned()));
        client.say(&ClientMessage::Hello { version, token, agent, packs: false }).await;
        match code {
            None => assert!(matches!(client.hear().await, HubMessage::Welcome(_))),
            Some(code) => assert_eq!(client.closed_at_once().await.0, code),
        }
    }
}

#[test]
fn shells_can_complete_it() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(printed(&run(&["completions", shell], &[], "")).contains("sync-hub"));
    }
}
