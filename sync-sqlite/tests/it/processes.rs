//! Two processes and one file. The second one is this test binary, told by the environment what to do.

use std::path::Path;
use std::process::Command;

use sync_sqlite::open;
use tempfile::TempDir;

use crate::open::{ONE, files};

const PATH: &str = "SYNC_SQLITE_TEST_PATH";

/// Not a test of its own: what the other process does. It prints how the opening went.
#[test]
fn other_process() {
    if let Some(path) = std::env::var_os(PATH) {
        match open(path, &ONE) {
            Ok(_) => println!("<opened>"),
            Err(error) => println!("<{error}>"),
        }
    }
}

/// A process of `program`, which is this one or a copy of it.
fn other(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["--exact", "processes::other_process", "--nocapture"]);
    command
}

/// Opens a file in the other process and says how that went.
fn opened_by(command: &mut Command, path: &Path) -> String {
    let output = command.env(PATH, path).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (_, rest) = text.split_once('<').expect("the other process prints its result");
    rest.split_once('>').unwrap().0.to_owned()
}

#[test]
fn another_process_finds_it_in_use_until_it_is_closed() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.db");
    let mut other = other(&std::env::current_exe().unwrap());
    let database = open(&path, &ONE).unwrap();
    let before = files(folder.path());
    let refused = opened_by(&mut other, &path);
    assert!(refused.ends_with("is already in use; stop the other program, or choose another path"));
    assert_eq!(files(folder.path()), before);
    drop(database);
    assert_eq!(opened_by(&mut other, &path), "opened");
}

/// Permissions do not hold root back, so as root the other process runs as somebody else.
#[cfg(unix)]
#[test]
fn a_file_or_folder_without_permission_is_not_writable() {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;

    let home = TempDir::new().unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    mode(home.path(), 0o755);
    let program = home.path().join("program");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let mut other = other(&program);
    if fs::metadata(home.path()).unwrap().uid() == 0 {
        other.uid(65_534).gid(65_534).current_dir("/");
    }
    for (file_mode, folder_mode) in [(None, 0o555), (Some(0o444), 0o777), (Some(0o666), 0o555)] {
        let folder = home.path().join(format!("{file_mode:?}-{folder_mode}"));
        fs::create_dir(&folder).unwrap();
        let path = folder.join("a.db");
        if let Some(file_mode) = file_mode {
            drop(open(&path, &ONE).unwrap());
            fs::remove_file(folder.join("a.db.lock")).unwrap();
            mode(&path, file_mode);
        }
        mode(&folder, folder_mode);
        let before = files(&folder);
        let refused = opened_by(&mut other, &path);
        assert!(refused.contains("or its folder may not be written; check"), "{refused}");
        assert_eq!(files(&folder), before);
        mode(&folder, 0o755);
    }
}
