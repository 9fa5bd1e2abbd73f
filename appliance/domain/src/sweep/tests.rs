//! What ends goes, nothing else does, and nothing that was revoked comes back.

use super::*;
use crate::codes::REFRESH_INVALID;
use crate::game::GameChange;
use crate::testing::{World, block_on, client, credential, keyed, operator};
use crate::verify::Verified;

fn rows<K: Key, V: Record>(world: &World, table: &'static Table<K, V>) -> usize {
    world
        .store
        .read(|view| view.scan(table, &Span::all(), 10_000))
        .unwrap()
        .rows
        .len()
}

fn sweep(world: &World) -> Swept {
    block_on(world.platform.sweep(&operator())).unwrap()
}

#[test]
fn a_fresh_world_has_nothing_to_sweep() {
    let world = World::new().unwrap();
    world.register("alice").unwrap();
    assert_eq!(sweep(&world), Swept::default());
}

#[test]
fn sessions_revocations_and_keys_go_when_they_have_ended_and_not_before() {
    let world = World::new().unwrap();
    world
        .log_in_with(&keyed(client(), "k", "r"), credential("alice"), "d", true)
        .unwrap();
    world.log_in("alice").unwrap();
    assert_eq!(
        (
            rows(&world, &SESSIONS),
            rows(&world, &SESSION_REVOCATIONS),
            rows(&world, &IDEMPOTENCY)
        ),
        (2, 1, 1)
    );
    assert_eq!(world.platform.counters().revocations, 1);

    world.clock.advance(23 * 3_600_000);
    assert_eq!(sweep(&world).deleted, 0);
    world.clock.advance(2 * 3_600_000);
    assert_eq!(sweep(&world).deleted, 2);
    assert_eq!(
        (
            rows(&world, &SESSIONS),
            rows(&world, &SESSION_REVOCATIONS),
            rows(&world, &IDEMPOTENCY)
        ),
        (2, 0, 0)
    );
    assert_eq!(world.platform.counters().revocations, 0);

    world.clock.advance(90 * 86_400_000);
    sweep(&world);
    assert_eq!(rows(&world, &SESSIONS), 0);
    assert_eq!(world.platform.counters().swept, 4);
}

#[test]
fn a_replaced_session_cannot_be_refreshed_after_its_revocation_was_swept() {
    let world = World::new().unwrap();
    let first = world.register("alice").unwrap();
    world.log_in("alice").unwrap();
    world.clock.advance(25 * 3_600_000);
    sweep(&world);
    let error = block_on(world.platform.session_refresh(&client(), &first.session.refresh_token)).unwrap_err();
    assert_eq!(error.code, REFRESH_INVALID);
}

#[test]
fn a_bound_outlives_every_refresh_token_under_it() {
    let world = World::new().unwrap();
    world
        .set_game(GameChange {
            refresh_token_ms: Some(400 * 86_400_000),
            ..GameChange::default()
        })
        .unwrap();
    let login = world.register("alice").unwrap();
    block_on(
        world
            .platform
            .session_logout(&client(), &login.session.access_token, true),
    )
    .unwrap();
    world.clock.advance(399 * 86_400_000);
    sweep(&world);
    assert_eq!(rows(&world, &ACCOUNT_REVOCATIONS), 1);
    assert_eq!(
        block_on(world.platform.session_refresh(&client(), &login.session.refresh_token))
            .unwrap_err()
            .code,
        REFRESH_INVALID
    );
    world.clock.advance(2 * 86_400_000);
    sweep(&world);
    assert_eq!(rows(&world, &ACCOUNT_REVOCATIONS), 0);
}

#[test]
fn a_deletion_is_forgotten_when_no_access_token_can_be_alive() {
    let world = World::new().unwrap();
    let account = world.register("alice").unwrap().account_id;
    let delete = move |tx: &mut Tx<'_>| crate::deletion::set_deleted(tx, account, true);
    block_on(world.platform.commit(&operator(), "account.delete", delete)).unwrap();
    assert!(world.platform.inner.mirrors.deletions().contains(account));
    world.clock.advance(*crate::game::ACCESS_TOKEN_MS.end() - 3_600_000);
    sweep(&world);
    assert!(world.platform.inner.mirrors.deletions().contains(account));
    world.clock.advance(3 * 3_600_000);
    sweep(&world);
    assert!(!world.platform.inner.mirrors.deletions().contains(account));
    assert_eq!(rows(&world, &ACCOUNT_DELETIONS), 0);
}

#[test]
fn a_large_end_is_swept_in_pages() {
    let world = World::new().unwrap();
    for n in 0..SWEEP_PAGE_ROWS + 1 {
        world
            .log_in_with(
                &keyed(client(), &n.to_string(), "r"),
                crate::session::Credential::Guest { guest_secret: None },
                "d",
                true,
            )
            .unwrap();
    }
    world.clock.advance(25 * 3_600_000);
    assert_eq!(
        sweep(&world),
        Swept {
            deleted: SWEEP_PAGE_ROWS as u64,
            more: true
        }
    );
    assert_eq!(
        sweep(&world),
        Swept {
            deleted: 1,
            more: false
        }
    );
}

#[test]
fn a_live_session_stays_through_every_sweep() {
    let world = World::new().unwrap();
    let mut session = world.register("alice").unwrap().session;
    for _ in 0..40 {
        world.clock.advance(20 * 3_600_000);
        sweep(&world);
        assert!(matches!(
            world
                .platform
                .session_verify(&world.server(), &session.access_token, None),
            Verified::Valid(_)
        ));
        session = block_on(world.platform.session_refresh(&client(), &session.refresh_token))
            .unwrap()
            .session;
    }
}
