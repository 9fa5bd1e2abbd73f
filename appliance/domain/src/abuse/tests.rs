//! What the limits decide, pure and in front of the verbs.

use super::*;
use crate::account::AccountCreate;
use crate::call::{Call, LearntFrom};
use crate::challenge::tests::solve;
use crate::challenge::{ChallengeOptions, ChallengeResponse};
use crate::codes::{CREDENTIAL_INVALID, LIMIT_ACCOUNT, LIMIT_ADDRESS, LIMIT_DEVICE, LIMIT_GAME};
use crate::error::{Kind, Param};
use crate::game::{ChallengePolicy, GameChange};
use crate::session::{Credential, LoginOutcome, SessionCreate};
use crate::testing::{World, block_on, client, credential, keyed};

const NOW_MS: u64 = 1_700_000_000_000;

fn limits(change: impl FnOnce(&mut AbuseOptions)) -> AbuseLimits {
    AbuseLimits::new(&options(change), &std::array::from_fn(|n| (n as u8).wrapping_mul(53)))
}

fn options(change: impl FnOnce(&mut AbuseOptions)) -> AbuseOptions {
    let mut options = AbuseOptions {
        cells: 10_000,
        challenge: ChallengeOptions {
            difficulty_max: 20,
            ..ChallengeOptions::default()
        },
        ..AbuseOptions::default()
    };
    change(&mut options);
    options
}

fn of_burst(limit: &mut Limit, burst: u32) {
    *limit = Limit { burst, ..*limit };
}

fn from_ip(ip: &str) -> ClientAddress {
    ClientAddress {
        ip: Some(ip.parse().unwrap()),
        port: None,
        learnt_from: LearntFrom::Peer,
    }
}

fn on_device(address: &ClientAddress, device: u128) -> Attempt {
    Attempt {
        device: Some(device.to_be_bytes()),
        ..Attempt::from(address)
    }
}

fn limit_of(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Challenge(over) | Verdict::Refuse(over) => over.limit,
    }
}

#[test]
fn an_address_alone_asks_and_never_refuses() {
    let limits = limits(|options| {
        of_burst(&mut options.ipv4, 10);
        // Whatever the operator wrote.
        options.ipv4.action = LimitAction::Refuse;
    });
    let nat = from_ip("192.0.2.1");
    let mut challenged = 0;
    for device in 0..10_000 {
        match limits.screen(&on_device(&nat, device), NOW_MS) {
            Verdict::Pass => {}
            Verdict::Challenge(over) => {
                assert_eq!((over.dimension, over.limit), (Dimension::Address, "ipv4"));
                challenged += 1;
            }
            Verdict::Refuse(over) => panic!("{over:?}"),
        }
    }
    // The burst, and the quarter of it that passes before the address has a cell.
    assert_eq!(challenged, 10_000 - 12);
    assert_eq!(limits.counters().challenged, challenged);
    let elsewhere = limits.screen(&on_device(&from_ip("198.51.100.1"), 1), NOW_MS);
    assert_eq!(elsewhere, Verdict::Pass);
}

#[test]
fn networks_are_limited_as_a_whole() {
    let limits = limits(|options| {
        of_burst(&mut options.ipv4_network, 20);
        of_burst(&mut options.ipv6_network, 20);
    });
    for (base, limit) in [("192.0.2.", "ipv4_network"), ("2001:db8::", "ipv6_network")] {
        let verdicts: Vec<&str> = (1..=99)
            .map(|host| limit_of(limits.screen(&on_device(&from_ip(&format!("{base}{host}")), host), NOW_MS)))
            .collect();
        assert_eq!(verdicts.iter().filter(|name| **name == "pass").count(), 25);
        assert_eq!(verdicts.last(), Some(&limit));
    }
}

#[test]
fn a_device_is_refused_alone_and_with_its_address() {
    let limits = limits(|options| {
        of_burst(&mut options.device, 3);
        of_burst(&mut options.ipv4, 1);
    });
    let at = from_ip("192.0.2.1");
    let verdicts: Vec<&str> = (0..5)
        .map(|_| limit_of(limits.screen(&on_device(&at, 1), NOW_MS)))
        .collect();
    assert_eq!(verdicts, ["pass", "ipv4", "ipv4", "device", "device"]);
    let Verdict::Refuse(over) = limits.screen(&on_device(&at, 1), NOW_MS) else {
        panic!()
    };
    assert_eq!(over.error().code, LIMIT_DEVICE);
    assert_eq!(over.error().params.get("limit"), Some(&Param::Text("device".into())));
    assert_eq!(over.error().retry_after_ms, Some(2_000));
    assert_eq!(limits.counters().refused_device, 3);
}

#[test]
fn where_devices_only_ask_device_and_address_together_refuse() {
    let limits = limits(|options| {
        of_burst(&mut options.device, 2);
        of_burst(&mut options.ipv4, 3);
        options.device.action = LimitAction::Challenge;
    });
    let at = from_ip("192.0.2.1");
    let verdicts: Vec<Verdict> = (0..4).map(|_| limits.screen(&on_device(&at, 1), NOW_MS)).collect();
    assert_eq!(verdicts[1], Verdict::Pass);
    assert!(matches!(verdicts[2], Verdict::Challenge(over) if over.limit == "device"));
    assert!(matches!(verdicts[3], Verdict::Refuse(over) if over.error().code == LIMIT_ADDRESS));
    assert_eq!(limits.counters().refused_address, 1);
}

#[test]
fn a_refused_device_uses_up_nothing_of_others() {
    let limits = limits(|options| {
        of_burst(&mut options.device, 1);
        of_burst(&mut options.ipv4, 3);
        of_burst(&mut options.account, 3);
    });
    let attempt = |device| Attempt {
        account: Some(77),
        ..on_device(&from_ip("192.0.2.1"), device)
    };
    for _ in 0..100 {
        limits.screen(&attempt(1), NOW_MS);
    }
    assert_eq!(limits.screen(&attempt(2), NOW_MS), Verdict::Pass);
    assert_eq!(limits.screen(&attempt(3), NOW_MS), Verdict::Pass);
    assert_eq!(limit_of(limits.screen(&attempt(4), NOW_MS)), "account");
}

#[test]
fn a_client_without_an_address_is_limited_by_the_rest() {
    let limits = limits(|options| {
        of_burst(&mut options.ipv4, 1);
        of_burst(&mut options.device, 3);
    });
    let nobody = ClientAddress {
        ip: None,
        port: None,
        learnt_from: LearntFrom::Unnamed,
    };
    for address in [nobody, from_ip("127.0.0.1")] {
        for device in 0..50 {
            assert_eq!(limits.screen(&on_device(&address, device), NOW_MS), Verdict::Pass);
        }
    }
    assert_eq!(limits.screen(&on_device(&nobody, 1), NOW_MS), Verdict::Pass);
    assert_eq!(limit_of(limits.screen(&on_device(&nobody, 1), NOW_MS)), "device");
}

#[test]
fn a_game_asks_or_refuses_as_it_is_set_and_a_phone_is_limited() {
    for action in [LimitAction::Challenge, LimitAction::Refuse] {
        let limits = limits(|options| {
            of_burst(&mut options.game, 1);
            options.game.action = action;
        });
        let attempt = |package| Attempt {
            game: Some((GameId(1), PackageId(package))),
            ..Attempt::default()
        };
        assert_eq!(limits.screen(&attempt(1), NOW_MS), Verdict::Pass);
        assert_eq!(limits.screen(&attempt(2), NOW_MS), Verdict::Pass);
        match (action, limits.screen(&attempt(1), NOW_MS)) {
            (LimitAction::Challenge, Verdict::Challenge(over)) => assert_eq!(over.limit, "game"),
            (LimitAction::Refuse, Verdict::Refuse(over)) => assert_eq!(over.error().code, LIMIT_GAME),
            other => panic!("{other:?}"),
        }
    }
    let limits = limits(|_| {});
    let phone = Attempt {
        phone: Some([1; 16]),
        ..Attempt::default()
    };
    for _ in 0..3 {
        assert_eq!(limits.screen(&phone, NOW_MS), Verdict::Pass);
    }
    assert_eq!(limit_of(limits.screen(&phone, NOW_MS)), "phone");
}

#[test]
fn limits_that_are_off_count_nothing_and_all_together_keep_their_bytes() {
    let off = AbuseLimits::new(&AbuseOptions::off(), &[1; SEED_BYTES]);
    let attempt = Attempt {
        account: Some(1),
        game: Some((GameId(1), PackageId(1))),
        phone: Some([1; 16]),
        ..on_device(&from_ip("192.0.2.1"), 1)
    };
    for _ in 0..1_000 {
        assert_eq!(off.screen(&attempt, NOW_MS), Verdict::Pass);
        off.failure(&attempt, NOW_MS);
    }
    assert_eq!(off.counters(), AbuseCounters::default());

    let full = AbuseLimits::new(&AbuseOptions::default(), &[1; SEED_BYTES]);
    for ip in ["192.0.2.1", "2001:db8::1"] {
        let attempt = Attempt {
            ip: Some(ip.parse().unwrap()),
            ..attempt
        };
        full.screen(&attempt, NOW_MS);
        full.failure(&attempt, NOW_MS);
    }
    let bytes = full.counters().bytes as usize;
    assert!(bytes <= MEMORY_MAX_BYTES && bytes > 15 << 20, "{bytes}");
}

fn world(change: impl FnOnce(&mut AbuseOptions)) -> World {
    World::with_abuse(options(change)).unwrap()
}

fn wrong(name: &str) -> Credential {
    Credential::Username {
        username: name.into(),
        password: "not the password".into(),
    }
}

fn hashes(world: &World) -> u64 {
    world.pool.jobs.load(Ordering::Relaxed)
}

#[test]
fn wrong_passwords_lock_the_name_but_not_for_a_known_device() {
    let world = world(|options| of_burst(&mut options.failed_account, 3));
    world.register("alice").unwrap();
    let guess = |device: &str| world.log_in_with(&client(), wrong("alice"), device, false).unwrap_err();
    for n in 0..3 {
        assert_eq!(guess(&format!("stranger-{n}")).code, CREDENTIAL_INVALID);
    }
    let before = hashes(&world);
    let refused = guess("stranger-4");
    assert_eq!(refused.code, LIMIT_ACCOUNT);
    assert_eq!(refused.params.get("limit"), Some(&Param::Text("failed_account".into())));
    assert!(refused.retry_after_ms > Some(0));
    // Not even the right password helps a stranger now, and it costs no hash.
    assert_eq!(world.log_in_on("alice", "stranger-5").unwrap_err().code, LIMIT_ACCOUNT);
    assert_eq!(hashes(&world), before);
    // The player is not locked out.
    world.log_in("alice").unwrap();
    // Nobody else is either.
    world.register("bob").unwrap();
    world.log_in_on("bob", "stranger-6").unwrap();
    world.clock.advance(60_000);
    world.log_in_on("alice", "stranger-5").unwrap();
    assert_eq!(world.platform.counters().abuse.refused_account, 2);
}

#[test]
fn a_name_nobody_has_is_limited_as_one_that_exists() {
    let world = world(|options| of_burst(&mut options.failed_account, 3));
    world.register("alice").unwrap();
    for name in ["alice", "nobody"] {
        let codes: Vec<&str> = (0..5)
            .map(|n| {
                let device = format!("{name}-{n}");
                let answer = world.log_in_with(&client(), wrong(name), &device, false);
                answer.unwrap_err().code.name
            })
            .collect();
        assert_eq!(
            codes,
            [[CREDENTIAL_INVALID.name; 3].as_slice(), &[LIMIT_ACCOUNT.name; 2]].concat()
        );
    }
}

#[test]
fn a_known_device_that_guesses_is_held_back_as_a_device() {
    let world = world(|options| of_burst(&mut options.failed_device, 3));
    world.register("alice").unwrap();
    for _ in 0..3 {
        let answer = world.log_in_with(&client(), wrong("alice"), "device-alice", false);
        assert_eq!(answer.unwrap_err().code, CREDENTIAL_INVALID);
    }
    let before = hashes(&world);
    assert_eq!(world.log_in("alice").unwrap_err().code, LIMIT_DEVICE);
    assert_eq!(hashes(&world), before);
    world.log_in_on("alice", "another").unwrap();
}

#[test]
fn registrations_and_bound_names_and_password_changes_are_limited() {
    let world = world(|options| {
        of_burst(&mut options.device, 3);
        of_burst(&mut options.failed_account, 2);
        of_burst(&mut options.account, 3);
    });
    let guests: Vec<_> = (0..3).map(|_| world.register_guest().unwrap()).collect();
    let error = world.register_guest().unwrap_err();
    assert_eq!((error.code, error.code.kind), (LIMIT_DEVICE, Kind::Limited));

    let token = &guests[0].session.access_token;
    let bind = |name: &str| block_on(world.platform.identity_bind(&client(), token, credential(name)));
    bind("carol").unwrap();
    let change = || {
        block_on(
            world
                .platform
                .account_change_password(&client(), token, "a wrong one", "a new one"),
        )
    };
    assert_eq!(change().unwrap_err().code, CREDENTIAL_INVALID);
    assert_eq!(change().unwrap_err().code, CREDENTIAL_INVALID);
    let before = hashes(&world);
    assert_eq!(change().unwrap_err().code, LIMIT_ACCOUNT);
    assert_eq!(bind("dora").unwrap_err().code, LIMIT_ACCOUNT);
    assert_eq!(hashes(&world), before);
}

#[test]
fn refusals_leave_no_trace_in_the_auth_log() {
    let world = world(|options| of_burst(&mut options.device, 1));
    let guest = world.register_guest().unwrap();
    for _ in 0..5 {
        world.register_guest().unwrap_err();
    }
    let filter = crate::auth_log::AuthFilter::Ip([192, 0, 2, 1].into());
    let operator = crate::testing::operator();
    let found = block_on(world.platform.auth_log_search(&operator, filter, 0, u64::MAX, 100)).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].account_id, Some(guest.account_id));
}

fn log_in(world: &World, call: &Call, name: &str, response: Option<ChallengeResponse>) -> Result<LoginOutcome, Error> {
    let command = SessionCreate {
        game_id: world.game_id,
        credential: credential(name),
        client: world.client_on(&format!("device-{name}")),
        create_if_missing: false,
        challenge_response: response,
    };
    block_on(world.platform.session_create(call, command))
}

fn challenge_in(outcome: Result<LoginOutcome, Error>) -> ChallengeResponse {
    match outcome.unwrap() {
        LoginOutcome::Challenge { challenge_id, data, .. } => solve(&challenge_id, &data),
        LoginOutcome::Session(_) => panic!("a session"),
    }
}

#[test]
fn under_pressure_logins_and_registrations_pay_first() {
    let world = world(|_| {});
    registered_elsewhere(&world);
    world.platform.ask_for_challenges(true);
    let before = hashes(&world);
    let solved = challenge_in(log_in(&world, &client(), "alice", None));
    assert_eq!(hashes(&world), before);
    assert!(matches!(
        log_in(&world, &client(), "alice", Some(solved.clone())),
        Ok(LoginOutcome::Session(_))
    ));
    world.log_in("alice").unwrap();

    let register = |response| {
        let command = AccountCreate {
            game_id: world.game_id,
            credential: credential("bob"),
            client: world.client_on("device-bob"),
            challenge_response: response,
        };
        block_on(world.platform.account_create(&client(), command))
    };
    // Used, expired, of nobody: a fresh one each time, never a refusal.
    let second = challenge_in(register(Some(solved)));
    world.clock.advance(300_000);
    let third = challenge_in(register(Some(second)));
    let forged = ChallengeResponse {
        response: "AAAA".into(),
        ..third.clone()
    };
    challenge_in(register(Some(forged)));
    assert!(matches!(register(Some(third)), Ok(LoginOutcome::Session(_))));
    world.platform.ask_for_challenges(false);
    world.log_in_on("alice", "a stranger").unwrap();
    assert_eq!(world.platform.counters().challenges_issued, 4);
}

/// Registers alice on another device than the one she logs in on here.
fn registered_elsewhere(world: &World) {
    let command = AccountCreate {
        game_id: world.game_id,
        credential: credential("alice"),
        client: world.client_on("elsewhere"),
        challenge_response: None,
    };
    block_on(world.platform.account_create(&client(), command)).unwrap();
}

#[test]
fn a_game_says_whether_strangers_pay_and_known_devices_never_do() {
    let world = world(|_| {});
    world.register("alice").unwrap();
    let asks = |policy| {
        let change = GameChange {
            challenges: Some(policy),
            ..GameChange::default()
        };
        world.set_game(change).unwrap();
        [true, false].map(|is_pressed| {
            world.platform.ask_for_challenges(is_pressed);
            world.log_in("alice").unwrap();
            let command = SessionCreate {
                game_id: world.game_id,
                credential: wrong("alice"),
                client: world.client_on("a stranger"),
                create_if_missing: false,
                challenge_response: None,
            };
            match block_on(world.platform.session_create(&client(), command)) {
                Ok(LoginOutcome::Challenge { .. }) => true,
                Err(error) if error.code == CREDENTIAL_INVALID => false,
                other => panic!("{other:?}"),
            }
        })
    };
    assert_eq!(asks(ChallengePolicy::Auto), [true, false]);
    assert_eq!(asks(ChallengePolicy::Off), [false, false]);
    assert_eq!(asks(ChallengePolicy::Always), [true, true]);
}

#[test]
fn a_wrong_password_with_a_proof_is_still_wrong() {
    let world = world(|_| {});
    registered_elsewhere(&world);
    world.platform.ask_for_challenges(true);
    let solved = challenge_in(log_in(&world, &client(), "alice", None));
    let command = SessionCreate {
        game_id: world.game_id,
        credential: wrong("alice"),
        client: world.client_on("device-alice"),
        create_if_missing: false,
        challenge_response: Some(solved),
    };
    let error = block_on(world.platform.session_create(&client(), command)).unwrap_err();
    assert_eq!(error.code, CREDENTIAL_INVALID);
}

#[test]
fn the_repeat_of_a_login_is_answered_without_another_proof() {
    let world = world(|_| {});
    registered_elsewhere(&world);
    world.platform.ask_for_challenges(true);
    let call = keyed(client(), "k1", "the same body");
    let solved = challenge_in(log_in(&world, &client(), "alice", None));
    let first = crate::testing::logged_in(log_in(&world, &call, "alice", Some(solved.clone())).unwrap()).unwrap();
    let again = crate::testing::logged_in(log_in(&world, &call, "alice", Some(solved)).unwrap()).unwrap();
    assert_eq!(first.session, again.session);
}

#[test]
fn an_address_beyond_its_limit_pays_and_goes_on() {
    let world = world(|options| of_burst(&mut options.ipv4, 3));
    for name in ["anna", "bert", "carl"] {
        world.register(name).unwrap();
    }
    let solved = challenge_in(log_in(&world, &client(), "anna", None));
    assert!(matches!(
        log_in(&world, &client(), "anna", Some(solved)),
        Ok(LoginOutcome::Session(_))
    ));
}

/// What 20 abusers and 1,200 players saw during a flood of 300,000 keys that come once: attempts of players that did not
/// pass, and after how many milliseconds each abuser was refused.
fn flood(limits: &AbuseLimits) -> (u32, [Option<u64>; 20]) {
    const ABUSE_BEGINS_MS: u64 = 3_000;
    let mut fresh = 0x2001_0000_0000_0000_u128;
    let mut from_anew = |limits: &AbuseLimits, device: Option<u128>, now_ms| {
        fresh += 1;
        let ip = std::net::Ipv6Addr::from_bits(fresh << 64).to_string();
        limits.screen(&on_device(&from_ip(&ip), device.unwrap_or(fresh)), now_ms)
    };
    let (mut blocked, mut caught_after_ms) = (0, [None; 20]);
    for at_ms in 0..6_000 {
        let now_ms = NOW_MS + at_ms;
        for _ in 0..50 {
            from_anew(limits, None, now_ms);
        }
        // Each of 1,200 players five times, a second apart.
        for player in (at_ms % 1_000 / 5 * 6..).take(usize::from(at_ms < 5_000 && at_ms.is_multiple_of(5)) * 6) {
            let verdict = from_anew(limits, Some(u128::from(player)), now_ms);
            blocked += u32::from(verdict != Verdict::Pass);
        }
        if at_ms >= ABUSE_BEGINS_MS && at_ms.is_multiple_of(10) {
            for (abuser, caught) in (1 << 40..).zip(&mut caught_after_ms) {
                let verdict = from_anew(limits, Some(abuser), now_ms);
                if matches!(verdict, Verdict::Refuse(over) if over.dimension == Dimension::Device) {
                    caught.get_or_insert(at_ms - ABUSE_BEGINS_MS);
                }
            }
        }
    }
    (blocked, caught_after_ms)
}

#[test]
fn a_flood_of_keys_hides_no_abuser_and_blocks_no_player() {
    // Far fewer cells than there are keys.
    let limits = limits(|options| options.cells = 20_000);
    let (blocked, caught_after_ms) = flood(&limits);
    assert_eq!(blocked, 0);
    let last_ms = caught_after_ms.iter().map(|caught| caught.unwrap_or(u64::MAX)).max();
    assert!(last_ms <= Some(1_000), "{last_ms:?}");
    assert!(limits.counters().bytes <= MEMORY_MAX_BYTES as u64);
}

#[test]
fn the_flood_tells_limits_that_are_wrong_from_those_that_are_right() {
    // Abusers keep a limit as high as this.
    let loose = limits(|options| of_burst(&mut options.device, 1_000));
    assert_eq!(flood(&loose).1, [None; 20]);
    // Players come five times, of which such a limit lets three pass; there is room for all that come.
    let tight = limits(|options| {
        of_burst(&mut options.device, 1);
        options.cells = 1_000_000;
    });
    assert!(flood(&tight).0 > 1_200);
    // There is no room for abusers beside the flood: the cells are as few as they come.
    let small = limits(|options| options.cells = 1);
    let late = |caught: &Option<u64>| caught.is_none_or(|after_ms| after_ms > 1_000);
    assert!(flood(&small).1.iter().any(late));
}
