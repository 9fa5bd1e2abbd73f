//! Signed calls: the published example, two live secrets, skew, replay, and what is missing.

use std::fmt::Write as _;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::*;
use crate::codes::*;
use crate::testing::{START_AT, World, block_on, operator};
use crate::{Caller, Error};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

struct Signed {
    key_id: String,
    timestamp: String,
    nonce: String,
    signature: String,
    body_sha256: [u8; 32],
}

fn sign(key_id: KeyId, secret: &str, at_s: u64, nonce: &str) -> Signed {
    let body_sha256: [u8; 32] = Sha256::digest(br#"{"token":"x"}"#).into();
    let text = format!(
        "POST\n/server/v1/sessions/verify?a=1\n{at_s}\n{nonce}\n{}",
        hex(&body_sha256)
    );
    let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .unwrap()
        .chain_update(text)
        .finalize()
        .into_bytes();
    Signed {
        key_id: key_id.to_string(),
        timestamp: at_s.to_string(),
        nonce: nonce.into(),
        signature: hex(&mac),
        body_sha256,
    }
}

fn check(world: &World, signed: &Signed, changes_something: bool) -> Result<Caller, Error> {
    world.platform.key_authenticate(&SignedRequest {
        key_id: &signed.key_id,
        timestamp: &signed.timestamp,
        nonce: &signed.nonce,
        signature: &signed.signature,
        method: "POST",
        path_and_query: "/server/v1/sessions/verify?a=1",
        body_sha256: signed.body_sha256,
        changes_something,
    })
}

fn code(result: Result<Caller, Error>) -> crate::Code {
    result.unwrap_err().code
}

const NOW_S: u64 = START_AT / 1000;

#[test]
fn a_good_signature_tells_the_key_and_its_games() {
    let world = World::new().unwrap();
    let caller = check(&world, &sign(world.key_id, &world.secret, NOW_S, "nonce-01"), false).unwrap();
    assert_eq!(
        caller,
        Caller::Server {
            key_id: world.key_id,
            games: [world.game_id].into()
        }
    );
    assert!(world.secret.starts_with("sws_") && world.secret.len() == 4 + 43);
}

#[test]
fn the_signed_string_has_five_lines_and_no_end() {
    let request = SignedRequest {
        key_id: "1",
        timestamp: "1700000000",
        nonce: "n",
        signature: "",
        method: "GET",
        path_and_query: "/x?y",
        body_sha256: Sha256::digest(b"").into(),
        changes_something: false,
    };
    assert_eq!(
        authenticate::string_to_sign(&request),
        "GET\n/x?y\n1700000000\nn\ne3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
}

#[test]
fn anything_else_that_was_signed_does_not_match() {
    let world = World::new().unwrap();
    let good = || sign(world.key_id, &world.secret, NOW_S, "nonce-01");
    for wrong in [
        Signed {
            timestamp: (NOW_S + 1).to_string(),
            ..good()
        },
        Signed {
            nonce: "nonce-02".into(),
            ..good()
        },
        Signed {
            body_sha256: [0; 32],
            ..good()
        },
        sign(world.key_id, "sws_other", NOW_S, "nonce-01"),
    ] {
        assert_eq!(code(check(&world, &wrong, false)), SIGNATURE_INVALID);
    }
}

#[test]
fn malformed_headers_are_named() {
    let world = World::new().unwrap();
    let good = || sign(world.key_id, &world.secret, NOW_S, "nonce-01");
    for (bad, header) in [
        (
            Signed {
                key_id: "x".into(),
                ..good()
            },
            "Seawall-Key-Id",
        ),
        (
            Signed {
                key_id: String::new(),
                ..good()
            },
            "Seawall-Key-Id",
        ),
        (
            Signed {
                timestamp: "now".into(),
                ..good()
            },
            "Seawall-Timestamp",
        ),
        (
            Signed {
                timestamp: "-1".into(),
                ..good()
            },
            "Seawall-Timestamp",
        ),
        (
            Signed {
                timestamp: "9".repeat(30),
                ..good()
            },
            "Seawall-Timestamp",
        ),
        (
            Signed {
                nonce: "short".into(),
                ..good()
            },
            "Seawall-Nonce",
        ),
        (
            Signed {
                nonce: "n".repeat(65),
                ..good()
            },
            "Seawall-Nonce",
        ),
        (
            Signed {
                nonce: "with space".into(),
                ..good()
            },
            "Seawall-Nonce",
        ),
        (
            Signed {
                signature: "ab".into(),
                ..good()
            },
            "Seawall-Signature",
        ),
        (
            Signed {
                signature: good().signature.to_uppercase(),
                ..good()
            },
            "Seawall-Signature",
        ),
        (
            Signed {
                signature: "é".repeat(32),
                ..good()
            },
            "Seawall-Signature",
        ),
    ] {
        let error = check(&world, &bad, false).unwrap_err();
        assert_eq!(
            (error.code, error.params.get("header")),
            (SIGNATURE_MISSING, Some(&crate::Param::Text(header.into())))
        );
    }
}

#[test]
fn the_clock_may_be_off_by_five_minutes_and_no_more() {
    let world = World::new().unwrap();
    for (at_s, good) in [
        (NOW_S - 300, true),
        (NOW_S + 300, true),
        (NOW_S - 301, false),
        (NOW_S + 301, false),
        (0, false),
    ] {
        let result = check(&world, &sign(world.key_id, &world.secret, at_s, "nonce-01"), false);
        assert_eq!(result.is_ok(), good, "{at_s}");
        if let Err(error) = result {
            assert_eq!(
                (error.code, error.params.get("server_time_at")),
                (SIGNATURE_SKEWED, Some(&crate::Param::Number(START_AT)))
            );
        }
    }
}

#[test]
fn a_nonce_is_used_once_where_something_changes_and_only_there() {
    let world = World::new().unwrap();
    let signed = sign(world.key_id, &world.secret, NOW_S, "nonce-01");
    check(&world, &signed, false).unwrap();
    check(&world, &signed, false).unwrap();
    check(&world, &signed, true).unwrap();
    assert_eq!(code(check(&world, &signed, true)), SIGNATURE_REPLAYED);
    let forged = Signed {
        signature: "0".repeat(64),
        ..sign(world.key_id, &world.secret, NOW_S, "nonce-02")
    };
    assert_eq!(code(check(&world, &forged, true)), SIGNATURE_INVALID);
    check(&world, &sign(world.key_id, &world.secret, NOW_S, "nonce-02"), true).unwrap();
}

#[test]
fn two_secrets_work_until_the_old_one_ends() {
    let world = World::new().unwrap();
    let rotated = block_on(world.platform.key_rotate(&operator(), world.key_id, Some(60_000))).unwrap();
    assert_ne!(rotated.secret, world.secret);
    assert_eq!(rotated.key.previous_until_at, Some(START_AT + 60_000));
    let works = |secret: &str| check(&world, &sign(world.key_id, secret, NOW_S, "nonce-01"), false).is_ok();
    assert!(works(&world.secret) && works(&rotated.secret));
    world.clock.advance(60_000);
    assert!(!works(&world.secret) && works(&rotated.secret));
    assert_eq!(
        block_on(world.platform.key_list(&operator())).unwrap()[0].previous_until_at,
        None
    );
}

#[test]
fn a_revoked_key_is_unknown_at_once_and_cannot_be_rotated() {
    let world = World::new().unwrap();
    let signed = sign(world.key_id, &world.secret, NOW_S, "nonce-01");
    let revoked = block_on(world.platform.key_revoke(&operator(), world.key_id)).unwrap();
    assert_eq!(revoked.revoked_at, Some(START_AT));
    assert_eq!(code(check(&world, &signed, false)), SIGNATURE_KEY_UNKNOWN);
    assert_eq!(
        block_on(world.platform.key_rotate(&operator(), world.key_id, None))
            .unwrap_err()
            .code,
        KEY_UNKNOWN
    );
    world.clock.advance(5);
    assert_eq!(
        block_on(world.platform.key_revoke(&operator(), world.key_id))
            .unwrap()
            .revoked_at,
        Some(START_AT)
    );
    assert_eq!(
        block_on(world.platform.key_revoke(&operator(), KeyId(99)))
            .unwrap_err()
            .code,
        KEY_UNKNOWN
    );
}

#[test]
fn keys_are_for_known_games_of_one_realm() {
    let world = World::new().unwrap();
    let create = |name: &str, games| block_on(world.platform.key_create(&operator(), name, games)).map(|key| key.key);
    assert_eq!(create("k", vec![]).unwrap_err().code, FIELD_INVALID);
    assert_eq!(create("", vec![world.game_id]).unwrap_err().code, FIELD_INVALID);
    assert_eq!(create("k", vec![GameId(99)]).unwrap_err().code, GAME_UNKNOWN);
    assert_eq!(
        create("k", vec![world.game_id, world.game_id]).unwrap().games,
        [world.game_id]
    );
    let realm = block_on(world.platform.realm_create(&operator(), "second", true)).unwrap();
    let other = block_on(world.platform.game_create(
        &operator(),
        realm.realm_id,
        "Other",
        crate::game::GameChange::default(),
    ))
    .unwrap();
    assert_eq!(
        create("k", vec![world.game_id, other.game_id]).unwrap_err().code,
        FIELD_INVALID
    );
    assert_eq!(
        block_on(
            world
                .platform
                .key_rotate(&operator(), world.key_id, Some(life::KEEP_PREVIOUS_MAX_MS + 1))
        )
        .unwrap_err()
        .code,
        FIELD_INVALID
    );
}

#[test]
fn debug_output_holds_no_secret() {
    let world = World::new().unwrap();
    let key = block_on(world.platform.key_create(&operator(), "k", vec![world.game_id])).unwrap();
    assert!(!format!("{key:?}").contains(&key.secret));
}
