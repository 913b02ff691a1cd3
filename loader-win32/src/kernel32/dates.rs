//! Dates as MS-DOS keeps them, in two numbers of 16 bits.

use super::{Bool, TRUE, error::code, fail};
use crate::{
    guest::Ptr,
    kernel32::time::{SystemTime, from_system_time, to_system_time},
};

/// Two seconds are the smallest step; years go from 1980 to 2107.
extern "win64" fn FileTimeToDosDateTime(time: Ptr<i64>, date: Ptr<u16>, clock: Ptr<u16>) -> Bool {
    match to_system_time(time.get()).filter(|t| (1980..=2107).contains(&t.year)) {
        Some(t) => {
            date.put((t.year - 1980) << 9 | t.month << 5 | t.day);
            clock.put(t.hour << 11 | t.minute << 5 | (t.second / 2));
            TRUE
        }
        None => fail(code::INVALID_PARAMETER),
    }
}

extern "win64" fn DosDateTimeToFileTime(date: u16, clock: u16, out: Ptr<i64>) -> Bool {
    let time = SystemTime {
        year: (date >> 9) + 1980,
        month: date >> 5 & 15,
        day: date & 31,
        hour: clock >> 11,
        minute: clock >> 5 & 63,
        second: (clock & 31) * 2,
        ..SystemTime::default()
    };
    match from_system_time(&time) {
        Some(time) => {
            out.put(time);
            TRUE
        }
        None => fail(code::INVALID_PARAMETER),
    }
}

/// `a * b / c`, rounded to the nearest; -1 where there is no answer in 32 bits.
extern "win64" fn MulDiv(a: i32, b: i32, c: i32) -> i32 {
    if c == 0 {
        return -1;
    }
    let (product, c) = (i64::from(a) * i64::from(b), i64::from(c));
    let (size, by) = (product.unsigned_abs(), c.unsigned_abs());
    let rounded = ((size + by / 2) / by).cast_signed();
    i32::try_from(if (product < 0) == (c < 0) { rounded } else { -rounded }).unwrap_or(-1)
}

table! {
    /// Old dates, and a product that does not overflow.
    pub(crate) TABLE: FileTimeToDosDateTime, DosDateTimeToFileTime, MulDiv
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products() {
        for (a, b, c, expected) in [
            (10, 3, 4, 8), // 7.5
            (-10, 3, 4, -8),
            (10, -3, -4, 8),
            (i32::MAX, i32::MAX, i32::MAX, i32::MAX),
            (i32::MAX, 2, 1, -1),
            (1, 1, 0, -1),
        ] {
            assert_eq!(MulDiv(a, b, c), expected, "{a} * {b} / {c}");
        }
    }
}
