//! Exceptions of Windows code: group `exceptions`, from an access violation to a vectored handler and on, and what the
//! system takes of that.
//!
//! `unsafe` because exports are called by address, and because the floor is a signal handler.
#![allow(unsafe_code)]

use benches::{child, results, timed};
use criterion::{BenchmarkId, Criterion};
use loader::{Engine, Format, HostModule};
use std::{arch::asm, ffi::c_void, ptr, time::Duration};

type Measured = fn(u64) -> Result<u64, String>;

fn main() {
    let mut criterion = benches::criterion();
    let mut group = criterion.benchmark_group("exceptions");
    let all: [(&str, Measured); 2] = [("vectored", vectored), ("signal", signal)];
    for (name, rounds) in all {
        results::measurable("exceptions", "access-violation", name);
        group.bench_function(BenchmarkId::new("access-violation", name), |b| {
            b.iter_custom(|n| {
                let [took] = child::run(|| rounds(n).map(|took| [took])).expect("the corpus loads");
                Duration::from_nanos(took)
            });
        });
    }
    group.finish();
    Criterion::final_summary(&criterion);
}

/// Code of a DLL faults, a handler of the DLL moves the instruction pointer, execution goes on.
fn vectored(n: u64) -> Result<u64, String> {
    extern "win64" fn silent() {}
    let tlog = HostModule::new("tlog.dll").function("tlog", silent as *const ());
    let engine = Engine::builder().host(tlog).build().map_err(|e| e.to_string())?;
    let library = engine.open(corpus::root().join("pe/faults/faults.dll")).map_err(|e| e.to_string())?;
    engine.load_set().enter(Format::Pe).map_err(|e| e.to_string())?;
    let export = |name| {
        // SAFETY: all three are `void f(void)` in the source.
        unsafe { library.get::<extern "win64" fn()>(name) }.map_err(|e| e.to_string())
    };
    let (begin, fault, done) = (export(c"begin")?, export(c"access_violation")?, export(c"done")?);
    begin();
    let ((), took) = timed(|| (0..n).for_each(|_| fault()));
    done();
    Ok(took)
}

/// The same as the system has it: a signal handler moves the instruction pointer.
fn signal(n: u64) -> Result<u64, String> {
    extern "C" fn skips(_: i32, _: *mut libc::siginfo_t, state: *mut c_void) {
        // SAFETY: the kernel hands in the state that the thread goes on with.
        let state = unsafe { &mut *state.cast::<libc::ucontext_t>() };
        state.uc_mcontext.gregs[libc::REG_RIP as usize] += 3;
    }
    // SAFETY: zeros are a valid `sigaction`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = skips as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO;
    // SAFETY: the handler does only what a signal handler may.
    unsafe { libc::sigaction(libc::SIGSEGV, &raw const action, ptr::null_mut()) };
    let ((), took) = timed(|| {
        for _ in 0..n {
            // SAFETY: the handler skips the one instruction that faults, which is three bytes long.
            unsafe { asm!("xor eax, eax", "mov byte ptr [rax], 1", out("rax") _) };
        }
    });
    Ok(took)
}
