//! What opening does to files, for each way in which it can go.

#[cfg(test)]
mod open;
#[cfg(test)]
mod processes;
