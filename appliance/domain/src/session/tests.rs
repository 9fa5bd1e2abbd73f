//! Logins, policies, refresh, logout and lists, on the real platform over the memory engine.

use super::*;
use crate::account::{Action, Restrict, Subject};
use crate::codes::*;
use crate::game::{GameChange, GameStatus, SessionPolicy};
use crate::testing::{World, block_on, client, credential, keyed, operator};
use crate::verify::{InvalidReason, Verified};
use crate::{Call, Error};

fn world() -> World {
    World::new().unwrap()
}

fn reason(world: &World, token: &str) -> Option<InvalidReason> {
    match world.platform.session_verify(&world.server(), token, None) {
        Verified::Invalid(proof) => Some(proof.reason()),
        Verified::Valid(_) => None,
        other => panic!("{other:?}"),
    }
}

fn refresh(world: &World, token: &str) -> Result<Refreshed, Error> {
    block_on(world.platform.session_refresh(&client(), token))
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> crate::Code {
    result.unwrap_err().code
}

fn policy(world: &World, session_policy: SessionPolicy) {
    world
        .set_game(GameChange {
            session_policy: Some(session_policy),
            ..GameChange::default()
        })
        .unwrap();
}

#[test]
fn answers_tell_the_spread_of_the_game() {
    let world = world();
    let first = world.register("alice").unwrap();
    assert_eq!(first.reconnect_spread_ms, 0);
    let change = GameChange {
        reconnect_spread_ms: Some(60_000),
        ..GameChange::default()
    };
    world.set_game(change).unwrap();
    let login = world.log_in("alice").unwrap();
    assert_eq!(login.reconnect_spread_ms, 60_000);
    let refreshed = refresh(&world, &login.session.refresh_token).unwrap();
    assert_eq!(refreshed.reconnect_spread_ms, 60_000);
    assert_eq!(world.platform.reconnect_spread_ms(crate::GameId(99)), None);
}

mod login {
    use super::*;

    #[test]
    fn a_registered_name_logs_in_with_its_password_only() {
        let world = world();
        let made = world.register("Alice").unwrap();
        assert!(made.is_new_account && made.is_new_player);
        assert_eq!(made.username.as_deref(), Some("Alice"));
        let again = world
            .log_in_with(
                &client(),
                Credential::Username {
                    username: "ａlice".into(),
                    password: "secret-Alice".into(),
                },
                "d",
                false,
            )
            .unwrap();
        assert_eq!((again.account_id, again.player_id), (made.account_id, made.player_id));
        assert!(!again.is_new_account && !again.is_new_player);
        assert!(again.session.session_id > made.session.session_id);
        let wrong = Credential::Username {
            username: "alice".into(),
            password: "secret-alice".into(),
        };
        assert_eq!(
            code(world.log_in_with(&client(), wrong, "d", false)),
            CREDENTIAL_INVALID
        );
    }

    #[test]
    fn an_unknown_name_costs_a_hash_and_answers_the_same() {
        let world = world();
        let before = world.pool.jobs.load(std::sync::atomic::Ordering::SeqCst);
        assert_eq!(code(world.log_in("nobody")), CREDENTIAL_INVALID);
        assert_eq!(world.pool.jobs.load(std::sync::atomic::Ordering::SeqCst), before + 1);
        world.pool.busy.store(true, std::sync::atomic::Ordering::SeqCst);
        assert_eq!(code(world.log_in("nobody")), CREDENTIAL_INVALID);
        assert_eq!(world.pool.jobs.load(std::sync::atomic::Ordering::SeqCst), before + 1);
    }

    #[test]
    fn create_if_missing_registers_once() {
        let world = world();
        let made = world.log_in_with(&client(), credential("bob"), "d", true).unwrap();
        assert!(made.is_new_account);
        let again = world.log_in_with(&client(), credential("bob"), "d", true).unwrap();
        assert!(!again.is_new_account);
        assert_eq!(again.account_id, made.account_id);
    }

    #[test]
    fn a_guest_comes_back_with_the_secret_only() {
        let world = world();
        let made = world.register_guest().unwrap();
        let secret = made.guest_secret.clone().unwrap();
        let again = world
            .log_in_with(
                &client(),
                Credential::Guest {
                    guest_secret: Some(secret.clone()),
                },
                "other",
                false,
            )
            .unwrap();
        assert_eq!(again.account_id, made.account_id);
        assert_eq!(again.guest_secret, None);
        for bad in [
            "",
            "sg1.x",
            &format!("{secret}x"),
            &secret.replace("sg1.", "sg2."),
            &format!("sg1.{}", "A".repeat(43)),
        ] {
            let credential = Credential::Guest {
                guest_secret: Some(bad.into()),
            };
            assert_eq!(
                code(world.log_in_with(&client(), credential, "d", false)),
                CREDENTIAL_INVALID,
                "{bad}"
            );
        }
        assert_eq!(
            code(world.log_in_with(&client(), Credential::Guest { guest_secret: None }, "d", false)),
            FIELD_INVALID
        );
        assert!(
            world
                .log_in_with(&client(), Credential::Guest { guest_secret: None }, "d", true)
                .unwrap()
                .is_new_account
        );
    }

    #[test]
    fn guests_can_be_switched_off() {
        let world = world();
        block_on(world.platform.realm_update(&operator(), crate::RealmId(1), false)).unwrap();
        assert_eq!(code(world.register_guest()), GUEST_DISABLED);
    }

    #[test]
    fn game_and_package_must_be_there_and_open() {
        let world = world();
        let command = |game_id, package_id| SessionCreate {
            game_id,
            credential: credential("a"),
            client: ClientInfo {
                package_id,
                ..world.client_on("d")
            },
            create_if_missing: true,
            challenge_response: None,
        };
        let log_in = |command| block_on(world.platform.session_create(&client(), command));
        assert_eq!(code(log_in(command(GameId(99), world.package_id))), GAME_UNKNOWN);
        assert_eq!(
            code(log_in(command(world.game_id, crate::PackageId(99)))),
            PACKAGE_UNKNOWN
        );
        world
            .set_game(GameChange {
                status: Some(GameStatus::Maintenance),
                ..GameChange::default()
            })
            .unwrap();
        assert_eq!(code(log_in(command(world.game_id, world.package_id))), GAME_MAINTENANCE);
    }

    #[test]
    fn client_fields_are_bounded() {
        let world = world();
        let log_in = |client: ClientInfo| {
            block_on(world.platform.session_create(
                &crate::testing::client(),
                SessionCreate {
                    game_id: world.game_id,
                    credential: credential("aaa"),
                    client,
                    create_if_missing: true,
                    challenge_response: None,
                },
            ))
        };
        let good = world.client_on("d");
        let long = Some("x".repeat(257));
        for bad in [
            ClientInfo {
                os: "beos".into(),
                ..good.clone()
            },
            ClientInfo {
                sdk_version: long.clone(),
                ..good.clone()
            },
            ClientInfo {
                launch_query: Some("x".repeat(4097)),
                ..good.clone()
            },
            ClientInfo {
                network: Some("a\0b".into()),
                ..good.clone()
            },
            world.client_on(""),
            world.client_on(&"x".repeat(129)),
        ] {
            assert_eq!(code(log_in(bad)), FIELD_INVALID);
        }
        assert!(log_in(good).is_ok());
    }

    #[test]
    fn a_restricted_device_or_address_may_not_log_in() {
        let world = world();
        world.register("alice").unwrap();
        let device_id = crate::device::device_id(&crate::device::device_hash(
            &world.platform.inner.lookup,
            "device-alice",
        ));
        for subject in [
            Subject::Device { device_id },
            Subject::IpRange {
                range: "192.0.2.0/24".into(),
            },
        ] {
            let restrict = Restrict {
                subject,
                action: Action::Login,
                game_id: None,
                from_at: None,
                until_at: None,
                reason: "abuse".into(),
                message: None,
                ticket: None,
            };
            let made = block_on(world.platform.account_restrict(&operator(), restrict)).unwrap();
            assert_eq!(code(world.log_in("alice")), ACCOUNT_RESTRICTED);
            block_on(world.platform.account_lift(&operator(), made.restriction_id)).unwrap();
            world.log_in("alice").unwrap();
        }
    }

    #[test]
    fn the_device_limit_counts_devices_of_the_last_90_days() {
        let world = world();
        world
            .set_game(GameChange {
                device_limit: Some(Some(2)),
                ..GameChange::default()
            })
            .unwrap();
        world.register("alice").unwrap();
        world.log_in_on("alice", "second").unwrap();
        let error = world.log_in_on("alice", "third").unwrap_err();
        assert_eq!(
            (error.code, error.params.get("limit")),
            (DEVICE_LIMIT, Some(&crate::Param::Number(2)))
        );
        world.log_in_on("alice", "second").unwrap();
        world.clock.advance(crate::device::DEVICE_COUNTS_MS);
        world.log_in_on("alice", "third").unwrap();
    }
}

mod policies {
    use super::*;

    #[test]
    fn replace_ends_the_older_session_and_says_so() {
        let world = world();
        let first = world.register("alice").unwrap();
        let second = world.log_in_on("alice", "other").unwrap();
        assert_eq!(
            reason(&world, &first.session.access_token),
            Some(InvalidReason::Replaced)
        );
        assert_eq!(reason(&world, &second.session.access_token), None);
        let error = refresh(&world, &first.session.refresh_token).unwrap_err();
        assert_eq!(error.code, REFRESH_INVALID);
        assert_eq!(error.params.get("reason"), Some(&crate::Param::Text("replaced".into())));
    }

    #[test]
    fn both_keeps_them() {
        let world = world();
        policy(&world, SessionPolicy::Both);
        let first = world.register("alice").unwrap();
        world.log_in_on("alice", "other").unwrap();
        assert_eq!(reason(&world, &first.session.access_token), None);
        let (sessions, _) = block_on(world.platform.session_list(&client(), &first.session.access_token)).unwrap();
        assert_eq!(sessions.iter().map(|s| s.is_current).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn both_is_bounded_by_replacing_the_oldest() {
        let world = world();
        policy(&world, SessionPolicy::Both);
        let first = world.register("alice").unwrap();
        let second = world.log_in("alice").unwrap();
        for _ in 0..open::SESSIONS_OPEN_MAX - 1 {
            world.log_in("alice").unwrap();
        }
        assert_eq!(
            reason(&world, &first.session.access_token),
            Some(InvalidReason::Replaced)
        );
        assert_eq!(reason(&world, &second.session.access_token), None);
    }

    #[test]
    fn refuse_turns_other_devices_away_but_not_the_same_one() {
        let world = world();
        policy(&world, SessionPolicy::Refuse);
        let first = world.register("alice").unwrap();
        assert_eq!(code(world.log_in_on("alice", "other")), SESSION_LIMIT);
        assert_eq!(reason(&world, &first.session.access_token), None);
        world.log_in("alice").unwrap();
        assert_eq!(
            reason(&world, &first.session.access_token),
            Some(InvalidReason::Replaced)
        );
        world.clock.advance(24 * 3_600_000);
        world.log_in_on("alice", "other").unwrap();
    }

    #[test]
    fn another_game_is_another_matter() {
        let world = world();
        let first = world.register("alice").unwrap();
        let game = block_on(world.platform.game_create(
            &operator(),
            crate::RealmId(1),
            "Lighthouse",
            GameChange::default(),
        ))
        .unwrap();
        let package = block_on(
            world
                .platform
                .package_create(&operator(), crate::testing::package(game.game_id)),
        )
        .unwrap();
        let client_info = ClientInfo {
            package_id: package.package_id,
            ..world.client_on("d")
        };
        let command = SessionCreate {
            game_id: game.game_id,
            credential: credential("alice"),
            client: client_info,
            create_if_missing: false,
            challenge_response: None,
        };
        let LoginOutcome::Session(second) = block_on(world.platform.session_create(&client(), command)).unwrap() else {
            panic!()
        };
        assert_eq!(second.account_id, first.account_id);
        assert_ne!(second.player_id, first.player_id);
        assert!(second.is_new_player);
        assert_eq!(reason(&world, &first.session.access_token), None);
        assert_eq!(
            reason(&world, &second.session.access_token),
            Some(InvalidReason::WrongGame)
        );
    }
}

mod refreshing {
    use super::*;

    #[test]
    fn a_refresh_gives_the_next_pair_and_leaves_the_old_access_token_good() {
        let world = world();
        let login = world.register("alice").unwrap();
        world.clock.advance(60_000);
        let next = refresh(&world, &login.session.refresh_token).unwrap();
        assert_eq!(next.player_id, login.player_id);
        assert_eq!(next.session.session_id, login.session.session_id);
        assert_eq!(next.session.access_expires_at, login.session.access_expires_at + 60_000);
        assert_eq!(
            next.session.refresh_expires_at,
            login.session.refresh_expires_at + 60_000
        );
        assert_eq!(reason(&world, &login.session.access_token), None);
        assert_eq!(reason(&world, &next.session.access_token), None);
    }

    #[test]
    fn a_lost_reply_may_be_asked_for_again_within_the_grace() {
        let world = world();
        let login = world.register("alice").unwrap();
        let first = refresh(&world, &login.session.refresh_token).unwrap();
        world.clock.advance(30_000);
        let again = refresh(&world, &login.session.refresh_token).unwrap();
        assert_eq!(again.session, first.session);
    }

    #[test]
    fn a_later_reuse_revokes_the_session() {
        let world = world();
        let login = world.register("alice").unwrap();
        let next = refresh(&world, &login.session.refresh_token).unwrap();
        world.clock.advance(30_001);
        assert_eq!(code(refresh(&world, &login.session.refresh_token)), REFRESH_REUSED);
        assert_eq!(reason(&world, &next.session.access_token), Some(InvalidReason::Revoked));
        assert_eq!(code(refresh(&world, &next.session.refresh_token)), REFRESH_INVALID);
    }

    #[test]
    fn two_generations_back_is_reuse_even_within_the_grace() {
        let world = world();
        let login = world.register("alice").unwrap();
        let next = refresh(&world, &login.session.refresh_token).unwrap();
        refresh(&world, &next.session.refresh_token).unwrap();
        assert_eq!(code(refresh(&world, &login.session.refresh_token)), REFRESH_REUSED);
    }

    #[test]
    fn a_refresh_token_ends() {
        let world = world();
        let login = world.register("alice").unwrap();
        world.clock.advance(90 * 86_400_000);
        let error = refresh(&world, &login.session.refresh_token).unwrap_err();
        assert_eq!(error.params.get("reason"), Some(&crate::Param::Text("expired".into())));
    }

    #[test]
    fn garbage_and_access_tokens_are_no_refresh_tokens() {
        let world = world();
        let login = world.register("alice").unwrap();
        let token = &login.session.refresh_token;
        for (bad, why) in [
            ("", "malformed"),
            (login.session.access_token.as_str(), "malformed"),
            (&token[..token.len() - 1], "malformed"),
            (&token.replacen("sr1.AQ", "sr1.AR", 1), "malformed"),
        ] {
            let error = refresh(&world, bad).unwrap_err();
            assert_eq!(
                (error.code, error.params.get("reason")),
                (REFRESH_INVALID, Some(&crate::Param::Text(why.into()))),
                "{bad}"
            );
        }
    }

    /// Takes the session's row away, as a failover that lost the end of the journal does.
    fn lose_tail(world: &World, sessions: &[SessionId], generation: Option<u32>) {
        use crate::tables::session::SESSIONS;
        let sessions = sessions.to_vec();
        let call = operator();
        block_on(world.platform.commit(&call, "test.lose", move |tx| {
            for id in &sessions {
                match (generation, tx.get(&SESSIONS, id)?) {
                    (Some(generation), Some(row)) => {
                        tx.put(&SESSIONS, id, &crate::tables::session::SessionRow { generation, ..row })?;
                    }
                    _ => tx.delete(&SESSIONS, id)?,
                }
            }
            Ok(())
        }))
        .unwrap();
    }

    #[test]
    fn a_lost_tail_never_ends_a_session() {
        let world = world();
        let login = world.register("alice").unwrap();
        let id = login.session.session_id;
        lose_tail(&world, &[id], None);
        assert_eq!(reason(&world, &login.session.access_token), None);
        let rebuilt = refresh(&world, &login.session.refresh_token).unwrap();
        assert_eq!(rebuilt.session.session_id, id);
        let next = refresh(&world, &rebuilt.session.refresh_token).unwrap();
        lose_tail(&world, &[id], Some(0));
        let after = refresh(&world, &next.session.refresh_token).unwrap();
        assert_eq!(reason(&world, &after.session.access_token), None);
        refresh(&world, &after.session.refresh_token).unwrap();
    }

    #[test]
    fn a_rebuilt_session_can_be_replaced_and_revoked_like_any_other() {
        let world = world();
        let login = world.register("alice").unwrap();
        lose_tail(&world, &[login.session.session_id], None);
        let rebuilt = refresh(&world, &login.session.refresh_token).unwrap();
        world.log_in("alice").unwrap();
        assert_eq!(
            reason(&world, &rebuilt.session.access_token),
            Some(InvalidReason::Replaced)
        );
        assert_eq!(
            reason(&world, &login.session.access_token),
            Some(InvalidReason::Replaced)
        );
    }

    #[test]
    fn logout_everywhere_reaches_sessions_whose_rows_were_lost() {
        let world = world();
        policy(&world, SessionPolicy::Both);
        let first = world.register("alice").unwrap();
        let second = world.log_in("alice").unwrap();
        lose_tail(&world, &[first.session.session_id], None);
        block_on(
            world
                .platform
                .session_logout(&client(), &second.session.access_token, true),
        )
        .unwrap();
        assert_eq!(
            reason(&world, &first.session.access_token),
            Some(InvalidReason::Revoked)
        );
        assert_eq!(code(refresh(&world, &first.session.refresh_token)), REFRESH_INVALID);
    }

    #[test]
    fn a_restriction_refuses_refresh_and_lifting_lets_the_same_tokens_go_on() {
        let world = world();
        let login = world.register("alice").unwrap();
        let restrict = Restrict {
            subject: Subject::Account {
                account_id: login.account_id,
            },
            action: Action::Login,
            game_id: None,
            from_at: None,
            until_at: None,
            reason: "cheating".into(),
            message: None,
            ticket: Some("T-7".into()),
        };
        let made = block_on(world.platform.account_restrict(&operator(), restrict)).unwrap();
        let error = refresh(&world, &login.session.refresh_token).unwrap_err();
        assert_eq!(
            (error.code, error.params.get("ticket")),
            (ACCOUNT_RESTRICTED, Some(&crate::Param::Text("T-7".into())))
        );
        assert_eq!(code(world.log_in("alice")), ACCOUNT_RESTRICTED);
        assert!(matches!(
            world
                .platform
                .session_verify(&world.server(), &login.session.access_token, None),
            Verified::Denied {
                code: "account.restricted",
                ..
            }
        ));
        block_on(world.platform.account_lift(&operator(), made.restriction_id)).unwrap();
        assert_eq!(reason(&world, &login.session.access_token), None);
        refresh(&world, &login.session.refresh_token).unwrap();
    }

    #[test]
    fn a_rotated_mac_key_signs_new_pairs_and_keeps_old_ones() {
        let world = world();
        let login = world.register("alice").unwrap();
        assert_eq!(block_on(world.platform.mac_key_rotate(&operator())).unwrap(), 2);
        let next = refresh(&world, &login.session.refresh_token).unwrap();
        assert_eq!(reason(&world, &login.session.access_token), None);
        assert_eq!(reason(&world, &next.session.access_token), None);
        assert_eq!(
            world.platform.authentic(&next.session.access_token).unwrap().mac_key_id,
            2
        );
    }
}

mod logout {
    use super::*;

    fn log_out(world: &World, call: &Call, token: &str, everywhere: bool) -> Result<UnixMs, Error> {
        block_on(world.platform.session_logout(call, token, everywhere))
    }

    #[test]
    fn here_ends_this_session_only() {
        let world = world();
        policy(&world, SessionPolicy::Both);
        let first = world.register("alice").unwrap();
        let second = world.log_in("alice").unwrap();
        log_out(&world, &client(), &first.session.access_token, false).unwrap();
        assert_eq!(
            reason(&world, &first.session.access_token),
            Some(InvalidReason::Revoked)
        );
        assert_eq!(reason(&world, &second.session.access_token), None);
        assert_eq!(code(refresh(&world, &first.session.refresh_token)), REFRESH_INVALID);
        assert_eq!(
            code(log_out(&world, &client(), &first.session.access_token, false)),
            SESSION_INVALID
        );
    }

    #[test]
    fn with_a_key_the_repeat_is_answered_although_the_token_is_gone() {
        let world = world();
        let login = world.register("alice").unwrap();
        let call = keyed(client(), "k1", "logout");
        let first = log_out(&world, &call, &login.session.access_token, false).unwrap();
        world.clock.advance(5_000);
        assert_eq!(
            log_out(&world, &call, &login.session.access_token, false).unwrap(),
            first
        );
        assert_eq!(
            code(log_out(
                &world,
                &keyed(client(), "k1", "other"),
                &login.session.access_token,
                true
            )),
            IDEMPOTENCY_MISMATCH
        );
    }

    #[test]
    fn everywhere_ends_all_and_the_next_login_is_good() {
        let world = world();
        policy(&world, SessionPolicy::Both);
        let first = world.register("alice").unwrap();
        let second = world.log_in("alice").unwrap();
        log_out(&world, &client(), &second.session.access_token, true).unwrap();
        for login in [&first, &second] {
            assert_eq!(
                reason(&world, &login.session.access_token),
                Some(InvalidReason::Revoked)
            );
        }
        let third = world.log_in("alice").unwrap();
        assert_eq!(reason(&world, &third.session.access_token), None);
        let (sessions, _) = block_on(world.platform.session_list(&client(), &third.session.access_token)).unwrap();
        assert_eq!(sessions.len(), 1);
    }

    #[test]
    fn operators_and_game_servers_count_what_was_live() {
        let world = world();
        policy(&world, SessionPolicy::Both);
        let login = world.register("alice").unwrap();
        world.log_in("alice").unwrap();
        let by_account = crate::account::AccountRef::Account(login.account_id);
        assert_eq!(
            block_on(world.platform.account_logout(&operator(), by_account.clone())).unwrap(),
            2
        );
        assert_eq!(
            block_on(world.platform.account_logout(&operator(), by_account)).unwrap(),
            0
        );
        let third = world.log_in("alice").unwrap();
        let call = keyed(world.server(), "k", "body");
        assert_eq!(
            block_on(world.platform.player_logout(&call, world.game_id, login.player_id)).unwrap(),
            1
        );
        assert_eq!(
            block_on(world.platform.player_logout(&call, world.game_id, login.player_id)).unwrap(),
            1,
            "the repeat answers the same"
        );
        assert_eq!(
            reason(&world, &third.session.access_token),
            Some(InvalidReason::Revoked)
        );
        assert_eq!(
            reason(&world, &world.log_in("alice").unwrap().session.access_token),
            None
        );
    }

    #[test]
    fn a_game_server_must_send_a_key_and_may_act_for_its_games_only() {
        let world = world();
        let login = world.register("alice").unwrap();
        assert_eq!(
            code(block_on(world.platform.player_logout(
                &world.server(),
                world.game_id,
                login.player_id
            ))),
            IDEMPOTENCY_REQUIRED
        );
        let call = keyed(world.server(), "k", "b");
        assert_eq!(
            code(block_on(world.platform.player_logout(
                &call,
                GameId(77),
                login.player_id
            ))),
            GAME_FORBIDDEN
        );
        assert_eq!(
            code(block_on(world.platform.player_logout(
                &call,
                world.game_id,
                PlayerId(5)
            ))),
            ACCOUNT_UNKNOWN
        );
    }
}

mod lists {
    use super::*;

    #[test]
    fn devices_are_listed_last_used_first() {
        let world = world();
        world.register("alice").unwrap();
        world.clock.advance(1_000);
        let login = world.log_in_on("alice", "tablet").unwrap();
        let (devices, now_at) = block_on(world.platform.device_list(&client(), &login.session.access_token)).unwrap();
        assert_eq!(devices.len(), 2);
        assert_eq!(devices[0].last_seen_at, now_at);
        assert_eq!(devices[0].device_id.len(), 32);
        assert_ne!(devices[0].device_id, devices[1].device_id);
        assert_eq!(
            (devices[1].brand.as_str(), devices[1].os.as_str()),
            ("Xiaomi", "android")
        );
    }

    #[test]
    fn more_devices_than_are_kept_push_the_oldest_out() {
        let world = world();
        let mut login = world.register("alice").unwrap();
        for n in 0..crate::device::DEVICES_KEPT_MAX {
            world.clock.advance(1_000);
            login = world.log_in_on("alice", &format!("device {n}")).unwrap();
        }
        let (devices, _) = block_on(world.platform.device_list(&client(), &login.session.access_token)).unwrap();
        assert_eq!(devices.len(), crate::device::DEVICES_KEPT_MAX);
        assert!(
            devices
                .iter()
                .all(|device| device.first_seen_at > crate::testing::START_AT)
        );
    }

    #[test]
    fn lists_need_a_good_token() {
        let world = world();
        let login = world.register("alice").unwrap();
        block_on(
            world
                .platform
                .session_logout(&client(), &login.session.access_token, false),
        )
        .unwrap();
        let error = block_on(world.platform.session_list(&client(), &login.session.access_token)).unwrap_err();
        assert_eq!(
            (error.code, error.params.get("reason")),
            (SESSION_INVALID, Some(&crate::Param::Text("revoked".into())))
        );
        assert_eq!(
            code(block_on(world.platform.device_list(&client(), "sw1.junk"))),
            SESSION_INVALID
        );
    }
}

mod clocks {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        Clock(i64),
        LogIn,
        LogOutEverywhere,
        LogOutAll,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (-3_600_000i64..3_600_000).prop_map(Step::Clock),
            Just(Step::LogIn),
            Just(Step::LogIn),
            Just(Step::LogOutEverywhere),
            Just(Step::LogOutAll),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        /// Whatever the wall clock does, a session opened after a revocation is good and one opened before is not.
        #[test]
        fn the_order_of_commits_decides_not_the_clock(steps in proptest::collection::vec(step(), 1..20)) {
            let world = world();
            world.set_game(GameChange { access_token_ms: Some(7 * 86_400_000), session_policy: Some(SessionPolicy::Both), ..GameChange::default() }).unwrap();
            let first = world.register("alice").unwrap();
            let (mut live, mut dead) = (vec![first.session.access_token.clone()], Vec::new());
            for step in steps {
                match step {
                    Step::Clock(by) => world.clock.step_to(crate::testing::START_AT.saturating_add_signed(by)),
                    Step::LogIn => live.push(world.log_in("alice").unwrap().session.access_token),
                    Step::LogOutEverywhere => {
                        if let Some(token) = live.last().cloned() {
                            block_on(world.platform.session_logout(&client(), &token, true)).unwrap();
                            dead.append(&mut live);
                        }
                    }
                    Step::LogOutAll => {
                        block_on(world.platform.account_logout(&operator(), crate::account::AccountRef::Account(first.account_id))).unwrap();
                        dead.append(&mut live);
                    }
                }
                for token in &live {
                    prop_assert_eq!(reason(&world, token), None);
                }
                for token in &dead {
                    prop_assert_eq!(reason(&world, token), Some(InvalidReason::Revoked));
                }
            }
        }
    }
}

mod idempotency {
    use super::*;

    #[test]
    fn a_hundred_parallel_repeats_have_one_effect_and_one_answer() {
        let world = world();
        let call = keyed(client(), "register-1", "body");
        let answers: Vec<LoggedIn> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..100)
                .map(|_| {
                    scope.spawn(|| {
                        world
                            .log_in_with(&call, Credential::Guest { guest_secret: None }, "d", true)
                            .unwrap()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for answer in &answers {
            assert_eq!(answer.session, answers[0].session);
            assert_eq!(answer.guest_secret, answers[0].guest_secret);
            assert_eq!(
                (answer.is_new_account, answer.server_time_at),
                (true, answers[0].server_time_at)
            );
        }
        assert!(answers[0].guest_secret.is_some());
        let rows = world
            .store
            .read(|view| view.scan(&crate::tables::account::ACCOUNTS, &seawall_storage::Span::all(), 10))
            .unwrap()
            .rows;
        assert_eq!(rows.len(), 1);
    }

    #[test]
    fn a_repeat_needs_no_hash_and_another_body_is_a_mismatch() {
        let world = world();
        world.register("alice").unwrap();
        let call = keyed(client(), "k", "one");
        let first = world.log_in_with(&call, credential("alice"), "d", false).unwrap();
        let jobs = world.pool.jobs.load(std::sync::atomic::Ordering::SeqCst);
        let again = world.log_in_with(&call, credential("alice"), "d", false).unwrap();
        assert_eq!(again.session, first.session);
        assert_eq!(world.pool.jobs.load(std::sync::atomic::Ordering::SeqCst), jobs);
        assert_eq!(
            code(world.log_in_with(&keyed(client(), "k", "two"), credential("alice"), "d", false)),
            IDEMPOTENCY_MISMATCH
        );
        let elsewhere = world
            .log_in_with(
                &keyed(client(), "k", "two"),
                credential("alice"),
                "another device",
                false,
            )
            .unwrap();
        assert_ne!(elsewhere.session.session_id, first.session.session_id);
    }

    #[test]
    fn a_key_is_forgotten_after_a_day() {
        let world = world();
        let call = keyed(client(), "k", "one");
        let first = world.log_in_with(&call, credential("alice"), "d", true).unwrap();
        world.clock.advance(crate::idempotency::IDEMPOTENCY_KEPT_MS);
        let later = world.log_in_with(&call, credential("alice"), "d", true).unwrap();
        assert_ne!(later.session.session_id, first.session.session_id);
    }

    #[test]
    fn a_refused_call_leaves_no_record() {
        let world = world();
        let call = keyed(client(), "k", "one");
        assert_eq!(
            code(world.log_in_with(&call, credential("alice"), "d", false)),
            CREDENTIAL_INVALID
        );
        world.register("alice").unwrap();
        world.log_in_with(&call, credential("alice"), "d", false).unwrap();
    }

    #[test]
    fn a_refresh_with_a_key_is_repeated_beyond_the_grace() {
        let world = world();
        let login = world.register("alice").unwrap();
        let call = keyed(client(), "k", "refresh");
        let first = block_on(world.platform.session_refresh(&call, &login.session.refresh_token)).unwrap();
        world.clock.advance(3_600_000);
        let again = block_on(world.platform.session_refresh(&call, &login.session.refresh_token)).unwrap();
        assert_eq!(again.session, first.session);
    }

    #[test]
    fn keys_that_are_no_keys_are_refused() {
        let world = world();
        for bad in ["", " ", "a b", "schlüssel", &"x".repeat(256)] {
            assert_eq!(
                code(world.log_in_with(&keyed(client(), bad, "one"), credential("alice"), "d", true)),
                FIELD_INVALID,
                "{bad}"
            );
        }
    }
}
