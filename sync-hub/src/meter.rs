//! Counts the WebSocket frames that pass on a socket, and reads more slowly when there are too many.
//!
//! The WebSocket library answers pings and joins fragments by itself, so their number can only be
//! seen in the bytes (RFC 6455, section 5.2).

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::clock::Clock;
use crate::options::Limits;

/// The most bytes that are read of a connection before it is let in: a hello with its token. Arbitrary.
pub const HELLO_BYTES_MAX: usize = 16 * 1024;

/// A socket whose incoming frames are counted against a token bucket.
#[derive(Debug)]
pub(crate) struct FrameMeter<S> {
    inner: S,
    clock: Clock,
    frames: FrameCounter,
    bucket: Bucket,
    pause: Option<Pin<Box<Sleep>>>,
    /// How many more bytes are read, where that is limited.
    left: Option<usize>,
}

impl<S> FrameMeter<S> {
    pub(crate) fn new(inner: S, clock: Clock, limits: &Limits) -> Self {
        let now_ms = clock.now().monotonic_ms;
        let bucket = Bucket::new(limits.frames_per_second, limits.frames_burst, now_ms);
        Self { inner, clock, frames: FrameCounter::default(), bucket, pause: None, left: None }
    }

    /// Reads no more than so many bytes, or any number.
    pub(crate) fn read_at_most(&mut self, bytes: Option<usize>) {
        self.left = bytes;
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FrameMeter<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        if let Some(left) = &mut self.left {
            let Some(rest) = left.checked_sub(buf.filled().len() - before) else {
                return Poll::Ready(Err(io::ErrorKind::QuotaExceeded.into()));
            };
            *left = rest;
        }
        let frames = self.frames.count(&buf.filled()[before..]);
        let now_ms = self.clock.now().monotonic_ms;
        self.pause = self.bucket.take(frames, now_ms).map(|pause| Box::pin(sleep(pause)));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FrameMeter<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// Allows a number of frames at once and a rate over time. Works in thousandths of a frame.
#[derive(Debug)]
struct Bucket {
    per_ms: i64,
    full: i64,
    left: i64,
    filled_ms: u64,
}

impl Bucket {
    fn new(per_second: u32, burst: u32, now_ms: u64) -> Self {
        let full = i64::from(burst) * 1_000;
        Self { per_ms: i64::from(per_second.max(1)), full, left: full, filled_ms: now_ms }
    }

    /// Takes frames that have come, and says how long to wait before reading on.
    fn take(&mut self, frames: u32, now_ms: u64) -> Option<Duration> {
        let elapsed = i64::try_from(now_ms.saturating_sub(self.filled_ms)).unwrap_or(i64::MAX);
        self.filled_ms = now_ms;
        let more = elapsed.saturating_mul(self.per_ms);
        self.left = self.left.saturating_add(more).min(self.full) - i64::from(frames) * 1_000;
        let owed = u64::try_from(-self.left).ok().filter(|owed| *owed > 0)?;
        Some(Duration::from_millis(owed.div_ceil(self.per_ms.unsigned_abs())))
    }
}

/// Where in a frame the next byte stands.
#[derive(Debug, Default, Clone, Copy)]
enum At {
    /// The byte with the opcode.
    #[default]
    Start,
    /// The byte with the length.
    Length,
    /// So many bytes of a longer length.
    LongLength { left: u8, length: u64, mask: u64 },
    /// So many bytes of mask and payload.
    Body { left: u64 },
}

#[derive(Debug, Default)]
struct FrameCounter {
    at: At,
}

impl FrameCounter {
    /// Counts the frames that begin in these bytes, which follow on those before.
    fn count(&mut self, mut bytes: &[u8]) -> u32 {
        let mut frames = 0u32;
        while let Some((&byte, rest)) = bytes.split_first() {
            let (at, rest) = match self.at {
                At::Start => {
                    frames = frames.saturating_add(1);
                    (At::Length, rest)
                }
                At::Length => {
                    let mask = if byte & 0x80 == 0 { 0 } else { 4 };
                    let at = match byte & 0x7F {
                        126 => At::LongLength { left: 2, length: 0, mask },
                        127 => At::LongLength { left: 8, length: 0, mask },
                        length => body(u64::from(length) + mask),
                    };
                    (at, rest)
                }
                At::LongLength { left, length, mask } => {
                    let length = length << 8 | u64::from(byte);
                    let at = match left {
                        1 => body(length.saturating_add(mask)),
                        left => At::LongLength { left: left - 1, length, mask },
                    };
                    (at, rest)
                }
                At::Body { left } => {
                    let here = usize::try_from(left).map_or(bytes.len(), |n| n.min(bytes.len()));
                    (body(left - here as u64), &bytes[here..])
                }
            };
            (self.at, bytes) = (at, rest);
        }
        frames
    }
}

fn body(left: u64) -> At {
    if left == 0 { At::Start } else { At::Body { left } }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: usize, masked: bool) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut bytes = vec![0x82];
        match payload {
            0..126 => bytes.push(mask | payload as u8),
            126..65_536 => {
                bytes.push(mask | 126);
                bytes.extend((payload as u16).to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend((payload as u64).to_be_bytes());
            }
        }
        bytes.resize(bytes.len() + payload + if masked { 4 } else { 0 }, 0xFF);
        bytes
    }

    #[test]
    fn frames_of_every_length_are_counted_in_pieces_of_any_size() {
        let sizes = [0, 1, 125, 126, 127, 4_096, 65_535, 65_536, 0];
        let bytes: Vec<u8> = sizes
            .iter()
            .flat_map(|size| [frame(*size, true), frame(*size, false)].concat())
            .collect();
        for piece in [1, 2, 3, 7, 4_096, bytes.len()] {
            let mut counter = FrameCounter::default();
            let counts = bytes.chunks(piece).map(|piece| counter.count(piece));
            assert_eq!(counts.sum::<u32>(), sizes.len() as u32 * 2, "pieces of {piece}");
            assert!(matches!(counter.at, At::Start));
        }
    }

    #[test]
    fn a_length_of_all_ones_does_not_overflow() {
        let mut counter = FrameCounter::default();
        assert_eq!(counter.count(&[0x82, 0xFF, 255, 255, 255, 255, 255, 255, 255, 255, 1, 2]), 1);
    }

    #[test]
    fn the_bucket_lets_a_burst_pass_and_then_holds_the_rate() {
        let mut bucket = Bucket::new(100, 10, 0);
        assert_eq!(bucket.take(10, 0), None);
        assert_eq!(bucket.take(1, 0), Some(Duration::from_millis(10)));
        assert_eq!(bucket.take(0, 10), None);
        assert_eq!(bucket.take(200, 10), Some(Duration::from_millis(2_000)));
        assert_eq!(bucket.take(10, 1_000_000), None, "it is full again, and no fuller");
        assert_eq!(bucket.take(1, 1_000_000), Some(Duration::from_millis(10)));
    }
}
