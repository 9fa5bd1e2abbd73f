//! Callers who left: what they asked for is not begun once nobody waits for it, so that it cannot undo what they asked for
//! next.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use crate::auth_log::AuthFilter;
use crate::codes::OVERLOAD_DEADLINE;
use crate::ports::Clock as _;
use crate::session::{LoginOutcome, SessionCreate};
use crate::testing::{HeldPool, World, block_on, client, credential, operator};
use crate::verify::Verified;
use crate::{Call, Error, Mirrors, Platform, PlatformOptions};

/// A login on its way.
type Login<'a> = Pin<Box<dyn Future<Output = Result<LoginOutcome, Error>> + Send + 'a>>;

fn command(world: &World) -> SessionCreate {
    SessionCreate {
        game_id: world.game_id,
        credential: credential("alice"),
        client: world.client_on("device-alice"),
        create_if_missing: false,
        challenge_response: None,
    }
}

/// A call of a client that waits for a second.
fn patient(world: &World) -> Call {
    Call {
        deadline_boot_ms: Some(world.clock.boot_ms() + 1_000),
        ..client()
    }
}

/// Begins it and leaves it where it waits.
fn begun<'a>(platform: &'a Platform, call: &'a Call, world: &World) -> Login<'a> {
    let mut login: Login<'a> = Box::pin(platform.session_create(call, command(world)));
    let polled = login.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Pending), "{polled:?}");
    login
}

/// A platform over the world's store whose hashes are slow.
fn with_slow_hashes(world: &World) -> (Platform, Arc<HeldPool>) {
    let pool = Arc::new(HeldPool::default());
    let options = PlatformOptions {
        hash_pool: pool.clone(),
        ..world.options(Mirrors::default())
    };
    (Platform::open(options).unwrap(), pool)
}

fn is_valid(world: &World, token: &str) -> bool {
    matches!(
        world.platform.session_verify(&world.server(), token, None),
        Verified::Valid(_)
    )
}

#[test]
fn a_login_that_a_slow_hash_made_late_does_not_replace_the_session_of_the_next_one() {
    let world = World::new().unwrap();
    world.register("alice").unwrap();
    let (slow, pool) = with_slow_hashes(&world);
    let call = patient(&world);
    let old = begun(&slow, &call, &world);
    world.clock.advance(1_500);
    let new = world.log_in("alice").unwrap();
    assert_eq!(
        pool.release_one(),
        Some(1_000),
        "the pool was told how long the caller waits"
    );
    let error = block_on(old).unwrap_err();
    assert_eq!(error.code, OVERLOAD_DEADLINE);
    assert!(error.retry_after_ms.is_some());
    assert!(is_valid(&world, &new.session.access_token));
}

#[test]
fn a_login_whose_caller_left_during_a_slow_hash_is_not_done_and_is_noted() {
    let world = World::new().unwrap();
    let account_id = world.register("alice").unwrap().account_id;
    let (slow, pool) = with_slow_hashes(&world);
    let call = client();
    let old = begun(&slow, &call, &world);
    let new = world.log_in("alice").unwrap();
    drop(old);
    assert_eq!(pool.release_one(), None);
    assert!(is_valid(&world, &new.session.access_token));
    let noted = block_on(slow.auth_log_search(&operator(), AuthFilter::Account(account_id), 0, u64::MAX, 10)).unwrap();
    let results: Vec<_> = noted.iter().map(|record| record.result.as_str()).collect();
    assert_eq!(results, ["store.outcome_unknown"], "the log of the slow platform");
}

#[test]
fn whoever_asks_again_while_a_hash_is_slow_costs_no_second_one() {
    let world = World::new().unwrap();
    world.register("alice").unwrap();
    let (slow, pool) = with_slow_hashes(&world);
    let call = client();
    let first = begun(&slow, &call, &world);
    let again = begun(&slow, &call, &world);
    assert_eq!(pool.held(), 2);
    pool.release_one();
    pool.release_one();
    crate::testing::logged_in(block_on(first).unwrap()).unwrap();
    crate::testing::logged_in(block_on(again).unwrap()).unwrap();
    let counters = slow.counters();
    assert_eq!(
        (counters.credential_cache_hits, counters.credential_cache_misses),
        (1, 2),
        "the second found the password of the first"
    );
}

#[test]
fn logins_that_nobody_waits_for_are_not_begun_when_a_slow_store_comes_to_them() {
    let world = World::new().unwrap();
    let first = world.register("alice").unwrap().session.session_id;
    let held = world.hold_store();
    let (unhurried, hurried) = (client(), patient(&world));
    drop(begun(&world.platform, &unhurried, &world));
    let late = begun(&world.platform, &hurried, &world);
    let new = begun(&world.platform, &unhurried, &world);
    world.clock.advance(1_001);
    drop(held);
    assert_eq!(block_on(late).unwrap_err().code, OVERLOAD_DEADLINE);
    let new = crate::testing::logged_in(block_on(new).unwrap()).unwrap();
    assert_eq!(new.session.session_id.0, first.0 + 1, "the only session since");
    assert!(is_valid(&world, &new.session.access_token));
    let stats = world.store.stats();
    assert_eq!((stats.abandoned, stats.late), (1, 1));
}

#[test]
fn a_refresh_that_nobody_waits_for_uses_up_no_token() {
    let world = World::new().unwrap();
    let pair = world.register("alice").unwrap().session;
    let held = world.hold_store();
    let call = client();
    {
        let mut old = Box::pin(world.platform.session_refresh(&call, &pair.refresh_token));
        let polled = old.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }
    drop(held);
    world.clock.advance(60_000);
    let next = block_on(world.platform.session_refresh(&client(), &pair.refresh_token)).unwrap();
    assert!(is_valid(&world, &next.session.access_token));
    assert_eq!(world.store.stats().abandoned, 1);
}

#[test]
fn operators_are_served_however_long_it_takes() {
    let world = World::new().unwrap();
    world.register("alice").unwrap();
    let held = world.hold_store();
    let call = Call {
        deadline_boot_ms: Some(world.clock.boot_ms()),
        ..operator()
    };
    let login = begun(&world.platform, &call, &world);
    world.clock.advance(60_000);
    drop(held);
    assert!(block_on(login).is_ok());
}
