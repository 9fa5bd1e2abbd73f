//! How callers are named.

use super::*;
use crate::ids::{GameId, KeyId};

#[test]
fn every_caller_has_a_short_name_for_journal_and_log() {
    let server = Caller::Server {
        key_id: KeyId(3),
        games: [GameId(1)].into(),
    };
    for (caller, name) in [
        (Caller::Client, "client"),
        (server, "server:3"),
        (Caller::Operator { uid: 0 }, "operator:0"),
        (Caller::Platform, "platform"),
    ] {
        assert_eq!(caller.to_string(), name);
    }
}

#[test]
fn a_call_of_the_platform_carries_nobody_s_address() {
    let call = Call::platform([7; 16]);
    assert_eq!(
        (call.caller, call.address.ip, call.address.port),
        (Caller::Platform, None, None)
    );
    assert_eq!((call.request_id, call.idempotency), ([7; 16], None));
}
