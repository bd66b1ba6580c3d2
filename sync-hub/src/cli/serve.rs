//! `sync-hub serve`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use sync_hub::HubServer;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::settings::Settings;

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    settings: Settings,
    /// File with settings in TOML, for those that are neither given here nor in the environment.
    #[arg(long, env = "SYNC_HUB_CONFIG")]
    config: Option<PathBuf>,
    /// Print the settings that hold, as such a file, and end.
    #[arg(long)]
    print_config: bool,
}

impl Serve {
    fn settings(&self) -> Result<Settings> {
        let file = self.config.as_deref().map(Settings::read).transpose()?;
        Ok(self.settings.clone().or(file.unwrap_or_default()).filled())
    }

    pub(crate) fn run(self) -> Result<()> {
        let settings = self.settings()?;
        if self.print_config {
            write!(std::io::stdout(), "{}", settings.to_toml()?)?;
            return Ok(());
        }
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(serve(settings))
    }
}

async fn serve(settings: Settings) -> Result<()> {
    // Asked for first, so that a signal during the start ends it in order too.
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (listen, options) = settings.options()?;
    let listener = TcpListener::bind(listen).await.map_err(|error| {
        anyhow::anyhow!("cannot listen on {listen}: {error}; choose another port")
    })?;
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    let server = HubServer::open(listener, options)?;
    let address = server.local_addr().context("no address")?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening on {scheme}://{address}")?;
    stdout.flush()?;
    let shutdown = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    Ok(server.run(shutdown).await?)
}
