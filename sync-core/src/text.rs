//! Numbers as text, and back, without the formatting of the standard library: in the module for browsers
//! that would be several kilobytes for what stands here.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Bytes as hexadecimal digits.
pub(crate) fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// Reads as many hexadecimal digits in lower case as there is room for, and nothing else.
pub(crate) fn read_hex(digits: &[u8], bytes: &mut [u8]) -> Option<()> {
    if digits.len() != 2 * bytes.len() {
        return None;
    }
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        *byte = value(pair[0])? << 4 | value(pair[1])?;
    }
    Some(())
}

/// A number in decimal digits.
pub(crate) fn decimal(number: u64) -> String {
    let mut text = String::new();
    let mut unit = 1;
    while number / unit > 9 {
        unit *= 10;
    }
    while unit > 0 {
        text.push(char::from(DIGITS[(number / unit % 10) as usize]));
        unit /= 10;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_are_written_as_by_the_standard_library(number: u64, shift in 0u32..64) {
            let number = number >> shift;
            prop_assert_eq!(decimal(number), number.to_string());
        }
    }

    #[test]
    fn bytes_are_written_and_read_as_digits() {
        let mut text = String::new();
        push_hex(&mut text, &[0, 0x1f, 0xa9]);
        assert_eq!(text, "001fa9");
        let mut bytes = [0; 3];
        assert_eq!(read_hex(b"001fa9", &mut bytes), Some(()));
        assert_eq!(bytes, [0, 0x1f, 0xa9]);
        for bad in [&b"001fa"[..], b"001fa90", b"001fag", b"001FA9", b"+01fa9"] {
            assert_eq!(read_hex(bad, &mut bytes), None);
        }
    }
}
