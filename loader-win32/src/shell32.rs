//! shell32: a command line's words.
#![allow(non_snake_case)]

use crate::{guest::Ptr, heap, kernel32::error::code, process, teb, text::wide};

/// The words of a command line, by the rules of `CommandLineToArgvW`. The program's path comes first: it ends where its
/// quotes do, and backslashes are nothing special in it.
fn words(line: &[u16]) -> Vec<Vec<u16>> {
    let blank = |c: u16| c == u16::from(b' ') || c == u16::from(b'\t');
    let quote = u16::from(b'"');
    let (program, mut rest) = match line.split_first() {
        Some((&c, inside)) if c == quote => {
            let end = inside.iter().position(|&c| c == quote);
            (&inside[..end.unwrap_or(inside.len())], end.map_or(&[][..], |end| &inside[end + 1..]))
        }
        // Anything up to a space ends it.
        _ => line.split_at(line.iter().position(|&c| c <= u16::from(b' ')).unwrap_or(line.len())),
    };
    let mut words = vec![program.to_vec()];
    loop {
        let start = rest.iter().position(|&c| !blank(c));
        let Some(start) = start else { return words };
        let (word, len) = word(&rest[start..], blank);
        words.push(word);
        rest = &rest[start + len..];
    }
}

/// The word that a text begins with, and how long it is there. Backslashes count only before a quote, where two of them
/// are one; the third of three quotes in a row stands for itself.
fn word(text: &[u16], blank: impl Fn(u16) -> bool) -> (Vec<u16>, usize) {
    let (quote, backslash) = (u16::from(b'"'), u16::from(b'\\'));
    let (mut word, mut backslashes, mut quotes, mut at) = (Vec::new(), 0usize, 0, 0);
    while let Some(&c) = text.get(at).filter(|&&c| quotes != 0 || !blank(c)) {
        at += 1;
        if c != quote {
            backslashes = if c == backslash { backslashes + 1 } else { 0 };
            word.push(c);
            continue;
        }
        word.truncate(word.len() - backslashes.div_ceil(2));
        if std::mem::take(&mut backslashes) % 2 == 1 {
            word.push(c);
            continue;
        }
        quotes += 1;
        while text.get(at) == Some(&quote) {
            at += 1;
            quotes += 1;
            if quotes == 3 {
                word.push(quote);
                quotes = 0;
            }
        }
        quotes %= 2;
    }
    (word, at)
}

/// One block with the addresses of the words and the words: the caller gives it to `LocalFree`. Without a text, the words
/// are the program's path alone.
extern "win64" fn CommandLineToArgvW(line: Ptr<u16>, count: Ptr<i32>) -> Ptr<usize> {
    if line.is_null() || count.is_null() {
        teb::set_last_error(code::INVALID_PARAMETER);
        return Ptr::NULL;
    }
    let line = line.text();
    let words = if line.is_empty() { vec![wide(&process::program_path())] } else { words(&line) };
    let head = (words.len() + 1) * size_of::<usize>();
    let units: usize = words.iter().map(|word| word.len() + 1).sum();
    let block = heap::alloc(head + units * 2, true);
    if block.is_null() {
        teb::set_last_error(code::NOT_ENOUGH_MEMORY);
        return Ptr::NULL;
    }
    let (places, mut to) = (block.cast::<usize>(), block.at(head).cast::<u16>());
    for (nth, word) in words.iter().enumerate() {
        places.at(nth).set(to.addr());
        to.fill(word);
        to = to.at(word.len() + 1);
    }
    count.set(i32::try_from(words.len()).unwrap_or(i32::MAX));
    places
}

table! {
    /// shell32.
    pub(crate) TABLE: CommandLineToArgvW
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines() {
        for (line, expected) in [
            (r"a b", &["a", "b"][..]),
            (r#""a b" c"#, &["a b", "c"]),
            (r#" a"#, &["", "a"]),
            (r#"p "a b" c\d "e\\" "f\"g""#, &["p", "a b", r"c\d", r"e\", r#"f"g"#]),
            (r#"p a\\\"b c\\"d e" f"#, &["p", r#"a\"b"#, r"c\d e", "f"]),
            (r#"p """a""" b"#, &["p", r#""a""#, "b"]),
            (r#"p "" b"#, &["p", "", "b"]),
        ] {
            let words: Vec<_> = words(&wide(line)).iter().map(|w| String::from_utf16_lossy(w)).collect();
            assert_eq!(words, expected, "{line}");
        }
    }
}
