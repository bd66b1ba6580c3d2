//! The one place where this crate draws random numbers.

use crate::error::NoRandom;

/// Random bytes from the operating system.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], NoRandom> {
    #[cfg(test)]
    if let Some(bytes) = seeded::bytes() {
        return Ok(bytes);
    }
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| NoRandom)?;
    Ok(bytes)
}

#[cfg(test)]
pub(crate) use self::seeded::seed;

/// Numbers that a test can draw again.
#[cfg(test)]
mod seeded {
    use std::cell::RefCell;

    use sync_faults::Random;

    thread_local! {
        static RANDOM: RefCell<Option<Random>> = const { RefCell::new(None) };
    }

    /// Draws what this thread draws from a seed, or from the operating system again.
    pub(crate) fn seed(seed: Option<u64>) {
        RANDOM.with_borrow_mut(|random| *random = seed.map(Random));
    }

    pub(super) fn bytes<const N: usize>() -> Option<[u8; N]> {
        RANDOM.with_borrow_mut(|random| {
            let random = random.as_mut()?;
            Some(std::array::from_fn(|_| random.draw() as u8))
        })
    }
}
