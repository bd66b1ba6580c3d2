//! One document of one tab: the client's session with one document open.

use js_sys::Array;
use std::mem;
use sync_core::causal::{Delta, Dot, MemoryStore, ReplicaId};
use sync_core::document::{Edit, Refused};
use sync_core::error::{Misuse, Sure as _};
use sync_core::session::{
    Backoff, Client, ClientConfig, ClientInput, LogEntry, Now, OutboxItem, OutboxState, Peer,
    SavedDocument, decode_log,
};
use sync_core::types::{RecordId, SEPARATOR};
use sync_core::wire::{Claim, HubMessage, decode_hub};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::failure::{bad_argument, misuse};
use crate::object::{bytes_of, get, number, object, whole};
use crate::output::output_to_js;
use crate::stored::{
    cursor_from_js, items_from_js, open_pieces, renaming_from_js, replica_from_js,
};
use crate::value::{amount_from_js, fields_from_js, fields_to_js, record_to_js, value_to_js};

/// Where a frame has the type of its message, and the type of the hub's `InUse`.
const IN_USE_AT: (usize, u8) = (5, 71);

/// One document of one tab.
#[wasm_bindgen]
pub struct Kernel {
    client: Client,
    name: String,
    backoff: Backoff,
    /// What this class tells beyond the client's own outputs.
    told: Vec<JsValue>,
    damaged: u32,
}

#[wasm_bindgen]
impl Kernel {
    /// Opens a document from what was stored: `state` and `rows` are sealed pieces, `outbox` rows,
    /// `conflicts` encoded entries. Where something stored is damaged, nobody knows which counters were
    /// used, so it writes as `spare` instead of `replica` and follows the hub from the start.
    #[wasm_bindgen(constructor)]
    pub fn new(name: String, config: &JsValue, saved: &JsValue) -> Result<Kernel, JsValue> {
        let text = |name: &str| get(config, name).map(|text| text.as_string());
        let replica = |name: &str| replica_from_js(&text(name)?.unwrap_or_default());
        let opening =
            u64::try_from(get(config, "opening")?).map_err(|_| bad_argument("opening"))?;
        let array = |name: &str| get(saved, name).map(|value| Array::from(&value));

        let (deltas, mut damaged) = open_pieces(&array("state")?);
        let mut store = MemoryStore::default();
        for delta in &deltas {
            store.join(delta);
        }
        let (rows, damaged_rows) = open_pieces(&array("rows")?);
        let (outbox, damaged_items) = items_from_js(&array("outbox")?)?;
        damaged += damaged_rows + damaged_items;
        let log = array("conflicts")?;
        let log = log.iter().filter_map(|entry| decode_log(&bytes_of(&entry).ok()?).ok()).collect();
        let cursor = cursor_from_js(&get(saved, "cursor")?).filter(|_| damaged == 0);
        let author = replica(if damaged == 0 { "replica" } else { "spare" })?;

        let agent = text("agent")?.unwrap_or_default();
        let mut client =
            Client::new(ClientConfig { agent, token: text("token")?, ..ClientConfig::default() });
        client.open(&name, SavedDocument { store, outbox, cursor, log }, author, opening);
        let (backoff, told) = (Backoff::default(), Vec::new());
        let mut kernel = Self { client, name, backoff, told, damaged };
        let unix_ms = get(config, "now")?.as_f64().unwrap_or_default();
        kernel.join(now(0.0, unix_ms), rows);
        Ok(kernel)
    }

    /// How many stored pieces could not be read.
    #[wasm_bindgen(getter)]
    pub fn damaged(&self) -> u32 {
        self.damaged
    }

    /// The replica that this document is written as.
    #[wasm_bindgen(getter)]
    pub fn replica(&self) -> String {
        opened(self.client.replica(&self.name)).text()
    }

    /// What there is to do and to tell, in order.
    pub fn drain(&mut self) -> Array {
        let outputs = Array::new();
        while let Some(output) = self.client.poll() {
            outputs.push(&output_to_js(output));
        }
        for told in mem::take(&mut self.told) {
            outputs.push(&told);
        }
        outputs
    }

    /// Adds a record; gives the dot.
    pub fn insert(
        &mut self,
        unix_ms: f64,
        collection: &str,
        id: &str,
        fields: &JsValue,
    ) -> Result<String, JsValue> {
        let id = record_id(id)?;
        let fields = fields_from_js(fields)?;
        self.change(unix_ms, &mut |edit| edit.insert(collection, &id, &fields))
    }

    /// Writes fields of a record; gives the dot.
    pub fn update(
        &mut self,
        unix_ms: f64,
        collection: &str,
        id: &str,
        fields: &JsValue,
    ) -> Result<String, JsValue> {
        let id = record_id(id)?;
        let fields = fields_from_js(fields)?;
        self.change(unix_ms, &mut |edit| edit.update(collection, &id, &fields))
    }

    /// Removes a record; gives the dot.
    pub fn remove(&mut self, unix_ms: f64, collection: &str, id: &str) -> Result<String, JsValue> {
        let id = record_id(id)?;
        self.change(unix_ms, &mut |edit| edit.remove(collection, &id))
    }

    /// Adds to a counter, at a path of nested fields; gives the dot.
    pub fn count(
        &mut self,
        unix_ms: f64,
        collection: &str,
        id: &str,
        path: &Array,
        amount: &JsValue,
    ) -> Result<String, JsValue> {
        let id = record_id(id)?;
        let amount = amount_from_js(amount)?;
        let names: Vec<_> = path.iter().map(|name| name.as_string().unwrap_or_default()).collect();
        let path: Vec<_> = names.iter().map(String::as_str).collect();
        self.change(unix_ms, &mut |edit| edit.count(collection, &id, &path, amount))
    }

    /// Resolves a conflict by what one author wrote; gives the dot.
    pub fn keep(
        &mut self,
        unix_ms: f64,
        collection: &str,
        id: &str,
        version: &str,
    ) -> Result<String, JsValue> {
        let id = record_id(id)?;
        let author = version
            .parse()
            .map_err(|_| misuse(Misuse::NoSuchVersion { version: version.to_owned() }))?;
        self.change(unix_ms, &mut |edit| edit.keep(collection, &id, author))
    }

    /// The records of a collection.
    pub fn records(&self, collection: &str) -> Array {
        let document = opened(self.client.document(&self.name));
        let records = Array::new();
        let show = &mut |id, record| {
            records.push(&record_to_js(&id, &record));
        };
        document.each_record(collection, show).sure();
        records
    }

    /// One record, `undefined` where there is none.
    pub fn record(&self, collection: &str, id: &str) -> JsValue {
        let Ok(id) = RecordId::new(id) else { return JsValue::UNDEFINED };
        let document = opened(self.client.document(&self.name));
        let record = document.record(collection, &id).sure();
        record.map_or(JsValue::UNDEFINED, |record| record_to_js(&id, &record))
    }

    /// The versions of a record whose fields clash, the shown one first.
    pub fn versions(&self, collection: &str, id: &str) -> Array {
        let versions = Array::new();
        let Ok(id) = RecordId::new(id) else { return versions };
        let document = opened(self.client.document(&self.name));
        let record = document.record(collection, &id).sure();
        let found = record.map(|record| record.versions()).unwrap_or_default();
        for (place, version) in found.iter().enumerate() {
            let author: JsValue = version.author.text().into();
            versions.push(&object(&[
                ("key", author.clone()),
                ("author", author),
                ("at", number(version.stamp.ms())),
                ("fields", fields_to_js(&version.nested()).into()),
                ("shown", (place == 0).into()),
            ]));
        }
        versions
    }

    /// The conflict log.
    pub fn conflicts(&self) -> Array {
        let log = opened(self.client.conflict_log(&self.name));
        log.into_iter().map(|(entry, is_open)| conflict_to_js(entry, is_open)).collect()
    }

    /// Where the change of a dot is.
    pub fn receipt(&self, dot: &str) -> Result<JsValue, JsValue> {
        let dot = dot_from_js(dot)?;
        let receipt = opened(self.client.receipt(&self.name, dot));
        let mut items = opened(self.client.outbox(&self.name));
        let reason = items.find_map(|item| match &item.state {
            OutboxState::Parked { reason }
                if item.replica == dot.replica
                    && (item.first..=item.last).contains(&dot.counter) =>
            {
                Some(JsValue::from(reason))
            }
            OutboxState::Parked { .. } | OutboxState::Pending | OutboxState::Frozen => None,
        });
        Ok(object(&[
            ("hub", receipt.hub.into()),
            ("parked", receipt.parked.into()),
            ("reason", reason.unwrap_or(JsValue::UNDEFINED)),
        ]))
    }

    /// How many changes wait for the hub, and how many it refused. An item that another covers is not
    /// counted twice.
    pub fn waiting(&self) -> JsValue {
        let items: Vec<&OutboxItem> = opened(self.client.outbox(&self.name)).collect();
        let (mut pending, mut parked) = (0u64, 0u64);
        for item in &items {
            let covers = |other: &&&OutboxItem| {
                other.replica == item.replica && other.first <= item.first && other.last > item.last
            };
            if matches!(item.state, OutboxState::Parked { .. }) {
                parked += u64::from(item.changes);
            } else if !items.iter().any(|other| covers(&other)) {
                pending += u64::from(item.changes);
            }
        }
        object(&[("pending", number(pending)), ("parked", number(parked))])
    }

    /// How far this document is with the hub: `closed`, `opening`, `catching-up` or `live`.
    pub fn phase(&self) -> String {
        opened(self.client.phase(&self.name)).name().to_owned()
    }

    /// Who else is online, as the hub tells.
    pub fn peers(&self) -> Array {
        let peers = opened(self.client.peers(&self.name));
        let peer = |(replica, peer): (&ReplicaId, &Peer)| {
            object(&[("replica", replica.text().into()), ("name", peer.name.as_str().into())])
        };
        peers.map(peer).collect()
    }

    /// The socket is open.
    pub fn connected(&mut self, monotonic_ms: f64, unix_ms: f64) {
        self.client.handle(now(monotonic_ms, unix_ms), ClientInput::Connected);
    }

    /// The socket has ended.
    pub fn disconnected(&mut self, monotonic_ms: f64, unix_ms: f64) {
        self.client.handle(now(monotonic_ms, unix_ms), ClientInput::Disconnected);
    }

    /// A frame arrived. Where the hub refuses a claim of another tab, that is told as `in-use`.
    pub fn frame(&mut self, monotonic_ms: f64, unix_ms: f64, frame: Vec<u8>) {
        let (at, in_use) = IN_USE_AT;
        if frame.get(at) == Some(&in_use)
            && let Ok(HubMessage::InUse { replica, .. }) = decode_hub(&frame)
            && self.client.replica(&self.name) != Ok(replica)
        {
            let replica: JsValue = replica.text().into();
            self.told.push(object(&[("type", "in-use".into()), ("replica", replica)]));
        }
        self.client.handle(now(monotonic_ms, unix_ms), ClientInput::Frame(frame));
    }

    /// A batch is on disk.
    pub fn persisted(&mut self, monotonic_ms: f64, unix_ms: f64, id: f64) {
        self.client.handle(now(monotonic_ms, unix_ms), ClientInput::Persisted(whole(id)));
    }

    /// The time of [`Kernel::poll_timeout`] has come.
    pub fn timeout(&mut self, monotonic_ms: f64, unix_ms: f64) {
        self.client.handle(now(monotonic_ms, unix_ms), ClientInput::Timeout);
    }

    /// When [`Kernel::timeout`] is due, by the monotonic clock.
    #[allow(clippy::cast_precision_loss, reason = "milliseconds stay below 2^53")]
    pub fn poll_timeout(&self) -> Option<f64> {
        self.client.poll_timeout().map(|ms| ms as f64)
    }

    /// Takes what other tabs have stored, all at once, and asserts what it left of records that are
    /// edited here.
    pub fn rejoin(&mut self, monotonic_ms: f64, unix_ms: f64, pieces: &Array) {
        let (deltas, damaged) = open_pieces(pieces);
        self.damaged += damaged;
        self.join(now(monotonic_ms, unix_ms), deltas);
    }

    /// Makes what another tab has stored: a part of a replica's history stands under another one.
    pub fn rename(&mut self, renaming: &JsValue) -> Result<(), JsValue> {
        opened(self.client.rename(&self.name, &renaming_from_js(renaming)?));
        Ok(())
    }

    /// Takes the outbox as it is stored.
    pub fn replace_outbox(&mut self, rows: &Array) -> Result<(), JsValue> {
        let (items, _) = items_from_js(rows)?;
        opened(self.client.replace_outbox(&self.name, items));
        Ok(())
    }

    /// Takes the cursor as it is stored, before this tab connects in place of another.
    pub fn follow_from(&mut self, cursor: &JsValue) {
        let cursor = cursor_from_js(cursor).filter(|_| self.damaged == 0);
        opened(self.client.follow_from(&self.name, cursor));
    }

    /// Speaks for a replica of another tab.
    pub fn claim(&mut self, replica: &str, opening: u64) -> Result<(), JsValue> {
        let claim = Claim { replica: replica_from_js(replica)?, opening };
        opened(self.client.claim(&self.name, claim));
        Ok(())
    }

    /// Says that a claimed replica is online.
    pub fn show(&mut self, replica: &str, name: String) -> Result<(), JsValue> {
        let peer = Peer { name, state: Vec::new() };
        self.client.show(&self.name, replica_from_js(replica)?, peer).map_err(misuse)
    }

    /// No longer speaks for a replica of another tab.
    pub fn release(&mut self, replica: &str) -> Result<(), JsValue> {
        opened(self.client.release(&self.name, replica_from_js(replica)?));
        Ok(())
    }

    /// How long to wait before the next attempt to connect, in milliseconds, after a connection that
    /// was of use for `live_ms`.
    pub fn backoff(&mut self, live_ms: f64, random: u32) -> u32 {
        self.backoff.next_ms(live_ms as u64, random)
    }

    /// Makes a change. It is not generic, so that all of a change is compiled once.
    fn change(
        &mut self,
        unix_ms: f64,
        change: &mut dyn FnMut(&mut Edit<'_>) -> Result<(), Refused>,
    ) -> Result<String, JsValue> {
        let changed = self.client.change(now(0.0, unix_ms), &self.name, change);
        changed.map(|((), dot)| dot.text()).map_err(|refused| misuse(refused.into()))
    }

    /// Joins deltas as one, so that a removal is judged with all that came with it.
    fn join(&mut self, now: Now, deltas: Vec<Delta>) {
        let mut net = Delta::default();
        for delta in deltas {
            net.join(delta);
        }
        if !net.is_empty() {
            opened(self.client.rejoin(now, &self.name, &[net]));
        }
    }
}

/// What the client gives for the document of a kernel, which is open as long as that is.
fn opened<T, E: std::fmt::Debug>(found: Result<T, E>) -> T {
    found.expect("the document is open")
}

fn now(monotonic_ms: f64, unix_ms: f64) -> Now {
    Now { monotonic_ms: whole(monotonic_ms), unix_ms: whole(unix_ms) }
}

fn record_id(text: &str) -> Result<RecordId, JsValue> {
    RecordId::new(text).map_err(misuse)
}

/// Reads `replica:counter`.
fn dot_from_js(text: &str) -> Result<Dot, JsValue> {
    let (replica, counter) = text.split_once(':').ok_or_else(|| bad_argument("dot"))?;
    let counter = counter.parse().map_err(|_| bad_argument("dot"))?;
    Ok(Dot::new(replica_from_js(replica)?, counter))
}

fn conflict_to_js(entry: &LogEntry, is_open: bool) -> JsValue {
    let path = entry.field.as_ref().map(|path| path.replace(SEPARATOR, "."));
    let field = path.map_or(JsValue::UNDEFINED, JsValue::from);
    let sides = entry.sides.iter().map(|side| {
        object(&[
            ("author", side.author.text().into()),
            ("at", number(side.at.map_or(entry.seen_ms, |at| at.ms()))),
            ("deleted", side.is_delete.into()),
            ("value", side.value.as_ref().map_or(JsValue::UNDEFINED, value_to_js)),
        ])
    });
    let sides: Array = sides.collect();
    object(&[
        ("key", entry.key().into()),
        ("kind", if entry.field.is_some() { "fields" } else { "edit-delete" }.into()),
        ("collection", entry.collection.as_str().into()),
        ("record", entry.record.as_str().into()),
        ("field", field),
        ("sides", sides.into()),
        ("seen", number(entry.seen_ms)),
        ("open", is_open.into()),
    ])
}
