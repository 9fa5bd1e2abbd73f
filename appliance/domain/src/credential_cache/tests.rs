//! The cache by itself, and a platform that uses it.

use std::sync::atomic::Ordering;

use super::*;
use crate::call::Call;
use crate::codes::CREDENTIAL_INVALID;
use crate::error::Error;
use crate::game::GameChange;
use crate::session::{Credential, LoggedIn};
use crate::testing::{START_AT, World, block_on, client, operator};

const MINUTE_MS: u64 = 60_000;

fn cache(options: CredentialCacheOptions) -> CredentialCache {
    CredentialCache::new(options, Secret32::new([7; 32]))
}

fn mark(account: u64, version: u32) -> PasswordMark {
    PasswordMark {
        account: AccountId(account),
        version,
        changed_at: 5,
    }
}

#[test]
fn only_the_same_password_of_the_same_version_is_recalled() {
    let cache = cache(CredentialCacheOptions::default());
    assert!(!cache.recalls(mark(1, 1), "secret", START_AT));
    cache.remember(mark(1, 1), "secret", START_AT, 0);
    assert!(cache.recalls(mark(1, 1), "secret", START_AT));
    for (mark, password) in [
        (mark(1, 1), "Secret"),
        (mark(1, 1), "secret "),
        (mark(1, 1), ""),
        (mark(1, 2), "secret"),
        (mark(2, 1), "secret"),
        (
            PasswordMark {
                changed_at: 6,
                ..mark(1, 1)
            },
            "secret",
        ),
    ] {
        assert!(!cache.recalls(mark, password, START_AT), "{password:?}");
    }
    assert!(
        cache.recalls(mark(1, 1), "secret", START_AT),
        "a wrong one changes nothing"
    );
    assert_eq!(cache.figures(), (2, 7, 1));
}

#[test]
fn under_another_key_the_same_password_has_another_digest() {
    let other = CredentialCache::new(CredentialCacheOptions::default(), Secret32::new([8; 32]));
    let cache = cache(CredentialCacheOptions::default());
    assert_ne!(*cache.digest(mark(1, 1), "x"), *other.digest(mark(1, 1), "x"));
    assert_ne!(*cache.digest(mark(1, 1), "x"), *cache.digest(mark(2, 1), "x"));
}

#[test]
fn entries_end_around_the_set_time_and_not_all_at_once() {
    let cache = cache(CredentialCacheOptions::default());
    for (account, chance, end_minutes) in [(1, 0, 27), (2, u16::MAX, 33), (3, u16::MAX / 3, 29)] {
        cache.remember(mark(account, 1), "x", START_AT, chance);
        let end = START_AT + end_minutes * MINUTE_MS;
        assert!(cache.recalls(mark(account, 1), "x", end - 1), "{account}");
        assert!(!cache.recalls(mark(account, 1), "x", end), "{account}");
    }
    cache.remember(mark(4, 1), "x", START_AT, 9);
    assert!(
        !cache.recalls(mark(4, 1), "x", START_AT - 10 * MINUTE_MS),
        "a clock that was set back makes no entry older than it may get"
    );
}

#[test]
fn entries_are_capped_and_as_large_as_planned() {
    let cache = cache(CredentialCacheOptions {
        entries_max: 20_000,
        ..CredentialCacheOptions::default()
    });
    for account in 0..100_000 {
        cache.remember(mark(account, 1), "x", START_AT, 0);
    }
    let (_, _, entries) = cache.figures();
    assert!((10_000..=20_500).contains(&entries), "{entries}");
    let bytes = cache.entries.memory_used().total() as u64;
    assert!(
        bytes <= 20_000 * CREDENTIAL_CACHE_ENTRY_BYTES,
        "{} each",
        bytes / 20_000
    );
    cache.forget_all();
    assert_eq!(cache.figures().2, 0);
    assert!(!cache.recalls(mark(99_999, 1), "x", START_AT));
}

#[test]
fn switched_off_it_remembers_and_counts_nothing() {
    let cache = cache(CredentialCacheOptions {
        lifetime_ms: 0,
        ..CredentialCacheOptions::default()
    });
    cache.remember(mark(1, 1), "x", START_AT, 0);
    assert!(!cache.recalls(mark(1, 1), "x", START_AT));
    assert_eq!(cache.figures(), (0, 0, 0));
}

fn jobs(world: &World) -> u64 {
    world.pool.jobs.load(Ordering::SeqCst)
}

fn log_in_as(world: &World, call: &Call, password: &str) -> Result<LoggedIn, Error> {
    let credential = Credential::Username {
        username: "alice".into(),
        password: password.into(),
    };
    world.log_in_with(call, credential, "device-alice", false)
}

fn log_in(world: &World, password: &str) -> Result<LoggedIn, Error> {
    log_in_as(world, &client(), password)
}

/// A world with `alice`, whose password was checked once.
fn warm() -> World {
    let world = World::new().unwrap();
    world.register("alice").unwrap();
    log_in(&world, "secret-alice").unwrap();
    world
}

#[test]
fn a_player_who_returns_costs_no_hash_until_the_entry_ends() {
    let world = World::new().unwrap();
    world.register("alice").unwrap();
    let before = jobs(&world);
    log_in(&world, "secret-alice").unwrap();
    assert_eq!(jobs(&world), before + 1);
    for _ in 0..5 {
        log_in(&world, "secret-alice").unwrap();
    }
    assert_eq!(jobs(&world), before + 1);
    world.clock.advance(34 * MINUTE_MS);
    log_in(&world, "secret-alice").unwrap();
    assert_eq!(jobs(&world), before + 2);
    let counters = world.platform.counters();
    assert_eq!(
        (
            counters.credential_cache_hits,
            counters.credential_cache_misses,
            counters.credential_cache_entries
        ),
        (5, 2, 1)
    );
}

#[test]
fn a_wrong_password_is_checked_by_the_pool_every_time() {
    let world = warm();
    let before = jobs(&world);
    for _ in 0..3 {
        assert_eq!(log_in(&world, "wrong").unwrap_err().code, CREDENTIAL_INVALID);
    }
    assert_eq!(jobs(&world), before + 3);
    log_in(&world, "secret-alice").unwrap();
    assert_eq!(jobs(&world), before + 3, "the right one is still remembered");
}

#[test]
fn right_after_a_change_the_old_password_never_passes() {
    let world = warm();
    let login = log_in(&world, "secret-alice").unwrap();
    let token = &login.session.access_token;
    let before = jobs(&world);
    block_on(
        world
            .platform
            .account_change_password(&client(), token, "secret-alice", "another-secret"),
    )
    .unwrap();
    assert_eq!(
        jobs(&world),
        before + 2,
        "the old one was checked, though it was remembered"
    );
    assert_eq!(log_in(&world, "secret-alice").unwrap_err().code, CREDENTIAL_INVALID);
    log_in(&world, "another-secret").unwrap();
    assert_eq!(log_in(&world, "secret-alice").unwrap_err().code, CREDENTIAL_INVALID);
    let before = jobs(&world);
    log_in(&world, "another-secret").unwrap();
    assert_eq!(jobs(&world), before);
}

#[test]
fn operators_are_never_answered_from_it_and_fill_nothing() {
    let world = World::new().unwrap();
    world.register("alice").unwrap();
    log_in_as(&world, &operator(), "secret-alice").unwrap();
    assert_eq!(world.platform.counters().credential_cache_entries, 0);
    log_in(&world, "secret-alice").unwrap();
    let before = jobs(&world);
    log_in_as(&world, &operator(), "secret-alice").unwrap();
    assert_eq!(jobs(&world), before + 1);
}

#[test]
fn a_game_may_want_every_password_checked() {
    let world = warm();
    let remember = |remember_passwords| {
        let change = GameChange {
            remember_passwords: Some(remember_passwords),
            ..GameChange::default()
        };
        world.set_game(change).unwrap();
    };
    remember(false);
    let before = jobs(&world);
    log_in(&world, "secret-alice").unwrap();
    log_in(&world, "secret-alice").unwrap();
    assert_eq!(jobs(&world), before + 2);
    world.platform.forget_verified_passwords();
    log_in(&world, "secret-alice").unwrap();
    assert_eq!(
        world.platform.counters().credential_cache_entries,
        0,
        "and fills nothing"
    );
    remember(true);
    log_in(&world, "secret-alice").unwrap();
    let before = jobs(&world);
    log_in(&world, "secret-alice").unwrap();
    assert_eq!(jobs(&world), before);
}

#[test]
fn what_is_forgotten_is_checked_again() {
    let world = warm();
    let before = jobs(&world);
    world.platform.forget_verified_passwords();
    log_in(&world, "secret-alice").unwrap();
    assert_eq!(jobs(&world), before + 1);
}
