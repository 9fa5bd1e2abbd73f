//! The list of tables: numbers, documents, marks, and what the indexes derive from samples.

use std::collections::BTreeSet;

use seawall_storage::{Class, CodecError, Retention};

use super::samples::{self, samples};
use super::session::{SESSIONS_BY_ACCOUNT, SESSIONS_BY_END, SessionRow};
use super::*;
use crate::revocation::Revocation;

fn emitted(index: &seawall_storage::IndexDef, key: &[u8], value: &[u8]) -> Vec<Vec<u8>> {
    let mut rows = Vec::new();
    (index.of)(key, value, &mut |row| rows.push(row.to_vec())).unwrap();
    rows
}

#[test]
fn numbers_of_tables_and_indexes_are_unique_and_not_the_store_s() {
    let mut numbers = BTreeSet::new();
    let mut names = BTreeSet::new();
    for table in TABLES {
        assert!(
            table.number > seawall_storage::limits::RESERVED_TABLES,
            "{}",
            table.name
        );
        assert!(
            numbers.insert(table.number) && names.insert(table.name),
            "{}",
            table.name
        );
        for index in table.indexes {
            assert!(
                numbers.insert(index.number) && names.insert(index.name),
                "{}",
                index.name
            );
        }
    }
}

#[test]
fn every_table_says_key_writer_deleter_and_bound() {
    for table in TABLES {
        assert!(table.doc.contains(" by "), "{}: its key", table.name);
        assert!(table.doc.contains("ritten "), "{}: its writer", table.name);
        assert!(table.doc.contains("eleted"), "{}: its deleter", table.name);
        assert!(table.doc.len() > 60 && table.doc.ends_with('.'), "{}", table.name);
        for index in table.indexes {
            assert!(index.doc.len() > 20, "{}", index.name);
        }
    }
}

#[test]
fn what_holds_secrets_is_sealed() {
    let sealed: Vec<&str> = TABLES
        .iter()
        .filter(|table| table.sealed)
        .map(|table| table.name)
        .collect();
    assert_eq!(
        sealed,
        ["packages", "keys", "mac_keys", "identities", "credentials", "imports"]
    );
}

#[test]
fn what_names_people_is_marked_personal() {
    let personal: Vec<&str> = TABLES
        .iter()
        .filter(|table| table.personal)
        .map(|table| table.name)
        .collect();
    assert_eq!(personal, ["accounts", "identities", "devices", "restrictions"]);
}

#[test]
fn what_must_not_be_lost_waits_for_the_standby() {
    let of = |class: Class| {
        TABLES
            .iter()
            .filter(|table| table.class == class)
            .map(|table| table.name)
            .collect::<Vec<_>>()
    };
    assert_eq!(of(Class::RemoteDurable), ["keys", "mac_keys", "credential_changes"]);
    for table in [
        "accounts",
        "identities",
        "players",
        "restrictions",
        "account_revocations",
        "player_revocations",
    ] {
        assert!(of(Class::RemotePreferred).contains(&table), "{table}");
    }
    for table in ["sessions", "session_revocations", "idempotency"] {
        assert!(of(Class::Local).contains(&table), "{table}");
    }
}

#[test]
fn rows_that_end_name_their_leading_field_and_are_indexed_by_it() {
    for table in TABLES {
        if let Retention::RowExpiry(field) = table.retention {
            assert!(["refresh_expires_at", "expires_at"].contains(&field), "{}", table.name);
            assert!(
                table.indexes.iter().any(|index| index.name.ends_with("_by_end")),
                "{}",
                table.name
            );
        }
    }
}

#[test]
fn every_index_derives_from_every_sample_and_never_panics() {
    for sample in samples().unwrap() {
        let table = TABLES.iter().find(|table| table.number == sample.number).unwrap();
        for index in table.indexes {
            assert_eq!(emitted(index, &sample.key, &sample.value).len(), 1, "{}", index.name);
            for end in 0..sample.value.len().min(40) {
                let _ = (index.of)(&sample.key, &sample.value[..end], &mut |_| {});
            }
            let mut newer = sample.value.clone();
            newer[0] = 2;
            let refused = (index.of)(&sample.key, &newer, &mut |_| {});
            assert_eq!(refused, Err(CodecError::Version { version: 2 }), "{}", index.name);
        }
    }
}

#[test]
fn a_revoked_session_leaves_the_list_of_its_account_and_stays_in_that_of_ends() {
    let live = seawall_storage::encode_record(&samples::session()).unwrap();
    let revoked = SessionRow {
        revoked: Some((Revocation::Replaced, 5)),
        ..samples::session()
    };
    let revoked = seawall_storage::encode_record(&revoked).unwrap();
    assert_eq!(emitted(&SESSIONS_BY_ACCOUNT.def, &[0; 8], &live).len(), 1);
    assert_eq!(emitted(&SESSIONS_BY_ACCOUNT.def, &[0; 8], &revoked).len(), 0);
    assert_eq!(
        emitted(&SESSIONS_BY_END.def, &[0; 8], &live),
        emitted(&SESSIONS_BY_END.def, &[0; 8], &revoked)
    );
}

#[test]
fn an_end_s_hour_lies_after_it() {
    for at in [0, 1, 3_599_999, 3_600_000, 1_700_000_000_000] {
        let over_at = u64::from(end_hour(at)) * 3_600_000;
        assert!(over_at > at && over_at - at <= 3_600_000, "{at}");
    }
    assert_eq!(end_hour(u64::MAX), u32::MAX);
}

#[test]
fn a_game_of_version_1_keeps_its_settings_and_gets_the_new_defaults() {
    // As released, with a device limit, maintenance and one origin set.
    let mut old = vec![1, 1, 1, b'G', 1, 2, 1, 5];
    old.extend([0xe0, 0xd4, 0x03, 0x80, 0xdd, 0xdb, 0x01, 0x00, 0x01, 1, b'*', 9]);
    let row: super::catalogue::GameRow = seawall_storage::decode_record(&old).unwrap();
    assert_eq!(
        (row.realm_id, row.name.as_str(), row.created_at),
        (crate::RealmId(1), "G", 9)
    );
    let expected = crate::game::GameSettings {
        status: crate::game::GameStatus::Maintenance,
        session_policy: crate::game::SessionPolicy::Both,
        device_limit: Some(5),
        access_token_ms: 60_000,
        refresh_token_ms: 3_600_000,
        refresh_grace_ms: 0,
        cors_origins: vec!["*".into()],
        ..crate::game::GameSettings::default()
    };
    assert_eq!(row.settings, expected);
    let again = seawall_storage::encode_record(&row).unwrap();
    assert_eq!(
        seawall_storage::decode_record::<super::catalogue::GameRow>(&again),
        Ok(row)
    );
    old[0] = 4;
    assert!(seawall_storage::decode_record::<super::catalogue::GameRow>(&old).is_err());
    // Version 2 goes on with answers of doubt and the spread of reconnects.
    old[0] = 2;
    old.truncate(old.len() - 1);
    old.extend([1, 5, 1, 7, 9]);
    let row: super::catalogue::GameRow = seawall_storage::decode_record(&old).unwrap();
    let expected = crate::game::GameSettings {
        unknown_policy: crate::game::UnknownPolicy::Hold,
        unknown_hold_ms: 5,
        mac_only: true,
        reconnect_spread_ms: 7,
        ..expected
    };
    assert_eq!((row.settings, row.created_at), (expected, 9));
}

#[test]
fn leading_fields_are_read_without_the_rest() {
    let value = seawall_storage::encode_record(&samples::account()).unwrap();
    assert_eq!(leading::<(crate::RealmId, u64)>(&value), Ok((crate::RealmId(1), 12)));
    assert_eq!(leading::<u64>(&[]), Err(CodecError::Short { needed: 1, got: 0 }));
    assert!(leading::<u64>(&[1]).is_err());
}

#[test]
fn debug_output_of_sessions_and_logins_holds_no_token() {
    let world = crate::testing::World::new().unwrap();
    let guest = world.register_guest().unwrap();
    let text = format!("{guest:?}");
    for secret in [
        &guest.session.access_token,
        &guest.session.refresh_token,
        guest.guest_secret.as_ref().unwrap(),
    ] {
        assert!(!text.contains(secret.as_str()));
    }
    assert!(text.contains("has_guest_secret: true"));
}
