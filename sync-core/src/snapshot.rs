//! A whole state in a compact form: columns, a dictionary of labels and replicas, a checksum for each
//! section, and compression on request.
//!
//! A snapshot is `SYNS`, a version, the context, the labels, and sections of entries in the order of
//! dots. `docs/snapshot.md` has every byte.

mod column;
#[cfg(feature = "deflate")]
mod deflate;
mod frame;
mod read;
mod write;

pub use read::read_snapshot;
pub use write::write_snapshot;

/// What a snapshot begins with.
const MAGIC: [u8; 4] = *b"SYNS";

/// The version that is written.
const VERSION: u8 = 1;

/// How many entries a section has at most. Arbitrary: enough for compression, and a bound on memory.
const SECTION_ENTRIES: usize = 16 * 1024;

/// The most bytes of a frame before compression. What is larger than that was not written here.
const FRAME_BYTES_MAX: usize = 1 << 30;

/// DEFLATE makes at most so many bytes of one (1,032; RFC 1951), here with some to spare.
pub const INFLATION_MAX: usize = 1_100;

/// The most bytes of values that can be taken as numbers: those of a UUID.
const NUMBER_BYTES_MAX: usize = 16;

/// After how many bytes of slots a section ends. Arbitrary.
const SECTION_BYTES: usize = 4 * 1024 * 1024;

/// Whether and how sections are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Bytes as they are.
    #[default]
    None,
    /// DEFLATE (RFC 1951).
    #[cfg(feature = "deflate")]
    Deflate,
}

/// How the bytes of a section stand in a snapshot.
mod form {
    pub(super) const PLAIN: u8 = 0;
    pub(super) const DEFLATE: u8 = 1;
}

/// Holds `docs/snapshot.md` against the code, and the reader against snapshots made by hand.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::causal::{
        Dot, Entry, LABEL_BYTES_MAX, Label, MemoryStore, PLACE_ID_BYTES_MAX, PlaceId, RUN_DOTS_MAX,
        ReplicaId, Slots,
    };
    use crate::checksum::crc32;
    use crate::error::Malformed;
    use crate::time::Stamp;

    const PAGE: &str = include_str!("../../docs/snapshot.md");

    const BYTES_MAX: usize = 1 << 20;

    /// The rows of the table with this heading, cell by cell.
    fn rows(heading: &str) -> Vec<Vec<&'static str>> {
        let start = PAGE.find(&format!("| {heading} |")).expect("the table is there");
        let lines = PAGE[start..].lines().skip(2).take_while(|line| line.starts_with('|'));
        lines.map(|line| line.trim_matches('|').split('|').map(str::trim).collect()).collect()
    }

    /// The bytes of the example: the head of the file, the head's frame, and that of its section.
    fn example() -> Vec<u8> {
        let start = PAGE.find("```").expect("the example is there") + 3;
        let hex = &PAGE[start..start + PAGE[start..].find("```").expect("it ends")];
        hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    }

    fn state() -> MemoryStore {
        let replica = ReplicaId::from_bytes([1; 16]);
        let entry = |counter, stamp, names: &[&[u8]], slots: &[Option<&[u8]>]| Entry {
            first: Dot::new(replica, counter),
            stamp: Stamp::from_bits(stamp),
            label: Label::new(b"s", names.iter().copied()),
            id: PlaceId::new(b"id"),
            slots: Slots::new(slots.iter().copied()),
        };
        let context = (1..=7).map(|counter| Dot::new(replica, counter)).collect();
        MemoryStore::load(
            context,
            [
                entry(1, 5, &[b"a", b"", b"b"], &[Some(b"x"), None, Some(b"yz")]),
                entry(6, 4, &[b"a"], &[Some(b"w")]),
            ],
        )
    }

    #[test]
    fn the_page_has_the_numbers_of_the_code() {
        let limits: Vec<u64> =
            rows("limit | value").iter().map(|cells| cells[1].parse().unwrap()).collect();
        let sizes = [FRAME_BYTES_MAX, LABEL_BYTES_MAX, PLACE_ID_BYTES_MAX, RUN_DOTS_MAX];
        let mut code = sizes.map(|size| size as u64).to_vec();
        code.push(Dot::COUNTER_MAX);
        assert_eq!(limits, code);
        let forms: Vec<u8> = rows("form | how the columns stand")
            .iter()
            .map(|row| row[0].parse().unwrap())
            .collect();
        assert_eq!(forms, [form::PLAIN, form::DEFLATE]);
        for stated in [
            format!("# The snapshot, version {VERSION}\n"),
            format!("the four bytes `{}`", MAGIC.escape_ascii()),
            format!("A version other than {VERSION}"),
            format!("one length L, 1 to {NUMBER_BYTES_MAX},"),
            format!("after {SECTION_ENTRIES} entries or {SECTION_BYTES} bytes of slots"),
        ] {
            assert!(PAGE.contains(&stated), "{stated}");
        }
    }

    #[test]
    fn the_example_is_what_is_written_and_read() {
        assert_eq!(write_snapshot(&state(), Compression::None), example());
        assert_eq!(read_snapshot(&example(), BYTES_MAX), Ok(state()));
    }

    /// The example with a section of these bytes, under a checksum that fits.
    fn with_section(form: u8, lens: &[u8], section: &[u8]) -> Vec<u8> {
        let mut bytes = example();
        bytes.truncate(bytes.len() - section_of_example().len() - 7);
        bytes.push(form);
        bytes.extend_from_slice(lens);
        bytes.extend_from_slice(&crc32(section).to_le_bytes());
        bytes.extend_from_slice(section);
        bytes
    }

    fn section_of_example() -> Vec<u8> {
        let example = example();
        example[example.len() - 36..].to_vec()
    }

    #[test]
    fn a_section_that_contradicts_itself_is_refused() {
        let section = section_of_example();
        let len = section.len() as u8;
        let read = |section: &[u8]| {
            read_snapshot(&with_section(0, &[section.len() as u8, 0], section), BYTES_MAX)
        };
        assert_eq!(read(&section), Ok(state()));
        // At a place, what stands there instead.
        for (at, byte) in [
            (0, 1),       // one entry, and something behind it
            (18, 1),      // a writer of one entry
            (18, 3),      // of three
            (19, 2),      // a label that was not given
            (22, 4),      // a counter that was not seen
            (26, 2),      // an object that did not stand before
            (27, 3 | 12), // ids without fixed bits, which are not there
            (28, 1 | 8),  // a column aside, where nothing is
        ] {
            let mut broken = section.clone();
            assert_ne!(broken[at], byte, "{at}");
            broken[at] = byte;
            assert!(read(&broken).is_err(), "{byte} at {at}");
        }
        assert!(read_snapshot(&with_section(2, &[len, 0], &section), BYTES_MAX).is_err());
        assert!(read_snapshot(&with_section(0, &[len - 1, 1], &section), BYTES_MAX).is_err());
    }

    #[test]
    fn the_bytes_of_a_frame_are_limited() {
        for (beyond, is_over) in [(-1isize, false), (0, false), (1, true)] {
            let whole = FRAME_BYTES_MAX.checked_add_signed(beyond).unwrap();
            // So many bytes with the columns, or with those that stand aside.
            for (columns, aside) in [(whole, 0), (0, whole), (whole - 7, 7)] {
                let mut lens = Vec::new();
                crate::pack::varint::write(&mut lens, columns as u64);
                crate::pack::varint::write(&mut lens, aside as u64);
                let read = read_snapshot(&with_section(0, &lens, &[]), usize::MAX).unwrap_err();
                // None of it is there.
                assert_eq!(matches!(read, Malformed::Limit { .. }), is_over, "{whole}: {read}");
            }
        }
    }

    #[cfg(feature = "deflate")]
    #[test]
    fn any_stream_of_deflate_is_read_if_it_is_all_and_as_long_as_it_says() {
        let section = section_of_example();
        let len = section.len() as u8;
        // One block, stored, the last.
        let mut stored = vec![1, len, 0, !len, 0xff];
        stored.extend_from_slice(&section);
        let packed_len = stored.len() as u8;
        let read = |lens: &[u8], stored: &[u8], max| {
            read_snapshot(&with_section(1, lens, stored), max).map_err(|error| {
                if matches!(error, Malformed::Limit { .. }) { "limit" } else { "broken" }
            })
        };
        assert_eq!(read(&[len, packed_len, 0], &stored, BYTES_MAX), Ok(state()));
        assert_eq!(read(&[len - 1, packed_len, 0], &stored, BYTES_MAX), Err("broken"));
        assert_eq!(read(&[len + 1, packed_len, 0], &stored, BYTES_MAX), Err("broken"));
        let mut longer = stored.clone();
        longer.push(0);
        assert_eq!(read(&[len, packed_len + 1, 0], &longer, BYTES_MAX), Err("broken"));
        // More than any stream of this length gives, and more than the reader allows.
        let mega = [0xff, 0xff, 0x3f];
        let claim = [&mega[..], &[packed_len, 0]].concat();
        assert_eq!(read(&claim, &stored, BYTES_MAX + 64), Err("broken"));
        assert_eq!(read(&claim, &stored, BYTES_MAX), Err("limit"));
    }
}
