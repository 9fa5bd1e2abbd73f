//! The platform over the real engine: what was answered is there after a restart. And how failures of the store reach
//! the caller.

use seawall_storage::{EngineError, ReadError, TxError, WriteError};

use super::*;
use crate::account::{AccountRef, Action, Restrict, Subject};
use crate::codes::{CREDENTIAL_INVALID, REFRESH_REUSED};
use crate::import::{ImportBegin, ImportFormat};
use crate::session::Credential;
use crate::testing::{World, block_on, client, credential, keyed, operator};
use crate::verify::{InvalidReason, Verified};
use crate::{AccountId, RealmId};

fn reopened(world: World, dir: &std::path::Path) -> World {
    world.store.shutdown();
    drop(world);
    World::on_disk(dir).unwrap()
}

fn reason(world: &World, token: &str) -> Option<InvalidReason> {
    match world.platform.session_verify(&world.server(), token, None) {
        Verified::Invalid(proof) => Some(proof.reason()),
        Verified::Valid(_) => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn accounts_sessions_and_revocations_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::on_disk(dir.path()).unwrap();
    let replaced = world.register("alice").unwrap();
    let live = world.log_in("alice").unwrap();
    let guest = world.register_guest().unwrap();
    let restrict = Restrict {
        subject: Subject::Account {
            account_id: guest.account_id,
        },
        action: Action::Login,
        game_id: None,
        from_at: None,
        until_at: None,
        reason: "cheating".into(),
        message: None,
        ticket: None,
    };
    block_on(world.platform.account_restrict(&operator(), restrict)).unwrap();

    let world = reopened(world, dir.path());
    assert_eq!(reason(&world, &live.session.access_token), None);
    assert_eq!(
        reason(&world, &replaced.session.access_token),
        Some(InvalidReason::Replaced)
    );
    assert!(matches!(
        world
            .platform
            .session_verify(&world.server(), &guest.session.access_token, None),
        Verified::Denied { .. }
    ));
    let next = block_on(world.platform.session_refresh(&client(), &live.session.refresh_token)).unwrap();
    let again = world.log_in("alice").unwrap();
    assert_eq!(again.account_id, live.account_id);
    assert!(again.session.session_id > next.session.session_id);
    let secret = guest.guest_secret;
    let restrictions = block_on(
        world
            .platform
            .account_show(&operator(), AccountRef::Account(guest.account_id)),
    )
    .unwrap()
    .restrictions;
    block_on(world.platform.account_lift(&operator(), restrictions[0].restriction_id)).unwrap();
    let back = world
        .log_in_with(&client(), Credential::Guest { guest_secret: secret }, "d", false)
        .unwrap();
    assert_eq!(back.account_id, guest.account_id);
}

#[test]
fn a_repeat_after_a_restart_gets_the_same_answer() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::on_disk(dir.path()).unwrap();
    let call = keyed(client(), "k", "r");
    let first = world
        .log_in_with(&call, Credential::Guest { guest_secret: None }, "d", true)
        .unwrap();
    let world = reopened(world, dir.path());
    let again = world
        .log_in_with(&call, Credential::Guest { guest_secret: None }, "d", true)
        .unwrap();
    assert_eq!((again.session, again.guest_secret), (first.session, first.guest_secret));
}

#[test]
fn a_reused_refresh_token_stays_reused() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::on_disk(dir.path()).unwrap();
    let login = world.register("alice").unwrap();
    let next = block_on(world.platform.session_refresh(&client(), &login.session.refresh_token)).unwrap();
    let last = block_on(world.platform.session_refresh(&client(), &next.session.refresh_token)).unwrap();
    let world = reopened(world, dir.path());
    let reused = block_on(world.platform.session_refresh(&client(), &login.session.refresh_token));
    assert_eq!(reused.unwrap_err().code, REFRESH_REUSED);
    let world = reopened(world, dir.path());
    assert_eq!(reason(&world, &last.session.access_token), Some(InvalidReason::Revoked));
}

#[test]
fn an_import_resumes_where_it_stood() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::on_disk(dir.path()).unwrap();
    let lines: Vec<String> = (1..=1_200)
        .map(|uid| {
            format!(
                "{{\"uid\":{uid},\"username\":\"player{uid}\",\"password\":\"e10adc3949ba59abbe56e057f20f883e\"}}\n"
            )
        })
        .collect();
    let begin = || ImportBegin {
        file_digest: "cd".repeat(32),
        realm_id: RealmId(1),
        format: ImportFormat::Ndjson,
        csv_header: None,
        password_recipe: Some("md5(password)".into()),
        pepper: None,
        columns: Vec::new(),
        keep_old_hashes: true,
        uid_is_player_id: true,
        dry_run: false,
    };
    let started = block_on(world.platform.import_begin(&operator(), begin())).unwrap();
    let half = lines[..700].concat();
    block_on(
        world
            .platform
            .import_chunk(&operator(), &started.import_id, 0, half.clone().into_bytes()),
    )
    .unwrap();

    let world = reopened(world, dir.path());
    let resumed = block_on(world.platform.import_begin(&operator(), begin())).unwrap();
    assert_eq!(
        (resumed.offset_bytes, resumed.lines, resumed.created),
        (half.len() as u64, 700, 700)
    );
    let rest = lines[700..].concat();
    let (done, bad) = block_on(world.platform.import_chunk(
        &operator(),
        &resumed.import_id,
        resumed.offset_bytes,
        rest.into_bytes(),
    ))
    .unwrap();
    assert_eq!((done.created, bad.len()), (1_200, 0));
    for uid in [1, 700, 701, 1_200] {
        let typed = |password: &str| Credential::Username {
            username: format!("player{uid}"),
            password: password.into(),
        };
        assert_eq!(
            world
                .log_in_with(&client(), typed("wrong!"), "d", false)
                .unwrap_err()
                .code,
            CREDENTIAL_INVALID
        );
        assert_eq!(
            world
                .log_in_with(&client(), typed("123456"), "d", false)
                .unwrap()
                .account_id,
            AccountId(uid)
        );
    }
    assert_eq!(
        block_on(world.platform.import_finalize(&operator(), &done.import_id))
            .unwrap()
            .created,
        1_200
    );
}

#[test]
fn every_row_decodes_and_every_index_agrees_after_a_working_day() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::on_disk(dir.path()).unwrap();
    for name in ["anna", "bert", "carl"] {
        world.register(name).unwrap();
        world
            .log_in_with(&keyed(client(), "k", name), credential(name), name, false)
            .unwrap();
    }
    let login = world.log_in("anna").unwrap();
    block_on(
        world
            .platform
            .session_logout(&client(), &login.session.access_token, true),
    )
    .unwrap();
    world.clock.advance(100 * 86_400_000);
    block_on(world.platform.sweep(&operator())).unwrap();
    let report = world.store.verify(&mut |_| {}).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}

#[test]
fn failures_of_the_store_tell_the_caller_how_to_behave() {
    let io = || EngineError::Io("disk".into());
    for (error, code) in [
        (Error::from(WriteError::<Error>::Busy), OVERLOADED),
        (Error::from(WriteError::<Error>::DiskFull), STORE_FULL),
        (Error::from(WriteError::<Error>::Late), OVERLOAD_DEADLINE),
        (Error::from(WriteError::<Error>::Closed), STORE_BUSY),
        (Error::from(WriteError::<Error>::Unknown), OUTCOME_UNKNOWN),
        (Error::from(WriteError::<Error>::Panicked), DEFECT),
        (Error::from(WriteError::<Error>::TooLarge), DEFECT),
        (Error::from(ReadError::Busy), STORE_BUSY),
        (Error::from(ReadError::Deadline), STORE_BUSY),
        (Error::from(ReadError::Closed), STORE_BUSY),
        (Error::from(ReadError::Engine(io())), STORE_BUSY),
        (Error::from(ReadError::UnknownTable(9)), DEFECT),
        (Error::from(TxError::Engine(io())), STORE_BUSY),
        (Error::from(TxError::CounterExhausted), DEFECT),
    ] {
        assert_eq!(error.code, code, "{error}");
        assert_eq!(
            error.retry_after_ms.is_some(),
            code.kind == crate::error::Kind::Unavailable,
            "{error}"
        );
    }
    let refused = WriteError::Refused(CREDENTIAL_INVALID.error());
    assert_eq!(Error::from(refused).code, CREDENTIAL_INVALID);
}

#[test]
fn after_shutdown_writes_are_refused_and_checks_still_answer() {
    let world = World::new().unwrap();
    let login = world.register("alice").unwrap();
    world.store.shutdown();
    assert_eq!(world.register("bob").unwrap_err().code, STORE_BUSY);
    let refreshed = block_on(world.platform.session_refresh(&client(), &login.session.refresh_token));
    assert_eq!(refreshed.unwrap_err().code, STORE_BUSY);
    assert_eq!(reason(&world, &login.session.access_token), None);
}

#[test]
fn a_panicking_or_refusing_closure_leaves_nothing() {
    use crate::tables::catalogue::{REALMS, RealmRow};
    let world = World::new().unwrap();
    let row = RealmRow {
        name: "ghost".into(),
        guests_allowed: true,
        created_at: 1,
    };
    let ghost = row.clone();
    let refused: Result<(), Error> = block_on(world.platform.commit(&operator(), "test.refuse", move |tx| {
        tx.put(&REALMS, &RealmId(77), &ghost)?;
        Err(CREDENTIAL_INVALID.error())
    }));
    assert_eq!(refused.unwrap_err().code, CREDENTIAL_INVALID);
    let panicked: Result<(), Error> = block_on(world.platform.commit(&operator(), "test.panic", move |tx| {
        tx.put(&REALMS, &RealmId(78), &row)?;
        panic!("on purpose");
    }));
    assert_eq!(panicked.unwrap_err().code, DEFECT);
    assert_eq!(block_on(world.platform.realm_list(&operator())).unwrap().len(), 1);
    world.register("alice").unwrap();
}
