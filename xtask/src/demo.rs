//! Builds everything as it would ship, and serves the notes app from the hub until Ctrl-C.

use std::env;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::packages;
use crate::process::{self, clock};
use crate::setup::{self, Needs};
use crate::workspace::Workspace;

/// How the hub says that it accepts connections.
const READY: &str = "listening on ";

/// How long the hub may take to start, and to stop; arbitrary.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often the hub and the wish to stop are looked at.
const PAUSE: Duration = Duration::from_millis(50);

/// Runs `cargo xtask demo`.
pub(crate) fn run(workspace: &Workspace, port: u16, data: Option<PathBuf>) -> Result<()> {
    setup::run(workspace, Needs { demo: true, ..Needs::package() })?;
    packages::build_package(workspace)?;
    packages::build_demo(workspace)?;
    process::run(process::cargo(&workspace.root).args([
        "build",
        "--release",
        "--package=sync-hub",
        "--bin=sync-hub",
    ]))?;
    let data = match data {
        Some(folder) => env::current_dir()?.join(folder),
        None => workspace.root.join("data"),
    };
    serve(workspace, port, &data)
}

fn serve(workspace: &Workspace, port: u16, data: &Path) -> Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let wish = Arc::clone(&stop);
    ctrlc::set_handler(move || wish.store(true, Ordering::SeqCst))?;

    let mut hub = start(workspace, port, data)?;
    let lines = read_lines(hub.stdout.take().context("standard output is a pipe")?);
    let outcome = watch(&mut hub, &lines, &stop, data);
    finish(&mut hub)?;
    outcome
}

/// Starts the hub in a process group of its own: the terminal sends Ctrl-C to this task alone,
/// which tells the hub once.
fn start(workspace: &Workspace, port: u16, data: &Path) -> Result<Child> {
    let mut command = process::program(workspace.target.join("release/sync-hub"), &workspace.root);
    command
        .arg("serve")
        .args(["--listen", &format!("127.0.0.1:{port}")])
        .arg("--data-dir")
        .arg(data)
        .arg("--static")
        .arg(workspace.demo_dist())
        .stdout(Stdio::piped())
        .process_group(0);
    process::announce(&command);
    command.spawn().context("cannot start the hub")
}

/// Says where the app is once the hub accepts, then waits until someone wants to stop.
fn watch(hub: &mut Child, lines: &Receiver<String>, stop: &AtomicBool, data: &Path) -> Result<()> {
    let deadline = clock() + PATIENCE;
    let mut ready = false;
    while !stop.load(Ordering::SeqCst) {
        match lines.recv_timeout(PAUSE) {
            Ok(line) => match line.strip_prefix(READY) {
                Some(address) if !ready => {
                    ready = true;
                    invite(address, data);
                }
                _ => println!("{line}"),
            },
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => thread::sleep(PAUSE),
        }
        if let Some(status) = hub.try_wait()? {
            bail!("the hub stopped on its own: {status}");
        }
        if !ready && clock() > deadline {
            bail!("the hub did not accept connections within {} s", PATIENCE.as_secs());
        }
    }
    Ok(())
}

/// Asks the hub to stop and waits for it; kills it only when it does not.
fn finish(hub: &mut Child) -> Result<()> {
    if hub.try_wait()?.is_some() {
        return Ok(());
    }
    kill(Pid::from_raw(i32::try_from(hub.id())?), Signal::SIGINT)?;
    let deadline = clock() + PATIENCE;
    while clock() < deadline {
        if let Some(status) = hub.try_wait()? {
            if !status.success() && status.code().is_some() {
                bail!("the hub was asked to stop and ended with {status}");
            }
            println!("stopped");
            return Ok(());
        }
        thread::sleep(PAUSE);
    }
    hub.kill()?;
    hub.wait()?;
    bail!("the hub did not stop within {} s and was killed", PATIENCE.as_secs())
}

/// Reads on a thread, so that waiting for a line can end.
fn read_lines(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

fn invite(address: &str, data: &Path) {
    println!(
        "
The notes app is at {address}
Its data is in {}

What to try:
  - Open {address}/?doc=demo in two tabs, write in one, and watch the other.
  - Switch one tab to Offline, edit the same note in both, then switch back:
    both versions are shown, and one click chooses.
  - Delete a note in one tab while the other, offline, edits it: the edit survives.
  - Reload the page while it is offline: nothing is lost.
  - A terminal is a device too:
    cargo run --release --package sync-client --example notes -- \\
      --data target/notes --hub {address} --doc demo watch

Ctrl-C stops the hub.",
        data.display()
    );
}
