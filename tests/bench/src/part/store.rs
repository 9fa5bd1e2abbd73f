//! The store alone: the very rows an operation writes, under new keys, without HTTP, without rules, without reads.

use std::collections::VecDeque;
use std::path::Path;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use seawall_domain::tables::account::{
    ACCOUNTS, AccountRow, DEVICES, DeviceRow, IDENTITIES, IdentityKey, IdentityRow, PLAYERS, PlayerRow,
};
use seawall_domain::tables::session::{SESSIONS, SessionRow};
use seawall_domain::testing::{START_AT, World};
use seawall_domain::{AccountId, PlayerId, SessionId};
use seawall_storage::{Key, Record, Stamp, Store, Table, Tx, TxError, WriteError};
use seawall_tests::server::Failure;
use serde_json::{Value, json};

/// First id that is given out here, above those of the world.
const FIRST: u64 = 1 << 30;

/// Whose rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Operation {
    /// Account, identity, player, device, session.
    Registration,
    /// Session.
    Refresh,
}

/// The rows of one guest, as the platform wrote them.
struct Rows {
    account: AccountRow,
    identity: (IdentityKey, IdentityRow),
    player: PlayerRow,
    device: DeviceRow,
    session: SessionRow,
}

pub fn figures(operation: Operation, dir: &Path, seconds: f64, in_flight: usize) -> Result<Value, Failure> {
    let world = World::on_disk(dir).map_err(|e| e.to_string())?;
    let rows = std::sync::Arc::new(Rows::of_a_guest(&world)?);
    let store = &world.store;
    let (begun, span) = (Instant::now(), Duration::from_secs_f64(seconds));
    let (mut out, mut number, mut done) = (VecDeque::with_capacity(in_flight), 0_u64, 0_u64);
    while begun.elapsed() < span {
        while out.len() < in_flight {
            let (rows, id) = (std::sync::Arc::clone(&rows), FIRST + number);
            number += 1;
            out.push_back(store.write(stamp(number), move |tx| match operation {
                Operation::Registration => rows.register(tx, id),
                Operation::Refresh => rows.refresh(tx, id),
            }));
        }
        if let Some(write) = out.pop_front() {
            write.wait().map_err(|e: WriteError<TxError>| e.to_string())?;
            done += 1;
        }
    }
    let rate = done as f64 / begun.elapsed().as_secs_f64();
    for write in out {
        write.wait().map_err(|e| e.to_string())?;
    }
    let stats = store.stats();
    let figures = json!({
        "rate": rate,
        "bytes_per_transaction": stats.group_bytes.sum as f64 / stats.transactions.max(1) as f64,
        "transactions_per_sync": stats.transactions as f64 / stats.sync_us.count().max(1) as f64,
    });
    store.shutdown();
    Ok(figures)
}

impl Rows {
    fn of_a_guest(world: &World) -> Result<Self, Failure> {
        let guest = world.register_guest().map_err(|e| e.to_string())?;
        let account = row(&world.store, &ACCOUNTS, &guest.account_id)?;
        let session = row(&world.store, &SESSIONS, &guest.session.session_id)?;
        let (kind, hash) = *account.names.first().ok_or("a guest has a name")?;
        let key = (account.realm_id, kind, hash);
        Ok(Self {
            identity: (key, row(&world.store, &IDENTITIES, &key)?),
            player: row(&world.store, &PLAYERS, &(world.game_id, guest.player_id))?,
            device: row(
                &world.store,
                &DEVICES,
                &(guest.account_id, world.game_id, session.device),
            )?,
            account,
            session,
        })
    }

    fn register(&self, tx: &mut Tx<'_>, id: u64) -> Result<(), TxError> {
        let (account_id, player_id, game_id) = (AccountId(id), PlayerId(id), self.session.game_id);
        let mut name = self.identity.0;
        // A hash is spread over all its values.
        let spread = id.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
        name.2.iter_mut().zip(spread).for_each(|(to, from)| *to = from);
        let account = AccountRow {
            change_seq: id,
            names: vec![(name.1, name.2)],
            ..self.account.clone()
        };
        tx.put(&ACCOUNTS, &account_id, &account)?;
        let identity = IdentityRow {
            account_id,
            ..self.identity.1.clone()
        };
        tx.put(&IDENTITIES, &name, &identity)?;
        let player = PlayerRow {
            account_id,
            ..self.player.clone()
        };
        tx.put(&PLAYERS, &(game_id, player_id), &player)?;
        tx.put(&DEVICES, &(account_id, game_id, self.session.device), &self.device)?;
        let session = SessionRow {
            account_id,
            player_id,
            ..self.session.clone()
        };
        tx.put(&SESSIONS, &SessionId(id), &session)
    }

    /// Sessions of 512 players in turn, as the served scenario has them.
    fn refresh(&self, tx: &mut Tx<'_>, id: u64) -> Result<(), TxError> {
        let player = FIRST + id % 512;
        let session = SessionRow {
            account_id: AccountId(player),
            player_id: PlayerId(player),
            generation: u32::try_from((id - FIRST) / 512).unwrap_or(u32::MAX),
            ..self.session.clone()
        };
        tx.put(&SESSIONS, &SessionId(player), &session)
    }
}

fn row<K: Key + 'static, V: Record>(store: &Store, table: &'static Table<K, V>, key: &K) -> Result<V, Failure> {
    let found = store.read(|view| view.get(table, key)).map_err(|e| e.to_string())?;
    found.ok_or_else(|| "the row that was just written is not there".into())
}

fn stamp(number: u64) -> Stamp {
    let mut entropy = [0; 32];
    entropy[..8].copy_from_slice(&number.to_be_bytes());
    Stamp {
        op: "account.create",
        caller: "bench".into(),
        request_id: [0; 16],
        now_at: START_AT,
        entropy,
        idempotency_key: None,
    }
}
