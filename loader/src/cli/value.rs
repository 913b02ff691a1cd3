//! Arguments and results of a call, as they are spelled on the command line: `i32:5`, `f64:1.5`, `str:hi`, `out:i32`.

use clap::ValueEnum;
use loader::Arg;
use std::{ffi::CString, fmt, str::FromStr};

/// The type of a result, and of what an `out:` argument receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Type {
    I32,
    I64,
    U32,
    U64,
    F32,
    F64,
    /// A pointer to text that ends in a zero byte.
    Str,
    Ptr,
    /// The C type of one byte; the BOOL of Windows is an i32.
    Bool,
    Void,
}

/// An argument.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Argument {
    Plain(Arg),
    /// A pointer to this text.
    Text(CString),
    /// A pointer to eight zero bytes, which are shown after the call.
    Out(Type),
}

impl FromStr for Argument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, value) = text.split_once(':').ok_or("an argument is TYPE:VALUE, as in i32:5 or str:hi")?;
        let bad = || format!("{value:?} is no {kind}");
        let number = |least: i128, most: i128| {
            let number = integer(value).filter(|n| (least..=most).contains(n)).ok_or_else(bad)?;
            Ok::<_, String>(Self::Plain(Arg::Word(number as u64))) // extended by its sign where it has one
        };
        match kind {
            "i32" => number(i32::MIN.into(), i32::MAX.into()),
            "u32" => number(0, u32::MAX.into()),
            "i64" => number(i64::MIN.into(), i64::MAX.into()),
            "u64" | "ptr" => number(0, u64::MAX.into()),
            "bool" => match value {
                "true" | "1" => Ok(Self::Plain(Arg::Word(1))),
                "false" | "0" => Ok(Self::Plain(Arg::Word(0))),
                _ => Err(bad()),
            },
            "f32" => value.parse().map(|v| Self::Plain(Arg::Float(v))).map_err(|_| bad()),
            "f64" => value.parse().map(|v| Self::Plain(Arg::Double(v))).map_err(|_| bad()),
            "str" => CString::new(value).map(Self::Text).map_err(|_| bad()),
            "out" => match Type::from_str(value, false) {
                Ok(Type::Void) | Err(_) => Err(bad()),
                Ok(kind) => Ok(Self::Out(kind)),
            },
            _ => Err(format!("{kind:?} is none of i32 i64 u32 u64 f32 f64 str ptr bool out")),
        }
    }
}

/// A whole number, decimal or hexadecimal.
fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let number = match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    number.ok().map(|n| if negative { -i128::from(n) } else { n.into() })
}

/// A result.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Signed(i64),
    Unsigned(u64),
    Single(f32),
    Double(f64),
    /// Text; `None` for a null pointer.
    Text(Option<String>),
    Pointer(u64),
    Bool(bool),
    Nothing,
}

impl Value {
    /// The value of that type that a register or a cell of 64 bits holds; `text` reads what a pointer leads to.
    pub(super) fn read(kind: Type, bits: u64, text: impl FnOnce(u64) -> String) -> Self {
        match kind {
            Type::I32 => Self::Signed((bits as i32).into()),
            Type::I64 => Self::Signed(bits as i64),
            Type::U32 => Self::Unsigned((bits as u32).into()),
            Type::U64 => Self::Unsigned(bits),
            Type::F32 => Self::Single(f32::from_bits(bits as u32)),
            Type::F64 => Self::Double(f64::from_bits(bits)),
            Type::Str => Self::Text((bits != 0).then(|| text(bits))),
            Type::Ptr => Self::Pointer(bits),
            Type::Bool => Self::Bool(bits as u8 != 0),
            Type::Void => Self::Nothing,
        }
    }

    pub(super) fn json(&self) -> serde_json::Value {
        match self {
            Self::Signed(n) => (*n).into(),
            Self::Unsigned(n) => (*n).into(),
            Self::Single(n) => (*n).into(),
            Self::Double(n) => (*n).into(),
            Self::Text(text) => text.clone().into(),
            Self::Pointer(_) => self.to_string().into(),
            Self::Bool(b) => (*b).into(),
            Self::Nothing => serde_json::Value::Null,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signed(n) => n.fmt(f),
            Self::Unsigned(n) => n.fmt(f),
            Self::Single(n) => n.fmt(f),
            Self::Double(n) => n.fmt(f),
            Self::Text(None) => f.write_str("(null)"),
            Self::Text(Some(text)) => text.fmt(f),
            Self::Pointer(at) => write!(f, "{at:#x}"),
            Self::Bool(b) => b.fmt(f),
            Self::Nothing => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Option<u64> {
        match text.parse() {
            Ok(Argument::Plain(Arg::Word(n))) => Some(n),
            _ => None,
        }
    }

    #[test]
    fn arguments_are_read() {
        assert_eq!(word("i32:5"), Some(5));
        assert_eq!(word("i32:-5"), Some(-5i64 as u64));
        assert_eq!(word("u64:18446744073709551615"), Some(u64::MAX));
        assert_eq!(word("i64:-9223372036854775808"), Some(1 << 63));
        assert_eq!(word("ptr:0x7f00"), Some(0x7f00));
        assert_eq!(word("bool:true"), Some(1));
        assert_eq!("f32:1.5".parse(), Ok(Argument::Plain(Arg::Float(1.5))));
        assert_eq!("f64:-2e3".parse(), Ok(Argument::Plain(Arg::Double(-2000.0))));
        assert_eq!("str:a:b".parse(), Ok(Argument::Text(c"a:b".into())));
        assert_eq!("str:".parse(), Ok(Argument::Text(c"".into())));
        assert_eq!("out:f64".parse(), Ok(Argument::Out(Type::F64)));
    }

    #[test]
    fn what_is_no_argument_is_refused() {
        for text in [
            "",
            "5",
            "i32:",
            "i32:x",
            "i32:2147483648",
            "u32:-1",
            "u64:0x",
            "i32:--5",
            "bool:2",
            "out:void",
            "out:",
            "int:5",
            "f64:x",
        ] {
            assert!(text.parse::<Argument>().is_err(), "{text}");
        }
    }

    #[test]
    fn results_are_cut_to_their_type() {
        let show = |kind, bits| Value::read(kind, bits, |at| format!("text at {at}")).to_string();
        assert_eq!(show(Type::I32, 0x1_ffff_fffb), "-5");
        assert_eq!(show(Type::U32, 0x1_ffff_fffb), "4294967291");
        assert_eq!(show(Type::F32, 0xdead_0000_0000 | u64::from(1.5f32.to_bits())), "1.5");
        assert_eq!(show(Type::F64, 10f64.to_bits()), "10");
        assert_eq!(show(Type::Bool, 0x100), "false");
        assert_eq!(show(Type::Str, 0), "(null)");
        assert_eq!(show(Type::Str, 7), "text at 7");
        assert_eq!(show(Type::Ptr, 255), "0xff");
    }
}
