//! OpenBLAS for Windows at its work: matrices multiplied by a DLL that has threads of its own, from several threads.
//!
//! `unsafe` because its function is called as the BLAS's manual has it.
#![allow(unsafe_code)]

use crate::process;
use loader::{Engine, Library, Origin};
use std::{ffi::CStr, path::Path, thread};

/// Rows and columns.
const N: usize = 500;
/// What threads that multiply at once multiply their results by, to tell them apart.
const FACTORS: [f64; 4] = [2.0, 3.0, 5.0, 7.0];
/// By how much of itself a result may differ from that of a plain loop, which adds up in another order.
const TOLERANCE: f64 = 1e-9;

/// The function's names in the wheels `scipy` and `numpy`. Its integers have 32 bits in one and 64 in the other, which
/// is the same to a caller of Windows code that passes 64.
const NAMES: [&CStr; 2] = [c"scipy_cblas_dgemm", c"scipy_cblas_dgemm64_"];

/// `cblas_dgemm`: order, two transpositions, rows, columns, inner length, factor, two matrices with the lengths of
/// their rows, factor, result with the length of its rows.
#[rustfmt::skip]
type Dgemm = unsafe extern "win64" fn(
    i32, i32, i32, i64, i64, i64, f64, *const f64, i64, *const f64, i64, f64, *mut f64, i64,
);
const ROW_MAJOR: i32 = 101;
const AS_IT_IS: i32 = 111;

/// Whether a file is the one that this is about.
#[must_use]
pub fn is_openblas(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("libscipy_openblas") && name.ends_with(".dll")
}

/// Loads the library, multiplies in one thread and in several at once, compares, and unloads it.
///
/// # Errors
/// What went wrong, or differs, or stays.
pub fn multiplies(path: &Path) -> Result<(), String> {
    let engine = Engine::new().map_err(text)?;
    let library = engine.open(path).map_err(text)?;
    let (a, b) = (matrix(1), matrix(2));
    let wanted = plain_product(&a, &b);
    let multiply = |factor: f64| {
        let got = product(&library, factor, &a, &b)?;
        let differs = |(got, wanted): (&f64, &f64)| !close(*got, factor * wanted);
        match got.iter().zip(&wanted).position(differs) {
            Some(at) => Err(format!(
                "row {}, column {}: {}, not {factor} times {}",
                at / N,
                at % N,
                got[at],
                wanted[at]
            )),
            None => Ok(()),
        }
    };
    multiply(1.0)?;
    thread::scope(|scope| {
        let threads: Vec<_> = FACTORS.map(|factor| scope.spawn(move || multiply(factor))).into();
        threads.into_iter().try_for_each(|t| t.join().map_err(|_| "a thread panicked")?)
    })?;
    let bases = engine.modules().into_iter().filter(|m| m.origin == Origin::Open).map(|m| m.at.base.0);
    let bases: Vec<u64> = bases.collect();
    library.close().map_err(text)?;
    let left = process::mappings().map_err(text)?.into_iter().find(|m| bases.contains(&m.start));
    left.map_or(Ok(()), |left| Err(format!("still mapped: {left:?}")))
}

fn text(e: impl ToString) -> String {
    e.to_string()
}

fn close(got: f64, wanted: f64) -> bool {
    (got - wanted).abs() <= TOLERANCE * wanted.abs()
}

/// The library's product of two matrices, times a factor.
fn product(library: &Library, factor: f64, a: &[f64], b: &[f64]) -> Result<Vec<f64>, String> {
    // SAFETY: the manual's signature.
    let found = NAMES.iter().find_map(|name| unsafe { library.get::<Dgemm>(name) }.ok());
    let dgemm = found.ok_or("no cblas_dgemm in it")?;
    let mut c = vec![f64::NAN; N * N];
    let (plain, n) = (AS_IT_IS, N as i64);
    let (a, b, to) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
    // SAFETY: three matrices of N rows with N numbers each; the last is the result, which the factor 0 keeps unread.
    unsafe { dgemm(ROW_MAJOR, plain, plain, n, n, n, factor, a, n, b, n, 0.0, to, n) };
    Ok(c)
}

/// Numbers between 0 and 1: sums of their products lose nothing.
fn matrix(seed: u64) -> Vec<f64> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 11) + 1) as f64 / (1u64 << 53) as f64
    };
    (0..N * N).map(|_| next()).collect()
}

fn plain_product(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut c = vec![0.0; N * N];
    for (row, sums) in a.chunks(N).zip(c.chunks_mut(N)) {
        for (factor, of_b) in row.iter().zip(b.chunks(N)) {
            sums.iter_mut().zip(of_b).for_each(|(sum, value)| *sum += factor * value);
        }
    }
    c
}
