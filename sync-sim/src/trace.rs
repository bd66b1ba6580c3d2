//! What happened in a run: a hash over all events, and their text where somebody asks for it.

/// The events of one run.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    hash: u64,
    lines: Option<Vec<String>>,
}

impl Trace {
    /// A trace that keeps the text of the events, or only their hash.
    #[must_use]
    pub fn new(keeps_text: bool) -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: keeps_text.then(Vec::new) }
    }

    /// Two runs with one hash went the same way.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// The events in order, where they were kept.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        self.lines.as_deref().unwrap_or_default()
    }

    /// Takes an event: its numbers into the hash, its text where it is kept.
    pub(crate) fn note(&mut self, now_ms: u64, numbers: &[u64], text: impl FnOnce() -> String) {
        for number in [now_ms].iter().chain(numbers) {
            self.hash = (self.hash ^ number).wrapping_mul(0x9fb2_1c65_1e98_df25).rotate_left(23);
        }
        if let Some(lines) = &mut self.lines {
            lines.push(format!("{now_ms:>9} ms  {}", text()));
        }
    }
}
