//! Each replicated type on its own: for a program that needs one counter or one set and no document.
//!
//! A value is a [`Document`] with one place in it, so its deltas are ordinary deltas: they are encoded,
//! sent and joined like those of a document.

use crate::small::BTreeSet;

use crate::causal::{CausalContext, Delta, MemoryStore};
use crate::document::{Author, Document, Edit, Refused};
use crate::error::{Misuse, Sure};
use crate::types::{Field, Place, Record, Value, Written};

/// The name of the one place.
const NAME: &str = "value";

fn write(
    document: &mut Document,
    author: Author,
    change: impl FnOnce(&mut Edit<'_>) -> Result<(), Refused>,
) -> Result<Delta, Misuse> {
    Ok(document.edit(author, usize::MAX, change)?.delta)
}

fn read(document: &Document) -> Record {
    document.elements(&Place::Value { name: NAME.to_owned() }).sure()
}

macro_rules! alone {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Default)]
        pub struct $name(Document);

        impl $name {
            /// Takes a state as it was stored.
            #[must_use]
            pub fn load(store: MemoryStore) -> Self {
                Self(Document::load(store).sure())
            }

            /// Joins a delta of another replica. Says whether it brought anything new.
            pub fn join(&mut self, delta: &Delta) -> bool {
                self.0.join(delta).sure().is_new
            }

            /// The state.
            #[must_use]
            pub fn store(&self) -> &MemoryStore {
                self.0.store()
            }

            /// Every event seen.
            #[must_use]
            pub fn context(&self) -> &CausalContext {
                self.0.context()
            }
        }
    )*};
}

alone! {
    /// A set: an add wins over a concurrent remove (observed-remove set, Bieniusa et al. 2012).
    OrSet;
    /// A register that keeps all concurrent writes and shows one of them.
    MvRegister;
    /// A register of which the last write wins, by stamp and then by replica.
    LwwRegister;
    /// A counter that only grows.
    GCounter;
    /// A counter that goes up and down.
    PnCounter;
}

impl OrSet {
    /// Adds a member. The delta is empty where it is there.
    pub fn add(&mut self, author: Author, value: &Value) -> Result<Delta, Misuse> {
        write(&mut self.0, author, |edit| edit.set_add(NAME, value))
    }

    /// Removes a member. The delta is empty where it is not there.
    pub fn remove(&mut self, author: Author, value: &Value) -> Result<Delta, Misuse> {
        write(&mut self.0, author, |edit| edit.set_remove(NAME, value))
    }

    /// Whether a value is a member.
    #[must_use]
    pub fn contains(&self, value: &Value) -> bool {
        self.0.set_contains(NAME, value).sure()
    }

    /// The members.
    #[must_use]
    pub fn members(&self) -> BTreeSet<Value> {
        self.0.set(NAME).sure()
    }
}

impl MvRegister {
    /// Writes a value in place of all that are here. The delta is empty where it is the only one.
    pub fn set(&mut self, author: Author, value: Value) -> Result<Delta, Misuse> {
        write(&mut self.0, author, |edit| edit.set_value(NAME, &Field::Register(value)))
    }

    /// The value that is shown: the one with the highest stamp, then of the highest replica.
    #[must_use]
    pub fn value(&self) -> Option<Value> {
        read(&self.0).value("")
    }

    /// Every distinct value that was written without knowing of another, the one that is shown first.
    #[must_use]
    pub fn values(&self) -> Vec<Written> {
        read(&self.0).values("")
    }
}

impl LwwRegister {
    /// Writes a value.
    pub fn set(&mut self, author: Author, value: Value) -> Result<Delta, Misuse> {
        write(&mut self.0, author, |edit| edit.set_value(NAME, &Field::Latest(value)))
    }

    /// The last value.
    #[must_use]
    pub fn value(&self) -> Option<Value> {
        read(&self.0).value("")
    }
}

impl GCounter {
    /// Adds an amount.
    pub fn add(&mut self, author: Author, amount: u32) -> Result<Delta, Misuse> {
        write(&mut self.0, author, |edit| edit.count_value(NAME, amount.into()))
    }

    /// The sum of all that was added, up to the largest number.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.counter(NAME).sure().unsigned_abs()
    }
}

impl PnCounter {
    /// Adds an amount; a negative one takes away.
    pub fn add(&mut self, author: Author, amount: i64) -> Result<Delta, Misuse> {
        write(&mut self.0, author, |edit| edit.count_value(NAME, amount))
    }

    /// The sum of all that was added, less all that was taken away.
    #[must_use]
    pub fn count(&self) -> i64 {
        self.0.counter(NAME).sure()
    }
}
