//! MessagePack by hand against the crate `rmp-serde`: the same bytes, and nothing that another
//! encoder may write is refused or read as something else.

use proptest::prelude::*;
use sync_core::causal::{Dot, Entry, Label, Note, PlaceId, ReplicaId, Slots};
use sync_core::error::Malformed;
use sync_core::pack::{self, Kind, Reader};
use sync_core::session::{LogEntry, OutboxState, Side, decode_log, encode_log};
use sync_core::time::Stamp;

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

/// Reads one item that is all there is.
fn read<'a, T>(
    bytes: &'a [u8],
    take: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>,
) -> Result<T, Malformed> {
    let mut reader = Reader::new(bytes);
    let item = take(&mut reader)?;
    reader.end()?;
    let mut skipping = Reader::new(bytes);
    skipping.skip().and_then(|()| skipping.end()).expect("what was read can be skipped");
    Ok(item)
}

/// Numbers on both sides of every border between forms.
fn borders() -> Vec<i128> {
    let borders = [0, 5, 7, 8, 15, 16, 31, 32, 63, 64].map(|bits: u32| 1i128 << bits);
    borders.iter().flat_map(|at| (-2..=2).flat_map(move |by| [at + by, -at + by])).collect()
}

#[test]
fn numbers_are_the_bytes_of_the_oracle() {
    for number in borders() {
        if let Ok(number) = u64::try_from(number) {
            let bytes = written(|out| pack::uint(out, number));
            assert_eq!(bytes, rmp_serde::to_vec(&number).unwrap(), "{number}");
            assert_eq!(read(&bytes, Reader::uint), Ok(number));
            assert_eq!(read(&bytes, Reader::int).ok(), i64::try_from(number).ok());
            assert_eq!(read(&bytes, Reader::narrow::<u16>).ok(), u16::try_from(number).ok());
        }
        if let Ok(number) = i64::try_from(number) {
            let bytes = written(|out| pack::int(out, number));
            assert_eq!(bytes, rmp_serde::to_vec(&number).unwrap(), "{number}");
            assert_eq!(read(&bytes, Reader::int), Ok(number));
            assert_eq!(read(&bytes, Reader::uint).ok(), u64::try_from(number).ok());
        }
    }
}

#[test]
fn long_forms_of_small_numbers_are_read() {
    for bytes in [
        &[0xcc, 7][..],
        &[0xcd, 0, 7],
        &[0xce, 0, 0, 0, 7],
        &[0xcf, 0, 0, 0, 0, 0, 0, 0, 7],
        &[0xd0, 7],
        &[0xd1, 0, 7],
        &[0xd2, 0, 0, 0, 7],
        &[0xd3, 0, 0, 0, 0, 0, 0, 0, 7],
    ] {
        assert_eq!(read(bytes, Reader::uint), Ok(7));
        assert_eq!(read(bytes, Reader::int), Ok(7));
    }
}

#[test]
fn lengths_are_the_bytes_of_the_oracle() {
    for len in [0, 1, 15, 16, 31, 32, 255, 256, 65_535, 65_536] {
        let text = "x".repeat(len);
        let bytes = written(|out| pack::str(out, &text));
        assert_eq!(bytes, rmp_serde::to_vec(&text).unwrap());
        assert_eq!(read(&bytes, Reader::str), Ok(text.as_str()));

        let raw = serde_bytes::ByteBuf::from(text.as_bytes());
        let bytes = written(|out| pack::bytes(out, &raw));
        assert_eq!(bytes, rmp_serde::to_vec(&raw).unwrap());
        assert_eq!(read(&bytes, Reader::bytes), Ok(raw.as_slice()));

        let bytes = written(|out| {
            pack::array(out, len);
            (0..len).for_each(|_| pack::nil(out));
        });
        assert_eq!(bytes, rmp_serde::to_vec(&vec![(); len]).unwrap());
        let nils = read(&bytes, |reader| {
            let len = reader.array()?;
            (0..len).try_for_each(|_| reader.nil()).map(|()| len)
        });
        assert_eq!(nils, Ok(len));

        let items: std::collections::BTreeMap<_, _> = (0..len).map(|key| (key, true)).collect();
        let bytes = written(|out| {
            pack::map(out, len);
            for key in 0..len {
                pack::uint(out, key as u64);
                pack::bool(out, true);
            }
        });
        assert_eq!(bytes, rmp_serde::to_vec(&items).unwrap());
        let sum = read(&bytes, |reader| {
            let mut sum = 0;
            for _ in 0..reader.map()? {
                sum += reader.uint()?;
                assert_eq!(reader.bool(), Ok(true));
            }
            Ok(sum)
        });
        assert_eq!(sum, Ok((0..len as u64).sum()));
    }
}

#[test]
fn floats_keep_their_bits_and_every_nan_is_one() {
    for number in [0.0, -0.0, 1.5, f64::MIN_POSITIVE, f64::MAX, f64::INFINITY, f64::NEG_INFINITY] {
        let bytes = written(|out| pack::float(out, number));
        assert_eq!(bytes, rmp_serde::to_vec(&number).unwrap());
        assert_eq!(read(&bytes, Reader::float).map(f64::to_bits), Ok(number.to_bits()));
    }
    let other_nan = f64::from_bits(f64::NAN.to_bits() | 1 << 63 | 7);
    let nan = written(|out| pack::float(out, f64::NAN));
    assert_eq!(written(|out| pack::float(out, other_nan)), nan);
    assert_eq!(nan, rmp_serde::to_vec(&f64::NAN).unwrap());
    assert_eq!(read(&rmp_serde::to_vec(&1.5f32).unwrap(), Reader::float), Ok(1.5));
}

#[test]
fn each_first_byte_is_of_one_kind() {
    for first in 0..=u8::MAX {
        let mut bytes = vec![first];
        bytes.extend([0; 64]);
        let reader = Reader::new(&bytes);
        let readers: Vec<Kind> = [
            (reader.clone().take_nil(), Kind::Nil),
            (reader.clone().bool().is_ok(), Kind::Bool),
            (reader.clone().int().is_ok(), Kind::Int),
            (reader.clone().float().is_ok(), Kind::Float),
            (reader.clone().str().is_ok(), Kind::Str),
            (reader.clone().bytes().is_ok(), Kind::Bytes),
            (reader.clone().array().is_ok(), Kind::Array),
            (reader.clone().map().is_ok(), Kind::Map),
        ]
        .into_iter()
        .filter_map(|(took, kind)| took.then_some(kind))
        .collect();
        assert_eq!(readers, reader.kind().into_iter().collect::<Vec<_>>(), "{first:#x}");
    }
}

#[test]
fn a_length_is_never_beyond_the_bytes() {
    for first in 0..=u8::MAX {
        for rest in [&[][..], &[0xff; 1], &[0xff; 4], &[0xff; 8], &[0x7f, 0xff, 0xff, 0xff, 1]] {
            let bytes = [&[first], rest].concat();
            let reader = Reader::new(&bytes);
            assert!(reader.clone().array().is_ok_and(|len| len > rest.len()).eq(&false));
            assert!(reader.clone().map().is_ok_and(|len| 2 * len > rest.len()).eq(&false));
            assert!(reader.clone().list(3).is_ok_and(|len| 3 * len > rest.len()).eq(&false));
            let _ = (reader.clone().str(), reader.clone().bytes(), reader.clone().skip());
        }
    }
    assert_eq!(Reader::new(&[0x93, 0, 0]).array().ok(), None);
    assert_eq!(Reader::new(&[0x93, 0, 0, 0]).array(), Ok(3));
    assert!(Reader::new(&[0x93, 0, 0, 0]).exactly(2).is_err());
    assert!(Reader::new(&[0x93, 0, 0, 0]).at_least(4).is_err());
    assert_eq!(Reader::new(&[0x93, 0, 0, 0]).at_least(1), Ok(2));
}

#[test]
fn items_are_skipped_however_deep() {
    for (depth, opener) in [(60_000, &[0x91][..]), (60_000, &[0x81, 1]), (1, &[0x92, 0xc0])] {
        let mut bytes = opener.repeat(depth);
        assert!(Reader::new(&bytes).skip().is_err(), "it has no end");
        bytes.push(0xc0);
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.skip().and_then(|()| reader.end()), Ok(()));
    }
    // Each level claims all that is left.
    let mut greedy = Vec::new();
    for level in 0..10_000u32 {
        greedy.push(0xdd);
        greedy.extend((50_000 - level * 5 - 5).to_be_bytes());
    }
    assert!(Reader::new(&greedy).skip().is_err());
}

/// What is stored in rows has the form that a derived encoder gives it.
#[test]
fn rows_are_the_bytes_of_the_oracle() {
    #[derive(serde::Serialize)]
    enum State {
        Pending,
        Frozen,
        Parked { reason: String },
    }
    let reason = || "why".to_owned();
    for (state, oracle) in [
        (OutboxState::Pending, State::Pending),
        (OutboxState::Frozen, State::Frozen),
        (OutboxState::Parked { reason: reason() }, State::Parked { reason: reason() }),
    ] {
        let bytes = written(|out| state.encode_into(out));
        assert_eq!(bytes, rmp_serde::to_vec(&oracle).unwrap());
        assert_eq!(read(&bytes, OutboxState::decode), Ok(state));
    }

    let raw = |bytes: &[u8]| serde_bytes::ByteBuf::from(bytes);
    let author = ReplicaId::from_bytes([7; 16]);
    let dot = Dot::new(author, 300);
    let stamp = Stamp::from_bits(70_000 << 16 | 2);
    let label = Label::new(b"space", [&b""[..], b"name", b""]);
    let slots = Slots::new([None, Some(&[1, 2][..]), None].into_iter());
    let id = PlaceId::new(b"id");
    let entry = Entry { first: dot, stamp, label, id: id.clone(), slots };
    let bytes = written(|out| entry.encode_into(out));
    let first = (raw(&[7; 16]), 300);
    let names = [raw(b""), raw(b"name"), raw(b"")];
    let packed = raw(&[3, 0, 3, 1, 2, 0]);
    let oracle = (&first, stamp.to_bits(), raw(b"space"), names, raw(b"id"), packed);
    assert_eq!(bytes, rmp_serde::to_vec(&oracle).unwrap());
    assert_eq!(read(&bytes, Entry::decode), Ok(entry));

    let note = Note { dot, stamp, label: Label::new(b"space", []), id };
    let bytes = written(|out| note.encode_into(out));
    let oracle = (first, stamp.to_bits(), raw(b"space"), raw(b"id"));
    assert_eq!(bytes, rmp_serde::to_vec(&oracle).unwrap());
    assert_eq!(read(&bytes, Note::decode), Ok(note));

    let at = Some(stamp);
    let edit = Side { author, at, is_delete: false, value: Some("x".into()) };
    let removal = Side { at: None, is_delete: true, value: None, ..edit.clone() };
    let (collection, record) = ("notes".to_owned(), "id".to_owned());
    for field in [None, Some("title".to_owned())] {
        let (field, sides) = (field, vec![edit.clone(), removal.clone()]);
        let sides_oracle = (
            (raw(&[7; 16]), stamp.to_bits(), false, "x"),
            (raw(&[7; 16]), None::<()>, true, None::<()>),
        );
        let oracle = rmp_serde::to_vec(&(&collection, &record, &field, sides_oracle, 5)).unwrap();
        let (collection, record) = (collection.clone(), record.clone());
        let entry = LogEntry { collection, record, field, sides, seen_ms: 5 };
        assert_eq!(encode_log(&entry), oracle);
        assert_eq!(decode_log(&oracle), Ok(entry));
    }
}

/// A tree of what `rmp-serde` writes.
fn tree() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".{0,40}".prop_map(Into::into),
    ];
    leaf.prop_recursive(5, 64, 20, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..20).prop_map(Into::into),
            proptest::collection::btree_map(".{0,5}", inner, 0..20)
                .prop_map(|items| items.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

fn write_tree(out: &mut Vec<u8>, tree: &serde_json::Value) {
    match tree {
        serde_json::Value::Null => pack::nil(out),
        serde_json::Value::Bool(truth) => pack::bool(out, *truth),
        serde_json::Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => pack::uint(out, number),
            (None, Some(number)) => pack::int(out, number),
            (None, None) => pack::float(out, number.as_f64().unwrap()),
        },
        serde_json::Value::String(text) => pack::str(out, text),
        serde_json::Value::Array(items) => {
            pack::array(out, items.len());
            items.iter().for_each(|item| write_tree(out, item));
        }
        serde_json::Value::Object(items) => {
            pack::map(out, items.len());
            for (key, item) in items {
                pack::str(out, key);
                write_tree(out, item);
            }
        }
    }
}

proptest! {
    #[test]
    fn trees_are_the_bytes_of_the_oracle(tree in tree()) {
        let bytes = written(|out| write_tree(out, &tree));
        prop_assert_eq!(&bytes, &rmp_serde::to_vec(&tree).unwrap());
        prop_assert_eq!(&rmp_serde::from_slice::<serde_json::Value>(&bytes).unwrap(), &tree);
        prop_assert!(read(&bytes, Reader::skip).is_ok());
        for end in 0..bytes.len() {
            prop_assert!(Reader::new(&bytes[..end]).skip().is_err());
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut reader = Reader::new(&bytes);
        while reader.skip().is_ok() {}
        let mut reader = Reader::new(&bytes);
        if reader.skip().is_ok() {
            let whole = bytes.len() - reader.rest_len();
            prop_assert!(rmp_serde::from_slice::<serde::de::IgnoredAny>(&bytes[..whole]).is_ok());
        }
    }
}
