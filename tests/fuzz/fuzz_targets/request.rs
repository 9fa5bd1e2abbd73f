//! Request bodies: any bytes are refused or decode, without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_web::{json, wire};

fuzz_target!(|bytes: &[u8]| {
    let _ = json::decode::<wire::SessionCreate>(bytes).map(|decoded| decoded.value.into_domain());
    let _ = json::decode::<wire::AccountCreate>(bytes);
    let _ = json::decode::<wire::Verify>(bytes);
    let _ = json::decode::<wire::VerifyBatch>(bytes);
    let _ = json::decode::<wire::Restrict>(bytes);
    let _ = json::decode::<wire::ImportBegin>(bytes);
});
