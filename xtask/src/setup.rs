//! Looks at what a task needs that this machine does not have, and gets it.
//!
//! Asking comes first, so that a machine that has everything pays milliseconds and no network.

mod chromium;
mod debian;
mod native;
mod npm;
mod rust;

use anyhow::Result;

pub(crate) use chromium::find as find_chromium;
pub(crate) use debian::install as install_packages;
pub(crate) use rust::{component as install_component, tool as install_tool};

use crate::wasm::toolchain;
use crate::workspace::Workspace;

/// What a task needs beside cargo.
#[derive(Clone, Copy, Default)]
#[allow(clippy::struct_excessive_bools, reason = "a list of independent needs")]
pub(crate) struct Needs {
    /// rustfmt and clippy.
    pub(crate) linters: bool,
    /// A compiler for WASM, Node, and what the npm package is built with.
    pub(crate) package: bool,
    /// What the notes app is built with.
    pub(crate) demo: bool,
    /// Chromium.
    pub(crate) browser: bool,
    /// A compiler for C.
    pub(crate) compiler: bool,
    /// Valgrind.
    pub(crate) valgrind: bool,
}

impl Needs {
    /// All that a task cannot do without.
    pub(crate) fn everything() -> Needs {
        Needs {
            linters: true,
            package: true,
            demo: true,
            browser: true,
            compiler: true,
            valgrind: false,
        }
    }

    /// The npm package alone.
    pub(crate) fn package() -> Needs {
        Needs { package: true, ..Needs::default() }
    }

    /// Both lists together.
    pub(crate) fn and(self, other: Needs) -> Needs {
        Needs {
            linters: self.linters || other.linters,
            package: self.package || other.package,
            demo: self.demo || other.demo,
            browser: self.browser || other.browser,
            compiler: self.compiler || other.compiler,
            valgrind: self.valgrind || other.valgrind,
        }
    }
}

/// Gets what is missing, or says what a person has to run.
pub(crate) fn run(workspace: &Workspace, needs: Needs) -> Result<()> {
    if needs.package || needs.demo || needs.browser {
        npm::check_node()?;
    }
    if needs.linters {
        rust::linters(workspace)?;
    }
    if needs.package {
        let way = toolchain::obtain(workspace)?;
        eprintln!("setup: the WASM module is compiled with {way}");
        npm::install(workspace, &workspace.package())?;
    }
    if needs.demo {
        npm::install(workspace, &workspace.demo())?;
    }
    if needs.compiler {
        native::compiler()?;
    }
    if needs.valgrind {
        native::valgrind()?;
    }
    if needs.browser {
        let chromium = chromium::obtain()?;
        eprintln!("setup: the browser is {}", chromium.display());
    }
    Ok(())
}
