//! Programs in C, compiled with the system's compiler against the header and the libraries, and run with
//! a hub, plainly and under valgrind.
//!
//! The tests are listed here and not found by attributes, so that one which cannot run on this machine is
//! reported as ignored.

mod build;
mod hub;

use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Arguments, Failed, Trial};

use crate::build::{Library, native};
use crate::hub::Hub;

fn main() {
    let arguments = Arguments::from_args();
    let trials = vec![
        Trial::test("the_lines_of_the_readme_run", the_lines_of_the_readme_run),
        Trial::test("a_program_works_with_the_static_library", || run(NOTES, Library::Static, &[])),
        Trial::test("a_program_works_with_the_shared_library", || run(NOTES, Library::Shared, &[])),
        checked("a_program_leaks_nothing_and_reads_nothing_that_is_not_there", NOTES),
        Trial::test("what_was_is_taken_back_from_c", || run(PAST, Library::Static, &[])),
        checked("taking_back_leaks_nothing_and_reads_nothing_that_is_not_there", PAST),
    ];
    libtest_mimic::run(&arguments, trials).exit();
}

/// Goes through everything but what the other one goes through.
const NOTES: &str = "tests/programs/notes.c";

/// Goes through undo, checkpoints, the feed and tokens.
const PAST: &str = "tests/programs/past.c";

/// Runs a program with a folder and a hub of its own.
fn run(source: &str, library: Library, wrapper: &[&str]) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let program = compile(source, library, folder.path())?;
    let hub = Hub::start(&folder.path().join("hub"))?;
    let [data, command] = [folder.path().join("data"), program];
    std::fs::create_dir(&data)?;
    let command: Vec<_> = wrapper.iter().map(Path::new).chain([&*command]).collect();
    let mut run = Command::new(command[0]);
    run.args(&command[1..]).arg(&data).arg(&hub.address);
    let printed = output(&mut run)?;
    if !printed.ends_with("all of it works\n") {
        return Err(format!("it ended early: {printed}").into());
    }
    Ok(())
}

/// A program under valgrind.
fn checked(name: &str, source: &'static str) -> Trial {
    let is_there = Command::new("valgrind").arg("--version").output().is_ok();
    // What the library keeps for the life of the process is no leak.
    const VALGRIND: [&str; 6] = [
        "valgrind",
        "--quiet",
        "--error-exitcode=99",
        "--leak-check=full",
        "--show-leak-kinds=definite,indirect",
        "--errors-for-leak-kinds=definite,indirect",
    ];
    Trial::test(name, move || run(source, Library::Static, &VALGRIND))
        .with_kind(if is_there { "" } else { "valgrind is not installed" })
        .with_ignored_flag(!is_there)
}

fn the_lines_of_the_readme_run() -> Result<(), Failed> {
    let source = include_str!("../../examples/quickstart.c");
    let lines = source.split_once("\n\n").ok_or("a head and lines")?.1;
    let block = readme().split("```c\n").nth(1).and_then(|rest| rest.split("```").next());
    if block != Some(lines) {
        return Err("the lines of C in the README are not those of examples/quickstart.c".into());
    }
    let folder = tempfile::tempdir()?;
    let program = compile("examples/quickstart.c", Library::Static, folder.path())?;
    let printed = output(Command::new(program).current_dir(folder.path()))?;
    for part in ["Buy oat milk", r#""tags":{"$set":["home"]}"#, r#""next":null"#] {
        if !printed.contains(part) {
            return Err(format!("{part} is not in {printed}").into());
        }
    }
    Ok(())
}

fn readme() -> &'static str {
    include_str!("../../../../README.md")
}

/// What the README says to link with.
fn link_flags() -> Result<Vec<&'static str>, Failed> {
    let line = readme().lines().find(|line| line.starts_with("cc ")).ok_or("a line with cc")?;
    Ok(line.split(' ').filter(|word| word.starts_with("-l")).collect())
}

/// Compiles a program into a folder; warnings are errors.
fn compile(source: &str, library: Library, folder: &Path) -> Result<PathBuf, Failed> {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = folder.join("program");
    let library_file = native(library)?;
    let mut cc = Command::new("cc");
    cc.args(["-std=c11", "-g", "-Wall", "-Wextra", "-Werror", "-pedantic", "-pthread"]);
    cc.arg("-I").arg(crate_folder.join("include"));
    cc.arg(crate_folder.join(source)).arg("-o").arg(&program).arg(&library_file);
    if let (Library::Shared, Some(place)) = (library, library_file.parent()) {
        cc.arg(format!("-Wl,-rpath,{}", place.display()));
    }
    output(cc.args(link_flags()?))?;
    Ok(program)
}

/// Runs a command that must be done, and gives what it prints.
fn output(command: &mut Command) -> Result<String, Failed> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        let [printed, errors] =
            [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
        return Err(format!("{command:?}: {}\n{printed}\n{errors}", output.status).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
