//! Any text is refused or is a token that prints back to itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_domain::token::MacRing;

fuzz_target!(|text: &str| {
    let ring = MacRing::default().with(1, [7; 32]);
    if let Ok(claims) = ring.read_access(text) {
        assert_eq!(ring.access_token(&claims).as_deref(), Some(text));
    }
    if let Ok((claims, generation)) = ring.read_refresh(text) {
        assert_eq!(ring.refresh_token(&claims, generation).as_deref(), Some(text));
    }
});
