//! What the hub's command line understands.

mod serve;
mod settings;
mod token;

use std::io::IsTerminal;

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
        Command::Completions { shell } => {
            let mut command = Cli::command();
            clap_complete::generate(shell, &mut command, "sync-hub", &mut std::io::stdout());
            Ok(())
        }
    }
}
