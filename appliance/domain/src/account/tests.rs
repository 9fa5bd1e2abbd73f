//! Registration, the own account, passwords, binding, what operators see, restrictions.

use super::*;
use crate::codes::*;
use crate::testing::{START_AT, World, block_on, client, credential, keyed, operator};
use crate::verify::{InvalidReason, Verified};
use crate::{Code, Error};

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> Code {
    result.unwrap_err().code
}

fn reason(world: &World, token: &str) -> Option<InvalidReason> {
    match world.platform.session_verify(&world.server(), token, None) {
        Verified::Invalid(proof) => Some(proof.reason()),
        _ => None,
    }
}

fn create(world: &World, credential: Credential) -> Result<crate::session::LoggedIn, Error> {
    let command = AccountCreate {
        game_id: world.game_id,
        credential,
        client: world.client_on("d"),
        challenge_response: None,
    };
    block_on(world.platform.account_create(&client(), command)).and_then(crate::testing::logged_in)
}

fn change(world: &World, token: &str, old: &str, new: &str) -> Result<UnixMs, Error> {
    block_on(world.platform.account_change_password(&client(), token, old, new))
}

fn ban(world: &World, subject: Subject, action: Action) -> RestrictionView {
    let command = Restrict {
        subject,
        action,
        game_id: None,
        from_at: None,
        until_at: None,
        reason: "cheating".into(),
        message: None,
        ticket: None,
    };
    block_on(world.platform.account_restrict(&operator(), command)).unwrap()
}

mod registration {
    use super::*;

    #[test]
    fn a_name_is_taken_once_however_it_is_typed() {
        let world = World::new().unwrap();
        world.register("Alice").unwrap();
        let jobs = world.pool.jobs.load(std::sync::atomic::Ordering::SeqCst);
        for taken in ["Alice", "alice", "ＡＬＩＣＥ"] {
            assert_eq!(code(create(&world, credential(taken))), ACCOUNT_EXISTS, "{taken}");
        }
        assert_eq!(
            world.pool.jobs.load(std::sync::atomic::Ordering::SeqCst),
            jobs,
            "a taken name costs no hash"
        );
    }

    #[test]
    fn parallel_registrations_of_one_name_make_one_account() {
        let world = World::new().unwrap();
        let made = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..16)
                .map(|_| scope.spawn(|| create(&world, credential("alice"))))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .filter(Result::is_ok)
                .count()
        });
        assert_eq!(made, 1);
    }

    #[test]
    fn rules_of_names_and_passwords_are_enforced() {
        let world = World::new().unwrap();
        let with = |username: &str, password: &str| {
            create(
                &world,
                Credential::Username {
                    username: username.into(),
                    password: password.into(),
                },
            )
        };
        for (username, password) in [
            ("al", "123456"),
            ("alice", "12345"),
            ("alice", &"x".repeat(129)),
            ("a\0ice", "123456"),
            (&"x".repeat(65_536), "123456"),
        ] {
            assert_eq!(code(with(username, password)), FIELD_INVALID);
        }
        assert_eq!(
            code(create(
                &world,
                Credential::Guest {
                    guest_secret: Some("sg1.x".into())
                }
            )),
            FIELD_INVALID
        );
        with("alice", "123456").unwrap();
    }

    #[test]
    fn a_register_restriction_stops_registration_and_not_login() {
        let world = World::new().unwrap();
        world.register("alice").unwrap();
        ban(
            &world,
            Subject::IpRange {
                range: "192.0.2.0/24".into(),
            },
            Action::Register,
        );
        assert_eq!(code(world.register("bob")), ACCOUNT_RESTRICTED);
        assert_eq!(code(world.register_guest()), ACCOUNT_RESTRICTED);
        world.log_in("alice").unwrap();
    }

    #[test]
    fn names_of_another_realm_are_others() {
        let world = World::new().unwrap();
        let first = world.register("alice").unwrap();
        let realm = block_on(world.platform.realm_create(&operator(), "second", true)).unwrap();
        let game = block_on(world.platform.game_create(
            &operator(),
            realm.realm_id,
            "Other",
            crate::game::GameChange::default(),
        ))
        .unwrap();
        let package = block_on(
            world
                .platform
                .package_create(&operator(), crate::testing::package(game.game_id)),
        )
        .unwrap();
        let command = AccountCreate {
            game_id: game.game_id,
            credential: credential("alice"),
            client: ClientInfo {
                package_id: package.package_id,
                ..world.client_on("d")
            },
            challenge_response: None,
        };
        assert_ne!(
            block_on(world.platform.account_create(&client(), command))
                .and_then(crate::testing::logged_in)
                .unwrap()
                .account_id,
            first.account_id
        );
    }

    #[test]
    fn the_origin_of_a_new_account_is_kept() {
        let world = World::new().unwrap();
        let login = world.register("alice").unwrap();
        let view = block_on(
            world
                .platform
                .account_show(&operator(), AccountRef::Account(login.account_id)),
        )
        .unwrap();
        for (name, value) in [
            ("ip", "192.0.2.1"),
            ("os", "android"),
            ("device", "Xiaomi 14"),
            ("app_version", "1.2.3"),
        ] {
            assert_eq!(view.origin.get(name).map(String::as_str), Some(value), "{name}");
        }
        assert!(!view.origin.contains_key("launch_query"));
    }
}

mod own {
    use super::*;

    #[test]
    fn a_player_sees_the_own_account() {
        let world = World::new().unwrap();
        let login = world.register("Alice").unwrap();
        ban(
            &world,
            Subject::Account {
                account_id: login.account_id,
            },
            Action::Chat,
        );
        let own = block_on(world.platform.account_get(&client(), &login.session.access_token)).unwrap();
        assert_eq!(
            (own.account_id, own.player_id, own.session_id, own.game_id),
            (
                login.account_id,
                login.player_id,
                login.session.session_id,
                world.game_id
            )
        );
        assert_eq!(
            (own.username.as_deref(), own.identities.as_slice(), own.created_at),
            (Some("Alice"), [IdentityKind::Username].as_slice(), START_AT)
        );
        assert_eq!(own.restrictions.len(), 1);
        assert_eq!(
            code(block_on(world.platform.account_get(&client(), "junk"))),
            SESSION_INVALID
        );
    }

    #[test]
    fn a_new_password_ends_all_other_sessions() {
        let world = World::new().unwrap();
        world
            .set_game(crate::game::GameChange {
                session_policy: Some(crate::game::SessionPolicy::Both),
                ..Default::default()
            })
            .unwrap();
        let first = world.register("alice").unwrap();
        let second = world.log_in("alice").unwrap();
        change(&world, &first.session.access_token, "secret-alice", "another").unwrap();
        assert_eq!(reason(&world, &first.session.access_token), None);
        assert_eq!(
            reason(&world, &second.session.access_token),
            Some(InvalidReason::Revoked)
        );
        let refreshed = block_on(world.platform.session_refresh(&client(), &first.session.refresh_token)).unwrap();
        assert_eq!(reason(&world, &refreshed.session.access_token), None);
        assert_eq!(
            code(block_on(
                world.platform.session_refresh(&client(), &second.session.refresh_token)
            )),
            REFRESH_INVALID
        );
        assert_eq!(code(world.log_in("alice")), CREDENTIAL_INVALID);
        let again = Credential::Username {
            username: "alice".into(),
            password: "another".into(),
        };
        world.log_in_with(&client(), again, "d", false).unwrap();
    }

    #[test]
    fn the_second_change_by_another_session_ends_the_first_changer() {
        let world = World::new().unwrap();
        world
            .set_game(crate::game::GameChange {
                session_policy: Some(crate::game::SessionPolicy::Both),
                ..Default::default()
            })
            .unwrap();
        let first = world.register("alice").unwrap();
        change(&world, &first.session.access_token, "secret-alice", "password-2").unwrap();
        let second = world
            .log_in_with(
                &client(),
                Credential::Username {
                    username: "alice".into(),
                    password: "password-2".into(),
                },
                "d",
                false,
            )
            .unwrap();
        change(&world, &second.session.access_token, "password-2", "password-3").unwrap();
        assert_eq!(
            reason(&world, &first.session.access_token),
            Some(InvalidReason::Revoked)
        );
        assert_eq!(reason(&world, &second.session.access_token), None);
    }

    #[test]
    fn a_password_changes_only_for_who_knows_the_old_one() {
        let world = World::new().unwrap();
        let login = world.register("alice").unwrap();
        let token = &login.session.access_token;
        assert_eq!(code(change(&world, token, "wrong", "another")), CREDENTIAL_INVALID);
        assert_eq!(code(change(&world, token, "secret-alice", "short")), FIELD_INVALID);
        assert_eq!(code(change(&world, "junk", "secret-alice", "another")), SESSION_INVALID);
        let guest = world.register_guest().unwrap();
        assert_eq!(
            code(change(&world, &guest.session.access_token, "none at all", "another")),
            CREDENTIAL_INVALID
        );
        ban(
            &world,
            Subject::Account {
                account_id: login.account_id,
            },
            Action::Login,
        );
        assert_eq!(
            code(change(&world, token, "secret-alice", "another")),
            ACCOUNT_RESTRICTED
        );
    }

    #[test]
    fn a_repeated_change_is_answered_although_the_old_password_is_gone() {
        let world = World::new().unwrap();
        let login = world.register("alice").unwrap();
        let call = keyed(client(), "k", "change");
        let run = || {
            block_on(world.platform.account_change_password(
                &call,
                &login.session.access_token,
                "secret-alice",
                "another",
            ))
        };
        let first = run().unwrap();
        world.clock.advance(1_000);
        assert_eq!(run().unwrap(), first);
    }
}

mod binding {
    use super::*;

    fn bind(world: &World, token: &str, credential: Credential) -> Result<OwnAccount, Error> {
        block_on(world.platform.identity_bind(&client(), token, credential))
    }

    #[test]
    fn a_guest_takes_a_name_and_stays_who_they_are() {
        let world = World::new().unwrap();
        let guest = world.register_guest().unwrap();
        let own = bind(&world, &guest.session.access_token, credential("Alice")).unwrap();
        assert_eq!(
            (own.username.as_deref(), own.identities.as_slice()),
            (Some("Alice"), [IdentityKind::Username, IdentityKind::Guest].as_slice())
        );
        assert_eq!(reason(&world, &guest.session.access_token), None);
        let by_name = world.log_in_with(&client(), credential("Alice"), "d", false).unwrap();
        let by_secret = world
            .log_in_with(
                &client(),
                Credential::Guest {
                    guest_secret: guest.guest_secret.clone(),
                },
                "d",
                false,
            )
            .unwrap();
        assert_eq!(
            (by_name.account_id, by_name.player_id),
            (guest.account_id, guest.player_id)
        );
        assert_eq!(by_secret.account_id, guest.account_id);
        assert_eq!(by_secret.username.as_deref(), Some("Alice"));
    }

    #[test]
    fn taken_names_second_names_and_other_credentials_are_refused() {
        let world = World::new().unwrap();
        let alice = world.register("alice").unwrap();
        let guest = world.register_guest().unwrap();
        let token = &guest.session.access_token;
        assert_eq!(code(bind(&world, token, credential("alice"))), IDENTITY_EXISTS);
        assert_eq!(
            code(bind(&world, &alice.session.access_token, credential("alicia"))),
            IDENTITY_EXISTS
        );
        let error = bind(&world, token, Credential::Guest { guest_secret: None }).unwrap_err();
        assert_eq!(
            (error.code, error.params.get("kind")),
            (CREDENTIAL_UNSUPPORTED, Some(&crate::Param::Text("guest".into())))
        );
        assert_eq!(
            code(bind(
                &world,
                token,
                Credential::Username {
                    username: "bob".into(),
                    password: "short".into()
                }
            )),
            FIELD_INVALID
        );
        bind(&world, token, credential("bob")).unwrap();
        assert_eq!(code(bind(&world, token, credential("bobby"))), IDENTITY_EXISTS);
    }

    #[test]
    fn a_repeated_bind_answers_the_same() {
        let world = World::new().unwrap();
        let guest = world.register_guest().unwrap();
        let call = keyed(client(), "k", "bind");
        for _ in 0..2 {
            let own = block_on(
                world
                    .platform
                    .identity_bind(&call, &guest.session.access_token, credential("alice")),
            )
            .unwrap();
            assert_eq!(own.username.as_deref(), Some("alice"));
        }
    }
}

mod operators {
    use super::*;

    #[test]
    fn an_account_is_found_by_id_player_and_name() {
        let world = World::new().unwrap();
        let login = world.register("Alice").unwrap();
        let show = |account| block_on(world.platform.account_show(&operator(), account));
        for account in [
            AccountRef::Account(login.account_id),
            AccountRef::Player(world.game_id, login.player_id),
            AccountRef::Identity(RealmId(1), IdentityKind::Username, String::new(), "ALICE".into()),
        ] {
            let view = show(account).unwrap();
            assert_eq!(
                (
                    view.account_id,
                    view.status,
                    view.session_count,
                    view.password_recipe.as_str()
                ),
                (login.account_id, "active", 1, "argon2id")
            );
            assert_eq!((view.players.len(), view.players[0].player_id), (1, login.player_id));
            assert_eq!(view.identities[0].subject, "alice");
        }
        for unknown in [
            AccountRef::Account(AccountId(5)),
            AccountRef::Player(world.game_id, PlayerId(5)),
            AccountRef::Identity(RealmId(1), IdentityKind::Phone, String::new(), "not a phone".into()),
            AccountRef::Identity(RealmId(2), IdentityKind::Username, String::new(), "alice".into()),
        ] {
            assert_eq!(code(show(unknown)), ACCOUNT_UNKNOWN);
        }
    }

    #[test]
    fn restrictions_are_listed_newest_first_ended_ones_too() {
        let world = World::new().unwrap();
        let login = world.register("alice").unwrap();
        let first = ban(
            &world,
            Subject::Account {
                account_id: login.account_id,
            },
            Action::Login,
        );
        let second = ban(
            &world,
            Subject::Player {
                game_id: world.game_id,
                player_id: login.player_id,
            },
            Action::Pay,
        );
        world.clock.advance(1_000);
        let lifted = block_on(world.platform.account_lift(&operator(), first.restriction_id)).unwrap();
        assert_eq!(lifted.until_at, Some(START_AT + 1_000));
        let again = block_on(world.platform.account_lift(&operator(), first.restriction_id)).unwrap();
        assert_eq!(again.until_at, lifted.until_at);
        let view = block_on(
            world
                .platform
                .account_show(&operator(), AccountRef::Account(login.account_id)),
        )
        .unwrap();
        assert_eq!(
            view.restrictions.iter().map(|r| r.restriction_id).collect::<Vec<_>>(),
            [second.restriction_id, first.restriction_id]
        );
        assert_eq!(
            code(block_on(world.platform.account_lift(&operator(), 999))),
            RESTRICTION_UNKNOWN
        );
    }

    #[test]
    fn a_restriction_says_whom_what_and_why_within_limits() {
        let world = World::new().unwrap();
        let login = world.register("alice").unwrap();
        let good = || Restrict {
            subject: Subject::Account {
                account_id: login.account_id,
            },
            action: Action::Login,
            game_id: None,
            from_at: None,
            until_at: None,
            reason: "a.b_1".into(),
            message: None,
            ticket: None,
        };
        let restrict = |command| block_on(world.platform.account_restrict(&operator(), command));
        for bad in [
            Restrict {
                reason: String::new(),
                ..good()
            },
            Restrict {
                reason: "Bad Reason".into(),
                ..good()
            },
            Restrict {
                reason: "x".repeat(65),
                ..good()
            },
            Restrict {
                message: Some("x".repeat(513)),
                ..good()
            },
            Restrict {
                ticket: Some("x".repeat(129)),
                ..good()
            },
            Restrict {
                from_at: Some(5),
                until_at: Some(5),
                ..good()
            },
            Restrict {
                subject: Subject::Device {
                    device_id: "xyz".into(),
                },
                ..good()
            },
            Restrict {
                subject: Subject::IpRange {
                    range: "10.0.0.0/33".into(),
                },
                ..good()
            },
        ] {
            assert_eq!(code(restrict(bad)), FIELD_INVALID);
        }
        assert_eq!(
            code(restrict(Restrict {
                game_id: Some(GameId(99)),
                ..good()
            })),
            GAME_UNKNOWN
        );
        assert_eq!(
            code(restrict(Restrict {
                subject: Subject::Account {
                    account_id: AccountId(5)
                },
                ..good()
            })),
            ACCOUNT_UNKNOWN
        );
        assert_eq!(restrict(good()).unwrap().from_at, START_AT);
        assert_eq!(world.platform.counters().restrictions, 1);
    }

    #[test]
    fn a_scoped_restriction_holds_in_its_game_only() {
        let world = World::new().unwrap();
        let login = world.register("alice").unwrap();
        let other = block_on(world.platform.game_create(
            &operator(),
            RealmId(1),
            "Other",
            crate::game::GameChange::default(),
        ))
        .unwrap();
        let command = Restrict {
            subject: Subject::Account {
                account_id: login.account_id,
            },
            action: Action::Login,
            game_id: Some(other.game_id),
            from_at: None,
            until_at: None,
            reason: "x".into(),
            message: None,
            ticket: None,
        };
        block_on(world.platform.account_restrict(&operator(), command)).unwrap();
        world.log_in("alice").unwrap();
    }
}
