//! The handle of a change: how safe it is.

use std::sync::Arc;
use std::time::Duration;

use sync_core::causal::Dot;

use crate::client::Inner;
use crate::error::Error;

/// A change that was accepted. It is not on disk before [`disk`](Self::disk) says so, and
/// not on the hub's disk before [`hub`](Self::hub) says so.
///
/// Both can be awaited in any async runtime or waited for by blocking, as often as wanted. Dropping
/// the handle changes nothing.
///
/// ```
/// use std::time::Duration;
/// use sync_client::{Client, Error};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let client = Client::open(folder.path().join("data"), "notes")?;
/// let notes = client.document("notes")?.collection("notes");
/// let (_, written) = notes.insert([("title", "Buy milk".into())])?;
/// written.wait_disk()?;
/// assert!(written.is_on_disk());
///
/// // There is no hub.
/// let refused = written.wait_hub(Duration::from_millis(10));
/// assert!(matches!(refused, Err(Error::TimedOut)));
/// assert!(!written.is_on_hub());
/// # Ok(client.shutdown()?)
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "the change is not yet on disk; wait with `wait_disk()` or `disk().await`"]
pub struct Written {
    pub(crate) inner: Arc<Inner>,
    pub(crate) document: Arc<str>,
    pub(crate) dot: Dot,
}

impl Written {
    /// The last dot of the change.
    #[must_use]
    pub fn dot(&self) -> Dot {
        self.dot
    }

    /// Completes once the change is on this disk.
    ///
    /// # Errors
    ///
    /// [`Error::Store`] where the store fails first: the change may not be on disk then, and opening again
    /// tells. [`Error::Closed`] where the client ended without it.
    pub async fn disk(&self) -> Result<(), Error> {
        self.hurry();
        self.inner.shared.until(|state| state.disk(&self.document, self.dot)).await
    }

    /// Completes once the change is on the hub's disk; without a hub, not before the client ends.
    ///
    /// # Errors
    ///
    /// [`Error::Parked`] where the hub refuses the change; it is kept here. [`Error::Store`] where the
    /// store fails first, and [`Error::Closed`] where the client is shut down first: the change is in the
    /// outbox then, and goes to the hub after the next opening.
    pub async fn hub(&self) -> Result<(), Error> {
        self.hurry();
        self.inner.shared.until(|state| state.hub(&self.document, self.dot)).await
    }

    /// Blocks until the change is on this disk.
    ///
    /// # Errors
    ///
    /// As [`Self::disk`].
    pub fn wait_disk(&self) -> Result<(), Error> {
        self.inner.shared.wait_disk(&self.document, self.dot)
    }

    /// Blocks until the change is on the hub's disk, or the time is over.
    ///
    /// # Errors
    ///
    /// As [`Self::hub`]; [`Error::TimedOut`] where the time is over.
    pub fn wait_hub(&self, timeout: Duration) -> Result<(), Error> {
        self.hurry();
        let shared = &self.inner.shared;
        let deadline = Some(shared.deadline(timeout));
        let hub = shared.wait_until(deadline, |state| state.hub(&self.document, self.dot));
        hub.unwrap_or(Err(Error::TimedOut))
    }

    /// Whether the change is on this disk.
    #[must_use]
    pub fn is_on_disk(&self) -> bool {
        matches!(self.inner.shared.lock().disk(&self.document, self.dot), Some(Ok(())))
    }

    /// Lets the driver store the change without waiting for others.
    fn hurry(&self) {
        if !self.is_on_disk() {
            self.inner.shared.hurry();
        }
    }

    /// Whether the change is on the hub's disk.
    #[must_use]
    pub fn is_on_hub(&self) -> bool {
        matches!(self.inner.shared.lock().hub(&self.document, self.dot), Some(Ok(())))
    }
}
