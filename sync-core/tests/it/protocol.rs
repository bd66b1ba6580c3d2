//! Holds `docs/protocol.md` against the code.

use std::collections::BTreeMap;

use sync_core::causal::{LABEL_BYTES_MAX, PLACE_ID_BYTES_MAX, RUN_DOTS_MAX};
use sync_core::error::Malformed;
use sync_core::session::limits::{
    CLIENT_SILENCE_MS_MAX, GAPPED_RANGES_MAX, HELD_BY_ONE_MAX, HELD_DOCUMENTS_MAX, HELD_MS,
    HELLO_MS_MAX, HUB_SILENCE_MS_MAX, PING_MS, SHOWN_BYTES_MAX, STAMP_AHEAD_MS_MAX, WRITERS_MAX,
};
use sync_core::types::MARKS_MAX;
use sync_core::wire::{
    CHANNELS_MAX, CHUNK_CREDIT, CLAIMS_MAX, CONTEXT_RANGES_MAX, DELTA_BYTES_MAX,
    DICTIONARY_BYTES_MAX, DICTIONARY_ITEMS_MAX, Fault, HOLDERS_MAX, LABELS_MAX, MESSAGE_BYTES_MAX,
    NAME_BYTES_MAX, OPENINGS_MAX, PACKED_TIMES_MAX, PRESENCE_BYTES_MAX, PUSH_CREDIT, REPLICAS_MAX,
    SYNC_BYTES_MAX, SYNC_MESSAGES_MAX, SYNC_SESSION_BYTES_MAX, SYNC_TRIES_MAX, decode_client,
    decode_hub,
};

use crate::golden_cases::{files, unhex};

const PAGE: &str = include_str!("../../../docs/protocol.md");

/// The rows of the tables under a heading, cell by cell.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let start = PAGE.find(&format!("## {heading}\n")).expect("the heading is there");
    let section = &PAGE[start + 3..];
    let section = &section[..section.find("\n## ").unwrap_or(section.len())];
    let lines = section.lines().filter(|line| line.starts_with("| ") || line.starts_with("|-"));
    let cells =
        lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>());
    cells
        .filter(|cells| {
            !cells[0].starts_with('-') && !["type", "limit", "code"].contains(&cells[0])
        })
        .collect()
}

#[test]
fn every_message_stands_in_the_tables_under_its_type() {
    let documented: BTreeMap<u8, String> = rows("Messages")
        .into_iter()
        .map(|cells| (cells[0].parse().unwrap(), cells[1].to_lowercase()))
        .collect();
    let frames = files().remove("frames.json").unwrap();
    let mut known = BTreeMap::new();
    for case in frames.as_array().unwrap() {
        let bytes = unhex(case["hex"].as_str().unwrap());
        known.insert(bytes[5], case["decoded"]["type"].as_str().unwrap().replace(' ', ""));
    }
    known.extend([11, 77].map(|kind| (kind, "packed".to_owned())));
    assert_eq!(documented, known);
    // A type that decodes with some body, and is not documented, would be a message left out.
    for kind in (0..128u8).filter(|kind| !documented.contains_key(kind)) {
        let mut frame = vec![0, 0, 0, 0, 0x92, kind, 0x90];
        let checksum = crc32fast::hash(&frame[4..]);
        frame[..4].copy_from_slice(&checksum.to_le_bytes());
        for error in [decode_client(&frame).unwrap_err(), decode_hub(&frame).unwrap_err()] {
            assert!(matches!(error, Malformed::Inconsistent { .. }), "type {kind}: {error}");
        }
    }
}

#[test]
fn every_limit_has_the_value_of_the_table() {
    let code = [
        ("bytes of a frame", MESSAGE_BYTES_MAX),
        ("times its compressed bytes that a packed frame holds", PACKED_TIMES_MAX),
        ("bytes of an encoded delta", DELTA_BYTES_MAX),
        ("labels of a delta", LABELS_MAX),
        ("replicas, and labels, of a dictionary", DICTIONARY_ITEMS_MAX),
        ("bytes of the labels of a dictionary", DICTIONARY_BYTES_MAX),
        ("bytes of a label", LABEL_BYTES_MAX),
        ("bytes of a space or an id", PLACE_ID_BYTES_MAX),
        ("dots of an entry", RUN_DOTS_MAX),
        ("replicas of a document", REPLICAS_MAX),
        ("ranges of a context on the wire", CONTEXT_RANGES_MAX),
        ("channels of a connection", CHANNELS_MAX),
        ("claims of a channel", CLAIMS_MAX),
        ("openings of Opened", OPENINGS_MAX),
        ("bytes of a name", NAME_BYTES_MAX),
        ("bytes of a presence state", PRESENCE_BYTES_MAX),
        ("devices of Held", HOLDERS_MAX),
        ("bytes of a message of a comparison", SYNC_BYTES_MAX),
        ("bytes of a comparison", SYNC_SESSION_BYTES_MAX as usize),
        ("messages of a comparison", SYNC_MESSAGES_MAX as usize),
        ("comparisons of a channel", SYNC_TRIES_MAX as usize),
        ("chunks unconfirmed", CHUNK_CREDIT as usize),
        ("pushes unanswered", PUSH_CREDIT),
    ];
    let documented: Vec<_> =
        rows("Limits").into_iter().map(|cells| (cells[0], cells[1].parse().unwrap())).collect();
    assert_eq!(documented, code);
}

#[test]
fn the_limits_of_sessions_have_the_values_of_the_text() {
    let seconds = |ms: u64| ms / 1_000;
    let number = |hours: u64| if hours == 1 { "one".to_owned() } else { hours.to_string() };
    for stated in [
        format!("A client that has heard nothing for {} seconds says Ping", seconds(PING_MS)),
        format!("says Ping, and gives up after {}.", seconds(HUB_SILENCE_MS_MAX)),
        format!("after {} seconds without a frame", seconds(CLIENT_SILENCE_MS_MAX)),
        format!("and after {} without a Hello.", seconds(HELLO_MS_MAX)),
        format!("of the first {WRITERS_MAX} replicas named as claims and unsent"),
        format!("(the last {MARKS_MAX} of a replica,"),
        format!("as Presence (of at most {} MiB)", SHOWN_BYTES_MAX >> 20),
        format!("than the hub takes: {} hour,", number(STAMP_AHEAD_MS_MAX / 3_600_000)),
        format!("at most once in {} second; it may leave that out", seconds(HELD_MS)),
        format!("what they say, at most once in {} second,", seconds(HELD_MS)),
        format!("and of at most {HELD_DOCUMENTS_MAX} documents that nobody has open"),
        format!("of at most {HOLDERS_MAX} devices of a document"),
        format!("of at most {HELD_BY_ONE_MAX} of these by one connection"),
        format!("as that has at most {GAPPED_RANGES_MAX} ranges with the gaps that this leaves"),
    ] {
        assert!(PAGE.contains(&stated), "{stated}");
    }
}

#[test]
fn every_close_code_stands_in_the_table() {
    let faults = [
        Fault::GoingAway,
        Fault::Storage,
        Fault::Malformed(Malformed::Inconsistent { what: "x" }),
        Fault::Unauthorized("x".into()),
        Fault::Forbidden("x".into()),
        Fault::Version { offered: 2, spoken: 1 },
        Fault::Timeout("x".into()),
        Fault::OutOfOrder("x".into()),
        Fault::TooLarge { what: "x", found: 2, limit: 1 },
        Fault::SlowConsumer,
        Fault::Superseded,
    ];
    let documented = rows("Close codes");
    let codes: Vec<u16> = documented.iter().map(|cells| cells[0].parse().unwrap()).collect();
    assert_eq!(codes, faults.iter().map(Fault::close_code).collect::<Vec<_>>());
    for cells in documented {
        let code = cells[0].parse().unwrap();
        assert_eq!(Fault::is_final(code), cells[2].starts_with("stops"), "{code}");
    }
}
