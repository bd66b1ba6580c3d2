//! The store on real files and processes, and the driver against a hub in this process.

#[cfg(test)]
mod clocks;
#[cfg(test)]
mod copies;
#[cfg(test)]
mod files;
#[cfg(test)]
mod hub;
#[cfg(test)]
mod notes;
#[cfg(test)]
mod readme;
#[cfg(test)]
mod repair;
#[cfg(test)]
mod store;
#[cfg(test)]
mod sync;
