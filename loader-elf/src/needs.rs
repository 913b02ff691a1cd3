//! `DT_NEEDED`: the libraries that an image names. A filter (`DT_FILTER`) lends its clients what it names.

use crate::{
    dynamic::{DT_AUXILIARY, DT_FILTER, DT_NEEDED, Dynamic, text},
    malformed,
};
use loader_core::{ErrorKind, Need};

/// The libraries in file order, then those that the image is a filter for.
pub(crate) fn needs(dynamic: &Dynamic, strings: &[u8]) -> Result<Vec<Need>, ErrorKind> {
    let mut out = Vec::new();
    for (tag, reexported) in [(DT_NEEDED, false), (DT_AUXILIARY, false), (DT_FILTER, true)] {
        for at in dynamic.all(tag) {
            let name = text(strings, at)?;
            if name.is_empty() {
                return Err(malformed("needed library without a name", at));
            }
            out.push(Need { key: name.clone(), name, reexported });
        }
    }
    Ok(out)
}
