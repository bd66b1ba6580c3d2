//! Shows what waits for the hub, and does something with it.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use clap::Subcommand;
use serde_json::{Value as Json, json};

use sync_client::{ItemKey, ItemState, PAGE_ITEMS_MAX, Place, Waiting};

use crate::notes::Notes;

#[derive(Debug, clap::Args)]
pub(crate) struct Outbox {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List what the hub has not acknowledged; so does `outbox` alone.
    List,
    /// Let a parked item be sent again as it is, or all of them.
    Retry {
        /// The item, as the list shows it; all parked ones where not given.
        item: Option<ItemKey>,
    },
    /// Write again as of now what a parked item wrote: where the hub refused when it was written.
    Rewrite {
        /// The item, as the list shows it.
        item: ItemKey,
    },
    /// Set an item aside that is not under way.
    Park {
        /// The item, as the list shows it.
        item: ItemKey,
        /// What the list shows of it.
        #[arg(long, value_name = "TEXT", default_value = "set aside by hand")]
        reason: String,
    },
    /// Give a parked item up: its change is taken back here, and reaches nobody.
    Drop {
        /// The item, as the list shows it.
        item: ItemKey,
        /// Where to keep what is lost.
        #[arg(long, value_name = "FILE", required_unless_present = "forever")]
        keep: Option<PathBuf>,
        /// Keep nothing of it.
        #[arg(long, conflicts_with = "keep")]
        forever: bool,
    },
    /// Write items to a file, with a checksum.
    Export {
        /// The file.
        file: PathBuf,
        /// The items, as the list shows them; all where none is given.
        items: Vec<ItemKey>,
    },
}

impl Outbox {
    pub(crate) fn run(&self, notes: &Notes) -> Result<()> {
        match &self.action {
            None | Some(Action::List) => list(notes),
            Some(Action::Retry { item: Some(item) }) => {
                notes.client.retry_item(item)?;
                notes.done()
            }
            Some(Action::Retry { item: None }) => {
                let count = notes.client.retry_all()?;
                notes.print(&json!({ "retried": count }), || vec![format!("retried: {count}")])
            }
            Some(Action::Rewrite { item }) => {
                notes.client.rewrite_item(item)?;
                notes.done()
            }
            Some(Action::Park { item, reason }) => {
                notes.client.park_item(item, reason)?;
                notes.done()
            }
            Some(Action::Drop { item, keep, .. }) => drop_item(notes, item, keep.as_ref()),
            Some(Action::Export { file, items }) => {
                let bytes = notes.client.export_outbox(items)?;
                save(file, &bytes)?;
                notes.done()
            }
        }
    }
}

fn list(notes: &Notes) -> Result<()> {
    let (mut items, mut after) = (Vec::new(), None);
    loop {
        let page = notes.client.outbox_page(after.as_ref(), PAGE_ITEMS_MAX)?;
        items.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let json: Json = items.iter().map(item_json).collect();
    notes.print(&json, || items.iter().flat_map(lines).collect())
}

/// Keeps what is lost before it is lost.
fn drop_item(notes: &Notes, item: &ItemKey, keep: Option<&PathBuf>) -> Result<()> {
    if let Some(file) = keep {
        save(file, &notes.client.export_outbox(std::slice::from_ref(item))?)?;
    }
    let dropped = notes.client.drop_item(item)?.item;
    notes.print(&item_json(&dropped), || {
        let lost = format!("lost: {} changes, {} bytes", dropped.changes, dropped.bytes);
        std::iter::once(lost).chain(dropped.places.iter().map(place)).collect()
    })
}

fn save(file: &PathBuf, bytes: &[u8]) -> Result<()> {
    if file.exists() {
        bail!("{} is there already; name another file", file.display());
    }
    std::fs::write(file, bytes).with_context(|| format!("{} was not written", file.display()))
}

/// How an item stands, in a word, and why.
fn state(item: &Waiting) -> (&'static str, Option<&str>) {
    match &item.state {
        ItemState::Pending => ("pending", None),
        ItemState::InFlight => ("in flight", None),
        ItemState::Waiting => ("waiting", None),
        ItemState::Parked { reason } => ("parked", Some(reason)),
        _ => ("other", None),
    }
}

fn item_json(item: &Waiting) -> Json {
    let (state, reason) = state(item);
    json!({
        "item": item.key.to_string(),
        "document": item.key.document,
        "state": state,
        "reason": reason,
        "bytes": item.bytes,
        "changes": item.changes,
        "seconds": age(item).map(|age| age.as_secs()),
        "places": item.places.iter().map(place).collect::<Vec<_>>(),
        "place_count": item.place_count,
    })
}

#[allow(clippy::disallowed_methods, reason = "an age is up to now")]
fn age(item: &Waiting) -> Option<Duration> {
    item.age(SystemTime::now())
}

fn lines(item: &Waiting) -> Vec<String> {
    let (state, reason) = state(item);
    let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
    let age = age(item).map(|age| format!(", {} s old", age.as_secs())).unwrap_or_default();
    let Waiting { changes, bytes, .. } = item;
    let head = format!("{}  {state}{reason}: {changes} changes, {bytes} bytes{age}", item.key);
    let more = item.place_count - item.places.len();
    let more = (more > 0).then(|| format!("  and {more} more"));
    let places = item.places.iter().map(|one| format!("  {}", place(one)));
    std::iter::once(head).chain(places).chain(more).collect()
}

fn place(place: &Place) -> String {
    match place {
        Place::Record { collection, id } => format!("{collection}/{id}"),
        Place::Set { name } => format!("set {name}"),
        Place::Value { name } => format!("value {name}"),
    }
}
