//! What headers and slots say: values, places and elements. Views over the kernel are in
//! [`document`](crate::document).

mod payload;
mod record;
mod value;

pub(crate) use payload::check_name;
pub use payload::{CopyOf, Element, Header, Kind, NAME_BYTES_MAX, Place, RecordId};
pub use record::{Claim, Conflict, Field, Record, Version, Written};
pub use value::{VALUE_DEPTH_MAX, Value};
