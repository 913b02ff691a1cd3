//! Thread-local objects of loaded code that their threads destroy when they end, and what that means for the unloading
//! of the module: [`ThreadDestructors`].

use super::{LoadSet, ModuleId};
use crate::ThreadDestructors;
use std::{
    cell::RefCell,
    mem::ManuallyDrop,
    sync::{Arc, Weak},
};

/// One object of the calling thread.
struct Object {
    set: Weak<LoadSet>,
    module: ModuleId,
    rule: ThreadDestructors,
    destroy: Box<dyn FnOnce()>,
}

thread_local! {
    /// The calling thread's objects, oldest first. The list needs no destructor of its own: it is there for as long
    /// as the thread runs any code.
    static OBJECTS: ManuallyDrop<RefCell<Vec<Object>>> = const { ManuallyDrop::new(RefCell::new(Vec::new())) };
}

/// The calling thread ends: its objects are destroyed, the youngest first, also those that come meanwhile.
pub fn thread_ends() {
    while let Some(object) = OBJECTS.with(|o| o.borrow_mut().pop()) {
        if let Some(set) = object.destroy() {
            set.collect();
        }
    }
    OBJECTS.with(|o| drop(o.take()));
}

impl Object {
    /// Destroys the object, if its module is still there; the set that it is in may have something to collect then.
    fn destroy(self) -> Option<Arc<LoadSet>> {
        let set = self.set.upgrade()?;
        let counted = self.rule != ThreadDestructors::Abandon;
        let there = match counted {
            true => set.lock().has_objects(self.module),
            false => set.lock().add_object(self.module, self.rule), // for as long as its code runs
        };
        if there {
            (self.destroy)();
            set.lock().remove_object(self.module);
            set.settled.notify_all();
        }
        Some(set)
    }
}

impl LoadSet {
    /// Has `destroy` called, code of `module`, when the calling thread ends. True for the first one of the thread:
    /// then [`thread_ends`] must be called at its end.
    pub fn at_thread_end(
        self: &Arc<Self>,
        module: ModuleId,
        rule: ThreadDestructors,
        destroy: impl FnOnce() + 'static,
    ) -> bool {
        if rule != ThreadDestructors::Abandon && !self.lock().add_object(module, rule) {
            return false; // its terminators run: what they make now is never destroyed
        }
        let set = Arc::downgrade(self);
        OBJECTS.with(|o| {
            let mut objects = o.borrow_mut();
            objects.push(Object { set, module, rule, destroy: Box::new(destroy) });
            objects.len() == 1
        })
    }

    /// Waits until no thread has objects of modules that nothing else holds; the calling thread destroys its own.
    /// False where there is nothing to wait for.
    pub(super) fn await_destructors(&self) -> bool {
        let awaited = self.lock().awaited();
        if awaited.is_empty() {
            return false;
        }
        while let Some(object) = self.take_object(|o| awaited.contains(&o.module)) {
            object.destroy();
        }
        let held = |state: &mut super::State| awaited.iter().any(|&id| state.has_objects(id));
        drop(self.settled.wait_while(self.lock(), held));
        true
    }

    /// The calling thread destroys its objects of this set, for nobody will be able to later.
    pub(super) fn destroy_own_objects(&self) {
        while let Some(object) = self.take_object(|o| o.rule != ThreadDestructors::Abandon) {
            object.destroy();
        }
    }

    /// How many objects of each module of this set the calling thread has.
    pub(super) fn own_objects(&self) -> Vec<ModuleId> {
        let counted = |o: &&Object| self.is(&o.set) && o.rule != ThreadDestructors::Abandon;
        OBJECTS.with(|o| o.borrow().iter().filter(counted).map(|o| o.module).collect())
    }

    /// The calling thread's youngest object of this set that suits.
    fn take_object(&self, suits: impl Fn(&Object) -> bool) -> Option<Object> {
        OBJECTS.with(|o| {
            let mut objects = o.borrow_mut();
            let nth = objects.iter().rposition(|o| self.is(&o.set) && suits(o))?;
            Some(objects.remove(nth))
        })
    }

    fn is(&self, set: &Weak<Self>) -> bool {
        std::ptr::eq(set.as_ptr(), self)
    }
}
