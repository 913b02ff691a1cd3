//! Reports of faults. The libraries are assembly in which the source marks the instruction that faults, with the function
//! and the distance from its beginning, which the assembler checked: that is what reports are held against.

use loader::sandbox::{
    Failure, Sandbox,
    report::{Cause, Fault, Report},
};
use std::fs;

#[test]
fn prints() {
    for library in ["elf/fault-report/libfault-report.so", "pe/fault-report/fault-report.dll"] {
        for symbol in ["null_write", "sealed_write", "null_jump", "stack_overflow", "division"] {
            let mut sandbox = Sandbox::builder().start().unwrap();
            sandbox.load(corpus::root().join(library)).unwrap();
            match sandbox.call(symbol, []) {
                Err(Failure::Faulted(fault)) => { 
                    let t = std::time::Instant::now();
                    let r = fault.report();
                    println!("=== {library} {symbol}\n{fault}\n{r}\n{:?}", t.elapsed());
                }
                other => println!("{other:?}"),
            }
        }
    }
}
