//! What tests say over and over: a credential, a package, calls of a client and of an operator.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::call::{Call, Caller, ClientAddress, Idempotency, LearntFrom};
use crate::game::PackageCreate;
use crate::ids::GameId;
use crate::session::Credential;

/// The credential of [`World::register`].
#[must_use]
pub fn credential(name: &str) -> Credential {
    Credential::Username {
        username: name.into(),
        password: format!("secret-{name}"),
    }
}

/// A package of a game.
#[must_use]
pub fn package(game_id: GameId) -> PackageCreate {
    PackageCreate {
        game_id,
        name: "TapTap".into(),
        platform: "android".into(),
        channel_id: "taptap".into(),
        agent_id: String::new(),
        site_id: String::new(),
        bundle_id: String::new(),
        channel_params: BTreeMap::new(),
    }
}

/// A call of a player's game client.
#[must_use]
pub fn client() -> Call {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let request_id = u128::from(NEXT.fetch_add(1, Ordering::Relaxed)).to_be_bytes();
    let address = ClientAddress {
        ip: Some([192, 0, 2, 1].into()),
        port: Some(40_000),
        learnt_from: LearntFrom::Peer,
    };
    Call {
        request_id,
        caller: Caller::Client,
        address,
        user_agent: None,
        idempotency: None,
        deadline_boot_ms: None,
    }
}

/// A call of an operator.
#[must_use]
pub fn operator() -> Call {
    Call {
        caller: Caller::Operator { uid: 0 },
        ..client()
    }
}

/// The same call with an idempotency key for a request.
#[must_use]
pub fn keyed(call: Call, key: &str, request: &str) -> Call {
    let request_digest = *blake3::hash(request.as_bytes()).as_bytes();
    Call {
        idempotency: Some(Idempotency {
            key: key.into(),
            request_digest,
        }),
        ..call
    }
}
