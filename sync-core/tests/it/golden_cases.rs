//! What the golden vectors are of. `cargo run -p sync-core --example golden` prints the files anew; a
//! test run only reads them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};
use sync_core::causal::{CausalContext, Delta, Dot, Entry, Label, Note, ReplicaId};
use sync_core::document::{Author, Document};
use sync_core::error::Sure;
use sync_core::session::{
    Boot, Client, ClientConfig, ClientInput, ClientOutput, Hub, HubInput, HubOutput, MemoryHub,
    Now, SavedDocument,
};
use sync_core::time::Stamp;
use sync_core::types::{Conflict, Field, Opening, RecordId, Value};
use sync_core::wire::{
    Claim, ClientMessage, Cursor, DELTA_BYTES_MAX, Dictionary, Holder, HubMessage, Push, Welcome,
    decode_client, decode_delta, decode_hub, encode_delta,
};

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn unhex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
        .collect()
}

pub(crate) fn replica(number: u8) -> ReplicaId {
    ReplicaId::from_fingerprint([number; 12])
}

fn author(number: u8, ms: u64) -> Author {
    Author {
        replica: replica(number),
        stamp: Stamp::from_bits(Stamp::from_ms(ms).to_bits() + u64::from(number)),
    }
}

/// The three files by name.
pub(crate) fn files() -> BTreeMap<&'static str, Json> {
    BTreeMap::from([
        ("frames.json", frames()),
        ("documents.json", documents()),
        ("transcript.json", transcript()),
    ])
}

/// A value as JSON: what JSON lacks stands in an object of one key.
pub(crate) fn value_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(truth) => json!(truth),
        Value::Int(number) if number.unsigned_abs() > 1 << 53 => {
            json!({ "int": number.to_string() })
        }
        Value::Int(number) => json!(number),
        Value::Float(number) => json!(number),
        Value::String(text) => json!(text),
        Value::Bytes(bytes) => json!({ "bytes": hex(bytes) }),
        Value::List(items) => json!(items.iter().map(value_json).collect::<Vec<_>>()),
        Value::Map(items) => {
            let items: BTreeMap<_, _> = items.iter().map(|(k, v)| (k, value_json(v))).collect();
            json!({ "map": items })
        }
    }
}

fn field_json(field: &Field) -> Json {
    match field {
        Field::Register(value) | Field::Latest(value) => value_json(value),
        Field::Set(members) => json!({ "set": members.iter().map(value_json).collect::<Vec<_>>() }),
        Field::Counter(sum) => json!(sum),
        Field::Map(fields) => {
            let fields = fields.iter().map(|(name, field)| (name.clone(), field_json(field)));
            json!({ "map": fields.collect::<BTreeMap<_, _>>() })
        }
    }
}

fn context_json(context: &CausalContext) -> Json {
    let ranges =
        context.iter().map(|(id, ranges)| (id.to_string(), ranges.iter().collect::<Vec<_>>()));
    json!(ranges.collect::<BTreeMap<_, _>>())
}

fn label_json(label: &Label) -> Json {
    json!({ "space": hex(label.space()), "names": label.names().map(hex).collect::<Vec<_>>() })
}

pub(crate) fn delta_json(delta: &Delta) -> Json {
    let entries = delta.entries.iter().map(|Entry { first, stamp, label, id, slots }| {
        json!({
            "first": first.to_string(),
            "stamp": [stamp.ms(), u64::from(stamp.logical())],
            "label": label_json(label),
            "id": hex(id),
            "slots": slots.iter().map(|slot| slot.map(hex)).collect::<Vec<_>>(),
        })
    });
    let notes = delta.notes.iter().map(|Note { dot, stamp, label, id }| {
        json!({
            "dot": dot.to_string(),
            "stamp": [stamp.ms(), u64::from(stamp.logical())],
            "space": hex(label.space()),
            "id": hex(id),
        })
    });
    json!({
        "dead": context_json(&delta.dead),
        "entries": entries.collect::<Vec<_>>(),
        "notes": notes.collect::<Vec<_>>(),
    })
}

/// A message with a flag that stands in it where it is set.
fn flagged(mut message: Json, name: &str, is_set: bool) -> Json {
    if is_set {
        message[name] = json!(true);
    }
    message
}

fn claims_json(claims: &[Claim]) -> Json {
    let claims =
        claims.iter().map(|claim| json!([claim.replica.to_string(), claim.opening.to_string()]));
    json!(claims.collect::<Vec<_>>())
}

fn cursor_json(cursor: Cursor) -> Json {
    json!([cursor.boot.to_string(), cursor.seq])
}

/// Says that frames may be packed, where a message does.
fn with_packs(mut message: Json, packs: bool) -> Json {
    if packs {
        message["packs"] = packs.into();
    }
    message
}

/// What a frame says that a client sent, or else a hub.
pub(crate) fn frame_json(from: &Json, bytes: &[u8]) -> Json {
    if from == "client" {
        client_json(&decode_client(bytes).unwrap())
    } else {
        hub_json(&decode_hub(bytes).unwrap(), &mut Dictionary::new())
    }
}

pub(crate) fn client_json(message: &ClientMessage) -> Json {
    match message {
        ClientMessage::Hello { version, token, agent, packs } => {
            let hello = json!({ "type": "hello", "version": version, "token": token.as_ref().map(|token| &token.0), "agent": agent });
            with_packs(hello, *packs)
        }
        ClientMessage::Open { channel, document, cursor, context, claims, compares, unsent } => {
            json!({
                "type": "open",
                "channel": channel,
                "document": document,
                "cursor": cursor.map(cursor_json),
                "context": context_json(context),
                "claims": claims_json(claims),
                "compares": compares,
                "unsent": unsent.iter().map(ToString::to_string).collect::<Vec<_>>(),
            })
        }
        ClientMessage::Claim { channel, claims } => {
            json!({ "type": "claim", "channel": channel, "claims": claims_json(claims) })
        }
        ClientMessage::Release { channel, replicas } => {
            let replicas: Vec<_> = replicas.iter().map(ToString::to_string).collect();
            json!({ "type": "release", "channel": channel, "replicas": replicas })
        }
        ClientMessage::Push(Push { channel, id, delta, skips }) => {
            let delta = delta_json(&decode_delta(delta).unwrap());
            let push = json!({ "type": "push", "channel": channel, "id": id, "delta": delta });
            flagged(push, "skips", *skips)
        }
        ClientMessage::ChunkStored { channel, number } => {
            json!({ "type": "chunk stored", "channel": channel, "number": number })
        }
        ClientMessage::Presence { channel, replica, name, state } => json!({
            "type": "presence",
            "channel": channel,
            "replica": replica.to_string(),
            "name": name,
            "state": hex(state),
        }),
        ClientMessage::Ping => json!({ "type": "ping" }),
        ClientMessage::Sync { channel, message } => {
            json!({ "type": "sync", "channel": channel, "message": hex(message) })
        }
        ClientMessage::Brief { channel, dots } => {
            json!({ "type": "brief", "channel": channel, "dots": dots })
        }
        ClientMessage::Held { channel, replica, seq, name } => {
            let replica = replica.to_string();
            let mut held =
                json!({ "type": "held", "channel": channel, "replica": replica, "seq": seq });
            if let Some(name) = name {
                held["name"] = json!(name);
            }
            held
        }
        other => panic!("no description of {other:?}"),
    }
}

/// What a hub says, after chunks that numbered something.
pub(crate) fn hub_json(message: &HubMessage, names: &mut Dictionary) -> Json {
    match message {
        HubMessage::Welcome(Welcome { version, hub, boot, now_ms, packs }) => {
            let welcome = json!({
                "type": "welcome",
                "version": version,
                "hub": hub.to_string(),
                "boot": boot.to_string(),
                "now_ms": now_ms,
            });
            with_packs(welcome, *packs)
        }
        HubMessage::Opened { channel, context, resumed, openings } => json!({
            "type": "opened",
            "channel": channel,
            "context": context_json(context),
            "resumed": resumed,
            "openings": openings.iter().map(|(replica, one)| {
                json!([replica.to_string(), one.first, one.opening.to_string()])
            }).collect::<Vec<_>>(),
        }),
        HubMessage::Chunk { channel, number, delta, cursor, left } => {
            let mut chunk = json!({
                "type": "chunk",
                "channel": channel,
                "number": number,
                "delta": delta_json(&names.read_chunk(delta).unwrap()),
                "cursor": cursor.map(cursor_json),
            });
            if *left > 0 {
                chunk["left"] = json!(left);
            }
            chunk
        }
        HubMessage::Delta { channel, seq, delta } => json!({
            "type": "delta",
            "channel": channel,
            "seq": seq,
            "delta": delta_json(&decode_delta(delta).unwrap()),
        }),
        HubMessage::Stored { channel, id, seq } => {
            json!({ "type": "stored", "channel": channel, "id": id, "seq": seq })
        }
        HubMessage::Refused { channel, id, reason, goes_on } => {
            let refused =
                json!({ "type": "refused", "channel": channel, "id": id, "reason": reason });
            flagged(refused, "goes on", *goes_on)
        }
        HubMessage::InUse { channel, replica } => {
            json!({ "type": "in use", "channel": channel, "replica": replica.to_string() })
        }
        HubMessage::Presence { channel, replica, shown } => json!({
            "type": "presence",
            "channel": channel,
            "replica": replica.to_string(),
            "shown": shown.as_ref().map(|(name, state)| json!([name, hex(state)])),
        }),
        HubMessage::Pong => json!({ "type": "pong" }),
        HubMessage::Sync { channel, message } => {
            json!({ "type": "sync", "channel": channel, "message": hex(message) })
        }
        HubMessage::Names { channel, names } => {
            json!({ "type": "names", "channel": channel, "names": names_json(names) })
        }
        HubMessage::Unresolved { channel, id } => {
            json!({ "type": "unresolved", "channel": channel, "id": id })
        }
        HubMessage::Held { channel, holders } => {
            let holders = holders.iter().map(|Holder { replica, seq, age_ms, name }| {
                json!([replica.to_string(), seq, age_ms, name])
            });
            let holders: Vec<_> = holders.collect();
            json!({ "type": "held", "channel": channel, "holders": holders })
        }
        other => panic!("no description of {other:?}"),
    }
}

fn names_json(names: &[u8]) -> Json {
    let mut dictionary = Dictionary::new();
    dictionary.extend(names).unwrap();
    let replicas = dictionary.replicas().iter().map(ToString::to_string);
    let labels = dictionary.labels().iter().map(label_json);
    json!({ "replicas": replicas.collect::<Vec<_>>(), "labels": labels.collect::<Vec<_>>() })
}

/// Chunks of which the last counts on the one before.
fn chunks(delta: &Delta, cursor: Cursor) -> [HubMessage; 3] {
    let mut names = Dictionary::new();
    let all = [(1, &Delta::default(), Some(cursor)), (2, delta, None), (3, delta, None)];
    all.map(|(number, delta, cursor)| {
        let delta = names.write_chunk(delta);
        let left = if number == 2 { 300 } else { 0 };
        HubMessage::Chunk { channel: 1, number, delta, cursor, left }
    })
}

/// A message of each kind that a client says.
fn client_messages(context: &CausalContext, delta: &Delta, cursor: Cursor) -> Vec<ClientMessage> {
    let claims = vec![Claim { replica: replica(1), opening: 1 << 40 }];
    vec![
        ClientMessage::Hello { version: 1, token: None, agent: "a tab".into(), packs: false },
        ClientMessage::Hello {
            version: 1,
            token: Some(sync_core::wire::Token("secret".into())),
            agent: String::new(),
            packs: false,
        },
        ClientMessage::Open {
            channel: 1,
            document: "notes".into(),
            cursor: None,
            context: CausalContext::default(),
            claims: Vec::new(),
            compares: false,
            unsent: Vec::new(),
        },
        ClientMessage::Open {
            channel: 1,
            document: "notes".into(),
            cursor: Some(cursor),
            context: context.clone(),
            claims: claims.clone(),
            compares: true,
            unsent: vec![replica(2)],
        },
        ClientMessage::Claim { channel: 2, claims },
        ClientMessage::Release { channel: 2, replicas: vec![replica(1)] },
        ClientMessage::Push(Push { channel: 1, id: 1, delta: encode_delta(delta), skips: false }),
        ClientMessage::Push(Push { channel: 1, id: 2, delta: encode_delta(delta), skips: true }),
        ClientMessage::ChunkStored { channel: 1, number: 9 },
        ClientMessage::Presence {
            channel: 1,
            replica: replica(1),
            name: "laptop".into(),
            state: vec![1, 2],
        },
        ClientMessage::Ping,
        ClientMessage::Sync { channel: 1, message: vec![1, 2, 3] },
        ClientMessage::Brief { channel: 1, dots: true },
        ClientMessage::Held { channel: 1, replica: replica(1), seq: 70_000, name: None },
        ClientMessage::Held {
            channel: 1,
            replica: replica(1),
            seq: 7,
            name: Some("laptop".into()),
        },
    ]
}

fn frames() -> Json {
    let context: CausalContext =
        [1, 2, 3, 7, 300].into_iter().map(|counter| Dot::new(replica(1), counter)).collect();
    let delta = sample_deltas().remove(1);
    let cursor = Cursor { boot: u64::MAX, seq: 70_000 };
    let client = client_messages(&context, &delta, cursor);
    let openings = vec![(replica(1), Opening { first: 3, opening: u64::MAX })];
    let welcome =
        Welcome { version: 1, hub: 5, boot: u64::MAX, now_ms: 1_700_000_000_000, packs: false };
    let shown = Some(("laptop".into(), vec![1, 2]));
    let mut names = Dictionary::new();
    names.learn(&delta);
    let [first, second, third] = chunks(&delta, cursor);
    let hub = [
        HubMessage::Welcome(welcome),
        HubMessage::Opened { channel: 1, context, resumed: true, openings },
        first,
        second,
        third,
        HubMessage::Delta { channel: 1, seq: 70_000, delta: encode_delta(&delta) },
        HubMessage::Stored { channel: 1, id: 1, seq: 70_000 },
        HubMessage::Refused { channel: 1, id: 1, reason: "why".into(), goes_on: false },
        HubMessage::Refused { channel: 1, id: 1, reason: "why".into(), goes_on: true },
        HubMessage::InUse { channel: 1, replica: replica(1) },
        HubMessage::Presence { channel: 1, replica: replica(1), shown },
        HubMessage::Presence { channel: 1, replica: replica(1), shown: None },
        HubMessage::Pong,
        HubMessage::Sync { channel: 1, message: vec![2] },
        HubMessage::Names { channel: 1, names: names.encode_since((0, 0)) },
        HubMessage::Unresolved { channel: 1, id: 3 },
        HubMessage::Held {
            channel: 1,
            holders: vec![
                Holder { replica: replica(1), seq: 7, age_ms: 1_000, name: "laptop".into() },
                Holder { replica: replica(2), seq: 70_000, age_ms: 0, name: String::new() },
            ],
        },
    ];
    let client = client.iter().map(|message| {
        json!({ "from": "client", "hex": hex(&message.encode()), "decoded": client_json(message) })
    });
    let mut of_chunks = Dictionary::new();
    let hub = hub.iter().map(|message| {
        let decoded = hub_json(message, &mut of_chunks);
        json!({ "from": "hub", "hex": hex(&message.encode()), "decoded": decoded })
    });
    json!(client.chain(hub).collect::<Vec<_>>())
}

/// The deltas of two replicas on one note: made, edited, clashing, deleted against an edit, asserted.
fn sample_deltas() -> Vec<Delta> {
    let id = RecordId::new("0190163d-8694-739b-aea5-966c26f8ad91").unwrap();
    let (mut one, mut two) = (Document::default(), Document::default());
    let fields = |fields: &[(&str, Field)]| -> BTreeMap<String, Field> {
        fields.iter().map(|(name, field)| ((*name).to_owned(), field.clone())).collect()
    };
    let tags = Field::Set(BTreeSet::from(["a".into(), Value::Int(2)]));
    let all = fields(&[
        ("title", "Grüße".into()),
        ("done", false.into()),
        ("count", i64::MIN.into()),
        ("ratio", 1.5.into()),
        ("data", vec![0u8, 255].into()),
        ("nothing", Field::Register(Value::Null)),
        ("list", vec![Value::Int(1), "x".into()].into()),
        ("map", BTreeMap::from([("k".to_owned(), Value::Bool(true))]).into()),
        ("tags", tags),
        ("stars", Field::Counter(-3)),
        ("seen", Field::Latest(1_700_000_000_000i64.into())),
        ("address", Field::Map(fields(&[("city", "Köln".into()), ("visits", Field::Counter(2))]))),
    ]);
    let change = |document: &mut Document, author, fields: &BTreeMap<String, Field>| {
        let edited =
            document.edit(author, DELTA_BYTES_MAX, |edit| edit.update("notes", &id, fields));
        edited.unwrap().delta
    };
    let made = one.edit(author(1, 1_000), DELTA_BYTES_MAX, |edit| edit.insert("notes", &id, &all));
    let made = made.unwrap().delta;
    two.join(&made).sure();
    let left = change(&mut one, author(1, 2_000), &fields(&[("title", "one".into())]));
    let right = change(&mut two, author(2, 2_000), &fields(&[("title", "two".into())]));
    let more = Field::Set(BTreeSet::from(["a".into(), "b".into()]));
    let tagged = change(&mut two, author(2, 3_000), &fields(&[("tags", more)]));
    let removed = one.edit(author(1, 4_000), DELTA_BYTES_MAX, |edit| edit.remove("notes", &id));
    let removed = removed.unwrap().delta;
    let orphan = two.join(&removed).sure().orphans.remove(0);
    let asserted = two.assert(author(2, 5_000), usize::MAX, &orphan).sure().remove(0).delta;
    vec![made, left, right, tagged, removed, asserted]
}

/// What a reader sees of the collection `notes`.
pub(crate) fn shown_json(document: &Document) -> Json {
    let records = document.records("notes").sure().into_iter().map(|(id, record)| {
        let fields = record.fields();
        let fields = fields.iter().map(|(name, field)| (name.clone(), field_json(field)));
        (id.to_string(), json!(fields.collect::<BTreeMap<_, _>>()))
    });
    let conflicts = document.conflicts().sure().into_iter().map(|(_, conflict)| match conflict {
        Conflict::Field { name, values } => {
            let values = values.iter().map(|written| {
                json!({
                    "author": written.claim.origin().replica.to_string(),
                    "at": written.claim.stamp.ms(),
                    "value": value_json(&written.value),
                })
            });
            json!({ "kind": "fields", "field": name, "values": values.collect::<Vec<_>>() })
        }
        Conflict::EditKept { .. } | Conflict::Partial { .. } => json!({ "kind": "edit-delete" }),
    });
    json!({
        "records": records.collect::<BTreeMap<_, _>>(),
        "conflicts": conflicts.collect::<Vec<_>>(),
    })
}

fn documents() -> Json {
    let deltas = sample_deltas();
    let cases = [("made", 1), ("clash", 3), ("removed against an edit, and asserted", 6)];
    let cases = cases.map(|(name, count)| {
        let mut document = Document::default();
        deltas[..count].iter().for_each(|delta| {
            document.join(delta).sure();
        });
        let deltas = deltas[..count].iter();
        let deltas = deltas.map(|delta| json!({ "hex": hex(&encode_delta(delta)), "decoded": delta_json(delta) }));
        json!({ "name": name, "deltas": deltas.collect::<Vec<_>>(), "shown": shown_json(&document) })
    });
    json!(cases)
}

/// A client of the document `golden` against a hub: what goes in, and the bytes that come out.
fn transcript() -> Json {
    let mut hub = Hub::new();
    let mut store = MemoryHub::new(Boot { hub: 11, boot: 12 });
    let mut steps = Vec::new();
    let mut run = Run::new();
    let mut frames: Vec<Vec<u8>> = Vec::new();
    let id = "0190163d-8694-739b-aea5-966c26f8ad91";
    for step in [
        json!({ "do": "insert", "id": id, "fields": { "title": "made", "count": 1 } }),
        json!({ "do": "persisted" }),
        json!({ "do": "update", "id": id, "fields": { "title": "edited" } }),
        json!({ "do": "persisted" }),
        json!({ "do": "connected" }),
        json!({ "do": "talk" }),
        json!({ "do": "other" }),
        json!({ "do": "talk" }),
        json!({ "do": "insert", "id": "second", "fields": { "title": "x" } }),
        json!({ "do": "talk" }),
        json!({ "do": "remove", "id": "second" }),
        json!({ "do": "talk" }),
    ] {
        match step["do"].as_str() {
            Some("talk") => {
                // Until neither side has anything more to say.
                loop {
                    if let Some(frame) = frames.pop() {
                        let step = json!({ "do": "frame", "hex": hex(&frame) });
                        let out = run.step(&step);
                        answer(&mut hub, &mut store, &mut frames, &out);
                        steps.push(with(step, out));
                    } else if run.storing > run.stored {
                        let step = json!({ "do": "persisted" });
                        let out = run.step(&step);
                        answer(&mut hub, &mut store, &mut frames, &out);
                        steps.push(with(step, out));
                    } else {
                        break;
                    }
                }
            }
            Some("other") => {
                let delta = sample_deltas().remove(0);
                for frame in other(&delta) {
                    at_hub(&mut hub, &mut store, &mut frames, 2, HubInput::Frame(frame));
                }
            }
            _ => {
                if step["do"] == "connected" {
                    at_hub(&mut hub, &mut store, &mut frames, 1, HubInput::Connected);
                    at_hub(&mut hub, &mut store, &mut frames, 2, HubInput::Connected);
                }
                let out = run.step(&step);
                answer(&mut hub, &mut store, &mut frames, &out);
                steps.push(with(step, out));
            }
        }
    }
    let document = run.client.document("golden").unwrap();
    json!({
        "agent": "golden",
        "replica": run.replica.to_string(),
        "opening": "77",
        "start_ms": 1_700_000_000_000u64,
        "steps": steps,
        "shown": shown_json(document),
    })
}

fn with(mut step: Json, sent: Vec<Vec<u8>>) -> Json {
    step["sends"] = json!(sent.iter().map(|frame| hex(frame)).collect::<Vec<_>>());
    step
}

/// What a second client says: it hands over one delta.
fn other(delta: &Delta) -> Vec<Vec<u8>> {
    let claims = vec![Claim { replica: replica(1), opening: 1 }];
    let open = ClientMessage::Open {
        channel: 1,
        document: "golden".into(),
        cursor: None,
        context: CausalContext::default(),
        claims,
        compares: false,
        unsent: Vec::new(),
    };
    let push =
        ClientMessage::Push(Push { channel: 1, id: 1, delta: encode_delta(delta), skips: false });
    let hello =
        ClientMessage::Hello { version: 1, token: None, agent: "other".into(), packs: false };
    [hello, open, push].iter().map(ClientMessage::encode).collect()
}

fn answer(hub: &mut Hub, store: &mut MemoryHub, frames: &mut Vec<Vec<u8>>, sent: &[Vec<u8>]) {
    for frame in sent {
        at_hub(hub, store, frames, 1, HubInput::Frame(frame.clone()));
    }
}

/// Puts what the hub says to connection 1 before what waits, so that `pop` takes the oldest.
fn at_hub(
    hub: &mut Hub,
    store: &mut MemoryHub,
    frames: &mut Vec<Vec<u8>>,
    from: u64,
    input: HubInput,
) {
    let now = Now { monotonic_ms: 0, unix_ms: 1_700_000_000_500 };
    let Ok(()) = hub.handle(store, now, from, input);
    while let Some(output) = hub.poll() {
        match output {
            HubOutput::Send { connection: 1, frame } => frames.insert(0, frame.to_vec()),
            HubOutput::Send { .. } => {}
            HubOutput::Close { fault, .. } => panic!("the hub closes: {fault}"),
        }
    }
}

/// Plays the steps of a transcript on a client.
pub(crate) struct Run {
    pub(crate) client: Client,
    replica: ReplicaId,
    now: Now,
    storing: u64,
    stored: u64,
}

impl Run {
    pub(crate) fn new() -> Self {
        let replica = replica(9);
        let mut client =
            Client::new(ClientConfig { agent: "golden".into(), ..ClientConfig::default() });
        client.open("golden", SavedDocument::default(), replica, 77);
        let now = Now { monotonic_ms: 0, unix_ms: 1_700_000_000_000 };
        Self { client, replica, now, storing: 0, stored: 0 }
    }

    /// Plays one step, a millisecond after the one before, and gives the frames that it sends.
    pub(crate) fn step(&mut self, step: &Json) -> Vec<Vec<u8>> {
        self.now.unix_ms += 1;
        self.now.monotonic_ms += 1;
        let id = step["id"].as_str().map(|id| RecordId::new(id).unwrap());
        let fields = step["fields"].as_object().into_iter().flatten();
        let fields: BTreeMap<_, _> = fields
            .map(|(name, value)| match value.as_i64() {
                Some(number) => (name.clone(), Field::from(number)),
                None => (name.clone(), Field::from(value.as_str().unwrap())),
            })
            .collect();
        match step["do"].as_str().unwrap() {
            "connected" => {
                self.client.handle(self.now, ClientInput::Connected);
            }
            "frame" => {
                let frame = unhex(step["hex"].as_str().unwrap());
                self.client.handle(self.now, ClientInput::Frame(frame));
            }
            "persisted" => {
                self.stored += 1;
                self.client.handle(self.now, ClientInput::Persisted(self.stored));
            }
            change => {
                let id = id.unwrap();
                let done = self.client.change(self.now, "golden", |edit| match change {
                    "insert" => edit.insert("notes", &id, &fields),
                    "update" => edit.update("notes", &id, &fields),
                    "remove" => edit.remove("notes", &id),
                    other => panic!("no such step: {other}"),
                });
                done.unwrap();
            }
        }
        let mut sent = Vec::new();
        while let Some(output) = self.client.poll() {
            match output {
                ClientOutput::Send(frame) => sent.push(frame),
                ClientOutput::Persist(persist) => self.storing = persist.id,
                ClientOutput::Event(_) => {}
                ClientOutput::Disconnect { reason } => panic!("{reason}"),
            }
        }
        sent
    }
}
