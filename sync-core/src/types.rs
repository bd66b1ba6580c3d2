//! What headers and slots say: values, places and elements. Views over the kernel are in
//! [`document`](crate::document).

mod payload;
mod record;
mod value;

pub use payload::{CopyOf, Element, Header, Kind, Place, RecordId};
pub use record::{Claim, Conflict, Field, Record, Version, Written};
pub use value::{VALUE_DEPTH_MAX, Value};
