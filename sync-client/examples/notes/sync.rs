//! Waits until everything is on the hub and the hub's state is here.

use std::pin::pin;
use std::time::Duration;

use anyhow::{Result, bail};
use futures::executor::block_on;
use futures::future::{Either, select};

use crate::notes::Notes;
use crate::progress::Bar;
use crate::status::state;

#[derive(Debug, clap::Args)]
pub(crate) struct Sync {
    /// How long to wait.
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    timeout: Duration,
}

impl Sync {
    pub(crate) fn run(&self, notes: &Notes) -> Result<()> {
        if notes.hub.is_none() {
            bail!("no hub to sync with; name one with --hub URL");
        }
        let mut bar = Bar::new(notes.is_json);
        block_on(async {
            let mut watch = notes.document.watch();
            let mut done = pin!(notes.client.sync(self.timeout));
            loop {
                let status = match select(&mut done, pin!(watch.next())).await {
                    Either::Left((outcome, _)) => return outcome,
                    Either::Right((status, _)) => status,
                };
                match status {
                    Some(status) => bar.show(&status),
                    None => return done.await,
                }
            }
        })?;
        drop(bar);
        notes.print(&state(notes)?.0, || vec!["in sync".to_owned()])
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
