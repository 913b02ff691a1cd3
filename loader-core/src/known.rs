//! Texts of the program's own that come back from another process: equal ones are the same one.
//!
//! The other process may lie, so there is an end to what it can have remembered here: a text beyond that is "unknown".

use serde::{Deserialize, Deserializer};
use std::{
    collections::BTreeSet,
    sync::{Mutex, PoisonError},
};

/// How long a text may be, and how many there are at most. There are about 500 of up to 60 bytes.
const LONGEST: usize = 120;
const MOST: usize = 2000;

static KNOWN: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// For fields that hold a text of the program.
pub(crate) fn text<'de, D: Deserializer<'de>>(from: D) -> Result<&'static str, D::Error> {
    Ok(known(&String::deserialize(from)?))
}

fn known(text: &str) -> &'static str {
    let mut all = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = all.get(text) {
        return known;
    }
    if text.len() > LONGEST || all.len() >= MOST {
        return "unknown";
    }
    let text = Box::leak(Box::<str>::from(text));
    all.insert(text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_an_end_to_what_is_remembered() {
        assert!(std::ptr::eq(known("a section"), known(&String::from("a section"))));
        assert_eq!(known(&"x".repeat(LONGEST + 1)), "unknown");
        (0..2 * MOST).for_each(|n| {
            known(&n.to_string());
        });
        assert_eq!(KNOWN.lock().unwrap().len(), MOST);
        assert_eq!(known("one more"), "unknown");
    }
}
