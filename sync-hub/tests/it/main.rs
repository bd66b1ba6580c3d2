//! The hub over real files, real sockets and real processes.

#[cfg(test)]
mod client;
#[cfg(test)]
mod http;
#[cfg(test)]
mod process;
#[cfg(test)]
mod protocol;
#[cfg(test)]
mod store;
