//! PROXY protocol headers: any bytes are partial, bad, or a header within what was given.
#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_web::listener::config::ProxyProtocol;
use seawall_web::listener::proxy::{Parsed, parse};

fuzz_target!(|bytes: &[u8]| {
    for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
        if let Parsed::Header { length, .. } = parse(version, bytes) {
            assert!(length <= bytes.len());
        }
    }
});
