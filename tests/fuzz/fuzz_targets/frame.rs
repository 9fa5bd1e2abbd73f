//! Any bytes are refused as a frame, or read without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = seawall_storage::frame::decode(bytes);
});
