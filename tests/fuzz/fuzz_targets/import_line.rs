//! Import lines: any bytes are refused with a reason or read as fields, as JSON and as CSV under any header.
#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_domain::import::line::{read_csv, read_header, read_json};

fuzz_target!(|input: (&str, &[u8])| {
    let (header, line) = input;
    let _ = read_json(line);
    if let Ok(header) = read_header(header) {
        let _ = read_csv(line, &header);
    }
});
