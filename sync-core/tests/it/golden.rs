//! Golden vectors: bytes and what they mean, which no later version may change.

use serde_json::Value as Json;
use sync_core::document::Document;
use sync_core::error::Sure;
use sync_core::wire::{Dictionary, decode_client, decode_delta, decode_hub, encode_delta};

use crate::golden_cases::{
    Run, client_json, delta_json, files, frame_json, hex, hub_json, shown_json, unhex,
};

fn file(name: &str) -> Json {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/");
    let text = std::fs::read_to_string(format!("{path}{name}")).expect("the golden file is there");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn frames_mean_what_they_meant() {
    let frames = file("frames.json");
    assert!(frames.as_array().unwrap().len() >= 21);
    let mut of_chunks = Dictionary::new();
    for case in frames.as_array().unwrap() {
        let bytes = unhex(case["hex"].as_str().unwrap());
        let (decoded, again) = if case["from"] == "client" {
            let message = decode_client(&bytes).unwrap();
            (client_json(&message), message.encode())
        } else {
            let message = decode_hub(&bytes).unwrap();
            (hub_json(&message, &mut of_chunks), message.encode())
        };
        assert_eq!(decoded, case["decoded"]);
        assert_eq!(hex(&again), case["hex"].as_str().unwrap());
    }
}

/// What packs them is up to the writer: these another implementation of DEFLATE has packed.
#[test]
fn packed_frames_mean_what_they_meant() {
    let frames = file("packed.json");
    let types = ["push", "chunk", "delta"];
    assert_eq!(
        frames.as_array().unwrap().iter().map(|case| &case["decoded"]["type"]).collect::<Vec<_>>(),
        types
    );
    for case in frames.as_array().unwrap() {
        let bytes = unhex(case["hex"].as_str().unwrap());
        assert_eq!(frame_json(&case["from"], &bytes), case["decoded"]);
    }
}

#[test]
fn documents_read_as_they_read() {
    for case in file("documents.json").as_array().unwrap() {
        let mut document = Document::default();
        for delta in case["deltas"].as_array().unwrap() {
            let bytes = unhex(delta["hex"].as_str().unwrap());
            let decoded = decode_delta(&bytes).unwrap();
            assert_eq!(delta_json(&decoded), delta["decoded"]);
            assert_eq!(encode_delta(&decoded), bytes);
            document.join(&decoded).sure();
        }
        assert_eq!(shown_json(&document), case["shown"], "{}", case["name"]);
    }
}

#[test]
fn a_client_says_the_same_bytes() {
    let transcript = file("transcript.json");
    let mut run = Run::new();
    for step in transcript["steps"].as_array().unwrap() {
        let sent: Vec<_> = run.step(step).iter().map(|frame| hex(frame)).collect();
        let expected: Vec<_> =
            step["sends"].as_array().unwrap().iter().map(|hex| hex.as_str().unwrap()).collect();
        assert_eq!(sent, expected, "{}", step["do"]);
    }
    assert_eq!(shown_json(run.client.document("golden").unwrap()), transcript["shown"]);
}

#[test]
fn the_files_hold_every_case() {
    for (name, cases) in files() {
        assert_eq!(file(name), cases, "{name}: a case was added or a meaning changed");
    }
}
