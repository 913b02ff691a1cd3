//! The memory functions of oleaut32 and ole32, which images use without any of the rest.
#![allow(non_snake_case)]

use crate::{
    guest::Ptr,
    heap::{self, Block},
};

/// A `BSTR`: the text's length in bytes comes before it, a zero after it.
const HEAD: usize = 8;

fn make(units: &[u16]) -> Ptr<u16> {
    let block = heap::alloc(HEAD + units.len() * 2 + 2, true);
    if block.is_null() {
        return Ptr::NULL;
    }
    let bytes = u32::try_from(units.len() * 2).unwrap_or(u32::MAX);
    block.at(HEAD - 4).cast::<u32>().set(bytes);
    let text = block.at(HEAD).cast::<u16>();
    text.fill(units);
    text
}

extern "win64" fn SysAllocString(text: Ptr<u16>) -> Ptr<u16> {
    if text.is_null() { text } else { make(&text.text()) }
}

/// Without a text, the room for one.
extern "win64" fn SysAllocStringLen(text: Ptr<u16>, len: u32) -> Ptr<u16> {
    if text.is_null() { make(&vec![0; len as usize]) } else { make(&text.slice(len as usize)) }
}

#[allow(unsafe_code)]
fn block(text: Ptr<u16>) -> Block {
    // SAFETY: guest code passes what the functions above returned, which lies that far into its block.
    unsafe { Ptr::new(text.raw().cast::<u8>().wrapping_sub(HEAD)) }
}

extern "win64" fn SysFreeString(text: Ptr<u16>) {
    if !text.is_null() {
        heap::free(block(text));
    }
}

extern "win64" fn SysStringByteLen(text: Ptr<u16>) -> u32 {
    if text.is_null() { 0 } else { block(text).at(HEAD - 4).cast::<u32>().get() }
}

extern "win64" fn SysStringLen(text: Ptr<u16>) -> u32 {
    SysStringByteLen(text) / 2
}

/// Memory that the caller gives back with `CoTaskMemFree`.
pub(crate) fn task_memory(len: usize) -> Block {
    heap::alloc(len, false)
}

extern "win64" fn CoTaskMemAlloc(len: usize) -> Block {
    task_memory(len)
}

extern "win64" fn CoTaskMemRealloc(block: Block, len: usize) -> Block {
    heap::resize(block, len, false)
}

extern "win64" fn CoTaskMemFree(block: Block) {
    heap::free(block);
}

table! {
    /// oleaut32.
    pub(crate) OLEAUT32: SysAllocString, SysAllocStringLen, SysFreeString, SysStringByteLen, SysStringLen
}

table! {
    /// ole32.
    pub(crate) OLE32: CoTaskMemAlloc, CoTaskMemRealloc, CoTaskMemFree
}

#[cfg(test)]
#[allow(unsafe_code)]
mod tests {
    use super::*;

    #[test]
    fn lengths() {
        let units = crate::text::wide_z("abc");
        // SAFETY: the text outlives the call.
        let text = SysAllocString(unsafe { Ptr::new(units.as_ptr().cast_mut()) });
        assert_eq!((SysStringLen(text), SysStringByteLen(text), &*text.text()), (3, 6, &units[..3]));
        SysFreeString(text);
        SysFreeString(Ptr::NULL);
    }
}
