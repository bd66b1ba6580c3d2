//! The table of handles. A handle is a number in a pointer's clothes: nothing lies there, so one that
//! was closed, or never given, is looked for and not found, and that is all.

use std::any::Any;
use std::collections::BTreeMap;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::code::Code;
use crate::failure::Failure;

/// How many handles may be open at a time, in one process. Arbitrary: far more than anybody holds on
/// purpose, and it ends a program that forgets to close.
pub(crate) const HANDLES_MAX: usize = 4_096;

/// Something that a handle may stand for.
pub(crate) trait Thing: Any + Send + Sync {
    /// What a program in C sees in its place.
    type Face;
    /// How a message names it.
    const NAME: &'static str;
}

struct Held {
    /// The handle that this one is closed with; 0 for none.
    owner: usize,
    thing: Arc<dyn Any + Send + Sync>,
}

struct Table {
    /// The last number that was given. None is given twice.
    last: usize,
    held: BTreeMap<usize, Held>,
}

static TABLE: Mutex<Table> = Mutex::new(Table { last: 0, held: BTreeMap::new() });

fn table() -> MutexGuard<'static, Table> {
    // Nothing under this lock runs code of others, so what is there is whole.
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives a handle to something, which is closed with its owner, if it has one.
pub(crate) fn give<T: Thing, O>(owner: *const O, thing: T) -> Result<*mut T::Face, Failure> {
    let mut table = table();
    if table.held.len() >= HANDLES_MAX {
        let text = format!("{HANDLES_MAX} handles are open in this process; close some");
        return Err(Failure::misuse(text));
    }
    let owner = owner.addr();
    if owner != 0 && !table.held.contains_key(&owner) {
        return Err(Failure::new(Code::Closed, "what this would belong to was closed meanwhile"));
    }
    let number = table.last.checked_add(1).ok_or_else(|| {
        Failure::new(Code::System, "every handle that there may be was given; start again")
    })?;
    table.last = number;
    table.held.insert(number, Held { owner, thing: Arc::new(thing) });
    Ok(ptr::without_provenance_mut(number))
}

/// What a handle stands for.
pub(crate) fn find<T: Thing>(handle: *const T::Face) -> Result<Arc<T>, Failure> {
    let found = table().held.get(&handle.addr()).map(|held| held.thing.clone());
    found.and_then(|thing| thing.downcast().ok()).ok_or_else(|| none::<T>(handle))
}

/// Takes a handle out of the table, with those that belong to it. What they stand for is dropped here,
/// once nobody uses it.
pub(crate) fn close<T: Thing>(handle: *const T::Face) -> Result<Arc<T>, Failure> {
    let number = handle.addr();
    let mut table = table();
    let thing = table.held.get(&number).map(|held| held.thing.clone());
    let thing = thing.and_then(|thing| thing.downcast().ok()).ok_or_else(|| none::<T>(handle))?;
    table.held.remove(&number);
    let own: Vec<_> = table.held.extract_if(.., |_, held| held.owner == number).collect();
    drop(table);
    // Not under the lock: this may wait for a thread.
    drop(own);
    Ok(thing)
}

fn none<T: Thing>(handle: *const T::Face) -> Failure {
    let text = if handle.is_null() {
        format!("the handle of {} is null; give one that is open", T::NAME)
    } else {
        format!("this is no handle of {} that is open; it may have been closed", T::NAME)
    };
    Failure::new(Code::Closed, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table is one for the whole process, and the tests share it.
    static ALONE: Mutex<()> = Mutex::new(());

    struct Face;
    struct Plain(u32);
    struct Other;

    impl Thing for Plain {
        type Face = Face;
        const NAME: &'static str = "a test";
    }

    impl Thing for Other {
        type Face = Face;
        const NAME: &'static str = "another test";
    }

    const NOBODY: *const Face = ptr::null();

    #[test]
    fn a_handle_is_found_until_it_is_closed_and_its_own_go_with_it() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = give(NOBODY, Plain(1)).unwrap();
        let own = give(owner, Plain(2)).unwrap();
        let stranger = give(NOBODY, Plain(3)).unwrap();
        assert_eq!(find::<Plain>(own).unwrap().0, 2);
        assert!(find::<Other>(own).is_err(), "of another kind");
        assert!(close::<Other>(own).is_err(), "of another kind");
        assert!(find::<Plain>(NOBODY).is_err());
        assert_eq!(close::<Plain>(owner).unwrap().0, 1);
        for gone in [owner, own] {
            assert!(matches!(find::<Plain>(gone), Err(Failure { code: Code::Closed, .. })));
            assert!(close::<Plain>(gone).is_err());
        }
        assert!(give(owner, Plain(4)).is_err(), "the owner is gone");
        assert_eq!(close::<Plain>(stranger).unwrap().0, 3);
    }

    #[test]
    fn the_number_of_open_handles_is_limited() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let open = table().held.len();
        let given: Vec<_> = (open..HANDLES_MAX).map(|_| give(NOBODY, Plain(0)).unwrap()).collect();
        assert!(matches!(give(NOBODY, Plain(0)), Err(Failure { code: Code::Misuse, .. })));
        close::<Plain>(given[0]).unwrap();
        let again = give(NOBODY, Plain(0)).unwrap();
        assert!(!given.contains(&again), "no number is given twice");
        for handle in given[1..].iter().chain([&again]) {
            close::<Plain>(*handle).unwrap();
        }
    }
}
