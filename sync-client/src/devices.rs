//! Other devices, and which of them have a change.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use sync_core::causal::{Dot, ReplicaId};
use sync_core::error::Misuse;
use sync_core::session;

use crate::document::DocumentHandle;
use crate::error::Error;
use crate::shared::State;
use crate::stream::Watch;
use crate::written::Written;

/// Names a device: the data directory of a native client, or a tab's place in a browser's profile.
///
/// A copy of a data directory has the name of the original: the two count as one device, of which is known
/// what one of them said last. Its text is 24 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId([u8; 12]);

impl DeviceId {
    /// The bytes: the fingerprint that all replicas of the device have in common.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 12] {
        &self.0
    }
}

impl From<ReplicaId> for DeviceId {
    fn from(replica: ReplicaId) -> Self {
        let mut bytes = [0; 12];
        bytes.copy_from_slice(&replica.as_bytes()[..12]);
        Self(bytes)
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&ReplicaId::from_fingerprint(self.0).text()[..24])
    }
}

impl FromStr for DeviceId {
    type Err = Misuse;

    fn from_str(text: &str) -> Result<Self, Misuse> {
        let replica = format!("{text}00000000").parse().ok().filter(|_| text.len() == 24);
        let replica: ReplicaId = replica.ok_or(Misuse::BadName { what: "a device's id" })?;
        Ok(replica.into())
    }
}

/// Another device, as it was heard of last. What it had on its disk then, it may have lost since: as where
/// its file is put back from a backup. It says so when it next comes to a hub, and this client hears of it
/// when it is connected to the same hub.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Device {
    /// Which one.
    pub id: DeviceId,
    /// As whom it wrote then.
    pub replica: ReplicaId,
    /// What it calls itself ([`Builder::device_name`](crate::Builder::device_name)), as it was received: it
    /// may hold any characters. None where it does not say.
    pub name: Option<String>,
    /// When it said what it has, by this device's clock: milliseconds since 1970. It is kept on disk, where
    /// it may be a minute older.
    pub heard_ms: u64,
    /// How many dots (fields that were written, and removals) of those written here it is not known to have,
    /// those among them that are not on the hub.
    pub lag: u64,
}

/// How safe a change is. Nothing is said that is not known.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// It is on this disk.
    pub disk: bool,
    /// The hub has said that it is on its disk; of a change that was made before this client was opened, also
    /// since then: a hub may have lost what it had acknowledged.
    pub hub: bool,
    /// The hub refused it, or what it depends on; it is kept here.
    pub parked: bool,
    /// The devices that have said that they had it on their disks, in the order of their ids.
    pub devices: Vec<Device>,
}

impl State {
    fn device(&self, document: &str, known: &session::Device) -> Result<Device, Misuse> {
        let session::Device { replica, name, heard_ms, .. } = known;
        let lag = self.session.lag_of(document, known)?;
        let (id, name) = ((*replica).into(), Some(name.clone()).filter(|name| !name.is_empty()));
        Ok(Device { id, replica: *replica, name, heard_ms: *heard_ms, lag })
    }

    /// The other devices of a document.
    pub(crate) fn devices(&self, document: &str) -> Result<Vec<Device>, Misuse> {
        let known = self.session.devices(document)?;
        known.map(|known| self.device(document, known)).collect()
    }

    /// Those that have a change.
    pub(crate) fn holders(&self, document: &str, dot: Dot) -> Result<Vec<Device>, Misuse> {
        let known = self.session.holders(document, dot)?.into_iter();
        known.map(|known| self.device(document, known)).collect()
    }

    /// How safe a change is.
    fn receipt(&self, document: &str, dot: Dot) -> Result<Receipt, Misuse> {
        let session::Receipt { disk, hub, parked } = self.session.receipt(document, dot)?;
        Ok(Receipt { disk, hub, parked, devices: self.holders(document, dot)? })
    }

    /// Whether the wait for a device, or for any, has ended, and how.
    fn held(
        &self,
        document: &str,
        dot: Dot,
        device: Option<DeviceId>,
    ) -> Option<Result<Device, Error>> {
        let holders = match self.holders(document, dot) {
            Ok(holders) => holders,
            Err(misuse) => return Some(Err(misuse.into())),
        };
        let found = holders.into_iter().find(|holder| device.is_none_or(|id| holder.id == id));
        let ended = || self.hub(document, dot)?.err().map(Err);
        found.map(Ok).or_else(ended).or_else(|| self.ended().and_then(Result::err).map(Err))
    }
}

impl DocumentHandle {
    /// The other devices that were heard of, up to 256, in the order of their ids: known without a
    /// connection too. Those that were not heard of for the longest time are forgotten first.
    #[must_use]
    pub fn devices(&self) -> Vec<Device> {
        self.inner.shared.lock().devices(&self.name).unwrap_or_default()
    }

    /// The other devices, now and whenever one has more of what was written here, or less, or is new.
    #[must_use]
    pub fn watch_devices(&self) -> Watch<Vec<Device>> {
        let name = self.name.clone();
        let read = move |state: &State, _| state.devices(&name).ok();
        Watch::new(self.inner.shared.clone(), read, |one, other| is_same(one, other))
    }

    /// How safe a change is that was made here, now or before a restart: by its last dot, as
    /// [`Written::dot`] gives it. What was given up, written anew or put under another name, since a copy of this
    /// database wrote something else, is never on the hub under that dot: it is said to be parked.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] where the change was not made here, or is not here under that dot any more: a copy of
    /// this database wrote something else under it, or a repair took it out; [`Error::Closed`] once the client
    /// has ended.
    pub fn receipt(&self, dot: Dot) -> Result<Receipt, Error> {
        let state = self.inner.shared.lock();
        let own = state.session.replica(&self.name)?;
        let is_here = state.session.document(&self.name)?.store().context().contains(dot);
        if !own.is_kin(&dot.replica) || !is_here {
            return Err(Misuse::BadName { what: "the dot of a change that was made here" }.into());
        }
        Ok(state.receipt(&self.name, dot)?)
    }
}

impl Written {
    /// How safe the change is: on this disk, on the hub's, and which devices have had it on theirs.
    ///
    /// # Errors
    ///
    /// As [`DocumentHandle::receipt`].
    pub fn receipt(&self) -> Result<Receipt, Error> {
        Ok(self.inner.shared.lock().receipt(&self.document, self.dot)?)
    }

    /// Completes once a device has said that the change was on its disk; without a hub, not before the client
    /// ends.
    ///
    /// # Errors
    ///
    /// As [`Self::hub`].
    pub async fn on_device(&self, device: DeviceId) -> Result<Device, Error> {
        let held = |state: &State| state.held(&self.document, self.dot, Some(device));
        self.inner.shared.until(held).await
    }

    /// Completes once any other device has said that the change was on its disk, and gives the first.
    ///
    /// # Errors
    ///
    /// As [`Self::hub`].
    pub async fn on_any_device(&self) -> Result<Device, Error> {
        self.inner.shared.until(|state| state.held(&self.document, self.dot, None)).await
    }

    /// Blocks until a device has said that the change was on its disk, or the time is over.
    ///
    /// # Errors
    ///
    /// As [`Self::wait_hub`].
    pub fn wait_device(&self, device: DeviceId, timeout: Duration) -> Result<Device, Error> {
        self.wait_held(Some(device), timeout)
    }

    /// Blocks until any other device has said that the change was on its disk, or the time is over.
    ///
    /// # Errors
    ///
    /// As [`Self::wait_hub`].
    pub fn wait_any_device(&self, timeout: Duration) -> Result<Device, Error> {
        self.wait_held(None, timeout)
    }

    /// The devices that have said that the change was on their disks, now and whenever these are others.
    #[must_use]
    pub fn watch_devices(&self) -> Watch<Vec<Device>> {
        let (document, dot) = (self.document.clone(), self.dot);
        let read = move |state: &State, _| state.holders(&document, dot).ok();
        Watch::new(self.inner.shared.clone(), read, |one, other| {
            one.iter().map(|device| device.id).eq(other.iter().map(|device| device.id))
        })
    }

    fn wait_held(&self, device: Option<DeviceId>, timeout: Duration) -> Result<Device, Error> {
        let shared = &self.inner.shared;
        let deadline = Some(shared.deadline(timeout));
        let held = |state: &State| state.held(&self.document, self.dot, device);
        shared.wait_until(deadline, held).unwrap_or(Err(Error::TimedOut))
    }
}

/// Whether two lists say the same, but for when it was heard.
fn is_same(one: &[Device], other: &[Device]) -> bool {
    let said = |device: &Device| (device.replica, device.name.clone(), device.lag);
    one.iter().map(said).eq(other.iter().map(said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_named_by_what_its_replicas_have_in_common() {
        let replica = ReplicaId::from_fingerprint([0xab; 12]);
        let id = DeviceId::from(replica);
        assert_eq!(id, replica.with_incarnation(7).into());
        assert_eq!(id.to_string(), "ab".repeat(12));
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "ab", &"ab".repeat(13), &"zz".repeat(12), &"ab".repeat(16)] {
            assert!(wrong.parse::<DeviceId>().is_err(), "{wrong}");
        }
    }
}
