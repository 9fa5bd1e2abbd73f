//! The four outcomes and their order; nothing unknown becomes invalid.

use super::*;
use crate::account::{Action, Restrict, Subject};
use crate::codes::*;
use crate::game::{GameChange, GameStatus, UnknownPolicy};
use crate::ids::RealmId;
use crate::testing::{World, block_on, client, operator};
use crate::{Call, Caller, Mirrors, Platform};

fn world() -> World {
    World::new().unwrap()
}

fn verify(world: &World, token: &str) -> Verified {
    world.platform.session_verify(&world.server(), token, None)
}

fn reason(answer: &Verified) -> Option<InvalidReason> {
    match answer {
        Verified::Invalid(proof) => Some(proof.reason()),
        _ => None,
    }
}

fn restrict(world: &World, subject: Subject, action: Action) -> RestrictionView {
    let command = Restrict {
        subject,
        action,
        game_id: None,
        from_at: None,
        until_at: Some(crate::testing::START_AT + 3_600_000),
        reason: "cheating".into(),
        message: Some("See the rules.".into()),
        ticket: None,
    };
    block_on(world.platform.account_restrict(&operator(), command)).unwrap()
}

#[test]
fn a_valid_token_tells_everything_a_game_server_needs() {
    let world = world();
    let login = world.register("alice").unwrap();
    let Verified::Valid(token) = verify(&world, &login.session.access_token) else {
        panic!()
    };
    assert_eq!(
        (token.player_id, token.account_id, token.game_id),
        (login.player_id, login.account_id, world.game_id)
    );
    assert_eq!(
        (token.session_id, token.package_id, token.channel_id.as_str()),
        (login.session.session_id, world.package_id, "taptap")
    );
    assert_eq!(
        (token.issued_at, token.expires_at),
        (crate::testing::START_AT, login.session.access_expires_at)
    );
    assert_eq!((token.assurance, token.restrictions.len()), (Assurance::Full, 0));
}

#[test]
fn reasons_come_in_their_order() {
    let world = world();
    let other_game = Call {
        caller: Caller::Server {
            key_id: world.key_id,
            games: [GameId(99)].into(),
        },
        ..client()
    };
    let login = world.register("alice").unwrap();
    let token = login.session.access_token.clone();
    let wrong_player = Some(PlayerId(1));
    let ask = |call: &Call, player| reason(&world.platform.session_verify(call, &token, player));
    assert_eq!(ask(&world.server(), None), None);
    assert_eq!(ask(&world.server(), Some(login.player_id)), None);
    assert_eq!(ask(&world.server(), wrong_player), Some(InvalidReason::PlayerMismatch));
    world.log_in("alice").unwrap();
    assert_eq!(ask(&world.server(), wrong_player), Some(InvalidReason::Replaced));
    world.clock.advance(24 * 3_600_000);
    assert_eq!(ask(&world.server(), wrong_player), Some(InvalidReason::Expired));
    assert_eq!(ask(&other_game, wrong_player), Some(InvalidReason::WrongGame));
    let forged = token.replacen("sw1.AQEAAQ", "sw1.AQEAAg", 1);
    assert_eq!(
        reason(&world.platform.session_verify(&other_game, &forged, wrong_player)),
        Some(InvalidReason::Forged)
    );
    assert_eq!(
        reason(&world.platform.session_verify(&other_game, "", wrong_player)),
        Some(InvalidReason::Malformed)
    );
}

#[test]
fn a_token_ends_exactly_at_its_end() {
    let world = world();
    let login = world.register("alice").unwrap();
    world.clock.advance(24 * 3_600_000 - 1);
    assert_eq!(reason(&verify(&world, &login.session.access_token)), None);
    world.clock.advance(1);
    assert_eq!(
        reason(&verify(&world, &login.session.access_token)),
        Some(InvalidReason::Expired)
    );
}

#[test]
fn rules_deny_and_never_invalidate() {
    let world = world();
    let login = world.register("alice").unwrap();
    let token = &login.session.access_token;
    for subject in [
        Subject::Account {
            account_id: login.account_id,
        },
        Subject::Player {
            game_id: world.game_id,
            player_id: login.player_id,
        },
    ] {
        let made = restrict(&world, subject, Action::Login);
        let Verified::Denied {
            code,
            until_at,
            message,
        } = verify(&world, token)
        else {
            panic!()
        };
        assert_eq!(
            (code, until_at, message.as_deref()),
            ("account.restricted", made.until_at, Some("See the rules."))
        );
        block_on(world.platform.account_lift(&operator(), made.restriction_id)).unwrap();
        assert!(matches!(verify(&world, token), Verified::Valid(_)));
    }
    world
        .set_game(GameChange {
            status: Some(GameStatus::Maintenance),
            ..GameChange::default()
        })
        .unwrap();
    assert!(matches!(
        verify(&world, token),
        Verified::Denied {
            code: "game.maintenance",
            ..
        }
    ));
    world
        .set_game(GameChange {
            status: Some(GameStatus::Open),
            ..GameChange::default()
        })
        .unwrap();
    assert!(matches!(verify(&world, token), Verified::Valid(_)));
}

#[test]
fn a_restriction_ends_by_itself() {
    let world = world();
    let login = world.register("alice").unwrap();
    restrict(
        &world,
        Subject::Account {
            account_id: login.account_id,
        },
        Action::Login,
    );
    world.clock.advance(3_600_000);
    assert!(matches!(
        verify(&world, &login.session.access_token),
        Verified::Valid(_)
    ));
}

#[test]
fn chat_and_pay_restrictions_are_told_for_the_game_server_to_enforce() {
    let world = world();
    let login = world.register("alice").unwrap();
    restrict(
        &world,
        Subject::Account {
            account_id: login.account_id,
        },
        Action::Chat,
    );
    restrict(
        &world,
        Subject::Player {
            game_id: world.game_id,
            player_id: login.player_id,
        },
        Action::Pay,
    );
    restrict(
        &world,
        Subject::Account {
            account_id: login.account_id,
        },
        Action::Register,
    );
    let Verified::Valid(token) = verify(&world, &login.session.access_token) else {
        panic!()
    };
    assert_eq!(
        token.restrictions.iter().map(|r| r.action).collect::<Vec<_>>(),
        [Action::Chat, Action::Pay]
    );
}

#[test]
fn a_batch_answers_in_order_and_has_a_limit() {
    let world = world();
    let login = world.register("alice").unwrap();
    let tokens = vec![
        "junk".to_owned(),
        login.session.access_token.clone(),
        login.session.refresh_token.clone(),
    ];
    let answers = world.platform.session_verify_batch(&world.server(), &tokens).unwrap();
    assert_eq!(
        answers.iter().map(reason).collect::<Vec<_>>(),
        [Some(InvalidReason::Malformed), None, Some(InvalidReason::Malformed)]
    );
    let most = vec![login.session.access_token.clone(); VERIFY_BATCH_MAX];
    assert_eq!(
        world
            .platform
            .session_verify_batch(&world.server(), &most)
            .unwrap()
            .len(),
        VERIFY_BATCH_MAX
    );
    let more = vec![String::new(); VERIFY_BATCH_MAX + 1];
    assert_eq!(
        world
            .platform
            .session_verify_batch(&world.server(), &more)
            .unwrap_err()
            .code,
        FIELD_INVALID
    );
    assert!(
        world
            .platform
            .session_verify_batch(&world.server(), &[])
            .unwrap()
            .is_empty()
    );
}

/// A second platform over the same store whose mirrors nobody loaded yet.
fn unready(world: &World) -> Platform {
    Platform::open_unready(world.options(Mirrors::default()))
}

fn set_doubt(world: &World, policy: UnknownPolicy, mac_only: bool) {
    let change = GameChange {
        unknown_policy: Some(policy),
        unknown_hold_ms: Some(3_000),
        mac_only: Some(mac_only),
        ..GameChange::default()
    };
    world.set_game(change).unwrap();
}

#[test]
fn in_doubt_every_game_is_told_as_it_wants() {
    for policy in [UnknownPolicy::Status503, UnknownPolicy::Hold, UnknownPolicy::Drop] {
        let mut world = world();
        let login = world.register("alice").unwrap();
        set_doubt(&world, policy, false);
        world.load_half().unwrap();
        let told = |answer: Verified| match answer {
            Verified::Unknown { policy, hold_ms, .. } => (policy, hold_ms),
            other => panic!("{other:?}"),
        };
        let token = &login.session.access_token;
        assert_eq!(told(verify(&world, token)), (policy, 3_000));
        // What is not known to be of this game gets the default.
        let elsewhere = Call {
            caller: Caller::Server {
                key_id: world.key_id,
                games: [GameId(99)].into(),
            },
            ..client()
        };
        assert_eq!(
            told(world.platform.session_verify(&elsewhere, token, None)),
            (UnknownPolicy::Status503, 0)
        );
        assert_eq!(told(verify(&world, "junk")), (UnknownPolicy::Status503, 0));
        world.load_rest().unwrap();
        assert!(matches!(verify(&world, token), Verified::Valid(token) if token.assurance == Assurance::Full));
        assert_eq!(reason(&verify(&world, "junk")), Some(InvalidReason::Malformed));
    }
}

#[test]
fn mac_only_is_said_for_good_tokens_and_nothing_unknown_is_invalid() {
    let mut world = world();
    let replaced = world.register("alice").unwrap().session.access_token;
    let login = world.log_in("alice").unwrap();
    let token = login.session.access_token.clone();
    set_doubt(&world, UnknownPolicy::Status503, true);
    world.load_half().unwrap();
    let assurance = |answer: &Verified| match answer {
        Verified::Valid(token) => Some(token.assurance),
        Verified::Unknown { .. } => None,
        other => panic!("{other:?}"),
    };
    assert_eq!(assurance(&verify(&world, &token)), Some(Assurance::MacOnly));
    // That it was replaced cannot be read: this is what the game allowed.
    assert_eq!(assurance(&verify(&world, &replaced)), Some(Assurance::MacOnly));
    let ask = |call: &Call, token: &str, player| assurance(&world.platform.session_verify(call, token, player));
    assert_eq!(
        ask(&world.server(), &token, Some(login.player_id)),
        Some(Assurance::MacOnly)
    );
    let forged = token.replacen("sw1.AQEAAQ", "sw1.AQEAAg", 1);
    let elsewhere = Call {
        caller: Caller::Server {
            key_id: world.key_id,
            games: [GameId(99)].into(),
        },
        ..client()
    };
    assert_eq!(ask(&world.server(), &token, Some(PlayerId(1))), None);
    assert_eq!(ask(&world.server(), &forged, None), None);
    assert_eq!(ask(&world.server(), "", None), None);
    assert_eq!(ask(&elsewhere, &token, None), None);
    world.clock.advance(24 * 3_600_000 - 1);
    assert_eq!(ask(&world.server(), &token, None), Some(Assurance::MacOnly));
    world.clock.advance(1);
    assert_eq!(ask(&world.server(), &token, None), None, "past its end");
    world.load_rest().unwrap();
    assert_eq!(reason(&verify(&world, &replaced)), Some(InvalidReason::Expired));
}

#[test]
fn a_revocation_that_is_loaded_already_speaks_against_mac_only() {
    let mut world = world();
    let login = world.register("alice").unwrap();
    set_doubt(&world, UnknownPolicy::Status503, true);
    world.load_half().unwrap();
    let revocations = world.platform.inner.mirrors.revocations();
    revocations.put_session(login.session.session_id, crate::revocation::Revocation::Revoked);
    assert!(matches!(
        verify(&world, &login.session.access_token),
        Verified::Unknown { .. }
    ));
}

#[test]
fn maintenance_is_known_in_doubt_too() {
    let mut world = world();
    let login = world.register("alice").unwrap();
    set_doubt(&world, UnknownPolicy::Status503, true);
    let closed = GameChange {
        status: Some(GameStatus::Maintenance),
        ..GameChange::default()
    };
    world.set_game(closed).unwrap();
    world.load_half().unwrap();
    assert!(matches!(
        verify(&world, &login.session.access_token),
        Verified::Denied {
            code: "game.maintenance",
            ..
        }
    ));
}

#[test]
fn before_the_revocations_are_loaded_nothing_is_proven() {
    let world = world();
    let login = world.register("alice").unwrap();
    let platform = unready(&world);
    for token in [login.session.access_token.as_str(), "junk", ""] {
        assert!(
            matches!(
                platform.session_verify(&world.server(), token, None),
                Verified::Unknown {
                    code: "platform.not_ready",
                    retry_after_ms: 1_000,
                    policy: UnknownPolicy::Status503,
                    hold_ms: 0
                }
            ),
            "{token}"
        );
    }
    assert_eq!(
        block_on(platform.account_get(&client(), &login.session.access_token))
            .unwrap_err()
            .code,
        NOT_READY
    );
    assert_eq!(
        block_on(platform.session_refresh(&client(), "junk")).unwrap_err().code,
        NOT_READY
    );
}

#[test]
fn a_restart_loads_what_verify_needs() {
    let world = world();
    let replaced = world.register("alice").unwrap();
    let live = world.log_in("alice").unwrap();
    let banned = world.register("mallory").unwrap();
    let kicked = world.register("bob").unwrap();
    let logged_out = world.register("carol").unwrap();
    restrict(
        &world,
        Subject::Account {
            account_id: banned.account_id,
        },
        Action::Login,
    );
    block_on(world.platform.player_logout(
        &crate::testing::keyed(world.server(), "k", "r"),
        world.game_id,
        kicked.player_id,
    ))
    .unwrap();
    block_on(
        world
            .platform
            .account_logout(&operator(), crate::account::AccountRef::Account(logged_out.account_id)),
    )
    .unwrap();

    let after = Platform::open(world.options(Mirrors::default())).unwrap();
    let ask = |token: &str| after.session_verify(&world.server(), token, None);
    assert_eq!(
        reason(&ask(&replaced.session.access_token)),
        Some(InvalidReason::Replaced)
    );
    assert_eq!(reason(&ask(&kicked.session.access_token)), Some(InvalidReason::Revoked));
    assert_eq!(
        reason(&ask(&logged_out.session.access_token)),
        Some(InvalidReason::Revoked)
    );
    assert!(matches!(ask(&live.session.access_token), Verified::Valid(_)));
    assert!(matches!(ask(&banned.session.access_token), Verified::Denied { .. }));
    let games = block_on(after.game_list(&operator())).unwrap();
    assert_eq!((games.len(), games[0].realm_id), (1, RealmId(1)));
}

#[test]
fn each_start_leaves_room_between_the_ids() {
    let world = world();
    let before = world.register("alice").unwrap();
    let after = Platform::open(world.options(Mirrors::default())).unwrap();
    drop(after);
    let next = world.register("bob").unwrap();
    assert!(next.session.session_id.0 > before.session.session_id.0 + crate::start::SESSION_IDS_SKIPPED);
    assert!(next.account_id.0 > before.account_id.0 + crate::start::IDS_SKIPPED);
}

#[test]
fn the_recheck_agrees_with_every_right_answer_and_counts_a_wrong_one() {
    let world = world();
    let replaced = world.register("alice").unwrap();
    let live = world.log_in("alice").unwrap();
    let recheck =
        |token: &str, answer: &Verified| block_on(world.platform.session_verify_recheck(token, answer)).unwrap();
    for token in [
        replaced.session.access_token.as_str(),
        live.session.access_token.as_str(),
        "junk",
    ] {
        recheck(token, &verify(&world, token));
    }
    assert_eq!(world.platform.counters().verify_contradicted, 0);
    // An answer that belongs to the other token: revoked without a record.
    recheck(
        &live.session.access_token,
        &verify(&world, &replaced.session.access_token),
    );
    assert_eq!(world.platform.counters().verify_contradicted, 1);
}

#[test]
fn a_late_revocation_is_no_contradiction_of_an_earlier_valid() {
    let world = world();
    let login = world.register("alice").unwrap();
    let answer = verify(&world, &login.session.access_token);
    world.clock.advance(10);
    world.log_in("alice").unwrap();
    block_on(
        world
            .platform
            .session_verify_recheck(&login.session.access_token, &answer),
    )
    .unwrap();
    assert_eq!(world.platform.counters().verify_contradicted, 0);
}
