//! The images that `loader demo` loads from bytes: one library and its dependency in each format.
//!
//! Both libraries offer `int demo_add(int, int)`, `const char *demo_greeting(void)` and `double demo_area(double radius)`;
//! words and numbers come from the dependency. They need nothing else. Sources: `elf/demo`, `pe/demo`.

/// `libdemo.so`, which needs `libdemodep.so`.
pub const LIBDEMO_SO: &[u8] = include_bytes!("../elf/demo/libdemo.so");
/// `libdemodep.so`, which needs nothing.
pub const LIBDEMODEP_SO: &[u8] = include_bytes!("../elf/demo/libdemodep.so");
/// `demo.dll`, which imports from `demodep.dll`.
pub const DEMO_DLL: &[u8] = include_bytes!("../pe/demo/demo.dll");
/// `demodep.dll`, which imports from nobody.
pub const DEMODEP_DLL: &[u8] = include_bytes!("../pe/demo/demodep.dll");
