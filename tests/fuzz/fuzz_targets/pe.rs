//! Parse, plan, relocate and bind of DLLs on a plain buffer.
#![no_main]

use corpus::Format;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;
use tests::pipeline::{Sound, must_hold};

static SOUND: LazyLock<Sound> = LazyLock::new(|| Sound::of(Format::Pe));

fuzz_target!(|bytes: &[u8]| must_hold(&SOUND, bytes));
