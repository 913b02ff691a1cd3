//! Resources: locks that several threads share or one has, as often as it likes. And waits on addresses, by
//! their NT names.

use super::{
    calls::milliseconds,
    status::{self, INVALID_PARAMETER, SUCCESS},
};
use crate::{
    futex::{self, Deadline},
    guest::Ptr,
    kernel32::{
        error::code,
        sync::{Section, WaitOnAddress, WakeByAddressAll, init},
    },
    object::current_thread_id,
    teb,
};
use std::sync::atomic::{
    AtomicI32, AtomicU32, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};

/// `RTL_RESOURCE`. Of its parts only these two are used: how many share it, or, below nothing, how often its owner has it.
#[repr(C)]
pub(crate) struct Resource {
    section: Section,
    shared_semaphore: usize,
    sharing: u32,
    exclusive_semaphore: usize,
    waiting: u32,
    active: AtomicI32,
    owner: AtomicUsize,
    flags: u32,
    debug: usize,
}

const _: () = assert!(size_of::<Resource>() == 96);

impl Resource {
    fn is_mine(&self) -> bool {
        self.owner.load(Relaxed) == current_thread_id() as usize
    }

    #[allow(unsafe_code)]
    fn word(&self) -> &AtomicU32 {
        // SAFETY: an `AtomicI32` and an `AtomicU32` are the same 4 aligned bytes.
        unsafe { &*std::ptr::from_ref(&self.active).cast() }
    }

    /// Takes it as soon as `next` says what taking it makes of the number; if it may wait.
    fn take(&self, waits: bool, next: impl Fn(i32) -> Option<i32>) -> bool {
        loop {
            let now = self.active.load(SeqCst);
            match next(now) {
                Some(new) => {
                    if self.active.compare_exchange(now, new, SeqCst, SeqCst).is_ok() {
                        return true;
                    }
                }
                None if waits => {
                    futex::wait(self.word(), now.cast_unsigned(), Deadline::after(u32::MAX));
                }
                None => return false,
            }
        }
    }

    fn wake(&self) {
        futex::wake(self.word(), u32::MAX >> 1);
    }
}

extern "win64" fn RtlInitializeResource(resource: Ptr<Resource>) {
    init(resource.cast(), 0);
    let r = resource.shared();
    r.owner.store(0, Relaxed);
    r.active.store(0, SeqCst);
}

extern "win64" fn RtlDeleteResource(resource: Ptr<Resource>) {
    RtlInitializeResource(resource);
}

/// Who has it alone shares it with nobody: for them it is one hold more.
extern "win64" fn RtlAcquireResourceShared(resource: Ptr<Resource>, waits: u8) -> u8 {
    let r = resource.shared();
    r.take(waits != 0, |now| match now {
        0.. => now.checked_add(1),
        _ if r.is_mine() => now.checked_sub(1),
        _ => None,
    })
    .into()
}

extern "win64" fn RtlAcquireResourceExclusive(resource: Ptr<Resource>, waits: u8) -> u8 {
    let r = resource.shared();
    let taken = r.take(waits != 0, |now| match now {
        0 => Some(-1),
        i32::MIN..0 if r.is_mine() => now.checked_sub(1),
        _ => None,
    });
    if taken {
        r.owner.store(current_thread_id() as usize, Relaxed);
    }
    taken.into()
}

/// What nobody has is left as it is.
extern "win64" fn RtlReleaseResource(resource: Ptr<Resource>) {
    let r = resource.shared();
    if r.active.load(SeqCst) == -1 {
        r.owner.store(0, Relaxed);
    }
    let one_less = |now: i32| (now != 0).then(|| now - now.signum());
    if r.active.fetch_update(SeqCst, SeqCst, one_less).is_ok_and(|before| before.abs() == 1) {
        r.wake();
    }
}

/// Who shares it has it alone as soon as the others have given it back.
extern "win64" fn RtlConvertSharedToExclusive(resource: Ptr<Resource>) {
    RtlReleaseResource(resource);
    RtlAcquireResourceExclusive(resource, 1);
}

/// Who has it alone lets others in.
extern "win64" fn RtlConvertExclusiveToShared(resource: Ptr<Resource>) {
    let r = resource.shared();
    if r.is_mine() && r.active.load(SeqCst) == -1 {
        r.owner.store(0, Relaxed);
        r.active.store(1, SeqCst);
        r.wake();
    }
}

extern "win64" fn RtlWaitOnAddress(address: Ptr<u8>, compare: Ptr<u8>, len: usize, time: Ptr<i64>) -> u32 {
    if WaitOnAddress(address, compare, len, milliseconds(time)) != 0 {
        return SUCCESS;
    }
    match teb::with(|t| t.last_error.get()) {
        code::TIMEOUT => status::TIMEOUT,
        _ => INVALID_PARAMETER,
    }
}

table! {
    /// Resources, waits on addresses.
    pub(crate) TABLE:
        RtlInitializeResource, RtlDeleteResource, RtlAcquireResourceShared, RtlAcquireResourceExclusive,
        RtlReleaseResource, RtlConvertSharedToExclusive, RtlConvertExclusiveToShared, RtlWaitOnAddress,
        RtlWakeAddressAll = WakeByAddressAll, RtlWakeAddressSingle = WakeByAddressAll
}
