//! An application outside the workspace, made with what the README says, links `sync-client` by its path.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use tempfile::TempDir;

use crate::hub::TestHub;

/// Copies the application to where no workspace is around it, with the versions that this one was built
/// with.
fn lay_out() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let [from, to] =
        [own.join("tests/outside"), Path::new(env!("CARGO_TARGET_TMPDIR")).join("outside")];
    let written = "path = \"../../../sync-client\"";
    let manifest = fs::read_to_string(from.join("Cargo.toml")).unwrap();
    assert!(manifest.contains(written));
    let manifest = manifest.replace(written, &format!("path = {own:?}"));
    fs::create_dir_all(to.join("src")).unwrap();
    fs::write(to.join("Cargo.toml"), manifest).unwrap();
    fs::copy(from.join("src/main.rs"), to.join("src/main.rs")).unwrap();
    fs::copy(own.join("../Cargo.lock"), to.join("Cargo.lock")).unwrap();
    to
}

/// Builds the application. It needs nothing from the network that this test did not need.
fn build() -> PathBuf {
    let folder = lay_out();
    let own = env::current_exe().unwrap();
    let target = own.ancestors().nth(3).unwrap();
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--offline", "--target-dir"]).arg(target);
    // What cargo says of this test; build scripts of dependencies would run again for it.
    for (name, _) in env::vars_os() {
        let name_text = name.to_string_lossy();
        if ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|start| name_text.starts_with(start)) {
            cargo.env_remove(&name);
        }
    }
    let built = cargo.current_dir(&folder).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    target.join("debug/diary").with_extension(env::consts::EXE_EXTENSION)
}

#[test]
fn an_application_outside_the_workspace_needs_what_the_readme_says_and_no_more() {
    let readme = include_str!("../../../README.md");
    let says = |what: &str| readme.contains(what);
    assert!(says("sync-client = { path = ") && says("tokio = { version = \"1\""));
    let diary = build();
    let hub = TestHub::start();
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let write = |folder: &TempDir, line: &str| {
        let mut run = Command::new(&diary);
        let run = run.arg(folder.path().join("data")).args([hub.address(), line]).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        String::from_utf8(run.stdout).unwrap()
    };
    assert_eq!(write(&folders[0], "Monday"), "Monday! [\"diary\"]\n");
    let both = "Monday! [\"diary\"]\nTuesday! [\"diary\"]\n";
    assert_eq!(write(&folders[1], "Tuesday"), both);
    let all = "Monday! [\"diary\"]\nTuesday! [\"diary\"]\nWednesday! [\"diary\"]\n";
    assert_eq!(write(&folders[0], "Wednesday"), all);
}
