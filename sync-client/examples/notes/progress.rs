//! A bar on the terminal for what takes long.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};

use sync_client::Status;

/// How many characters wide the bar is.
const WIDTH: u64 = 30;

/// A bar on standard error, where that is a terminal.
pub(crate) struct Bar {
    is_shown: bool,
    last: String,
}

impl Bar {
    pub(crate) fn new(is_json: bool) -> Self {
        Self { is_shown: !is_json && io::stderr().is_terminal(), last: String::new() }
    }

    /// Shows how far a document is.
    pub(crate) fn show(&mut self, status: &Status) {
        let line = line(status);
        if self.is_shown && line != self.last {
            eprint!("\r\x1b[K{line}");
            // A terminal that is gone needs no bar.
            let _ = io::stderr().flush();
            self.last = line;
        }
    }
}

/// Takes the bar away.
impl Drop for Bar {
    fn drop(&mut self) {
        if self.is_shown && !self.last.is_empty() {
            eprint!("\r\x1b[K");
        }
    }
}

/// What is under way, on one line.
fn line(status: &Status) -> String {
    if let Some(progress) = status.progress {
        let received = bytes(progress.received);
        let Some(total) = progress.total else { return format!("receiving, {received} so far") };
        let done = progress.received.saturating_mul(WIDTH) / total.max(1);
        let mut bar = String::new();
        for at in 0..WIDTH {
            bar.push(if at < done { '#' } else { '.' });
        }
        let _ = write!(bar, " {received} of about {}", bytes(total));
        return bar;
    }
    match (status.pending, status.is_refilling) {
        (0, true) => "giving the hub what it lacks".to_owned(),
        (0, false) => String::new(),
        (pending, _) => format!("sending {pending} changes, {}", bytes(status.pending_bytes)),
    }
}

/// A number of bytes for a person.
pub(crate) fn bytes(bytes: u64) -> String {
    let units = ["kB", "MB", "GB"];
    let mut size = bytes as f64;
    let mut unit = "bytes";
    for next in units {
        if size < 1_000.0 {
            break;
        }
        size /= 1_000.0;
        unit = next;
    }
    if unit == "bytes" { format!("{bytes} {unit}") } else { format!("{size:.1} {unit}") }
}
