//! Lists the other devices, and how much they have of what was written here.

use std::time::Duration;

use anyhow::Result;
use serde_json::{Value as Json, json};

use sync_client::Device;

use crate::notes::Notes;
use crate::status::time;

#[derive(Debug, clap::Args)]
pub(crate) struct Devices {
    /// Where a hub is named: how long to listen to it, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    listen: u64,
}

impl Devices {
    pub(crate) fn run(&self, notes: &Notes) -> Result<()> {
        if notes.hub.is_some() {
            // Whoever is heard of in that time is in the list.
            notes.client.wait_connection(Duration::from_secs(self.listen), |_| false);
        }
        let devices = notes.document.devices();
        let json = devices.iter().map(json_of).collect();
        notes.print(&json, || match &devices[..] {
            [] => vec!["no other device was heard of".to_owned()],
            devices => devices.iter().map(|device| line(notes, device)).collect(),
        })
    }
}

/// A device as JSON.
pub(crate) fn json_of(device: &Device) -> Json {
    json!({
        "id": device.id.to_string(),
        "name": device.name,
        "heard_ms": device.heard_ms,
        "lag": device.lag,
    })
}

/// A device for a person. What it calls itself may hold anything.
pub(crate) fn line(notes: &Notes, device: &Device) -> String {
    let name = device.name.as_deref().map(|name| format!(" {}", name.escape_debug()));
    let ago = time(notes.now_ms().saturating_sub(device.heard_ms));
    let has = match device.lag {
        0 => "had everything that was written here".to_owned(),
        lag => format!("not known to have {lag} changes of fields that were made here"),
    };
    format!("device {}{}: {has}, {ago} ago", device.id, name.unwrap_or_default())
}
