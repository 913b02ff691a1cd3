//! Events as JSON.

use loader::Event;
use serde_json::{Value, json};

/// An event: its kind, its parts, and its sentence.
pub(super) fn object(event: &Event<'_>) -> Value {
    let text = event.to_string();
    let mut object = match event {
        Event::Trying { name, path } => json!({ "event": "trying", "name": name, "path": path }),
        Event::Found { name, format, needed_by, path } => json!({
            "event": "found", "name": name, "format": format.to_string(), "needed_by": needed_by, "path": path,
        }),
        Event::StandIn { name, needed_by } => {
            json!({ "event": "stand-in", "name": name, "needed_by": needed_by })
        }
        Event::Mapped { name, at } => {
            json!({ "event": "mapped", "name": name, "at": at.base.0, "len": at.len })
        }
        Event::Relocated { name, count } => json!({ "event": "relocated", "name": name, "count": count }),
        Event::Asked { from, symbol, of } => {
            json!({ "event": "asked", "name": from, "symbol": symbol.text(), "of": of })
        }
        Event::Bound { from, symbol, to, at } => {
            json!({ "event": "bound", "name": from, "symbol": symbol.text(), "to": to, "at": at.0 })
        }
        Event::Missing { from, symbol, of } => {
            json!({ "event": "missing", "name": from, "symbol": symbol.text(), "of": of })
        }
        Event::Sealed { name } => json!({ "event": "sealed", "name": name }),
        Event::Committed { name } => json!({ "event": "committed", "name": name }),
        Event::Opened { name, handle, handles } => {
            json!({ "event": "opened", "name": name, "handle": handle.to_bits(), "handles": handles })
        }
        Event::Waiting { name } => json!({ "event": "waiting", "name": name }),
        Event::Calling { name, kind, occasion } => json!({
            "event": "calling", "name": name, "kind": kind.to_string(), "occasion": occasion.to_string(),
        }),
        Event::Attached { name } => json!({ "event": "attached", "name": name }),
        Event::Detached { name } => json!({ "event": "detached", "name": name }),
        Event::Unmapped { name } => json!({ "event": "unmapped", "name": name }),
        Event::Closed { name, handle, handles } => {
            json!({ "event": "closed", "name": name, "handle": handle.to_bits(), "handles": handles })
        }
        Event::Advice { name, what, occasion, refused } => {
            let occasion = occasion.to_string();
            json!({ "event": "advice", "name": name, "what": what, "occasion": occasion, "refused": refused })
        }
        Event::Failed { error } => json!({ "event": "failed", "error": super::error_json(error) }),
        _ => json!({ "event": "other" }),
    };
    object["text"] = text.into();
    object
}
