//! The client on a disk that fails: what it said is on disk is there, and every error is a typed one.

#[cfg(test)]
mod device;
#[cfg(test)]
mod errors;
#[cfg(test)]
mod flips;
#[cfg(test)]
mod power;
