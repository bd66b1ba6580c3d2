//! The bindings of `sync-core` for JavaScript.
//!
//! [`Kernel`] is one document of one tab. It does no IO: time, random bytes, storage and the socket
//! come from the JavaScript side. A panic ends the whole instance; the JavaScript side notices, and
//! uses it no more.

mod failure;
mod kernel;
mod object;
mod output;
mod stored;
mod value;

use wasm_bindgen::prelude::wasm_bindgen;

pub use kernel::Kernel;
pub use stored::{fold, renamed, renamed_item, renaming_mark};
pub use value::record_id;

#[cfg(target_arch = "wasm32")]
#[global_allocator]
static MEMORY: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();

/// The version of this package.
#[wasm_bindgen]
pub fn version() -> String {
    env!("CARGO_PKG_VERSION").to_owned()
}

/// Panics, so that tests can see what follows.
#[wasm_bindgen]
pub fn crash() {
    panic!("crashed on request");
}
