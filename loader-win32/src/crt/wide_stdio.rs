//! Wide characters of streams: UTF-8 in a text, two bytes each in a file of bytes.

use super::{
    files, set_errno,
    stdio::{LINE_END, get, line, without_end, write},
};
use crate::{
    guest::Ptr,
    stream::{self, Stream},
};

type File = Ptr<Stream>;

const RETURN: u16 = b'\r' as u16;
const END: u16 = LINE_END as u16;

/// Whether a text is in UTF-16: lines end with two characters in the file.
fn is_utf16(file: File) -> bool {
    let number = file.shared().file();
    number > 2 && files::mode_of(number) == super::unicode_text::UTF16
}

fn is_binary(file: File) -> bool {
    let number = file.shared().file();
    number > 2 && !files::is_text(number)
}

extern "win64" fn fputwc(unit: u16, file: File) -> u16 {
    if write_wide(file, &[unit]) { unit } else { u16::MAX }
}

/// Writes a wide text; a surrogate alone cannot be written in UTF-8.
pub(crate) fn write_wide(file: File, units: &[u16]) -> bool {
    if is_utf16(file) {
        let with_returns =
            units.iter().flat_map(|&unit| if unit == END { vec![RETURN, END] } else { vec![unit] });
        return write(file, &with_returns.flat_map(u16::to_le_bytes).collect::<Vec<_>>());
    }
    if is_binary(file) {
        return write(file, &units.iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<_>>());
    }
    match String::from_utf16(units) {
        Ok(text) => write(file, text.as_bytes()),
        Err(_) => {
            set_errno(42); // EILSEQ
            false
        }
    }
}

extern "win64" fn fputws(text: Ptr<u16>, file: File) -> i32 {
    if write_wide(file, &text.text()) { 0 } else { -1 }
}

extern "win64" fn _putws(text: Ptr<u16>) -> i32 {
    let done = write_wide(stream::output(), &text.text()) && write(stream::output(), &[LINE_END]);
    if done { 0 } else { -1 }
}

extern "win64" fn putwchar(unit: u16) -> u16 {
    fputwc(unit, stream::output())
}

/// The next wide character. The second half of a pair waits in the stream.
pub(crate) fn get_wide(file: File) -> Option<u16> {
    let waiting = file.shared().take_kept();
    if waiting.is_some() {
        return waiting;
    }
    let first = get(file)?;
    if is_binary(file) {
        let unit = u16::from_le_bytes([first, get(file)?]);
        if unit != RETURN || !is_utf16(file) {
            return Some(unit);
        }
        return match get(file).and_then(|low| Some(u16::from_le_bytes([low, get(file)?]))) {
            Some(END) => Some(END),
            other => {
                other.into_iter().for_each(|next| unget_wide(file, next));
                Some(unit)
            }
        };
    }
    let mut bytes = vec![first];
    let more = first.leading_ones().saturating_sub(1).min(3); // of a character in UTF-8
    bytes.extend((0..more).map_while(|_| get(file)));
    let mut units = [0; 2];
    let c = String::from_utf8_lossy(&bytes).chars().next()?;
    if let [_, second] = *c.encode_utf16(&mut units) {
        unget_wide(file, second);
    }
    Some(units[0])
}

/// Puts a wide character back, which is read next.
pub(crate) fn unget_wide(file: File, unit: u16) {
    file.shared().keep(unit);
}

extern "win64" fn fgetwc(file: File) -> u16 {
    get_wide(file).unwrap_or(u16::MAX)
}

extern "win64" fn getwchar() -> u16 {
    fgetwc(stream::input())
}

extern "win64" fn ungetwc(unit: u16, file: File) -> u16 {
    if unit != u16::MAX {
        unget_wide(file, unit);
    }
    unit
}

extern "win64" fn fgetws(to: Ptr<u16>, room: i32, file: File) -> Ptr<u16> {
    line(to, room, || get_wide(file))
}

extern "win64" fn _getws(to: Ptr<u16>) -> Ptr<u16> {
    without_end(line(to, i32::MAX, || get_wide(stream::input())))
}

table! {
    /// What both have.
    pub(crate) TABLE:
        fputwc, putwc = fputwc, fputws, _putws, putwchar, _fputwchar = putwchar, fgetwc, getwc = fgetwc, getwchar,
        _fgetwchar = getwchar, ungetwc, fgetws, _getws
}

table! {
    /// What ucrtbase has.
    pub(crate) UCRT:
        _fputwc_nolock = fputwc, _putwc_nolock = fputwc, _fgetwc_nolock = fgetwc, _getwc_nolock = fgetwc,
        _ungetwc_nolock = ungetwc
}
