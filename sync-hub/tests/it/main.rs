//! The hub over real files, real sockets and real processes.

#![allow(clippy::wildcard_enum_match_arm, reason = "a test fails at whatever it does not expect")]

#[cfg(test)]
mod backup;
#[cfg(test)]
mod cli;
#[cfg(test)]
mod client;
mod compare;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod held;
#[cfg(test)]
mod http;
#[cfg(test)]
mod poison;
#[cfg(test)]
mod process;
#[cfg(test)]
mod protocol;
#[cfg(test)]
mod store;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod tokens;
