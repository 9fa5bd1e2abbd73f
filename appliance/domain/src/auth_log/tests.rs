//! What is written, what is found, and that a full log costs no login.

use std::sync::atomic::Ordering;

use super::*;
use crate::Call;
use crate::codes::FIELD_INVALID;
use crate::session::Credential;
use crate::testing::{START_AT, World, block_on, client, credential, operator};

fn search(world: &World, filter: AuthFilter) -> Vec<AuthRecord> {
    block_on(world.platform.auth_log_search(&operator(), filter, 0, u64::MAX, 1_000)).unwrap()
}

fn told(records: &[AuthRecord]) -> Vec<(&str, &str)> {
    records
        .iter()
        .map(|record| (record.op.as_str(), record.result.as_str()))
        .collect()
}

#[test]
fn logins_failures_and_acts_of_staff_are_found_newest_first() {
    let world = World::new().unwrap();
    let login = world.register("alice").unwrap();
    world
        .log_in_with(
            &client(),
            Credential::Username {
                username: "alice".into(),
                password: "wrong!".into(),
            },
            "d",
            false,
        )
        .unwrap_err();
    block_on(world.platform.session_refresh(&client(), &login.session.refresh_token)).unwrap();
    block_on(
        world
            .platform
            .account_logout(&operator(), crate::account::AccountRef::Account(login.account_id)),
    )
    .unwrap();
    let records = search(&world, AuthFilter::Account(login.account_id));
    assert_eq!(
        told(&records),
        [
            ("account.logout", "ok"),
            ("session.refresh", "ok"),
            ("session.create", "credential.invalid"),
            ("account.create", "ok")
        ]
    );
    assert_eq!(
        (records[0].caller.as_str(), records[3].caller.as_str()),
        ("operator:0", "client")
    );
    let made = &records[3];
    assert_eq!(
        (made.player_id, made.game_id, made.package_id, made.at),
        (
            Some(login.player_id),
            Some(world.game_id),
            Some(world.package_id.0),
            START_AT
        )
    );
    assert_eq!(
        (made.ip.map(|ip| ip.to_string()).as_deref(), made.port, made.learnt_from),
        (Some("192.0.2.1"), Some(40_000), LearntFrom::Peer)
    );
    assert_eq!(made.request_id.len(), 32);
}

#[test]
fn every_key_finds_its_own() {
    let world = World::new().unwrap();
    let alice = world.register("alice").unwrap();
    let bob_call = Call {
        address: crate::ClientAddress {
            ip: "2001:db8::5".parse().ok(),
            ..client().address
        },
        ..client()
    };
    world
        .log_in_with(&bob_call, credential("bob"), "bob's phone", true)
        .unwrap();
    assert_eq!(
        search(&world, AuthFilter::Player(world.game_id, alice.player_id)).len(),
        1
    );
    assert_eq!(search(&world, AuthFilter::Player(GameId(99), alice.player_id)).len(), 0);
    let by_ip = search(&world, AuthFilter::Ip("2001:db8::5".parse().unwrap()));
    assert_eq!(told(&by_ip), [("session.create", "ok")]);
    let device = by_ip[0].device_id.clone().unwrap();
    assert_eq!(search(&world, AuthFilter::Device(device)), by_ip);
    assert_eq!(
        search(&world, AuthFilter::Ip("::ffff:192.0.2.1".parse().unwrap())).len(),
        1,
        "a mapped address is the same address"
    );
}

#[test]
fn time_and_limit_cut_the_answer() {
    let world = World::new().unwrap();
    let login = world.register("alice").unwrap();
    for _ in 0..5 {
        world.clock.advance(1_000);
        world.log_in("alice").unwrap();
    }
    let find = |from, until, limit| {
        block_on(
            world
                .platform
                .auth_log_search(&operator(), AuthFilter::Account(login.account_id), from, until, limit),
        )
    };
    assert_eq!(find(START_AT + 1_000, START_AT + 3_000, 100).unwrap().len(), 2);
    assert_eq!(find(0, u64::MAX, 2).unwrap()[0].at, START_AT + 5_000);
    for limit in [0, 1_001] {
        assert_eq!(find(0, u64::MAX, limit).unwrap_err().code, FIELD_INVALID);
    }
    let bad = block_on(
        world
            .platform
            .auth_log_search(&operator(), AuthFilter::Device("x".into()), 0, 1, 1),
    );
    assert_eq!(bad.unwrap_err().code, FIELD_INVALID);
}

#[test]
fn a_full_queue_costs_a_record_and_no_login() {
    let world = World::new().unwrap();
    world.register("alice").unwrap();
    world.log.full.store(true, Ordering::SeqCst);
    world.log_in("alice").unwrap();
    assert_eq!(world.platform.counters().auth_log_dropped, 1);
}

#[test]
fn no_record_holds_a_secret() {
    let world = World::new().unwrap();
    let login = world.register("alice").unwrap();
    let text = format!("{:?}", search(&world, AuthFilter::Account(login.account_id)));
    for secret in ["secret-alice", "sw1.", "sr1."] {
        assert!(!text.contains(secret), "{secret}");
    }
}
