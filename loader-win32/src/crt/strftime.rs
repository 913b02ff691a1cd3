//! Dates in words: `strftime` in all its forms. Each runtime has letters of its own; names and the pictures
//! of dates (`dddd, MMMM dd`) are those of "C", or those of a table that C++'s library passes.

use super::{
    invalid::invalid,
    string::copy_s,
    time::{Tm, iso_week, week, zone},
};
use crate::{format::Dialect, guest::Ptr, text};

pub(crate) const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
pub(crate) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// Where the names and pictures of a date come from.
#[derive(Clone, Copy)]
pub(super) enum Names {
    /// The "C" locale.
    C,
    /// A table of narrow texts (msvcrt), or the wide ones behind them (ucrtbase).
    Table(Ptr<Ptr<u8>>),
}

// Where they are in a table: short names first.
const SHORT_DAYS: usize = 0;
const LONG_DAYS: usize = 7;
const SHORT_MONTHS: usize = 14;
const LONG_MONTHS: usize = 26;
const HALVES: usize = 38;
const SHORT_DATE: usize = 40;
const LONG_DATE: usize = 41;
const TIME: usize = 42;
/// Narrow texts and two numbers come before the wide ones.
const WIDE: usize = 44;

impl Names {
    fn get(self, dialect: Dialect, nth: usize) -> String {
        match self {
            Self::Table(table) if dialect == Dialect::Msvcrt => table.at(nth).get().string(),
            Self::Table(table) => table.at(WIDE + nth).get().cast::<u16>().string(),
            Self::C => {
                let short = |name: &str| name.chars().take(3).collect();
                match nth {
                    LONG_DAYS..SHORT_MONTHS => DAYS[nth - LONG_DAYS].into(),
                    SHORT_MONTHS..LONG_MONTHS => short(MONTHS[nth - SHORT_MONTHS]),
                    LONG_MONTHS..HALVES => MONTHS[nth - LONG_MONTHS].into(),
                    HALVES => "AM".into(),
                    39 => "PM".into(),
                    SHORT_DATE => "MM/dd/yy".into(),
                    LONG_DATE => "dddd, MMMM dd, yyyy".into(),
                    TIME => "HH:mm:ss".into(),
                    _ => short(DAYS[nth % DAYS.len()]),
                }
            }
        }
    }
}

/// A text that is being made of a date.
struct Writer<'a> {
    out: String,
    tm: &'a Tm,
    names: Names,
    dialect: Dialect,
    /// Whether numbers have nothing in front of them (`%#d`).
    bare: bool,
}

/// A number of a date, where it is one.
pub(super) fn within(n: i32, range: std::ops::RangeInclusive<i32>) -> Option<i32> {
    range.contains(&n).then_some(n)
}

impl Writer<'_> {
    fn number(&mut self, n: i32, width: usize) {
        self.padded(n, width, '0');
    }

    fn padded(&mut self, n: i32, width: usize, fill: char) {
        let digits = n.to_string();
        let missing = if self.bare { 0 } else { width.saturating_sub(digits.len()) };
        self.out.extend(std::iter::repeat_n(fill, missing));
        self.out.push_str(&digits);
    }

    fn name(&mut self, first: usize, n: i32) {
        let name = self.names.get(self.dialect, first + usize::try_from(n).unwrap_or(0));
        self.out.push_str(&name);
    }

    fn all(&mut self, letters: &str) -> Option<()> {
        letters.chars().try_for_each(|c| match c {
            c if c.is_ascii_alphabetic() => self.field(c),
            c => {
                self.out.push(c);
                Some(())
            }
        })
    }

    fn year(&self) -> Option<i32> {
        within(self.tm[5], -1900..=8099).map(|year| year + 1900)
    }

    fn hour(&self) -> Option<i32> {
        within(self.tm[2], 0..=23)
    }

    fn weekday(&self) -> Option<i32> {
        within(self.tm[6], 0..=6)
    }

    fn month(&self) -> Option<i32> {
        within(self.tm[4], 0..=11)
    }

    fn half(&self) -> Option<usize> {
        Some(HALVES + usize::from(self.hour()? >= 12))
    }

    /// The time of day in words, as "C" has it in ucrtbase, or as the pictures say.
    fn time(&mut self) -> Option<()> {
        let picture = self.names.get(self.dialect, TIME);
        self.picture(&picture)
    }

    /// What one letter stands for; `None` for a letter that stands for nothing, and for a date that cannot be.
    fn field(&mut self, c: char) -> Option<()> {
        let [second, minute, hour, day, month, _, _, of_year, _] = *self.tm;
        let universal = self.dialect != Dialect::Msvcrt;
        let c_locale = matches!(self.names, Names::C);
        match c {
            'a' => self.name(SHORT_DAYS, self.weekday()?),
            'A' => self.name(LONG_DAYS, self.weekday()?),
            'b' => self.name(SHORT_MONTHS, self.month()?),
            'B' => self.name(LONG_MONTHS, self.month()?),
            'c' if universal && c_locale && !self.bare => self.all("a b e T Y")?,
            'c' => {
                self.field('x')?;
                self.out.push(' ');
                self.time()?;
            }
            'd' => self.number(within(day, 1..=31)?, 2),
            'H' => self.number(within(hour, 0..=23)?, 2),
            'I' => self.number((self.hour()? + 11) % 12 + 1, 2),
            'j' => self.number(within(of_year, 0..=365)? + 1, 3),
            'm' => self.number(within(month, 0..=11)? + 1, 2),
            'M' => self.number(within(minute, 0..=59)?, 2),
            'p' => {
                let half = self.half()?;
                self.name(half, 0);
            }
            'S' => self.number(within(second, 0..=60)?, 2),
            'U' => self.number(self.week(0)?, 2),
            'w' => self.number(self.weekday()?, 1),
            'W' => self.number(self.week(1)?, 2),
            'x' => {
                let picture = self.names.get(self.dialect, if self.bare { LONG_DATE } else { SHORT_DATE });
                self.bare = false;
                self.picture(&picture)?;
            }
            'X' => self.time()?,
            'y' => self.number(self.year()? % 100, 2),
            'Y' => self.number(self.year()?, 4),
            'z' => self.zone(),
            'Z' => {}
            '%' => self.out.push('%'),
            _ if !universal => return None,
            'C' => self.number(self.year()? / 100, 2),
            'D' => self.all("m/d/y")?,
            'e' => self.padded(within(day, 1..=31)?, 2, ' '),
            'F' => self.all("Y-m-d")?,
            'g' => self.number(self.iso_week()?.0.rem_euclid(100), 2),
            'G' => self.number(self.iso_week()?.0, 4),
            'h' => self.field('b')?,
            'n' => self.out.push('\n'),
            'r' if c_locale => self.all("I:M:S p")?,
            'r' => self.time()?,
            'R' => self.all("H:M")?,
            't' => self.out.push('\t'),
            'T' => self.all("H:M:S")?,
            'u' => self.number((self.weekday()? + 6) % 7 + 1, 1),
            'V' => self.number(self.iso_week()?.1, 2),
            _ => return None,
        }
        Some(())
    }

    fn week(&self, first: i32) -> Option<i32> {
        self.weekday()?;
        within(self.tm[7], 0..=365)?;
        Some(week(self.tm, first))
    }

    fn iso_week(&self) -> Option<(i32, i32)> {
        self.year()?;
        self.week(0)?;
        Some(iso_week(self.tm))
    }

    fn zone(&mut self) {
        let ahead = -zone().0 / 60;
        let sign = if ahead < 0 { '-' } else { '+' };
        self.out.push_str(&format!("{sign}{:02}{:02}", ahead.abs() / 60, ahead.abs() % 60));
    }

    /// A picture of a date or a time: what is more of a letter than means something stands for itself, in front.
    fn picture(&mut self, picture: &str) -> Option<()> {
        let mut rest = picture;
        while let Some(c) = rest.chars().next() {
            let run = rest.chars().take_while(|&other| other == c).count();
            rest = &rest[run * c.len_utf8()..];
            let extra = |most: usize| run.saturating_sub(most);
            let (more, part) = match (c, run) {
                ('\'', _) => {
                    let end = rest.find('\'').unwrap_or(rest.len());
                    self.out.push_str(&rest[..end]);
                    rest = rest.get(end + 1..).unwrap_or("");
                    continue;
                }
                ('d', 1) | ('M', 1) | ('h', 1) | ('H', 1) | ('m', 1) | ('s', 1) => (0, 1),
                ('d' | 'M', _) => (extra(4), run.min(4)),
                ('h' | 'H' | 'm' | 's', _) => (extra(2), 2),
                ('y', 1 | 3) => (1, run - 1),
                ('y', 5..) => (run - 4, 4),
                ('y', _) => (0, run),
                _ => (0, run),
            };
            self.out.extend(std::iter::repeat_n(c, more));
            self.bare = part == 1;
            match (c, part) {
                ('d', 1 | 2) => self.field('d')?,
                ('d', 3) => self.field('a')?,
                ('d', _) => self.field('A')?,
                ('M', 1 | 2) => self.field('m')?,
                ('M', 3) => self.field('b')?,
                ('M', _) => self.field('B')?,
                ('y', 0) => {}
                ('y', 2) => self.field('y')?,
                ('y', _) => self.field('Y')?,
                ('h', _) => self.field('I')?,
                ('H', _) => self.field('H')?,
                ('m', _) => self.field('M')?,
                ('s', _) => self.field('S')?,
                ('t', 1) => {
                    let half = self.half()?;
                    self.out.extend(self.names.get(self.dialect, half).chars().next());
                }
                ('t' | 'a' | 'A', _) => self.field('p')?,
                _ => self.out.extend(std::iter::repeat_n(c, run)),
            }
            self.bare = false;
        }
        Some(())
    }
}

/// A date in words; `None` where the format or the date makes no sense. Without a date there is text only.
pub(super) fn format(pattern: &str, tm: Option<&Tm>, names: Names, dialect: Dialect) -> Option<String> {
    let mut writer = Writer { out: String::new(), tm: tm.unwrap_or(&[0; 9]), names, dialect, bare: false };
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            writer.out.push(c);
            continue;
        }
        let universal = dialect != Dialect::Msvcrt;
        let letter = chars.by_ref().find(|&c| {
            writer.bare |= c == '#';
            c != '#' && !(universal && matches!(c, 'E' | 'O'))
        })?;
        tm?;
        writer.field(letter)?;
        writer.bare = false;
    }
    Some(writer.out)
}

fn formatted<T: text::Text>(
    to: Ptr<T>,
    room: usize,
    pattern: Ptr<T>,
    tm: Ptr<Tm>,
    names: Names,
    dialect: Dialect,
) -> usize {
    let date = (!tm.is_null()).then(|| tm.get());
    let made = match to.is_null() || room == 0 || pattern.is_null() {
        true => None,
        false => format(&T::string(pattern), date.as_ref(), names, dialect),
    };
    let Some(made) = made else {
        if room > 0 {
            to.put(T::default());
        }
        invalid();
        return 0;
    };
    let made = T::of(&made);
    if copy_s(to, room, &made, 0, false) == 0 { made.len() } else { 0 }
}

fn names(table: Ptr<Ptr<u8>>) -> Names {
    if table.is_null() { Names::C } else { Names::Table(table) }
}

macro_rules! strftimes {
    ($($letter:ty, $dialect:ident: $plain:ident $with_table:ident;)*) => {$(
        extern "win64" fn $plain(to: Ptr<$letter>, room: usize, pattern: Ptr<$letter>, tm: Ptr<Tm>) -> usize {
            formatted(to, room, pattern, tm, Names::C, Dialect::$dialect)
        }
        extern "win64" fn $with_table(to: Ptr<$letter>, room: usize, pattern: Ptr<$letter>, tm: Ptr<Tm>, table: Ptr<Ptr<u8>>) -> usize {
            formatted(to, room, pattern, tm, names(table), Dialect::$dialect)
        }
    )*};
}

strftimes! {
    u8, Universal: strftime _Strftime;
    u16, Universal: wcsftime _Wcsftime;
    u8, Msvcrt: legacy_strftime legacy_Strftime;
    u16, Msvcrt: legacy_wcsftime legacy_Wcsftime;
}

table! {
    /// What ucrtbase has.
    pub(crate) UCRT: strftime, _strftime_l = strftime, wcsftime, _wcsftime_l = wcsftime, _Strftime, _Wcsftime
}

table! {
    /// What msvcrt has: dates and times in numbers for `%c`, and fewer letters.
    pub(crate) MSVCRT:
        strftime = legacy_strftime, _strftime_l = legacy_strftime, wcsftime = legacy_wcsftime, _wcsftime_l = legacy_wcsftime,
        _Strftime = legacy_Strftime, _Wcsftime = legacy_Wcsftime
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUNDAY: Tm = [40, 46, 1, 9, 8, 101, 0, 251, 0]; // 2001-09-09 01:46:40

    fn of(pattern: &str, tm: &Tm) -> Option<String> {
        format(pattern, Some(tm), Names::C, Dialect::Universal)
    }

    #[test]
    fn dates() {
        assert_eq!(of("%Y-%m-%d %H:%M:%S %a %b %j", &SUNDAY).unwrap(), "2001-09-09 01:46:40 Sun Sep 252");
        assert_eq!(of("%G-%V %U %W", &SUNDAY).unwrap(), "2001-36 36 36");
        assert_eq!(
            of("%#d %#m %#H %#j %#S %#y %#D %#r", &SUNDAY).unwrap(),
            "9 9 1 252 40 1 9/9/1 1:46:40 AM"
        );
        assert_eq!(
            of("%#x, %#c", &SUNDAY).unwrap(),
            "Sunday, September 09, 2001, Sunday, September 09, 2001 01:46:40"
        );
        assert_eq!(of("%c", &SUNDAY).unwrap(), "Sun Sep  9 01:46:40 2001");
        assert_eq!(of("%q", &SUNDAY), None);
        assert_eq!(of("%G-%V", &[0, 0, 0, 1, 0, 105, 6, 0, 0]).unwrap(), "2004-53", "of 2004's last week");
        let old = |pattern| format(pattern, Some(&SUNDAY), Names::C, Dialect::Msvcrt);
        assert_eq!((old("%c %#%e"), old("%C"), old("%T")), (Some("09/09/01 01:46:40 %e".into()), None, None));
        assert_eq!(format("copy", None, Names::C, Dialect::Universal).unwrap(), "copy");
        assert_eq!(format("%d", None, Names::C, Dialect::Universal), None);
    }

    #[test]
    fn what_is_no_date() {
        for letter in "aAbBcCdDeFgGHIjmMprRSTuUVwWxXyY".chars() {
            for n in [i32::MIN, -2000, i32::MAX] {
                assert_eq!(of(&format!("%{letter}"), &[n; 9]), None, "{letter}");
                assert_eq!(of(&format!("%#{letter}"), &[n; 9]), None, "{letter}");
            }
        }
    }
}
