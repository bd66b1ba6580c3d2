//! The browser of the end-to-end tests.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::debian;
use crate::process;

const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];

/// Where applications lie on macOS, which keeps them off the search path.
const APPLICATIONS: [&str; 2] = [
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];

/// Finds Chromium, or installs it.
pub(super) fn obtain() -> Result<PathBuf> {
    if let Some(named) = named() {
        if !named.is_file() {
            bail!("CHROMIUM_BIN names {}, which is no file", named.display());
        }
        return Ok(named);
    }
    if let Some(chromium) = find() {
        return Ok(chromium);
    }
    debian::install(&["chromium"], "Chromium (or CHROMIUM_BIN naming one)")?;
    find().context("Chromium was installed and is still not on the search path")
}

/// Finds Chromium: the one that `CHROMIUM_BIN` names, else one that is installed.
pub(crate) fn find() -> Option<PathBuf> {
    named().or_else(|| NAMES.iter().find_map(|name| process::find(name))).or_else(|| {
        APPLICATIONS.iter().map(Path::new).find(|path| path.is_file()).map(Path::to_owned)
    })
}

fn named() -> Option<PathBuf> {
    env::var_os("CHROMIUM_BIN").filter(|path| !path.is_empty()).map(PathBuf::from)
}
