//! One sample of every record, for the golden bytes of each released version and for tests.

use std::collections::BTreeMap;

use seawall_storage::{CodecError, Key, Record, Table, encode_record};

use super::account::{
    ACCOUNTS, AccountRow, CREDENTIAL_CHANGES, CREDENTIALS, CredentialChangeRow, CredentialRow, DEVICES, DeviceRow,
    IDENTITIES, IdentityRow, ImportedFrom, PLAYERS, PlayerRow, StoredPassword,
};
use super::catalogue::{GAMES, GameRow, KEYS, KeyRow, MAC_KEYS, MacKeyRow, PACKAGES, PackageRow, REALMS, RealmRow};
use super::restriction::{RESTRICTIONS, RestrictionRow, SubjectRow};
use super::session::{
    ACCOUNT_DELETIONS, ACCOUNT_REVOCATIONS, AccountDeletionRow, Effect, IDEMPOTENCY, IdempotencyRow,
    PLAYER_REVOCATIONS, SESSION_REVOCATIONS, SESSIONS, SessionRevocationRow, SessionRow, SubjectRevocationRow,
};
use super::takeover::{IMPORTED_UIDS, IMPORTS, ImportRow};
use crate::account::Action;
use crate::game::GameSettings;
use crate::ids::{AccountId, GameId, KeyId, PackageId, PlayerId, RealmId, SessionId, UnixMs};
use crate::import::ImportFormat;
use crate::revocation::Revocation;

const AT: UnixMs = 1_700_000_000_000;

/// A sample row in its stored, unsealed form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Name of the table.
    pub table: &'static str,
    /// Its number.
    pub number: u16,
    /// Encoded key, without the table's number.
    pub key: Vec<u8>,
    /// Version byte and body.
    pub value: Vec<u8>,
}

fn sample<K: Key, V: Record>(table: &Table<K, V>, key: &K, value: &V) -> Result<Sample, CodecError> {
    let mut bytes = Vec::new();
    key.encode(&mut bytes);
    Ok(Sample {
        table: table.def.name,
        number: table.def.number,
        key: bytes,
        value: encode_record(value)?,
    })
}

/// One row of every table, in the order of [`super::TABLES`].
///
/// # Errors
/// Never for the records as they stand; a record that cannot be encoded would show here.
pub fn samples() -> Result<Vec<Sample>, CodecError> {
    Ok([catalogue()?, accounts()?, sessions()?].concat())
}

fn catalogue() -> Result<Vec<Sample>, CodecError> {
    Ok(vec![
        sample(
            &REALMS,
            &RealmId(1),
            &RealmRow {
                name: "default".into(),
                guests_allowed: true,
                created_at: AT,
            },
        )?,
        sample(
            &GAMES,
            &GameId(2),
            &GameRow {
                realm_id: RealmId(1),
                name: "Harbour".into(),
                settings: GameSettings::default(),
                created_at: AT,
            },
        )?,
        sample(&PACKAGES, &PackageId(3), &package())?,
        sample(&KEYS, &KeyId(4), &key())?,
        sample(
            &MAC_KEYS,
            &1,
            &MacKeyRow {
                key: [7; 32],
                created_at: AT,
            },
        )?,
    ])
}

fn accounts() -> Result<Vec<Sample>, CodecError> {
    let device = [0x5e; 16];
    Ok(vec![
        sample(&ACCOUNTS, &AccountId(1_000_001), &account())?,
        sample(
            &IDENTITIES,
            &(RealmId(1), 1, [9; 20]),
            &IdentityRow {
                account_id: AccountId(1_000_001),
                issuer: String::new(),
                subject: "alice".into(),
                created_at: AT,
            },
        )?,
        sample(&CREDENTIALS, &AccountId(1_000_001), &credential())?,
        sample(
            &CREDENTIAL_CHANGES,
            &AccountId(1_000_001),
            &CredentialChangeRow {
                version: 2,
                changed_at: AT,
            },
        )?,
        sample(
            &PLAYERS,
            &(GameId(2), PlayerId(1_000_002)),
            &PlayerRow {
                account_id: AccountId(1_000_001),
                slot: 0,
                created_at: AT,
            },
        )?,
        sample(
            &DEVICES,
            &(AccountId(1_000_001), GameId(2), device),
            &DeviceRow {
                brand: "Xiaomi".into(),
                model: "14".into(),
                os: "android".into(),
                ids: vec![("oaid".into(), vec!["o-1".into()])],
                first_seen_at: AT,
                last_seen_at: AT + 1,
            },
        )?,
    ])
}

fn sessions() -> Result<Vec<Sample>, CodecError> {
    Ok(vec![
        sample(&SESSIONS, &SessionId(77), &session())?,
        sample(
            &SESSION_REVOCATIONS,
            &SessionId(77),
            &SessionRevocationRow {
                expires_at: AT,
                reason: Revocation::Replaced,
            },
        )?,
        sample(
            &ACCOUNT_REVOCATIONS,
            &AccountId(1_000_001),
            &SubjectRevocationRow {
                expires_at: AT,
                through_session: SessionId(77),
                except_session: None,
                not_before_at: AT,
            },
        )?,
        sample(
            &PLAYER_REVOCATIONS,
            &(GameId(2), PlayerId(1_000_002)),
            &SubjectRevocationRow {
                expires_at: AT,
                through_session: SessionId(77),
                except_session: None,
                not_before_at: AT,
            },
        )?,
        sample(
            &IDEMPOTENCY,
            &[3; 32],
            &IdempotencyRow {
                expires_at: AT,
                request_digest: [4; 32],
                done_at: AT,
                effect: Effect::Refresh {
                    pair: session().pair(SessionId(77)),
                },
            },
        )?,
        sample(
            &ACCOUNT_DELETIONS,
            &AccountId(1_000_001),
            &AccountDeletionRow {
                expires_at: AT + 1,
                deleted_at: AT,
            },
        )?,
        sample(&RESTRICTIONS, &5, &restriction())?,
        sample(&IMPORTS, &[6; 16], &import())?,
        sample(&IMPORTED_UIDS, &(RealmId(1), 42), &AccountId(1_000_003))?,
    ])
}

/// A package.
#[must_use]
pub fn package() -> PackageRow {
    PackageRow {
        game_id: GameId(2),
        name: "TapTap".into(),
        platform: "android".into(),
        channel_id: "taptap".into(),
        agent_id: "a1".into(),
        site_id: "s1".into(),
        bundle_id: "com.example.harbour".into(),
        channel_params: BTreeMap::from([("app_id".into(), "x".into())]),
        created_at: AT,
    }
}

/// A server key with two live secrets.
#[must_use]
pub fn key() -> KeyRow {
    KeyRow {
        name: "login server".into(),
        games: vec![GameId(2)],
        created_at: AT,
        rotated_at: AT,
        secret: "sws_new".into(),
        previous_secret: Some("sws_old".into()),
        previous_until_at: AT + 1,
        revoked_at: None,
    }
}

/// A taken-over account.
#[must_use]
pub fn account() -> AccountRow {
    AccountRow {
        realm_id: RealmId(1),
        change_seq: 12,
        names: vec![(1, [9; 20])],
        is_deleted: false,
        username: Some("Alice".into()),
        created_at: AT,
        changed_at: AT,
        imported: Some(ImportedFrom {
            uid: 42,
            uid_is_player_id: true,
            source_changed_at: AT,
            line_digest: [1; 16],
        }),
        origin: vec![("ip".into(), "192.0.2.1".into())],
        merged_into: None,
        person_id: None,
    }
}

/// A password as an old platform stored it.
#[must_use]
pub fn credential() -> CredentialRow {
    CredentialRow {
        version: 1,
        stored: StoredPassword::Imported {
            recipe: "md5(password+salt)".into(),
            hash: "e10adc3949ba59abbe56e057f20f883e".into(),
            salt: "456".into(),
            import_id: [6; 16],
        },
        old: None,
        changed_at: AT,
    }
}

/// A live session.
#[must_use]
pub fn session() -> SessionRow {
    SessionRow {
        refresh_expires_at: AT + 90 * 86_400_000,
        account_id: AccountId(1_000_001),
        game_id: GameId(2),
        player_id: PlayerId(1_000_002),
        package_id: PackageId(3),
        device: [0x5e; 16],
        device_label: "Xiaomi 14".into(),
        mac_key_id: 1,
        generation: 3,
        created_at: AT,
        issued_at: AT,
        access_expires_at: AT + 86_400_000,
        access_until_at: AT + 86_400_000,
        revoked: None,
    }
}

/// A login restriction.
#[must_use]
pub fn restriction() -> RestrictionRow {
    RestrictionRow {
        subject: SubjectRow::Account(AccountId(1_000_001)),
        action: Action::Login,
        game_id: None,
        from_at: AT,
        until_at: Some(AT + 1),
        reason: "cheating".into(),
        message: Some("See the rules.".into()),
        ticket: Some("T-1".into()),
        created_at: AT,
        created_by: "operator:0".into(),
    }
}

/// An import under way.
#[must_use]
pub fn import() -> ImportRow {
    ImportRow {
        realm_id: RealmId(1),
        format: ImportFormat::Csv,
        csv_header: Some("uid,username".into()),
        password_recipe: Some("md5(password)".into()),
        pepper: Some("pepper".into()),
        columns: vec![("name".into(), "username".into())],
        keep_old_hashes: true,
        uid_is_player_id: true,
        dry_run: false,
        offset_bytes: 4096,
        lines: 10,
        created: 7,
        updated: 1,
        unchanged: 1,
        refused: 1,
        started_at: AT,
        finalized_at: None,
        finalize_cursor: 0,
        pepper_needed: false,
    }
}
