//! powrprof: what is known of the processors' speed.
#![allow(non_snake_case)]

use crate::{guest::Ptr, process};
use std::fs;

const SUCCESS: u32 = 0;
const INVALID_PARAMETER: u32 = 0xc000_000d;
const BUFFER_TOO_SMALL: u32 = 0xc000_0023;
const NOT_SUPPORTED: u32 = 0xc000_00bb;

const PROCESSOR_INFORMATION: i32 = 11;

/// `PROCESSOR_POWER_INFORMATION`: the number, the highest speed, the present one and its limit in MHz, idle states.
#[repr(C)]
#[derive(Clone, Copy)]
struct Processor {
    number: u32,
    highest: u32,
    now: u32,
    limit: u32,
    idle_states: [u32; 2],
}

/// What the kernel says of all processors' present speed, in MHz.
fn speeds() -> Vec<u32> {
    let list = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let speeds = list.lines().filter(|line| line.starts_with("cpu MHz"));
    speeds.filter_map(|line| Some(line.split(':').nth(1)?.trim().parse::<f64>().ok()? as u32)).collect()
}

/// The highest speed of a processor: the present one where the kernel does not say.
fn highest(number: u32, now: u32) -> u32 {
    let path = format!("/sys/devices/system/cpu/cpu{number}/cpufreq/cpuinfo_max_freq");
    let highest = fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u32>().ok());
    highest.map_or(now, |kilohertz| kilohertz / 1000).max(now)
}

/// Of all that can be asked, only the processors are known; nothing can be set.
extern "win64" fn CallNtPowerInformation(
    level: i32,
    input: Ptr<u8>,
    input_len: u32,
    out: Ptr<Processor>,
    len: u32,
) -> u32 {
    if level != PROCESSOR_INFORMATION {
        return NOT_SUPPORTED;
    }
    if !input.is_null() || input_len != 0 || out.is_null() {
        return INVALID_PARAMETER;
    }
    let n = process::processors();
    if (len as usize) < n as usize * size_of::<Processor>() {
        return BUFFER_TOO_SMALL;
    }
    let speeds = speeds();
    for number in 0..n {
        let now = speeds.get(number as usize).copied().unwrap_or(0);
        let highest = highest(number, now);
        out.at(number as usize).set(Processor { number, highest, now, limit: highest, idle_states: [0; 2] });
    }
    SUCCESS
}

table! {
    /// powrprof.
    pub(crate) TABLE: CallNtPowerInformation
}
