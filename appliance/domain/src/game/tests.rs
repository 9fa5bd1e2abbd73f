//! Realms, games and packages: limits, uniqueness, and that a change is seen at once.

use std::collections::BTreeMap;

use super::*;
use crate::codes::*;
use crate::testing::{World, block_on, operator};
use crate::{Code, Error};

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> Code {
    result.unwrap_err().code
}

#[test]
fn realm_1_is_there_from_the_first_start() {
    let world = World::new().unwrap();
    let realms = block_on(world.platform.realm_list(&operator())).unwrap();
    assert_eq!(
        (
            realms.len(),
            realms[0].realm_id,
            realms[0].name.as_str(),
            realms[0].guests_allowed
        ),
        (1, RealmId(1), "default", true)
    );
}

#[test]
fn realm_names_are_unique_and_bounded() {
    let world = World::new().unwrap();
    let create = |name: &str| block_on(world.platform.realm_create(&operator(), name, true));
    assert_eq!(create(" second ").unwrap().name, "second");
    assert_eq!(code(create("second")), REALM_EXISTS);
    assert_eq!(code(create("")), FIELD_INVALID);
    assert_eq!(code(create(&"x".repeat(65))), FIELD_INVALID);
    assert!(
        !block_on(world.platform.realm_update(&operator(), RealmId(2), false))
            .unwrap()
            .guests_allowed
    );
    assert_eq!(
        code(block_on(world.platform.realm_update(&operator(), RealmId(3), false))),
        REALM_UNKNOWN
    );
}

#[test]
fn a_game_begins_with_the_defaults_and_changes_what_is_named() {
    let world = World::new().unwrap();
    let game = block_on(world.platform.game_show(&operator(), world.game_id)).unwrap();
    assert_eq!(game.settings, GameSettings::default());
    assert_eq!(
        (
            game.settings.access_token_ms,
            game.settings.refresh_token_ms,
            game.settings.refresh_grace_ms
        ),
        (86_400_000, 7_776_000_000, 30_000)
    );
    let change = GameChange {
        device_limit: Some(Some(3)),
        refresh_grace_ms: Some(0),
        unknown_policy: Some(UnknownPolicy::Hold),
        unknown_hold_ms: Some(10_000),
        mac_only: Some(true),
        reconnect_spread_ms: Some(600_000),
        remember_passwords: Some(false),
        challenges: Some(ChallengePolicy::Always),
        ..GameChange::default()
    };
    let changed = block_on(world.platform.game_update(&operator(), world.game_id, change)).unwrap();
    assert_eq!(
        changed.settings,
        GameSettings {
            device_limit: Some(3),
            refresh_grace_ms: 0,
            unknown_policy: UnknownPolicy::Hold,
            unknown_hold_ms: 10_000,
            mac_only: true,
            reconnect_spread_ms: 600_000,
            remember_passwords: false,
            challenges: ChallengePolicy::Always,
            ..GameSettings::default()
        }
    );
    let change = GameChange {
        device_limit: Some(None),
        ..GameChange::default()
    };
    assert_eq!(
        block_on(world.platform.game_update(&operator(), world.game_id, change))
            .unwrap()
            .settings
            .device_limit,
        None
    );
    assert_eq!(
        block_on(world.platform.game_show(&operator(), world.game_id))
            .unwrap()
            .settings
            .refresh_grace_ms,
        0
    );
}

#[test]
fn settings_have_limits() {
    let world = World::new().unwrap();
    let none = GameChange::default;
    for bad in [
        GameChange {
            access_token_ms: Some(59_999),
            ..none()
        },
        GameChange {
            access_token_ms: Some(7 * 86_400_000 + 1),
            ..none()
        },
        GameChange {
            refresh_token_ms: Some(3_599_999),
            ..none()
        },
        GameChange {
            refresh_token_ms: Some(400 * 86_400_000 + 1),
            ..none()
        },
        GameChange {
            refresh_grace_ms: Some(300_001),
            ..none()
        },
        GameChange {
            device_limit: Some(Some(0)),
            ..none()
        },
        GameChange {
            device_limit: Some(Some(1_001)),
            ..none()
        },
        GameChange {
            unknown_hold_ms: Some(10_001),
            ..none()
        },
        GameChange {
            reconnect_spread_ms: Some(600_001),
            ..none()
        },
        GameChange {
            cors_origins: Some(vec!["example.com".into()]),
            ..none()
        },
        GameChange {
            cors_origins: Some(vec!["https://a.example/path".into()]),
            ..none()
        },
        GameChange {
            cors_origins: Some(vec!["https://a.example".into(); 33]),
            ..none()
        },
    ] {
        assert_eq!(
            code(block_on(world.platform.game_update(&operator(), world.game_id, bad))),
            FIELD_INVALID
        );
    }
    assert_eq!(
        block_on(world.platform.game_show(&operator(), world.game_id))
            .unwrap()
            .settings,
        GameSettings::default()
    );
}

#[test]
fn game_names_are_unique_in_their_realm() {
    let world = World::new().unwrap();
    let create = |realm, name: &str| {
        block_on(
            world
                .platform
                .game_create(&operator(), RealmId(realm), name, GameChange::default()),
        )
    };
    assert_eq!(code(create(1, "Harbour")), GAME_EXISTS);
    assert_eq!(code(create(9, "Harbour")), REALM_UNKNOWN);
    block_on(world.platform.realm_create(&operator(), "second", true)).unwrap();
    create(2, "Harbour").unwrap();
    assert_eq!(block_on(world.platform.game_list(&operator())).unwrap().len(), 2);
    assert_eq!(
        code(block_on(world.platform.game_update(
            &operator(),
            GameId(99),
            GameChange::default()
        ))),
        GAME_UNKNOWN
    );
    assert_eq!(
        code(block_on(world.platform.game_show(&operator(), GameId(99)))),
        GAME_UNKNOWN
    );
}

#[test]
fn origins_of_games_are_allowed_at_once() {
    let world = World::new().unwrap();
    assert!(!world.platform.origin_allowed("https://play.example"));
    world
        .set_game(GameChange {
            cors_origins: Some(vec!["https://play.example".into()]),
            ..GameChange::default()
        })
        .unwrap();
    assert!(world.platform.origin_allowed("https://play.example"));
    assert!(!world.platform.origin_allowed("https://play.example:8443"));
}

#[test]
fn packages_show_names_of_channel_parameters_only() {
    let world = World::new().unwrap();
    let package = PackageCreate {
        channel_params: BTreeMap::from([("app_key".into(), "very secret".into())]),
        ..crate::testing::package(world.game_id)
    };
    let made = block_on(world.platform.package_create(&operator(), package)).unwrap();
    assert_eq!(made.channel_params, ["app_key"]);
    let listed = block_on(world.platform.package_list(&operator(), world.game_id)).unwrap();
    assert_eq!(listed.len(), 2);
    assert_eq!(listed[1], made);
    assert!(!format!("{listed:?}").contains("very secret"));
    assert_eq!(
        code(block_on(world.platform.package_list(&operator(), GameId(99)))),
        GAME_UNKNOWN
    );
}

#[test]
fn packages_have_limits() {
    let world = World::new().unwrap();
    let good = || crate::testing::package(world.game_id);
    let create = |package| block_on(world.platform.package_create(&operator(), package));
    for bad in [
        PackageCreate {
            name: String::new(),
            ..good()
        },
        PackageCreate {
            platform: "symbian".into(),
            ..good()
        },
        PackageCreate {
            channel_id: "x".repeat(129),
            ..good()
        },
        PackageCreate {
            bundle_id: "a\nb".into(),
            ..good()
        },
        PackageCreate {
            channel_params: BTreeMap::from([("k".into(), "x".repeat(4_097))]),
            ..good()
        },
        PackageCreate {
            channel_params: (0..65).map(|n| (format!("k{n}"), String::new())).collect(),
            ..good()
        },
        PackageCreate {
            channel_params: (0..20).map(|n| (format!("k{n}"), "x".repeat(4_096))).collect(),
            ..good()
        },
    ] {
        assert_eq!(code(create(bad)), FIELD_INVALID);
    }
    assert_eq!(
        code(create(PackageCreate {
            game_id: GameId(99),
            ..good()
        })),
        GAME_UNKNOWN
    );
    assert_eq!(create(good()).unwrap().channel_id, "taptap");
}
