//! Builds the libraries and the hub as other tests build them, and finds them.

use std::env;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use libtest_mimic::Failed;
use serde_json::Value as Json;

/// Which library a program is linked with.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Library {
    Static,
    Shared,
}

/// The library of this crate.
pub(crate) fn native(library: Library) -> Result<PathBuf, Failed> {
    let ending = match library {
        Library::Static => ".a",
        Library::Shared => env::consts::DLL_SUFFIX,
    };
    made(&["--package=sync-native", "--lib"], ending)
}

/// The hub's program.
pub(crate) fn hub() -> Result<PathBuf, Failed> {
    made(&["--package=sync-hub", "--bin=sync-hub"], "sync-hub")
}

/// Builds something, and gives the file of it that ends so. What this workspace was built with is here.
fn made(selection: &[&str], ending: &str) -> Result<PathBuf, Failed> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--message-format=json"]).args(selection);
    command.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit());
    // What cargo says of this test; build scripts of dependencies would run again for it.
    for (name, _) in env::vars_os() {
        let name_text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|start| name_text.starts_with(start)) {
            command.env_remove(&name);
        }
    }
    let output = command.output()?;
    if !output.status.success() {
        return Err(format!("{command:?}: {}", output.status).into());
    }
    let mut files = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let message: Json = serde_json::from_str(line)?;
        let names = message["filenames"].as_array().into_iter().flatten();
        files.extend(names.filter_map(Json::as_str).map(str::to_owned));
    }
    // The last one is what was asked for; those before it are what that needs.
    let file = files.into_iter().rfind(|file| file.ends_with(ending));
    Ok(file.ok_or_else(|| format!("no file {ending} was built"))?.into())
}
