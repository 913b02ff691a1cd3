//! Addresses of the Internet as texts.

use crate::{
    guest::Ptr,
    nt::status::{INVALID_PARAMETER, SUCCESS},
    text::{Text, length},
};
use std::net::{Ipv4Addr, Ipv6Addr};

/// A number at the start of a text and how long it is, or where it is none: a prefix names base eight or sixteen, unless
/// it is strictly to be ten, and it has no more than 32 bits.
fn number(text: &str, strict: bool) -> Result<(u32, usize), usize> {
    let (base, start) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, 2),
        [b'0', digit, ..] if digit.is_ascii_digit() => (8, 1),
        _ => (10, 0),
    };
    if strict && start > 0 {
        return Err(start);
    }
    let (mut value, mut len) = (0u32, start);
    for digit in text[start..].bytes().map_while(|b| char::from(b).to_digit(base)) {
        value = value.checked_mul(base).and_then(|v| v.checked_add(digit)).ok_or(len)?;
        len += 1;
    }
    match len == start {
        // A dot with nothing before it is passed over.
        true => Err(start + usize::from(text[start..].starts_with('.'))),
        false => Ok((value, len)),
    }
}

/// An address of four bytes, and how much of the text it is, or as far as it was one. A strict one has four decimal parts;
/// another may have fewer, of which the last fills what is left, in any base.
pub(crate) fn v4(text: &str, strict: bool) -> Result<(u32, usize), usize> {
    let (mut parts, mut at) = (Vec::new(), 0);
    loop {
        let (value, len) = number(&text[at..], strict).map_err(|len| at + len)?;
        parts.push(value);
        at += len;
        match text[at..].starts_with('.') {
            false => break,
            true if parts.len() == 4 => return Err(at),
            true => at += 1,
        }
    }
    let (last, heads) = parts.split_last().ok_or(at)?;
    let left = 32 - 8 * heads.len() as u32;
    let fits = u64::from(*last) < 1 << left && heads.iter().all(|&part| part < 256);
    if !fits || strict && heads.len() != 3 {
        return Err(at);
    }
    let above = heads.iter().enumerate().fold(0, |sum, (nth, part)| sum | part << (24 - 8 * nth));
    Ok((above | last, at))
}

/// An address of sixteen bytes, and how much of the text it is: the longest start that is one.
fn v6(text: &str) -> Option<([u8; 16], usize)> {
    let shaped = |b: &u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.');
    let longest = text.bytes().take_while(|b| shaped(b)).count();
    let found = (2..=longest).rev().find_map(|len| Some((text[..len].parse::<Ipv6Addr>().ok()?, len)));
    // A part with too many digits is none.
    let found = found.filter(|&(_, len)| !text[len..].starts_with(|c: char| c.is_ascii_hexdigit()));
    found.map(|(address, len)| (address.octets(), len))
}

/// A text with its zero at a place that has room for it; where it ends. Nowhere ends at the last address.
fn write<T: Text>(text: &str, to: Ptr<T>) -> Ptr<T> {
    if to.is_null() {
        return Ptr::from_guest(u64::MAX);
    }
    let units = T::of(text);
    to.fill(&units);
    to.at(units.len()).put(T::default());
    to.at(units.len())
}

fn write_ex<T: Text>(text: &str, to: Ptr<T>, room: Ptr<u32>) -> u32 {
    if room.is_null() || to.is_null() {
        return INVALID_PARAMETER;
    }
    let had = room.get();
    room.set(length(text.len() + 1));
    if text.len() >= had as usize {
        return INVALID_PARAMETER;
    }
    write(text, to);
    SUCCESS
}

fn text_of_v4(address: Ptr<[u8; 4]>) -> String {
    Ipv4Addr::from(address.get()).to_string()
}

/// The last four bytes are written as such an address where the others say so.
fn text_of_v6(address: Ptr<[u8; 16]>) -> String {
    let bytes = address.get();
    let [.., a, b, c, d] = bytes;
    let last = Ipv4Addr::new(a, b, c, d);
    match bytes {
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, x, y, ..] if x != 0 || y != 0 => format!("::{last}"),
        [0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, x, y, ..] if x != 0 || y != 0 => {
            format!("::ffff:0:{last}")
        }
        [.., 0 | 2, 0, 0x5e, 0xfe, _, _, _, _] => {
            let mut head = bytes;
            head[12..].copy_from_slice(&[0xff; 4]); // eight digits that are cut off again
            let text = Ipv6Addr::from(head).to_string();
            text.strip_suffix("ffff:ffff").map_or(text.clone(), |head| format!("{head}{last}"))
        }
        _ => Ipv6Addr::from(bytes).to_string(),
    }
}

/// A port in network order behind the address, which has brackets then.
fn with_scope_and_port(address: Ptr<[u8; 16]>, scope: u32, port: u16) -> String {
    let address = text_of_v6(address);
    let scoped = if scope == 0 { address } else { format!("{address}%{scope}") };
    if port == 0 { scoped } else { format!("[{scoped}]:{}", u16::from_be(port)) }
}

/// A port behind a colon, to the end of the text.
fn port(text: &str) -> Option<u16> {
    let (value, len) = number(text, false).ok()?;
    u16::try_from(value).ok().filter(|&port| port != 0 && len == text.len())
}

fn parse_v4<T: Text>(text: Ptr<T>, strict: u8, end: Ptr<Ptr<T>>, out: Ptr<[u8; 4]>) -> u32 {
    let string = T::string(text);
    match v4(&string, strict != 0) {
        Ok((address, len)) => {
            end.put(text.at(len)); // all of it is ASCII
            out.put(address.to_be_bytes());
            SUCCESS
        }
        Err(at) => {
            end.put(text.at(at));
            INVALID_PARAMETER
        }
    }
}

fn parse_v4_ex<T: Text>(text: Ptr<T>, strict: u8, out: Ptr<[u8; 4]>, port_out: Ptr<u16>) -> u32 {
    if text.is_null() || out.is_null() || port_out.is_null() {
        return INVALID_PARAMETER;
    }
    let string = T::string(text);
    let Ok((address, len)) = v4(&string, strict != 0) else { return INVALID_PARAMETER };
    let rest = &string[len..];
    let port = if rest.is_empty() { Some(0) } else { rest.strip_prefix(':').and_then(port) };
    let Some(port) = port else { return INVALID_PARAMETER };
    out.set(address.to_be_bytes());
    port_out.set(port.to_be());
    SUCCESS
}

fn parse_v6<T: Text>(text: Ptr<T>, end: Ptr<Ptr<T>>, out: Ptr<[u8; 16]>) -> u32 {
    match v6(&T::string(text)) {
        Some((address, len)) => {
            end.put(text.at(len));
            out.put(address);
            SUCCESS
        }
        None => {
            end.put(text);
            INVALID_PARAMETER
        }
    }
}

fn parse_v6_ex<T: Text>(text: Ptr<T>, out: Ptr<[u8; 16]>, scope_out: Ptr<u32>, port_out: Ptr<u16>) -> u32 {
    if text.is_null() || out.is_null() || scope_out.is_null() || port_out.is_null() {
        return INVALID_PARAMETER;
    }
    let string = T::string(text);
    let parsed = || {
        let inner = string.strip_prefix('[');
        let (address, len) = v6(inner.unwrap_or(&string))?;
        let mut rest = &inner.unwrap_or(&string)[len..];
        let mut scope = 0;
        if let Some(scoped) = rest.strip_prefix('%') {
            let digits = scoped.bytes().take_while(u8::is_ascii_digit).count();
            scope = scoped[..digits].parse::<u32>().ok()?;
            rest = &scoped[digits..];
        }
        let port = match inner.map(|_| rest.strip_prefix(']')) {
            None if rest.is_empty() => 0,
            Some(Some("")) => 0,
            Some(Some(behind)) => port(behind.strip_prefix(':')?)?,
            _ => return None,
        };
        Some((address, scope, port))
    };
    let Some((address, scope, port)) = parsed() else { return INVALID_PARAMETER };
    out.set(address);
    scope_out.set(scope);
    port_out.set(port.to_be());
    SUCCESS
}

macro_rules! faces {
    ($($t:ty: $v4:ident $v4_ex:ident $of_v4:ident $of_v4_ex:ident $v6:ident $v6_ex:ident $of_v6:ident $of_v6_ex:ident;)*) => {$(
        extern "win64" fn $v4(address: Ptr<[u8; 4]>, to: Ptr<$t>) -> Ptr<$t> {
            write(&text_of_v4(address), to)
        }
        extern "win64" fn $v4_ex(address: Ptr<[u8; 4]>, port: u16, to: Ptr<$t>, room: Ptr<u32>) -> u32 {
            if address.is_null() {
                return INVALID_PARAMETER;
            }
            let text = text_of_v4(address);
            let text = if port == 0 { text } else { format!("{text}:{}", u16::from_be(port)) };
            write_ex(&text, to, room)
        }
        extern "win64" fn $of_v4(text: Ptr<$t>, strict: u8, end: Ptr<Ptr<$t>>, out: Ptr<[u8; 4]>) -> u32 {
            parse_v4(text, strict, end, out)
        }
        extern "win64" fn $of_v4_ex(text: Ptr<$t>, strict: u8, out: Ptr<[u8; 4]>, port: Ptr<u16>) -> u32 {
            parse_v4_ex(text, strict, out, port)
        }
        extern "win64" fn $v6(address: Ptr<[u8; 16]>, to: Ptr<$t>) -> Ptr<$t> {
            write(&text_of_v6(address), to)
        }
        extern "win64" fn $v6_ex(address: Ptr<[u8; 16]>, scope: u32, port: u16, to: Ptr<$t>, room: Ptr<u32>) -> u32 {
            if address.is_null() {
                return INVALID_PARAMETER;
            }
            write_ex(&with_scope_and_port(address, scope, port), to, room)
        }
        extern "win64" fn $of_v6(text: Ptr<$t>, end: Ptr<Ptr<$t>>, out: Ptr<[u8; 16]>) -> u32 {
            parse_v6(text, end, out)
        }
        extern "win64" fn $of_v6_ex(text: Ptr<$t>, out: Ptr<[u8; 16]>, scope: Ptr<u32>, port: Ptr<u16>) -> u32 {
            parse_v6_ex(text, out, scope, port)
        }
    )*};
}

faces! {
    u8: RtlIpv4AddressToStringA RtlIpv4AddressToStringExA RtlIpv4StringToAddressA RtlIpv4StringToAddressExA
        RtlIpv6AddressToStringA RtlIpv6AddressToStringExA RtlIpv6StringToAddressA RtlIpv6StringToAddressExA;
    u16: RtlIpv4AddressToStringW RtlIpv4AddressToStringExW RtlIpv4StringToAddressW RtlIpv4StringToAddressExW
        RtlIpv6AddressToStringW RtlIpv6AddressToStringExW RtlIpv6StringToAddressW RtlIpv6StringToAddressExW;
}

table! {
    /// Addresses.
    pub(crate) TABLE:
        RtlIpv4AddressToStringA, RtlIpv4AddressToStringExA, RtlIpv4StringToAddressA, RtlIpv4StringToAddressExA,
        RtlIpv6AddressToStringA, RtlIpv6AddressToStringExA, RtlIpv6StringToAddressA, RtlIpv6StringToAddressExA,
        RtlIpv4AddressToStringW, RtlIpv4AddressToStringExW, RtlIpv4StringToAddressW, RtlIpv4StringToAddressExW,
        RtlIpv6AddressToStringW, RtlIpv6AddressToStringExW, RtlIpv6StringToAddressW, RtlIpv6StringToAddressExW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_bytes() {
        for (text, strict, expected) in [
            ("1.2.3.4", true, Ok((0x0102_0304, 7))),
            ("1.2.3.4.5", true, Err(7)),
            ("127.1", false, Ok((0x7f00_0001, 5))),
            ("0x10.010.1", false, Ok((0x1008_0001, 10))),
            ("4294967295", false, Ok((u32::MAX, 10))),
            ("4294967296", false, Err(9)),
            ("1..2", false, Err(3)),
            ("1.2.3.0x4", true, Err(8)),
            ("127.1", true, Err(5)),
            ("1.2.3.256", true, Err(9)),
            ("", true, Err(0)),
        ] {
            assert_eq!(v4(text, strict), expected, "{text}");
        }
    }

    #[test]
    fn sixteen_bytes() {
        assert_eq!(v6("::1%3").map(|(address, len)| (address[15], len)), Some((1, 3)));
        assert_eq!(v6("1:2:3:4:5:6:7:8:9").map(|found| found.1), Some(15));
        assert_eq!([v6("ä"), v6("::fffff"), v6("::01234")], [None; 3]);
        assert_eq!([port("80"), port("0x50"), port("65536"), port("")], [Some(80), Some(80), None, None]);
    }
}
