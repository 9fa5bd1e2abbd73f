//! Scopes of keys, and that the record holds no credential.

use super::*;
use crate::codes::FIELD_INVALID;
use crate::session::Credential;
use crate::testing::{World, client, keyed};

fn scope(world: &World, key: &str, op: &str, game: u32, principal: &str) -> [u8; 32] {
    world
        .platform
        .remembered(&keyed(client(), key, "r"), op, GameId(game), principal)
        .unwrap()
        .unwrap()
        .scope
}

#[test]
fn game_operation_principal_and_key_all_make_the_scope() {
    let world = World::new().unwrap();
    let base = scope(&world, "k", "a.b", 1, "p");
    assert_eq!(base, scope(&world, "k", "a.b", 1, "p"));
    for other in [
        scope(&world, "l", "a.b", 1, "p"),
        scope(&world, "k", "a.c", 1, "p"),
        scope(&world, "k", "a.b", 2, "p"),
        scope(&world, "k", "a.b", 1, "q"),
    ] {
        assert_ne!(base, other);
    }
    // Parts are told apart, however the letters are spread over them.
    assert_ne!(scope(&world, "kp", "a.b", 1, ""), scope(&world, "k", "a.b", 1, "p"));
}

#[test]
fn a_key_has_1_to_255_visible_characters() {
    let world = World::new().unwrap();
    let of = |key: &str| {
        world
            .platform
            .remembered(&keyed(client(), key, "r"), "a.b", GameId(1), "p")
            .map(|found| found.is_some())
    };
    assert_eq!(of(&"x".repeat(255)), Ok(true));
    for bad in ["", "a b", "\u{7f}", "ü", &"x".repeat(256)] {
        assert_eq!(of(bad).unwrap_err().code, FIELD_INVALID, "{bad}");
    }
    assert!(
        world
            .platform
            .remembered(&client(), "a.b", GameId(1), "p")
            .unwrap()
            .is_none()
    );
    let missing = world.platform.remembered_required(&client(), "a.b", GameId(1), "p");
    assert_eq!(missing.unwrap_err().code, IDEMPOTENCY_REQUIRED);
}

#[test]
fn no_credential_is_in_the_record() {
    let world = World::new().unwrap();
    let login = world
        .log_in_with(
            &keyed(client(), "k", "r"),
            Credential::Guest { guest_secret: None },
            "d",
            true,
        )
        .unwrap();
    let rows = world
        .store
        .read(|view| view.scan(&IDEMPOTENCY, &seawall_storage::Span::all(), 10))
        .unwrap()
        .rows;
    assert_eq!(rows.len(), 1);
    let text = format!("{:?}", rows[0].1);
    for secret in [
        &login.session.access_token,
        &login.session.refresh_token,
        login.guest_secret.as_ref().unwrap(),
    ] {
        assert!(!text.contains(secret.as_str()));
    }
    assert_eq!(rows[0].1.expires_at, crate::testing::START_AT + IDEMPOTENCY_KEPT_MS);
}
