//! Where things are: the root of the repository and cargo's target directory.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process;

/// The folders that tasks work in.
pub(crate) struct Workspace {
    /// The repository.
    pub(crate) root: PathBuf,
    /// Cargo's build output, which may lie elsewhere.
    pub(crate) target: PathBuf,
    /// What `cargo metadata` tells about the members.
    pub(crate) metadata: Value,
}

impl Workspace {
    /// Asks cargo, which knows about configuration and environment.
    pub(crate) fn find() -> Result<Workspace> {
        let here = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = here.parent().context("xtask lies in the repository")?.to_owned();
        let mut command = process::cargo(&root);
        command.args(["metadata", "--format-version=1", "--no-deps"]);
        let metadata: Value = serde_json::from_str(&process::capture(&mut command)?)?;
        let target = metadata["target_directory"]
            .as_str()
            .context("cargo metadata names no target directory")?
            .into();
        Ok(Workspace { root, target, metadata })
    }

    /// The npm package.
    pub(crate) fn package(&self) -> PathBuf {
        self.root.join("bindings/js")
    }

    /// The notes app.
    pub(crate) fn demo(&self) -> PathBuf {
        self.root.join("demo-web")
    }

    /// The built notes app.
    pub(crate) fn demo_dist(&self) -> PathBuf {
        self.demo().join("dist")
    }

    /// What tasks keep between runs, gone with `cargo clean`.
    pub(crate) fn cache(&self) -> PathBuf {
        self.target.join("xtask")
    }

    /// A path as a person in the repository would write it.
    pub(crate) fn relative<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.root).unwrap_or(path)
    }
}
