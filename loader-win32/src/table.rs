//! How a function becomes one of a module: it is named in a table. That is all the machinery there is.

/// A table of functions, in the form in which [`HostModule`](loader_core::HostModule) takes it. An entry is the
/// function's own name, or `Name = place` where it has another.
macro_rules! table {
    ($(#[$doc:meta])* $vis:vis $table:ident: $($name:ident $(= $at:expr)?),* $(,)?) => {
        $(#[$doc])*
        $vis const $table: loader_core::HostTable = &[
            $((stringify!($name), loader_core::HostFn::new(table!(@at $name $(, $at)?) as *const ()))),*
        ];
    };
    (@at $name:ident) => { $name };
    (@at $name:ident, $at:expr) => { $at };
}

/// Functions of the host's C library under the Windows calling convention, where both agree on every argument.
macro_rules! forward {
    ($($name:ident($($arg:ident: $type:ty),*) $(-> $ret:ty)?;)*) => {$(
        #[doc = concat!("The host's `", stringify!($name), "`.")]
        pub(crate) unsafe extern "win64" fn $name($($arg: $type),*) $(-> $ret)? {
            // SAFETY: the caller keeps the C standard's contract for this function, which is the host's too.
            unsafe { libc::$name($($arg),*) }
        }
    )*};
}
