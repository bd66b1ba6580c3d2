//! What the client wants done and tells, as plain JavaScript objects with a `type`.

use js_sys::Array;
use sync_core::session::{ClientEvent, ClientOutput, Persist, Step, encode_log};
use sync_core::types::Place;
use wasm_bindgen::JsValue;

use crate::object::{js_bytes, number, object};
use crate::stored::{cursor_to_js, dot_to_js, item_to_js, renaming_to_js, seal_all};

/// One output.
pub(crate) fn output_to_js(output: ClientOutput) -> JsValue {
    match output {
        ClientOutput::Send(frame) => {
            object(&[("type", "send".into()), ("frame", js_bytes(&frame))])
        }
        ClientOutput::Persist(Persist { id, document: _, steps }) => {
            let steps: Array = steps.into_iter().map(step_to_js).collect();
            object(&[("type", "persist".into()), ("id", number(id)), ("steps", steps.into())])
        }
        ClientOutput::Disconnect { reason } => {
            object(&[("type", "disconnect".into()), ("reason", reason.into())])
        }
        ClientOutput::Event(event) => event_to_js(event),
    }
}

fn event_to_js(event: ClientEvent) -> JsValue {
    match event {
        ClientEvent::Changed { document: _, places } => {
            let places = places.iter().filter_map(|place| match place {
                Place::Record { collection, id } => {
                    Some(Array::of2(&collection.into(), &id.text().into()))
                }
                Place::Set { .. } | Place::Value { .. } => None,
            });
            let places: Array = places.collect();
            object(&[("type", "changed".into()), ("places", places.into())])
        }
        ClientEvent::Status { document: _ } => object(&[("type", "status".into())]),
        ClientEvent::Peers { document: _ } => object(&[("type", "peers".into())]),
        ClientEvent::Conflict { .. } => object(&[("type", "conflict".into())]),
        ClientEvent::Renewed { document: _, replica } => {
            object(&[("type", "renewed".into()), ("replica", replica.text().into())])
        }
        ClientEvent::Welcomed { hub_ms } => {
            object(&[("type", "welcomed".into()), ("hub_ms", number(hub_ms))])
        }
    }
}

fn step_to_js(step: Step) -> JsValue {
    match step {
        Step::Join(delta) => object(&[("type", "join".into()), ("pieces", seal_all(delta).into())]),
        // Its store keeps none.
        Step::Record(_) | Step::Know(_) | Step::Forget(_) => JsValue::NULL,
        Step::Enqueue { item, replaces } => object(&[
            ("type", "enqueue".into()),
            ("item", item_to_js(&item)),
            ("replaces", replaces.map_or(JsValue::UNDEFINED, dot_to_js)),
        ]),
        Step::Freeze(key) => object(&[("type", "freeze".into()), ("key", dot_to_js(key))]),
        Step::Settle(key) => object(&[("type", "settle".into()), ("key", dot_to_js(key))]),
        Step::Park { key, reason } => {
            object(&[("type", "park".into()), ("key", dot_to_js(key)), ("reason", reason.into())])
        }
        Step::Follow(cursor) => {
            object(&[("type", "follow".into()), ("cursor", cursor_to_js(cursor))])
        }
        Step::Log(entry) => object(&[
            ("type", "log".into()),
            ("key", entry.key().into()),
            ("clash", entry.field.is_some().into()),
            ("seenMs", (entry.seen_ms as f64).into()),
            ("entry", js_bytes(&encode_log(&entry))),
        ]),
        Step::Renew(replica) => {
            object(&[("type", "renew".into()), ("replica", replica.text().into())])
        }
        Step::Rename(renaming) => {
            object(&[("type", "rename".into()), ("renaming", renaming_to_js(&renaming))])
        }
    }
}
