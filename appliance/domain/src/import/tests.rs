//! Taking over, twice, interrupted, with bad lines; logging in with old passwords; the way back.

use proptest::prelude::*;

use super::*;
use crate::Error;
use crate::account::{AccountRef, AccountView};
use crate::codes::*;
use crate::identity::IdentityKind;
use crate::ids::{AccountId, PlayerId};
use crate::session::{Credential, LoggedIn};
use crate::testing::{World, block_on, client, operator};
use crate::verify::Verified;
use crate::{Mirrors, Platform};

const MD5_OF_123456: &str = "e10adc3949ba59abbe56e057f20f883e";

fn begin() -> ImportBegin {
    ImportBegin {
        file_digest: "ab".repeat(32),
        realm_id: RealmId(1),
        format: ImportFormat::Ndjson,
        csv_header: None,
        password_recipe: Some("md5(password)".into()),
        pepper: None,
        columns: Vec::new(),
        keep_old_hashes: false,
        uid_is_player_id: true,
        dry_run: false,
    }
}

fn file(name: &str) -> ImportBegin {
    ImportBegin {
        file_digest: blake3::hash(name.as_bytes()).to_string(),
        ..begin()
    }
}

fn import_as(world: &World, command: ImportBegin, text: &str) -> Result<(ImportProgress, Vec<BadLine>), Error> {
    let started = block_on(world.platform.import_begin(&operator(), command))?;
    let rest = &text[started.offset_bytes as usize..];
    block_on(world.platform.import_chunk(
        &operator(),
        &started.import_id,
        started.offset_bytes,
        rest.as_bytes().to_vec(),
    ))
}

fn import(world: &World, name: &str, text: &str) -> (ImportProgress, Vec<BadLine>) {
    import_as(world, file(name), text).unwrap()
}

fn show(world: &World, id: u64) -> AccountView {
    block_on(
        world
            .platform
            .account_show(&operator(), AccountRef::Account(AccountId(id))),
    )
    .unwrap()
}

fn log_in(world: &World, username: &str, password: &str) -> Result<LoggedIn, Error> {
    world.log_in_with(
        &client(),
        Credential::Username {
            username: username.into(),
            password: password.into(),
        },
        "d",
        false,
    )
}

fn counts(progress: &ImportProgress) -> (u64, u64, u64, u64) {
    (progress.created, progress.updated, progress.unchanged, progress.refused)
}

#[test]
fn an_account_comes_over_with_everything_it_had() {
    let world = World::new().unwrap();
    let text = format!(
        r#"{{"uid":42,"username":"Alice","phone":"13800138000","email":"A@b.cn","password":"{MD5_OF_123456}","wechat_openid":"o1","wechat_appid":"wx1","channel":"taptap","channel_uid":"t9","register_at":1600000000,"register_ip":"192.0.2.9","device":"dev","agent_id":"a1","site_id":"s1","package_id":3,"vip_level":7,"empty":"","nothing":null,"changed_at":1650000000}}"#
    );
    let (progress, bad) = import(&world, "f", &format!("{text}\n"));
    assert_eq!(bad, []);
    assert_eq!(
        (counts(&progress), progress.lines, progress.offset_bytes),
        ((1, 0, 0, 0), 1, text.len() as u64 + 1)
    );
    let account = show(&world, 42);
    assert_eq!(
        (account.username.as_deref(), account.created_at, account.changed_at),
        (Some("Alice"), 1_600_000_000_000, 1_650_000_000_000)
    );
    let kinds: Vec<_> = account.identities.iter().map(|identity| identity.kind).collect();
    assert_eq!(
        kinds,
        [
            IdentityKind::Username,
            IdentityKind::Phone,
            IdentityKind::Email,
            IdentityKind::WechatOpenid,
            IdentityKind::Channel
        ]
    );
    let phone = &account.identities[1];
    assert_eq!(phone.subject, "+86…00");
    assert_eq!(
        (
            account.identities[3].issuer.as_str(),
            account.identities[4].issuer.as_str()
        ),
        ("wx1", "taptap")
    );
    for (name, value) in [
        ("ip", "192.0.2.9"),
        ("device", "dev"),
        ("agent_id", "a1"),
        ("site_id", "s1"),
        ("package_id", "3"),
        ("vip_level", "7"),
        ("imported_uid", "42"),
    ] {
        assert_eq!(account.origin.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(!account.origin.contains_key("empty") && !account.origin.contains_key("nothing"));
    assert_eq!(account.password_recipe, "md5(password)");
}

#[test]
fn the_player_logs_in_with_the_old_password_and_keeps_the_uid() {
    let world = World::new().unwrap();
    import(
        &world,
        "f",
        &format!(r#"{{"uid":42,"username":"alice","password":"{MD5_OF_123456}"}}"#),
    );
    assert_eq!(log_in(&world, "alice", "1234567").unwrap_err().code, CREDENTIAL_INVALID);
    let login = log_in(&world, "ALICE", "123456").unwrap();
    assert_eq!(
        (
            login.account_id,
            login.player_id,
            login.is_new_account,
            login.is_new_player
        ),
        (AccountId(42), PlayerId(42), false, true)
    );
    assert_eq!(show(&world, 42).password_recipe, "argon2id");
    assert_eq!(world.platform.counters().rehashed, 1);
    log_in(&world, "alice", "123456").unwrap();
    assert_eq!(world.platform.counters().rehashed, 1);
}

#[test]
fn while_the_pool_is_busy_the_old_hash_stays_for_a_later_login() {
    let world = World::new().unwrap();
    import(
        &world,
        "f",
        &format!(r#"{{"uid":42,"username":"alice","password":"{MD5_OF_123456}"}}"#),
    );
    world.pool.busy.store(true, std::sync::atomic::Ordering::SeqCst);
    log_in(&world, "alice", "123456").unwrap();
    assert_eq!(show(&world, 42).password_recipe, "md5(password)");
    world.pool.busy.store(false, std::sync::atomic::Ordering::SeqCst);
    log_in(&world, "alice", "123456").unwrap();
    assert_eq!(show(&world, 42).password_recipe, "argon2id");
}

#[test]
fn a_verified_password_is_remembered_over_its_re_hash_but_not_over_a_change_by_an_update() {
    const MD5_OF_SECRET: &str = "5ebe2294ecd0e0f08eab7690d2a6ee69";
    let jobs = |world: &World| world.pool.jobs.load(std::sync::atomic::Ordering::SeqCst);
    let world = World::new().unwrap();
    let line = |hash: &str, changed_at: u64| {
        format!(r#"{{"uid":42,"username":"alice","password":"{hash}","changed_at":{changed_at}}}"#)
    };
    import(&world, "f", &line(MD5_OF_123456, 1_650_000_000));
    log_in(&world, "alice", "123456").unwrap();
    assert_eq!(
        (show(&world, 42).password_recipe.as_str(), jobs(&world)),
        ("argon2id", 2)
    );
    log_in(&world, "alice", "123456").unwrap();
    assert_eq!(jobs(&world), 2, "the re-hash is the same password");
    import(&world, "g", &line(MD5_OF_SECRET, 1_650_000_001));
    assert_eq!(log_in(&world, "alice", "123456").unwrap_err().code, CREDENTIAL_INVALID);
    log_in(&world, "alice", "secret").unwrap();
    assert_eq!(log_in(&world, "alice", "123456").unwrap_err().code, CREDENTIAL_INVALID);
}

#[test]
fn old_hashes_are_kept_when_asked_until_finalize() {
    let world = World::new().unwrap();
    let command = ImportBegin {
        keep_old_hashes: true,
        ..file("f")
    };
    let (progress, _) = import_as(
        &world,
        command,
        &format!(r#"{{"uid":42,"username":"alice","password":"{MD5_OF_123456}","salt":"x"}}"#),
    )
    .unwrap();
    log_in(&world, "alice", "123456").unwrap();
    let exported = || {
        block_on(world.platform.account_export(&operator(), RealmId(1), None, 10))
            .unwrap()
            .0
            .join("\n")
    };
    assert!(exported().contains(MD5_OF_123456), "{}", exported());
    let done = block_on(world.platform.import_finalize(&operator(), &progress.import_id)).unwrap();
    assert!(done.finalized_at.is_some());
    assert!(!exported().contains(MD5_OF_123456) && exported().contains("$argon2id$"));
    log_in(&world, "alice", "123456").unwrap();
    assert_eq!(
        block_on(world.platform.import_finalize(&operator(), &progress.import_id)).unwrap(),
        done
    );
}

#[test]
fn a_pepper_lives_as_long_as_a_password_needs_it() {
    let world = World::new().unwrap();
    let command = ImportBegin {
        pepper: Some("456".into()),
        password_recipe: Some("md5(password+pepper)".into()),
        ..file("f")
    };
    let (progress, bad) = import_as(
        &world,
        command.clone(),
        &format!("{{\"uid\":42,\"username\":\"alice\",\"password\":\"{MD5_OF_123456}\"}}\n"),
    )
    .unwrap();
    assert_eq!(bad, []);
    block_on(world.platform.import_finalize(&operator(), &progress.import_id)).unwrap();
    log_in(&world, "alice", "123").unwrap();
    let without = ImportBegin {
        pepper: None,
        ..command
    };
    let (_, bad) = import_as(
        &world,
        without,
        &format!("{{\"uid\":43,\"username\":\"bob\",\"password\":\"{MD5_OF_123456}\"}}\n"),
    )
    .unwrap();
    assert!(bad[0].reason.contains("pepper"), "{bad:?}");
}

#[test]
fn newest_changed_at_wins() {
    let world = World::new().unwrap();
    let line = |name: &str, at: u64| format!(r#"{{"uid":42,"username":"{name}","changed_at":{at}}}"#);
    assert_eq!(
        counts(&import(&world, "1", &line("first", 1_000_000_000)).0),
        (1, 0, 0, 0)
    );
    assert_eq!(
        counts(&import(&world, "2", &line("older", 999_999_999)).0),
        (0, 0, 1, 0)
    );
    assert_eq!(
        counts(&import(&world, "3", &line("equal", 1_000_000_000)).0),
        (0, 0, 1, 0)
    );
    assert_eq!(
        counts(&import(&world, "4", &line("newer", 1_000_000_001)).0),
        (0, 1, 0, 0)
    );
    let account = show(&world, 42);
    assert_eq!(
        (account.username.as_deref(), account.identities.len()),
        (Some("newer"), 1)
    );
    // The old name is free again.
    assert_eq!(
        counts(&import(&world, "5", r#"{"uid":43,"username":"first"}"#).0),
        (1, 0, 0, 0)
    );
}

#[test]
fn what_was_changed_here_is_newer_than_an_older_line() {
    let world = World::new().unwrap();
    import(
        &world,
        "1",
        &format!(r#"{{"uid":42,"username":"alice","password":"{MD5_OF_123456}","changed_at":1600000000}}"#),
    );
    let login = log_in(&world, "alice", "123456").unwrap();
    block_on(
        world
            .platform
            .account_change_password(&client(), &login.session.access_token, "123456", "changed-here"),
    )
    .unwrap();
    let (progress, _) = import(
        &world,
        "2",
        &format!(r#"{{"uid":42,"username":"alice","password":"{MD5_OF_123456}","changed_at":1650000000}}"#),
    );
    assert_eq!(counts(&progress), (0, 0, 1, 0));
    log_in(&world, "alice", "changed-here").unwrap();
}

#[test]
fn lines_without_changed_at_compare_by_content() {
    let world = World::new().unwrap();
    assert_eq!(
        counts(&import(&world, "1", r#"{"uid":42,"username":"alice"}"#).0),
        (1, 0, 0, 0)
    );
    assert_eq!(
        counts(&import(&world, "2", r#"{"uid":42,"username":"alice"}"#).0),
        (0, 0, 1, 0)
    );
    assert_eq!(
        counts(&import(&world, "3", r#"{"uid":42,"username":"alicia"}"#).0),
        (0, 1, 0, 0)
    );
}

#[test]
fn bans_come_over_and_are_lifted_by_a_newer_line() {
    let world = World::new().unwrap();
    let line = |rest: &str, at: u64| {
        format!(r#"{{"uid":42,"username":"alice","password":"{MD5_OF_123456}","changed_at":{at}{rest}}}"#)
    };
    import(
        &world,
        "1",
        &line(
            r#","banned":1,"banned_until":"2033-01-01 00:00:00","ban_reason":"cheating""#,
            1_600_000_000,
        ),
    );
    let error = log_in(&world, "alice", "123456").unwrap_err();
    assert_eq!(
        (error.code, error.params.get("reason")),
        (ACCOUNT_RESTRICTED, Some(&crate::Param::Text("cheating".into())))
    );
    assert_eq!(
        error.params.get("until_at"),
        Some(&crate::Param::Number(1_988_150_400_000))
    );
    import(
        &world,
        "2",
        &line(
            r#","banned":1,"banned_until":"2033-01-01 00:00:00","ban_reason":"cheating""#,
            1_600_000_001,
        ),
    );
    assert_eq!(show(&world, 42).restrictions.len(), 1, "the same ban again is one ban");
    import(&world, "3", &line(r#","banned":0"#, 1_600_000_002));
    log_in(&world, "alice", "123456").unwrap();
}

#[test]
fn a_reason_in_the_old_platform_s_words_reaches_the_player_and_goes_back() {
    let world = World::new().unwrap();
    import(
        &world,
        "f",
        &format!(
            r#"{{"uid":42,"username":"alice","password":"{MD5_OF_123456}","status":"banned","ban_reason":"使用外挂"}}"#
        ),
    );
    let error = log_in(&world, "alice", "123456").unwrap_err();
    assert_eq!(
        (error.detail.as_str(), error.params.get("reason")),
        ("使用外挂", Some(&crate::Param::Text("imported".into())))
    );
    let (lines, _) = block_on(world.platform.account_export(&operator(), RealmId(1), None, 10)).unwrap();
    assert!(lines[0].contains(r#""ban_reason":"使用外挂""#), "{}", lines[0]);
}

#[test]
fn a_deleted_account_comes_over_as_deleted() {
    let world = World::new().unwrap();
    import(
        &world,
        "f",
        &format!(r#"{{"uid":42,"username":"alice","password":"{MD5_OF_123456}","status":"deleted"}}"#),
    );
    assert_eq!(log_in(&world, "alice", "123456").unwrap_err().code, ACCOUNT_DELETED);
    assert_eq!(show(&world, 42).status, "deleted");
}

#[test]
fn deleting_an_account_that_plays_denies_its_tokens() {
    let world = World::new().unwrap();
    let line = |status: &str, at: u64| {
        format!(r#"{{"uid":42,"username":"alice","password":"{MD5_OF_123456}","status":"{status}","changed_at":{at}}}"#)
    };
    import(&world, "1", &line("active", 1_600_000_000));
    let login = log_in(&world, "alice", "123456").unwrap();
    let verify = || {
        world
            .platform
            .session_verify(&world.server(), &login.session.access_token, None)
    };
    let refresh = || block_on(world.platform.session_refresh(&client(), &login.session.refresh_token));
    import(&world, "2", &line("deleted", 1_600_000_001));
    let denied = verify();
    assert!(
        matches!(denied, Verified::Denied { code, .. } if code == ACCOUNT_DELETED.name),
        "{denied:?}"
    );
    assert_eq!(refresh().unwrap_err().code, ACCOUNT_DELETED);
    // Deleted by mistake: the session goes on.
    import(&world, "3", &line("active", 1_600_000_002));
    assert!(matches!(verify(), Verified::Valid(_)));
    refresh().unwrap();
    // A restart finds the deletion again.
    import(&world, "4", &line("deleted", 1_600_000_003));
    let again = Platform::open(world.options(Mirrors::default())).unwrap();
    let answer = again.session_verify(&world.server(), &login.session.access_token, None);
    assert!(matches!(answer, Verified::Denied { .. }), "{answer:?}");
}

#[test]
fn every_recipe_of_the_old_platform_logs_in_once_and_is_renewed() {
    let world = World::new().unwrap();
    let hashes = [
        ("md5(password)", "e10adc3949ba59abbe56e057f20f883e", ""),
        ("md5(md5(password))", "14e1b600b1fd579f47433b88e8d85291", ""),
        ("sha1(password)", "7c4a8d09ca3762af61e59520943dc26494f8941b", ""),
        (
            "sha256(password)",
            "8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92",
            "",
        ),
    ];
    for ((recipe, hash, salt), uid) in hashes.into_iter().zip(100..) {
        import(
            &world,
            recipe,
            &format!(
                r#"{{"uid":{uid},"username":"player{uid}","password":"{hash}","salt":"{salt}","password_recipe":"{recipe}"}}"#
            ),
        );
        assert_eq!(show(&world, uid).password_recipe, recipe);
        log_in(&world, &format!("player{uid}"), "123456").unwrap();
        assert_eq!(show(&world, uid).password_recipe, "argon2id", "{recipe}");
        log_in(&world, &format!("player{uid}"), "123456").unwrap();
    }
    assert_eq!(world.platform.counters().rehashed, 4);
}

#[test]
fn names_that_break_todays_rule_stay_as_aliases() {
    let world = World::new().unwrap();
    import(
        &world,
        "f",
        &format!(r#"{{"uid":42,"username":"Al","password":"{MD5_OF_123456}"}}"#),
    );
    assert_eq!(show(&world, 42).identities[0].kind, IdentityKind::Alias);
    assert_eq!(log_in(&world, "AL", "123456").unwrap().account_id, AccountId(42));
    let by_name = AccountRef::Identity(RealmId(1), IdentityKind::Username, String::new(), "al".into());
    assert_eq!(
        block_on(world.platform.account_show(&operator(), by_name))
            .unwrap()
            .account_id,
        AccountId(42)
    );
}

#[test]
fn a_name_of_somebody_else_refuses_its_line_and_nothing_else() {
    let world = World::new().unwrap();
    let native = world.register("alice").unwrap();
    let text = "{\"uid\":42,\"username\":\"bob\"}\n{\"uid\":43,\"username\":\"Alice\"}\n{\"uid\":44,\"username\":\"bob\"}\n{\"uid\":45,\"username\":\"carol\"}\n";
    let (progress, bad) = import(&world, "f", text);
    assert_eq!(counts(&progress), (2, 0, 0, 2));
    assert_eq!(
        bad,
        [
            BadLine {
                line: 2,
                reason: format!("username is taken by account {}", native.account_id)
            },
            BadLine {
                line: 3,
                reason: "username is taken by account 42".into()
            }
        ]
    );
    assert_eq!(
        block_on(
            world
                .platform
                .account_show(&operator(), AccountRef::Account(AccountId(44)))
        )
        .unwrap_err()
        .code,
        ACCOUNT_UNKNOWN
    );
}

#[test]
fn a_uid_that_is_somebody_elses_id_gets_another_and_is_found_again() {
    let world = World::new().unwrap();
    let native = world.register("alice").unwrap();
    let line = format!(
        r#"{{"uid":{},"username":"bob","password":"{MD5_OF_123456}","changed_at":1600000000}}"#,
        native.account_id
    );
    assert_eq!(counts(&import(&world, "1", &line).0), (1, 0, 0, 0));
    let login = log_in(&world, "bob", "123456").unwrap();
    assert_ne!(login.account_id, native.account_id);
    assert_eq!(counts(&import(&world, "2", &line).0), (0, 0, 1, 0));
    assert_eq!(
        counts(&import(&world, "3", &line.replace("1600000000", "1600000001")).0),
        (0, 1, 0, 0)
    );
}

/// The id drawn for a taken uid overwrites nobody, of the batch or not.
#[test]
fn ids_drawn_inside_a_batch_overwrite_nobody() {
    let world = World::new().unwrap();
    let taken = world.register("native").unwrap().account_id.0;
    let mut uids = vec![taken + 10, taken, taken + 11];
    uids.extend(taken + 3..taken + 30);
    uids.push(taken + 10);
    let text: String = uids
        .iter()
        .map(|uid| format!("{{\"uid\":{uid},\"apple\":\"a{uid}\",\"changed_at\":1600000000}}\n"))
        .collect();
    let (progress, bad) = import(&world, "f", &text);
    // Two of the range came before it, one after it.
    assert_eq!((counts(&progress), bad.len()), ((28, 0, 3, 0), 0));
    let rows = world
        .store
        .read(|view| view.scan(&crate::tables::account::ACCOUNTS, &seawall_storage::Span::all(), 100))
        .unwrap()
        .rows;
    assert_eq!(rows.len(), 29);
    // Whoever found the own uid drawn away got another id, and is found by the uid all the same.
    let found: std::collections::BTreeSet<u64> = rows
        .iter()
        .filter_map(|(_, row)| Some(row.imported.as_ref()?.uid))
        .collect();
    assert_eq!(found, uids.iter().copied().collect());
    assert_eq!(counts(&import(&world, "g", &text).0), (0, 0, 31, 0));
    assert!(world.register("another").unwrap().account_id.0 > taken + 30);
}

#[test]
fn new_ids_stay_above_imported_ones() {
    let world = World::new().unwrap();
    import(&world, "f", r#"{"uid":5000000000,"username":"alice"}"#);
    assert!(world.register("bob").unwrap().account_id.0 > 5_000_000_000);
}

#[test]
fn without_uid_is_player_id_players_get_new_ids() {
    let world = World::new().unwrap();
    import_as(
        &world,
        ImportBegin {
            uid_is_player_id: false,
            ..file("f")
        },
        &format!(r#"{{"uid":42,"username":"alice","password":"{MD5_OF_123456}"}}"#),
    )
    .unwrap();
    let login = log_in(&world, "alice", "123456").unwrap();
    assert_eq!(login.account_id, AccountId(42));
    assert_ne!(login.player_id, PlayerId(42));
}

#[test]
fn csv_with_a_header_and_renamed_columns() {
    let world = World::new().unwrap();
    let command = ImportBegin {
        format: ImportFormat::Csv,
        csv_header: Some("id,name,pass,note\r\n".into()),
        columns: vec![
            ("id".into(), "uid".into()),
            ("name".into(), "username".into()),
            ("pass".into(), "password".into()),
        ],
        ..file("f")
    };
    let text =
        format!("42,\"O\"\"Neill, J\",{MD5_OF_123456},\r\n\r\n43,bob,\\N,hello\r\n44,carol\r\n45,\"open,x,y\r\n");
    let (progress, bad) = import_as(&world, command, &text).unwrap();
    assert_eq!((counts(&progress), progress.lines), ((2, 0, 0, 2), 5));
    assert_eq!(bad.iter().map(|bad| bad.line).collect::<Vec<_>>(), [5, 6]);
    assert_eq!(bad[1].reason, "a quoted field does not end on its line");
    assert_eq!(show(&world, 42).username.as_deref(), Some("O\"Neill, J"));
    let bob = show(&world, 43);
    assert_eq!(
        (bob.password_recipe.as_str(), bob.origin.get("note").map(String::as_str)),
        ("none", Some("hello"))
    );
}

#[test]
fn a_quoted_field_ends_on_its_line() {
    let header = line::read_header("uid,username\n").unwrap();
    assert_eq!(header, ["uid", "username"]);
    assert_eq!(line::read_csv(b"1,\"a,b\"", &header).unwrap()[1].1, "a,b");
    assert_eq!(
        line::read_csv(b"1,\"open", &header).unwrap_err(),
        "a quoted field does not end on its line"
    );
    assert_eq!(
        line::read_csv(b"1", &header).unwrap_err(),
        "line has 1 columns, the header has 2"
    );
    assert_eq!(line::read_csv(b"1,\xff", &header).unwrap_err(), "line is not UTF-8");
    for bad in ["", "a,,b", "a,a", "\"a"] {
        assert!(line::read_header(bad).is_err(), "{bad}");
    }
    assert_eq!(line::read_header("\u{feff}id\r\n").unwrap(), ["id"]);
}

#[test]
fn json_values_of_every_kind_become_text() {
    let fields = line::read_json(
        br#"{"a":1,"b":-2,"c":1.5,"d":true,"e":false,"f":null,"g":"","h":[1,{"x":2}],"i":{"y":null},"j":"\u00e9"}"#,
    )
    .unwrap();
    let told: Vec<(&str, &str)> = fields
        .iter()
        .map(|(name, value)| (name.as_ref(), value.as_ref()))
        .collect();
    assert_eq!(
        told,
        [
            ("a", "1"),
            ("b", "-2"),
            ("c", "1.5"),
            ("d", "1"),
            ("e", "0"),
            ("h", r#"[1,{"x":2}]"#),
            ("i", r#"{"y":null}"#),
            ("j", "é")
        ]
    );
    for (bad, why) in [
        (r#"{"a":null,"a":1}"#, "a key occurs twice"),
        (r#"{"a":1,"a":null}"#, "a key occurs twice"),
        (r#"{"a":1"#, "JSON is broken at column 6"),
        (r#"{"a":1} x"#, "something follows the JSON object"),
        ("7", "line is not a JSON object"),
    ] {
        assert_eq!(line::read_json(bad.as_bytes()).unwrap_err(), why, "{bad}");
    }
    let many: String = (0..129).map(|n| format!("\"k{n}\":1,")).collect();
    assert_eq!(
        line::read_json(format!("{{{}}}", many.trim_end_matches(',')).as_bytes()).unwrap_err(),
        "line has more than 128 fields"
    );
}

#[test]
fn bad_lines_are_told_by_number_without_their_values() {
    let world = World::new().unwrap();
    let secret = "hunter2-secret";
    let long = format!(r#"{{"uid":1,"note":"{}"}}"#, "x".repeat(2000));
    let huge = format!(r#"{{"uid":1,"note":"{}"}}"#, "x".repeat(70_000));
    let many: String = (0..33).map(|n| format!(r#","c{n}":"1""#)).collect();
    let lines = [
        "not json".to_owned(),
        "[1]".to_owned(),
        r#"{"uid":1}{"uid":2}"#.to_owned(),
        r#"{"uid":1,"uid":2}"#.to_owned(),
        r#"{"username":"nouid"}"#.to_owned(),
        r#"{"uid":0}"#.to_owned(),
        r#"{"uid":-5}"#.to_owned(),
        r#"{"uid":9007199254740993}"#.to_owned(),
        r#"{"uid":"1e3"}"#.to_owned(),
        format!(r#"{{"uid":1,"password":"{secret}"}}"#),
        format!(r#"{{"uid":1,"password":"{secret}","password_recipe":"rot13(password)"}}"#),
        r#"{"uid":1,"changed_at":"yesterday"}"#.to_owned(),
        r#"{"uid":1,"channel_uid":"x"}"#.to_owned(),
        long,
        huge,
        format!(r#"{{"uid":1{many}}}"#),
    ];
    let (progress, bad) = import(&world, "f", &(lines.join("\n") + "\n"));
    assert_eq!(counts(&progress), (0, 0, 0, lines.len() as u64));
    assert_eq!(
        bad.iter().map(|bad| bad.line).collect::<Vec<_>>(),
        (1..=lines.len() as u64).collect::<Vec<_>>()
    );
    assert!(
        bad.iter()
            .all(|bad| !bad.reason.contains(secret) && bad.reason.len() < 120),
        "{bad:?}"
    );
    let (_, bad) = import(&world, "utf8", "x");
    assert_eq!(bad.len(), 1);
    let started = block_on(world.platform.import_begin(&operator(), file("bytes"))).unwrap();
    let (_, bad) = block_on(world.platform.import_chunk(
        &operator(),
        &started.import_id,
        0,
        b"{\"uid\":1,\"username\":\"\xff\xfe\"}\n".to_vec(),
    ))
    .unwrap();
    assert_eq!(bad[0].reason, "line is not UTF-8");
}

#[test]
fn what_cannot_be_a_phone_is_kept_and_names_nobody() {
    let world = World::new().unwrap();
    import(
        &world,
        "f",
        "{\"uid\":42,\"phone\":\"0\"}\n{\"uid\":43,\"phone\":\"0\"}\n",
    );
    for uid in [42, 43] {
        let account = show(&world, uid);
        assert_eq!(
            (
                account.identities.len(),
                account.origin.get("phone").map(String::as_str)
            ),
            (0, Some("0"))
        );
    }
}

#[test]
fn a_chunk_must_continue_where_the_import_stands() {
    let world = World::new().unwrap();
    let started = block_on(world.platform.import_begin(&operator(), file("f"))).unwrap();
    let chunk = |offset, text: &str| {
        block_on(
            world
                .platform
                .import_chunk(&operator(), &started.import_id, offset, text.as_bytes().to_vec()),
        )
    };
    let error = chunk(5, "{\"uid\":1}\n").unwrap_err();
    assert_eq!(
        (error.code, error.params.get("offset_bytes")),
        (IMPORT_CONFLICT, Some(&crate::Param::Number(0)))
    );
    chunk(0, "{\"uid\":1}\n").unwrap();
    assert_eq!(chunk(0, "{\"uid\":1}\n").unwrap_err().code, IMPORT_CONFLICT);
    let again = block_on(world.platform.import_begin(&operator(), file("f"))).unwrap();
    assert_eq!(again.offset_bytes, 10);
    assert_eq!(chunk(10, "").unwrap().0.offset_bytes, 10);
    assert_eq!(chunk(9, "").unwrap_err().code, IMPORT_CONFLICT);
    let (progress, bad) = chunk(10, "\n\nbad\n").unwrap();
    assert_eq!((progress.lines, bad[0].line), (4, 4));
    assert_eq!(
        block_on(world.platform.import_chunk(&operator(), &"0".repeat(32), 0, Vec::new()))
            .unwrap_err()
            .code,
        IMPORT_UNKNOWN
    );
    assert_eq!(
        chunk(17, &"x".repeat(CHUNK_MAX_BYTES + 1)).unwrap_err().code,
        FIELD_INVALID
    );
}

#[test]
fn an_import_cannot_change_its_settings_under_way_and_starts_anew_after_finalize() {
    let world = World::new().unwrap();
    import(&world, "f", "{\"uid\":1}\n");
    let other = ImportBegin {
        uid_is_player_id: false,
        ..file("f")
    };
    assert_eq!(
        block_on(world.platform.import_begin(&operator(), other.clone()))
            .unwrap_err()
            .code,
        IMPORT_CONFLICT
    );
    let id = file("f").file_digest[..32].to_owned();
    block_on(world.platform.import_finalize(&operator(), &id)).unwrap();
    assert_eq!(
        block_on(world.platform.import_begin(&operator(), other))
            .unwrap()
            .offset_bytes,
        0
    );
}

#[test]
fn a_dry_run_writes_nothing_and_counts_the_same() {
    let world = World::new().unwrap();
    world.register("alice").unwrap();
    let text = "{\"uid\":42,\"username\":\"bob\"}\n{\"uid\":43,\"username\":\"alice\"}\nbad\n";
    let (dry, bad) = import_as(
        &world,
        ImportBegin {
            dry_run: true,
            ..file("f")
        },
        text,
    )
    .unwrap();
    assert_eq!((counts(&dry), bad.len()), ((1, 0, 0, 2), 2));
    assert_eq!(
        block_on(
            world
                .platform
                .account_show(&operator(), AccountRef::Account(AccountId(42)))
        )
        .unwrap_err()
        .code,
        ACCOUNT_UNKNOWN
    );
    let again = block_on(world.platform.import_begin(
        &operator(),
        ImportBegin {
            dry_run: true,
            ..file("f")
        },
    ))
    .unwrap();
    assert_eq!(again.offset_bytes, 0);
    assert_eq!(counts(&import(&world, "f", text).0), counts(&dry));
}

#[test]
fn settings_are_checked_at_the_beginning() {
    let world = World::new().unwrap();
    for bad in [
        ImportBegin {
            file_digest: "x".into(),
            ..begin()
        },
        ImportBegin {
            format: ImportFormat::Csv,
            ..begin()
        },
        ImportBegin {
            format: ImportFormat::Csv,
            csv_header: Some("a,a".into()),
            ..begin()
        },
        ImportBegin {
            password_recipe: Some("md5".into()),
            ..begin()
        },
        ImportBegin {
            pepper: Some("x".repeat(257)),
            ..begin()
        },
        ImportBegin {
            columns: vec![(String::new(), String::new()); 129],
            ..begin()
        },
    ] {
        assert_eq!(
            block_on(world.platform.import_begin(&operator(), bad))
                .unwrap_err()
                .code,
            FIELD_INVALID
        );
    }
    let elsewhere = ImportBegin {
        realm_id: RealmId(9),
        ..begin()
    };
    assert_eq!(
        block_on(world.platform.import_begin(&operator(), elsewhere))
            .unwrap_err()
            .code,
        REALM_UNKNOWN
    );
}

#[test]
fn export_gives_lines_that_import_takes_and_follows_changes() {
    let from = World::new().unwrap();
    let source = format!(
        "{{\"uid\":42,\"username\":\"Alice\",\"phone\":\"13800138000\",\"password\":\"{MD5_OF_123456}\",\"salt\":\"\",\"banned\":1,\"ban_reason\":\"cheating\",\"channel\":\"c1\",\"channel_uid\":\"u1\",\"agent_id\":\"a\",\"register_ip\":\"192.0.2.1\",\"register_at\":1500000000,\"changed_at\":1600000000}}\n{{\"uid\":43,\"username\":\"bob\"}}\n"
    );
    import(&from, "f", &source);
    from.register("carol").unwrap();
    let export = |cursor: Option<&str>, limit| {
        block_on(from.platform.account_export(&operator(), RealmId(1), cursor, limit)).unwrap()
    };
    let (first, cursor) = export(None, 2);
    let (second, cursor) = export(Some(&cursor), 2);
    assert_eq!((first.len(), second.len()), (2, 1));
    let (none, end) = export(Some(&cursor), 2);
    assert_eq!((none.len(), &end), (0, &cursor));

    let to = World::with_seed(2).unwrap();
    let (progress, bad) = import(&to, "back", &[first, second].concat().join("\n"));
    assert_eq!((counts(&progress), bad.len()), ((3, 0, 0, 0), 0), "{bad:?}");
    let (before, after) = (show(&from, 42), show(&to, 42));
    assert_eq!(
        (before.username, before.created_at, before.changed_at),
        (after.username, after.created_at, after.changed_at)
    );
    assert_eq!(before.identities.len(), after.identities.len());
    assert_eq!(after.restrictions.len(), 1);
    assert_eq!(
        (after.origin.get("ip"), after.origin.get("agent_id")),
        (before.origin.get("ip"), before.origin.get("agent_id"))
    );
    log_in(&to, "carol", "secret-carol").unwrap();

    log_in(&from, "carol", "secret-carol").unwrap();
    assert_eq!(export(Some(&cursor), 10).0.len(), 0, "a login is no change");
    let token = log_in(&from, "carol", "secret-carol").unwrap().session.access_token;
    block_on(
        from.platform
            .account_change_password(&client(), &token, "secret-carol", "another"),
    )
    .unwrap();
    let (changed, _) = export(Some(&cursor), 10);
    assert!(changed.len() == 1 && changed[0].contains("carol"), "{changed:?}");
}

#[test]
fn cursors_of_others_are_refused() {
    let world = World::new().unwrap();
    for bad in [
        "",
        "x",
        "ac1.",
        "ac1.2.0",
        "ac1.1.-1",
        "ac1.1.x",
        "ac1.1.99999999999999999999",
    ] {
        assert_eq!(
            block_on(world.platform.account_export(&operator(), RealmId(1), Some(bad), 10))
                .unwrap_err()
                .code,
            CURSOR_INVALID,
            "{bad}"
        );
    }
    assert_eq!(
        block_on(world.platform.account_export(&operator(), RealmId(1), None, 5_001))
            .unwrap_err()
            .code,
        FIELD_INVALID
    );
}

fn lines(count: u64) -> String {
    (1..=count).map(|uid| format!("{{\"uid\":{uid},\"username\":\"player{uid}\",\"password\":\"{MD5_OF_123456}\",\"phone\":\"+861{uid:010}\",\"changed_at\":1600000000}}\n")).collect()
}

#[test]
fn many_rows_go_in_several_transactions() {
    let world = World::new().unwrap();
    let text = lines(2_345);
    let (progress, bad) = import(&world, "f", &text);
    assert_eq!(
        (counts(&progress), progress.lines, progress.offset_bytes, bad.len()),
        ((2_345, 0, 0, 0), 2_345, text.len() as u64, 0)
    );
    assert_eq!(
        log_in(&world, "player2000", "123456").unwrap().account_id,
        AccountId(2_000)
    );
}

#[test]
fn lines_with_many_names_in_little_text_still_fit_their_transactions() {
    let world = World::new().unwrap();
    let line = |uid: u64, names: usize| {
        let names: Vec<String> = (0..names)
            .map(|n| format!(r#"{{"kind":"apple","issuer":"{n}","subject":"{uid}"}}"#))
            .collect();
        format!("{{\"uid\":{uid},\"identities\":[{}]}}\n", names.join(","))
    };
    let text: String = (1..=250).map(|uid| line(uid, 64)).collect();
    assert!(text.len() <= CHUNK_MAX_BYTES);
    let (progress, bad) = import(&world, "f", &text);
    assert_eq!((counts(&progress), bad.len()), ((250, 0, 0, 0), 0));
    assert_eq!(show(&world, 250).identities.len(), 64);
    let (_, bad) = import(&world, "g", &line(300, 65));
    assert_eq!(bad[0].reason, "the account would have more than 64 names");
}

#[test]
fn lines_with_large_columns_still_fit_their_transactions() {
    let world = World::new().unwrap();
    let columns: String = (0..32).map(|n| format!(r#","c{n}":"{}""#, "x".repeat(1_000))).collect();
    let text: String = (1..=30).map(|uid| format!("{{\"uid\":{uid}{columns}}}\n")).collect();
    let (progress, bad) = import(&world, "f", &text);
    assert_eq!((counts(&progress), bad.len()), ((30, 0, 0, 0), 0));
    let (lines, _) = block_on(world.platform.account_export(&operator(), RealmId(1), None, 5_000)).unwrap();
    assert_eq!(lines.len(), 30);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Twice is once, and cutting the file anywhere between lines changes nothing.
    #[test]
    fn import_twice_is_once(order in proptest::collection::vec((1u64..12, 1_500_000_000u64..1_500_000_010, 0usize..4), 1..40), cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..4)) {
        let names = ["anna", "bert", "carl", "dora"];
        let lines: Vec<String> = order.iter().map(|(uid, at, name)| format!("{{\"uid\":{uid},\"username\":\"{}{uid}\",\"changed_at\":{at}}}\n", names[*name])).collect();
        let text = lines.concat();
        let state = |world: &World| (1..12).map(|uid| block_on(world.platform.account_show(&operator(), AccountRef::Account(AccountId(uid)))).ok().map(|view| (view.username, view.changed_at, view.identities.len()))).collect::<Vec<_>>();

        let whole = World::new().unwrap();
        import(&whole, "f", &text);
        let once = state(&whole);
        let (again, _) = import(&whole, "g", &text);
        prop_assert_eq!((again.created, again.updated), (0, 0));
        prop_assert_eq!(&state(&whole), &once);

        let pieces = World::new().unwrap();
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(lines.len())).collect();
        ends.push(lines.len());
        ends.sort_unstable();
        let mut done = 0;
        for end in ends {
            let started = block_on(pieces.platform.import_begin(&operator(), file("f"))).unwrap();
            prop_assert_eq!(started.lines, done as u64);
            let chunk = lines[done..end].concat();
            block_on(pieces.platform.import_chunk(&operator(), &started.import_id, started.offset_bytes, chunk.into_bytes())).unwrap();
            done = end;
        }
        prop_assert_eq!(&state(&pieces), &once);
    }

    #[test]
    fn no_line_panics(line in any::<Vec<u8>>()) {
        let header = vec!["uid".to_owned(), "username".to_owned()];
        let _ = line::read_json(&line);
        let _ = line::read_csv(&line, &header);
        let _ = line::read_header(&String::from_utf8_lossy(&line));
    }

    #[test]
    fn no_text_line_panics(line in "[{}\\[\\]\":,a-z0-9 \\\\]{0,60}") {
        let _ = line::read_json(line.as_bytes());
    }
}
