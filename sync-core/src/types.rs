//! What labels, ids and slots say: values, places and elements. Views over the kernel are in
//! [`document`](crate::document).

pub(crate) mod element;
mod field;
mod name;
pub(crate) mod opening;
pub(crate) mod place;
mod record;
mod record_id;
mod renaming;
mod value;

pub use crate::small::{BTreeMap, BTreeSet};
pub use element::{Claim, Content, CopyOf, Element, SEPARATOR, Share};
pub use field::{Field, FieldRef};
pub use name::NAME_BYTES_MAX;
pub(crate) use name::check_name;
pub use opening::{MARKS_MAX, Opening, fork};
pub use place::Place;
pub(crate) use record::read;
pub use record::{Conflict, Record, Version, Written};
pub use record_id::RecordId;
pub use renaming::Renaming;
pub use value::{VALUE_DEPTH_MAX, Value, ValueRef};
