//! The store on real files and processes, and the driver against a hub in this process.

#[cfg(test)]
mod clocks;
#[cfg(test)]
mod copies;
#[cfg(test)]
mod devices;
#[cfg(test)]
mod feed;
#[cfg(test)]
mod files;
#[cfg(test)]
mod guard;
#[cfg(test)]
mod hub;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod notes;
#[cfg(test)]
mod outbox;
#[cfg(test)]
mod outside;
#[cfg(test)]
mod purge;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod receipts;
#[cfg(test)]
mod renames;
#[cfg(test)]
mod repair;
#[cfg(test)]
mod revert;
#[cfg(test)]
mod status;
#[cfg(test)]
mod store;
#[cfg(test)]
mod sync;
#[cfg(test)]
mod tape;
#[cfg(test)]
mod token;
#[cfg(test)]
mod transfer;
#[cfg(test)]
mod typed;
#[cfg(test)]
mod undo;
#[cfg(test)]
mod unsent;
