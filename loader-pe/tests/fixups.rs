//! Base relocations of every kind, on a buffer.

mod common;

use common::Placed;
use loader_core::{Addr, ErrorKind, LinkAddr, Placement};
use loader_pe::relocate::relocate;
use object::pe;

const AMD64: u16 = pe::IMAGE_FILE_MACHINE_AMD64.0;
const ARMNT: u16 = pe::IMAGE_FILE_MACHINE_ARMNT.0;

/// An image of one page that was linked to 0x10000 and moved by `slide`, with `bytes` at 0x10.
fn image(bytes: &[u8], slide: u64) -> Placed {
    let mut window = vec![0; 0x1000];
    window[0x10..][..bytes.len()].copy_from_slice(bytes);
    let at = Placement { link_base: LinkAddr(0x1_0000), base: Addr(0x1_0000 + slide), len: 0x1000 };
    Placed { window, at, late: Vec::new() }
}

/// A table of one block.
fn block(page: u32, entries: &[u16]) -> Vec<u8> {
    let size = 8 + 2 * entries.len() as u32;
    let mut table = [page.to_le_bytes(), size.to_le_bytes()].concat();
    table.extend(entries.iter().flat_map(|e| e.to_le_bytes()));
    table
}

fn apply(entries: &[u16], machine: u16, bytes: &[u8], slide: u64) -> Vec<u8> {
    let mut image = image(bytes, slide);
    // Page zero with something in it is a page like any other.
    assert_eq!(relocate(&block(0, entries), machine, &mut image.mem()), Ok(1));
    image.window[0x10..][..bytes.len()].to_vec()
}

#[test]
fn numbers_of_every_width() {
    let slide = 0x1_2345_8000;
    let kind = |k: u16| [k << 12 | 0x10];
    assert_eq!(apply(&kind(10), AMD64, &1_u64.to_le_bytes(), slide), 0x1_2345_8001_u64.to_le_bytes());
    assert_eq!(apply(&kind(3), AMD64, &1_u32.to_le_bytes(), slide), 0x2345_8001_u32.to_le_bytes());
    assert_eq!(apply(&kind(2), AMD64, &1_u16.to_le_bytes(), slide), 0x8001_u16.to_le_bytes());
    assert_eq!(apply(&kind(1), AMD64, &1_u16.to_le_bytes(), slide), 0x2346_u16.to_le_bytes());
}

#[test]
fn high_half_is_rounded() {
    let adjusted = |low: u16, slide| apply(&[4 << 12 | 0x10, low], AMD64, &2_u16.to_le_bytes(), slide);
    // 0x20000 + 0x7000 + 0x1000 is 0x28000: its lower half is negative, so the upper one is 3.
    assert_eq!(adjusted(0x7000, 0x1000), 3_u16.to_le_bytes());
    assert_eq!(adjusted(0x6000, 0x1000), 2_u16.to_le_bytes());
    // A lower half of 0x8000 means -0x8000.
    assert_eq!(adjusted(0x8000, 0x1_0000), 3_u16.to_le_bytes());
    let mut alone = image(&[], 0x1000);
    let table = block(0, &[4 << 12 | 0x10]);
    assert!(matches!(relocate(&table, AMD64, &mut alone.mem()), Err(ErrorKind::Malformed { .. })));
}

#[test]
fn instruction_pairs_of_arm() {
    // movw r0, #0x5678; movt r0, #0x1234, moved by 0x1111f000.
    let arm = [0xe305_0678_u32, 0xe341_0234].map(u32::to_le_bytes).concat();
    let moved = [0xe304_0678_u32, 0xe342_0346].map(u32::to_le_bytes).concat();
    assert_eq!(apply(&[5 << 12 | 0x10], ARMNT, &arm, 0x1111_f000), moved);
    let thumb = [0xf245_u16, 0x6078, 0xf2c1, 0x2034].map(u16::to_le_bytes).concat();
    let moved = [0xf244_u16, 0x6078, 0xf2c2, 0x3046].map(u16::to_le_bytes).concat();
    assert_eq!(apply(&[7 << 12 | 0x10], ARMNT, &thumb, 0x1111_f000), moved);
}

#[test]
fn kinds_of_other_machines_are_refused() {
    for kind in [5, 6, 7, 8, 9, 11, 12, 13, 14, 15] {
        let mut image = image(&[], 0x1000);
        let refused = relocate(&block(0, &[kind << 12 | 0x10]), AMD64, &mut image.mem());
        assert!(matches!(refused, Err(ErrorKind::Unsupported { value, .. }) if value == u64::from(kind)));
    }
}

#[test]
fn table_ends_where_windows_stops() {
    let mut image = image(&1_u64.to_le_bytes(), 0x1000);
    let mut table = block(0, &[10 << 12 | 0x10, 0]);
    table.extend([0, 0, 0, 0, 8, 0, 0, 0]); // fmod.dll: an empty block,
    table.extend(b"then garbage"); // then garbage
    assert_eq!(relocate(&table, AMD64, &mut image.mem()), Ok(1));
    assert_eq!(relocate(&[], AMD64, &mut image.mem()), Ok(0));
    assert_eq!(relocate(&[0; 64], AMD64, &mut image.mem()), Ok(0));
}

#[test]
fn broken_blocks_are_named_by_their_place() {
    let good = block(0, &[0, 0]);
    for (size, tail) in [(7_u32, 0), (0, 0), (13, 4), (u32::MAX, 64)] {
        let mut table = [&good[..], &0x1000_u32.to_le_bytes(), &size.to_le_bytes()].concat();
        table.resize(table.len() + tail, 0);
        let refused = relocate(&table, AMD64, &mut image(&[], 0).mem());
        let what = "relocation block";
        assert_eq!(refused, Err(ErrorKind::Malformed { what, at: 12 }), "size {size}");
    }
}

#[test]
fn fixup_outside_the_image_is_refused() {
    for (page, entry) in [(0, 10 << 12 | 0xff9), (0x1000, 10 << 12), (0xffff_f000, 3 << 12)] {
        let refused = relocate(&block(page, &[entry]), AMD64, &mut image(&[], 0x1000).mem());
        assert!(matches!(refused, Err(ErrorKind::WriteOutside { .. })));
    }
}
