//! How long one token check takes, with no revocation in memory and with many:
//! `cargo run --release -p seawall-domain --features testing --example verify_rate -- [REVOCATIONS]`.
#![expect(clippy::print_stdout, reason = "a tool for people")]
#![expect(clippy::expect_used, reason = "a tool that may end with a message")]

use std::time::Instant;

use seawall_domain::revocation::{Revocation, RevocationMirror};
use seawall_domain::testing::World;
use seawall_domain::verify::Verified;
use seawall_domain::{AccountId, GameId, PlayerId, SessionId};

const CHECKS: u32 = 500_000;

fn main() {
    let revocations: u64 = std::env::args()
        .nth(1)
        .and_then(|text| text.parse().ok())
        .unwrap_or(10_000_000);
    let world = World::new().expect("a world");
    let login = world.register("alice").expect("a login");
    let call = world.server();
    let started = Instant::now();
    for _ in 0..CHECKS {
        let answer = world.platform.session_verify(&call, &login.session.access_token, None);
        assert!(matches!(answer, Verified::Valid(_)));
    }
    println!(
        "session_verify: {} ns a check",
        started.elapsed().as_nanos() / u128::from(CHECKS)
    );

    let mirror = RevocationMirror::default();
    let started = Instant::now();
    for session in 1..=revocations {
        mirror.put_session(SessionId(session * 3), Revocation::Replaced);
    }
    let bytes = mirror.allocated_bytes() as u64;
    println!(
        "{revocations} revocations put in {:.1} s, {} bytes each",
        started.elapsed().as_secs_f64(),
        bytes / revocations.max(1)
    );
    let started = Instant::now();
    let mut found = 0;
    for n in 0..u64::from(CHECKS) {
        // Scattered over all records, so that the memory is not warm.
        let session = SessionId(n.wrapping_mul(7_919_777) % (revocations * 3 + 1));
        found += u64::from(mirror.find(session, AccountId(n), GameId(1), PlayerId(n)).is_some());
    }
    println!(
        "find among them: {} ns a look, {found} found",
        started.elapsed().as_nanos() / u128::from(CHECKS)
    );
}
