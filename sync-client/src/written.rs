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
    pub async fn disk(&self) -> Result<(), Error> {
        self.inner.shared.until(|state| state.disk(&self.document, self.dot)).await
    }

    /// Completes once the change is on the hub's disk; without a hub, not before the client ends.
    pub async fn hub(&self) -> Result<(), Error> {
        self.inner.shared.until(|state| state.hub(&self.document, self.dot)).await
    }

    /// Blocks until the change is on this disk.
    pub fn wait_disk(&self) -> Result<(), Error> {
        let disk = self.inner.shared.wait_until(None, |state| state.disk(&self.document, self.dot));
        disk.unwrap_or(Err(Error::TimedOut))
    }

    /// Blocks until the change is on the hub's disk, or the time is over.
    pub fn wait_hub(&self, timeout: Duration) -> Result<(), Error> {
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

    /// Whether the change is on the hub's disk.
    #[must_use]
    pub fn is_on_hub(&self) -> bool {
        matches!(self.inner.shared.lock().hub(&self.document, self.dot), Some(Ok(())))
    }
}
