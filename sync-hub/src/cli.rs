//! What the hub's command line understands.

mod serve;
mod settings;
mod token;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use tracing_subscriber::EnvFilter;

/// Relays and stores the documents of offline-first applications.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves clients over WebSocket at /sync, and HTTP, on one port.
    Serve(Box<serve::Serve>),
    /// Makes keys and tokens, and says what a token holds.
    #[command(subcommand)]
    Token(token::Token),
    /// Copies the database to a file, also while the hub serves.
    Backup {
        /// Folder of the database.
        #[arg(long, env = "SYNC_HUB_DATA_DIR")]
        data_dir: PathBuf,
        /// File to make.
        file: PathBuf,
    },
    /// Puts such a file in the place of the database. The hub must not run; what is there is kept beside it.
    Restore {
        /// Folder of the database; made if there is none.
        #[arg(long, env = "SYNC_HUB_DATA_DIR")]
        data_dir: PathBuf,
        /// File to read.
        file: PathBuf,
    },
    /// Prints the completion for a shell.
    Completions {
        /// Which shell.
        shell: Shell,
    },
}

pub(crate) fn run() -> anyhow::Result<()> {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    match cli.command {
        Command::Serve(serve) => serve.run(),
        Command::Token(token) => token.run(),
        Command::Backup { data_dir, file } => {
            let bytes = sync_hub::backup(&data_dir, &file)?;
            writeln!(std::io::stdout(), "{}: {bytes} bytes", file.display())?;
            Ok(())
        }
        Command::Restore { data_dir, file } => {
            if let Some(kept) = sync_hub::restore(&data_dir, &file)? {
                writeln!(std::io::stdout(), "what was there is {}", kept.display())?;
            }
            Ok(())
        }
        Command::Completions { shell } => {
            let mut command = Cli::command();
            clap_complete::generate(shell, &mut command, "sync-hub", &mut std::io::stdout());
            Ok(())
        }
    }
}
