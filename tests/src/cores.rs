//! The same work on many items, on all cores, and children that do what the test process must not risk.

use loader_sandbox::{Child, Ending};
use std::{
    num::NonZero,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

/// Does `work` on every item; the results come in the items' order.
pub fn on_all_cores<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(items.len())));
    let worker = || {
        while let Some((n, item)) = {
            let n = next.fetch_add(1, Ordering::Relaxed);
            items.get(n).map(|item| (n, item))
        } {
            let result = work(item);
            done.lock().unwrap_or_else(PoisonError::into_inner).push((n, result));
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, NonZero::get) {
            scope.spawn(worker);
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(n, _)| *n);
    done.into_iter().map(|(_, result)| result).collect()
}

/// The environment of a process whose memory is counted: without a cache for each thread, what the allocator says that it has
/// given out is exact; without one of stacks, and without memory of the allocator's for each thread, what is mapped is.
pub const COUNTED: (&str, &str) = (
    "GLIBC_TUNABLES",
    "glibc.malloc.tcache_count=0:glibc.malloc.arena_max=1:glibc.pthread.stack_cache_size=0",
);

/// Runs `program` with these arguments in a child; a child that does not exit with 0 is an error with all it said.
///
/// # Errors
/// What became of the child.
pub fn child(program: &Path, args: &[&str], limit: Duration) -> Result<(), String> {
    let child = Child::new(program).args(args).env("RUST_BACKTRACE", "0");
    let child = child.env(COUNTED.0, COUNTED.1);
    let report = child.no_longer_than(limit).run().map_err(|e| e.to_string())?;
    match report.ending {
        Ending::Exit(0) => Ok(()),
        ending => {
            let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().replace('\n', "\n    ");
            Err(format!("{ending}\n    {}\n    {}", said(&report.stdout), said(&report.stderr)))
        }
    }
}

/// Fails a test with all that went wrong.
///
/// # Panics
/// If anything did.
pub fn nothing_wrong(what: &str, results: Vec<Result<(), String>>) {
    let all = results.len();
    assert!(all != 0, "{what}: nothing was tried");
    let wrong: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    println!("{what}: {} of {all} as they should be", all - wrong.len());
    assert!(wrong.is_empty(), "{what}: {} of {all} went wrong\n{}", wrong.len(), wrong.join("\n"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_their_order_and_none_is_lost() {
        let items: Vec<usize> = (0..1000).collect();
        assert_eq!(on_all_cores(&items, |n| n * 2), items.iter().map(|n| n * 2).collect::<Vec<_>>());
    }

    #[test]
    fn a_child_that_dies_says_how() {
        let limit = Duration::from_secs(20);
        let died = child(Path::new("sh"), &["-c", "echo last words >&2; kill -SEGV $$"], limit).unwrap_err();
        assert!(died.contains("SIGSEGV") && died.contains("last words"), "{died}");
        assert_eq!(child(Path::new("sh"), &["-c", "exit 0"], limit), Ok(()));
    }

    #[test]
    #[should_panic(expected = "things: 1 of 2 went wrong\nthis one")]
    fn what_is_wrong_fails_the_test() {
        nothing_wrong("things", vec![Ok(()), Err("this one".into())]);
    }
}
