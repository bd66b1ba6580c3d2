//! What bytes of the wire say, in the form of the golden vectors, which hold this build against the
//! native one.

use js_sys::{Array, Object};
use sync_core::causal::{CausalContext, Delta, Entry, Note};
use sync_core::time::Stamp;
use sync_core::wire::{
    Claim, ClientMessage, Cursor, HubMessage, Push, Welcome, decode_client, decode_delta,
    decode_hub, encode_delta,
};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::failure::{bad_argument, malformed};
use crate::object::{number, object, put};

/// What bytes of a `client` or `hub` frame or of a `delta` say.
#[wasm_bindgen]
pub fn describe(kind: &str, bytes: &[u8]) -> Result<JsValue, JsValue> {
    let described = match kind {
        "client" => decode_client(bytes).map(|message| client_to_js(&message)),
        "hub" => decode_hub(bytes).map(|message| hub_to_js(&message)),
        "delta" => decode_delta(bytes).map(|delta| delta_to_js(&delta)),
        _ => return Err(bad_argument("kind")),
    };
    described.map_err(|error| malformed(&error))
}

/// Decodes bytes of a frame or a `delta`, and encodes them again.
#[wasm_bindgen]
pub fn encode_again(kind: &str, bytes: &[u8]) -> Result<Vec<u8>, JsValue> {
    let again = match kind {
        "client" => decode_client(bytes).map(|message| message.encode()),
        "hub" => decode_hub(bytes).map(|message| message.encode()),
        "delta" => decode_delta(bytes).map(|delta| encode_delta(&delta)),
        _ => return Err(bad_argument("kind")),
    };
    again.map_err(|error| malformed(&error))
}

fn client_to_js(message: &ClientMessage) -> JsValue {
    match message {
        ClientMessage::Hello { version, token, agent } => object([
            ("type", "hello".into()),
            ("version", (*version).into()),
            ("token", token.as_ref().map_or(JsValue::NULL, JsValue::from)),
            ("agent", agent.into()),
        ]),
        ClientMessage::Open { channel, document, cursor, context, claims } => object([
            ("type", "open".into()),
            ("channel", (*channel).into()),
            ("document", document.into()),
            ("cursor", cursor.map_or(JsValue::NULL, cursor_to_js)),
            ("context", context_to_js(context)),
            ("claims", claims_to_js(claims)),
        ]),
        ClientMessage::Claim { channel, claims } => object([
            ("type", "claim".into()),
            ("channel", (*channel).into()),
            ("claims", claims_to_js(claims)),
        ]),
        ClientMessage::Release { channel, replicas } => {
            let replicas: Array =
                replicas.iter().map(|replica| JsValue::from(replica.to_string())).collect();
            object([
                ("type", "release".into()),
                ("channel", (*channel).into()),
                ("replicas", replicas.into()),
            ])
        }
        ClientMessage::Push(Push { channel, id, delta }) => object([
            ("type", "push".into()),
            ("channel", (*channel).into()),
            ("id", number(*id)),
            ("delta", delta_to_js(delta)),
        ]),
        ClientMessage::ChunkStored { channel, number: count } => object([
            ("type", "chunk stored".into()),
            ("channel", (*channel).into()),
            ("number", number(*count)),
        ]),
        ClientMessage::Presence { channel, replica, name, state } => object([
            ("type", "presence".into()),
            ("channel", (*channel).into()),
            ("replica", replica.to_string().into()),
            ("name", name.into()),
            ("state", hex(state)),
        ]),
        ClientMessage::Ping => object([("type", "ping".into())]),
        _ => JsValue::UNDEFINED,
    }
}

fn hub_to_js(message: &HubMessage) -> JsValue {
    match message {
        HubMessage::Welcome(Welcome { version, hub, boot, now_ms }) => object([
            ("type", "welcome".into()),
            ("version", (*version).into()),
            ("hub", hub.to_string().into()),
            ("boot", boot.to_string().into()),
            ("now_ms", number(*now_ms)),
        ]),
        HubMessage::Opened { channel, context, resumed } => object([
            ("type", "opened".into()),
            ("channel", (*channel).into()),
            ("context", context_to_js(context)),
            ("resumed", (*resumed).into()),
        ]),
        HubMessage::Chunk { channel, number: count, delta, cursor } => object([
            ("type", "chunk".into()),
            ("channel", (*channel).into()),
            ("number", number(*count)),
            ("delta", delta_to_js(delta)),
            ("cursor", cursor.map_or(JsValue::NULL, cursor_to_js)),
        ]),
        HubMessage::Delta { channel, cursor, delta } => object([
            ("type", "delta".into()),
            ("channel", (*channel).into()),
            ("cursor", cursor_to_js(*cursor)),
            ("delta", delta_to_js(delta)),
        ]),
        HubMessage::Stored { channel, id, cursor } => object([
            ("type", "stored".into()),
            ("channel", (*channel).into()),
            ("id", number(*id)),
            ("cursor", cursor_to_js(*cursor)),
        ]),
        HubMessage::Refused { channel, id, reason } => object([
            ("type", "refused".into()),
            ("channel", (*channel).into()),
            ("id", number(*id)),
            ("reason", reason.into()),
        ]),
        HubMessage::InUse { channel, replica } => object([
            ("type", "in use".into()),
            ("channel", (*channel).into()),
            ("replica", replica.to_string().into()),
        ]),
        HubMessage::Presence { channel, replica, shown } => {
            let shown = shown.as_ref().map(|(name, state)| Array::of2(&name.into(), &hex(state)));
            object([
                ("type", "presence".into()),
                ("channel", (*channel).into()),
                ("replica", replica.to_string().into()),
                ("shown", shown.map_or(JsValue::NULL, JsValue::from)),
            ])
        }
        HubMessage::Pong => object([("type", "pong".into())]),
        _ => JsValue::UNDEFINED,
    }
}

fn delta_to_js(delta: &Delta) -> JsValue {
    let entries = delta.entries.iter().map(|Entry { first, stamp, label, id, slots }| {
        let names = label.names().map(hex).collect::<Array>();
        let slots = slots.iter().map(|slot| slot.map_or(JsValue::NULL, hex));
        object([
            ("first", first.to_string().into()),
            ("stamp", stamp_to_js(*stamp)),
            ("label", object([("space", hex(label.space())), ("names", names.into())])),
            ("id", hex(id)),
            ("slots", slots.collect::<Array>().into()),
        ])
    });
    let notes = delta.notes.iter().map(|Note { dot, stamp, label, id }| {
        object([
            ("dot", dot.to_string().into()),
            ("stamp", stamp_to_js(*stamp)),
            ("space", hex(label.space())),
            ("id", hex(id)),
        ])
    });
    object([
        ("dead", context_to_js(&delta.dead)),
        ("entries", entries.collect::<Array>().into()),
        ("notes", notes.collect::<Array>().into()),
    ])
}

fn stamp_to_js(stamp: Stamp) -> JsValue {
    Array::of2(&number(stamp.ms()), &stamp.logical().into()).into()
}

fn context_to_js(context: &CausalContext) -> JsValue {
    let object = Object::new();
    for (replica, ranges) in context.iter() {
        let ranges = ranges.iter().map(|(start, end)| Array::of2(&number(start), &number(end)));
        put(&object, &replica.to_string(), &ranges.collect::<Array>().into());
    }
    object.into()
}

fn claims_to_js(claims: &[Claim]) -> JsValue {
    let claims = claims.iter().map(|claim| {
        Array::of2(&claim.replica.to_string().into(), &claim.opening.to_string().into())
    });
    claims.collect::<Array>().into()
}

fn cursor_to_js(cursor: Cursor) -> JsValue {
    Array::of2(&cursor.boot.to_string().into(), &number(cursor.seq)).into()
}

fn hex(bytes: &[u8]) -> JsValue {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    let digits = bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]);
    digits.collect::<String>().into()
}
