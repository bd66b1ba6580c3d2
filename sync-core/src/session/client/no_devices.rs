//! The module for browsers does not ask which device holds what, and is smaller without.

use super::{Client, ClientStore, Opened, Step};
use crate::causal::{CausalContext, Delta};
use crate::session::Now;
use crate::types::Renaming;
use crate::wire::Holders;

/// No device.
pub type Device = std::convert::Infallible;
/// No device.
pub type DeviceBox = std::convert::Infallible;

/// Nothing is known of devices.
#[derive(Debug, Default)]
pub(super) struct Devices;

/// Nor of what the hub has at which number.
#[derive(Debug, Default)]
pub(super) struct Levels;

impl<S: ClientStore> Client<S> {
    pub(super) fn handle_held(&mut self, _: Now, _: &str, holders: Holders) {
        match holders {}
    }
}

impl<S: ClientStore> Opened<S> {
    pub(super) fn is_at_hub(&mut self, _: u64, _: &CausalContext) {}

    pub(super) fn is_back(&mut self, _: u64, _: &Delta) {}

    pub(super) fn caught_up(&mut self, _: u64) {}

    pub(super) fn rename_at_devices(&mut self, _: &Renaming, _: &mut Vec<Step>) {}

    pub(super) fn give_up(&mut self, _: &CausalContext, _: &mut Vec<Step>) {}
}
