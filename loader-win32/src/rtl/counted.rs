//! Texts that carry their length: `UNICODE_STRING` and `ANSI_STRING`. They need no zero at their end; where there is room
//! for one, most functions write it. Lengths are in bytes and fit 16 bits.

use crate::{
    guest::Ptr,
    heap,
    nt::status::{BUFFER_TOO_SMALL, INVALID_PARAMETER, NAME_TOO_LONG, NO_MEMORY, SUCCESS},
};
use std::borrow::Cow;

/// `UNICODE_STRING` (`u16`) or `ANSI_STRING` (`u8`).
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counted<T> {
    /// How long it is, in bytes.
    pub length: u16,
    /// How much room it has, in bytes.
    pub room: u16,
    /// Where it is.
    pub at: Ptr<T>,
}

/// `UNICODE_STRING`.
pub(crate) type Text = Counted<u16>;
/// `ANSI_STRING`, and `OEM_STRING`, which has the same code page.
pub(crate) type Bytes = Counted<u8>;

const _: () = assert!(size_of::<Text>() == 16 && size_of::<Bytes>() == 16);

impl<T: Copy + Default + PartialEq> Counted<T> {
    /// Nothing at all.
    pub(crate) const NONE: Self = Self { length: 0, room: 0, at: Ptr::NULL };

    /// How many bytes an element has.
    const STEP: usize = size_of::<T>();

    /// Its elements; none where it is nowhere.
    pub(crate) fn elements(&self) -> Cow<'_, [T]> {
        self.at.slice(usize::from(self.length) / Self::STEP)
    }

    /// A text where it is, with its zero behind it; `None` where it is longer than a length can say.
    fn of_z(at: Ptr<T>) -> Option<Self> {
        if at.is_null() {
            return Some(Self::NONE);
        }
        let bytes = at.count(MOST / Self::STEP + 1) * Self::STEP;
        let length = u16::try_from(bytes).ok().filter(|_| bytes + Self::STEP <= MOST)?;
        Some(Self { length, room: length + Self::STEP as u16, at })
    }

    /// The longest that a length can say.
    fn cut(at: Ptr<T>) -> Self {
        let room = MOST / Self::STEP * Self::STEP;
        Self { length: (room - Self::STEP) as u16, room: room as u16, at }
    }

    /// A new block with these elements and a zero, which the caller frees as a text.
    pub(crate) fn new_z(elements: &[T]) -> Result<Self, u32> {
        let bytes = elements.len().saturating_mul(Self::STEP);
        let length = u16::try_from(bytes).ok().filter(|_| bytes + Self::STEP <= MOST).ok_or(NAME_TOO_LONG)?;
        let at = heap::alloc(bytes + Self::STEP, false).cast::<T>();
        if at.is_null() {
            return Err(NO_MEMORY);
        }
        at.fill(elements);
        at.at(elements.len()).set(T::default());
        Ok(Self { length, room: length + Self::STEP as u16, at })
    }

    /// A zero behind it, where there is room.
    fn end(&self) {
        if usize::from(self.length) + Self::STEP <= self.room.into() {
            self.at.at(usize::from(self.length) / Self::STEP).put(T::default());
        }
    }

    /// As much of these as there is room for.
    fn copy(&mut self, elements: &[T]) {
        let fit = &elements[..elements.len().min(usize::from(self.room) / Self::STEP)];
        self.at.fill(fit);
        self.length = (fit.len() * Self::STEP) as u16; // not above the room
    }

    /// All of these behind what is there.
    fn append(&mut self, elements: &[T]) -> u32 {
        let bytes = usize::from(self.length).saturating_add(elements.len().saturating_mul(Self::STEP));
        let Some(length) = u16::try_from(bytes).ok().filter(|&length| length <= self.room) else {
            return BUFFER_TOO_SMALL;
        };
        // What is appended may be the text itself: it was read before this.
        self.at.at(usize::from(self.length) / Self::STEP).fill(elements);
        self.length = length;
        SUCCESS
    }
}

impl Text {
    /// Its units; none where it is nowhere.
    pub(crate) fn units(&self) -> Vec<u16> {
        self.elements().into_owned()
    }

    /// It, with lone surrogates replaced.
    pub(crate) fn string(&self) -> String {
        String::from_utf16_lossy(&self.elements())
    }
}

/// The most bytes that a text may have with its zero.
const MOST: usize = u16::MAX as usize;

fn init<T: Copy + Default + PartialEq>(out: Ptr<Counted<T>>, text: Ptr<T>) {
    out.put(Counted::of_z(text).unwrap_or_else(|| Counted::cut(text)));
}

fn init_or_refuse<T: Copy + Default + PartialEq>(out: Ptr<Counted<T>>, text: Ptr<T>) -> u32 {
    let Some(counted) = Counted::of_z(text) else { return NAME_TOO_LONG };
    out.put(counted);
    SUCCESS
}

/// What is longer than a length can say is cut off.
extern "win64" fn RtlInitUnicodeString(out: Ptr<Text>, text: Ptr<u16>) {
    init(out, text);
}

extern "win64" fn RtlInitAnsiString(out: Ptr<Bytes>, text: Ptr<u8>) {
    init(out, text);
}

extern "win64" fn RtlInitUnicodeStringEx(out: Ptr<Text>, text: Ptr<u16>) -> u32 {
    init_or_refuse(out, text)
}

extern "win64" fn RtlInitAnsiStringEx(out: Ptr<Bytes>, text: Ptr<u8>) -> u32 {
    init_or_refuse(out, text)
}

/// Frees the block of a text that a function here made.
extern "win64" fn RtlFreeUnicodeString(text: Ptr<Text>) {
    if !text.is_null() {
        heap::free(text.get().at.cast());
        text.set(Text::NONE);
    }
}

fn create(out: Ptr<Text>, units: &[u16]) -> u8 {
    let made = Text::new_z(units);
    made.into_iter().for_each(|text| out.put(text));
    made.is_ok().into()
}

extern "win64" fn RtlCreateUnicodeString(out: Ptr<Text>, text: Ptr<u16>) -> u8 {
    if text.is_null() { 0 } else { create(out, &text.text()) }
}

extern "win64" fn RtlCreateUnicodeStringFromAsciiz(out: Ptr<Text>, text: Ptr<u8>) -> u8 {
    if text.is_null() { 0 } else { create(out, &crate::kernel32::strings::from_ansi(text.text())) }
}

const WITH_ZERO: u32 = 1;
const ALLOCATE_NULL: u32 = 2;

/// With a zero behind the copy where that is wanted, and with a block for no text at all where that is wanted too.
extern "win64" fn RtlDuplicateUnicodeString(flags: u32, from: Ptr<Text>, out: Ptr<Text>) -> u32 {
    if from.is_null() || out.is_null() || flags > 3 || flags == ALLOCATE_NULL {
        return INVALID_PARAMETER;
    }
    let text = from.get();
    if validate(text).is_err() || text.length == u16::MAX - 1 && flags & WITH_ZERO != 0 {
        return INVALID_PARAMETER;
    }
    if text.length == 0 && flags != WITH_ZERO | ALLOCATE_NULL {
        out.set(Text::NONE);
        return SUCCESS;
    }
    match Text::new_z(&text.elements()) {
        Ok(made) => {
            out.set(Text { room: if flags & WITH_ZERO == 0 { made.length } else { made.room }, ..made });
            SUCCESS
        }
        Err(status) => status,
    }
}

/// Whether the parts of a text fit each other.
fn validate(text: Text) -> Result<(), u32> {
    let whole = text.length.is_multiple_of(2) && text.room.is_multiple_of(2) && text.length <= text.room;
    let somewhere = !text.at.is_null() || text.length == 0 && text.room == 0;
    if whole && somewhere { Ok(()) } else { Err(INVALID_PARAMETER) }
}

extern "win64" fn RtlValidateUnicodeString(flags: u32, text: Ptr<Text>) -> u32 {
    if flags != 0 {
        return INVALID_PARAMETER;
    }
    if text.is_null() { SUCCESS } else { validate(text.get()).err().unwrap_or(SUCCESS) }
}

/// As much as there is room for; null is no text.
fn copy<T: Copy + Default + PartialEq>(out: Ptr<Counted<T>>, from: Ptr<Counted<T>>) {
    let mut text = out.get();
    let source = if from.is_null() { Counted::NONE } else { from.get() };
    text.copy(&source.elements());
    out.set(text);
}

extern "win64" fn RtlCopyString(out: Ptr<Bytes>, from: Ptr<Bytes>) {
    copy(out, from);
}

extern "win64" fn RtlCopyUnicodeString(out: Ptr<Text>, from: Ptr<Text>) {
    copy(out, from);
    out.get().end();
}

fn append<T: Copy + Default + PartialEq>(out: Ptr<Counted<T>>, elements: &[T], zero: bool) -> u32 {
    if elements.is_empty() {
        return SUCCESS;
    }
    let mut text = out.get();
    let status = text.append(elements);
    out.set(text);
    if zero && status == SUCCESS {
        text.end();
    }
    status
}

extern "win64" fn RtlAppendUnicodeStringToString(out: Ptr<Text>, more: Ptr<Text>) -> u32 {
    if more.is_null() { SUCCESS } else { append(out, &more.get().units(), true) }
}

extern "win64" fn RtlAppendUnicodeToString(out: Ptr<Text>, more: Ptr<u16>) -> u32 {
    append(out, &more.text(), true)
}

extern "win64" fn RtlAppendStringToString(out: Ptr<Bytes>, more: Ptr<Bytes>) -> u32 {
    if more.is_null() { SUCCESS } else { append(out, &more.get().elements(), false) }
}

extern "win64" fn RtlAppendAsciizToString(out: Ptr<Bytes>, more: Ptr<u8>) -> u32 {
    append(out, more.text(), false)
}

/// Zeros in the block, before a secret's room is given back.
extern "win64" fn RtlEraseUnicodeString(text: Ptr<Text>) {
    if text.is_null() {
        return;
    }
    let Counted { room, at, .. } = text.get();
    at.cast::<u8>().fill(&vec![0; room.into()]);
    text.set(Counted { length: 0, room, at });
}

table! {
    /// Making them, copying and joining.
    pub(crate) TABLE:
        RtlInitUnicodeString, RtlInitUnicodeStringEx, RtlInitAnsiString, RtlInitString = RtlInitAnsiString, RtlInitAnsiStringEx,
        RtlInitStringEx = RtlInitAnsiStringEx, RtlFreeUnicodeString, RtlFreeAnsiString = RtlFreeUnicodeString,
        RtlFreeOemString = RtlFreeUnicodeString, RtlFreeUTF8String = RtlFreeUnicodeString, RtlCreateUnicodeString,
        RtlCreateUnicodeStringFromAsciiz, RtlDuplicateUnicodeString, RtlValidateUnicodeString, RtlCopyString,
        RtlCopyUnicodeString, RtlAppendUnicodeStringToString, RtlAppendUnicodeToString, RtlAppendStringToString,
        RtlAppendAsciizToString, RtlEraseUnicodeString
}
