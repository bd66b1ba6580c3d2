//! The hub's own program, on a folder of its own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use libtest_mimic::Failed;

use crate::build;

/// A hub that runs until this is dropped.
pub(crate) struct Hub {
    child: Child,
    pub(crate) address: String,
}

impl Hub {
    pub(crate) fn start(folder: &Path) -> Result<Self, Failed> {
        let mut command = Command::new(build::hub()?);
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(folder);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut hub = Self { child: command.spawn()?, address: String::new() };
        let mut line = String::new();
        let stdout = hub.child.stdout.take().ok_or("standard output is a pipe")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim_end().strip_prefix("listening on ");
        hub.address = address.ok_or_else(|| format!("the hub says {line:?}"))?.to_owned();
        Ok(hub)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        // One that has ended by itself has failed the test already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
